"""What is no plain pair: LoHa, LoKr, DoRA, whole weights, biases, norms, each row as if its
adapter were merged into weights of its own; the base stays as it is."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file, save_file
from torch import nn

from sdgen.errors import AdapterRefused
from sdgen.pipelines.lora_changes import Hadamard, Kronecker
from sdgen.pipelines.lora_rows import LoraRows, PartWeights, RowSet
from sdgen.pipelines.lora_weights import read_weights
from tests import tiny_models
from tests.test_lora_rows import CLOSE, CPU, NOTHING, PLENTY, predict, relative
from tests.tiny_loras import LOCON, lora_file
from tools.adapters.lycoris_cases import FILE as LYCORIS
from tools.adapters.lycoris_cases import bases

Tensors = dict[str, torch.Tensor]
STEM = "lora_unet_conv_in"


class Holder(nn.Module):
    """A tree with one module that files name as `conv_in`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.conv_in = module

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.conv_in(given)
        return output


def read(tensors: Tensors, tree: nn.Module, path: Path, key: str = "") -> PartWeights:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    modules = LoraRows(tree, PLENTY).modules
    found = read_weights(path, "t", key or str(path), {"unet": modules}, CPU, torch.float32)
    return found["unet"]


# ---- LyCORIS' own forward -----------------------------------------------------------------------


@cache
def lycoris() -> dict[str, Tensors]:
    cases: dict[str, Tensors] = {}
    for key, tensor in load_file(LYCORIS).items():
        case, _, name = key.rpartition("/")
        cases.setdefault(case, {})[name] = tensor
    return cases


@pytest.mark.parametrize("case", sorted(lycoris()))
@torch.no_grad()
def test_it_is_what_lycoris_own_forward_gives(case: str, tmp_path: Path) -> None:
    module, given = bases()[case.partition("/")[0]]
    tree = Holder(module)
    tensors = dict(lycoris()[case])
    wanted = tensors.pop("output")
    named = {f"{STEM}.{name}": tensor for name, tensor in tensors.items()}
    weights = read(named, tree, tmp_path / "x.safetensors")
    before = tree(given)
    with LoraRows(tree, PLENTY).carrying([((weights, 1.0),)] * 2):
        assert relative(tree(given), wanted) < CLOSE
    assert relative(before, wanted) > 0.01, "the adapter hardly acts"
    with LoraRows(tree, PLENTY).carrying([((weights, -0.5),)] * 2):
        assert relative(tree(given), before - 0.5 * (wanted - before)) < CLOSE
    assert torch.equal(tree(given), before)


def test_what_would_be_as_large_as_the_weight_stays_in_factors(tmp_path: Path) -> None:
    def made(case: str) -> PartWeights:
        tensors = {f"{STEM}.{n}": t for n, t in lycoris()[case].items() if n != "output"}
        return read(tensors, Holder(bases()["linear"][0]), tmp_path / "x.safetensors")

    low, high, kron = made("linear/loha"), made("linear/loha-high"), made("linear/lokr")
    assert low.layers["conv_in"].rank == 4
    assert not low.changes
    assert [type(change) for change in high.changes["conv_in"]] == [Hadamard]
    assert [type(change) for change in kron.changes["conv_in"]] == [Kronecker]
    file = sum(t.nbytes for n, t in lycoris()["linear/loha-high"].items() if n.startswith("hada"))
    assert high.bytes == file


# ---- by formulas, on whole rows of a UNet -------------------------------------------------------

Merge = Callable[[nn.Module, Tensors], None]


def stem_of(name: str) -> str:
    return f"lora_unet_{name.replace('.', '_')}"


def drawn(seed: int) -> Callable[..., torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


def whole_and_bias(unet: nn.Module, seed: int) -> tuple[Tensors, dict[str, torch.Tensor]]:
    """.diff and .diff_b of every kind of module, pairs beside them: (file, weights' changes)."""
    draw = drawn(seed)
    file: Tensors = {}
    delta: dict[str, torch.Tensor] = {}
    for number, (name, module) in enumerate(unet.named_modules()):
        stem = stem_of(name)
        if isinstance(module, nn.GroupNorm | nn.LayerNorm):
            weight, bias = draw(len(module.weight)) / 2, draw(len(module.weight)) / 2
            names = (".w_norm", ".b_norm") if number % 2 else (".diff", ".diff_b")
            file |= {stem + names[0]: weight, stem + names[1]: bias}
            delta |= {f"{name}.weight": weight, f"{name}.bias": bias}
        elif isinstance(module, nn.Linear | nn.Conv2d):
            shape = module.weight.shape
            if module.bias is not None:
                file[f"{stem}.diff_b"] = delta[f"{name}.bias"] = draw(shape[0]) / 4
            if number % 3 == 0:
                file[f"{stem}.diff"] = delta[f"{name}.weight"] = draw(*shape) / 20
            else:
                ones = (1,) * (len(shape) - 2)
                down, up = draw(2, *shape[1:]) / 6, draw(shape[0], 2, *ones) / 6
                file |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
                delta[f"{name}.weight"] = (up.flatten(1) @ down.flatten(1)).view(shape)
    return file, delta


def lokr(unet: nn.Module, seed: int) -> tuple[Tensors, dict[str, torch.Tensor]]:
    draw = drawn(seed)
    file: Tensors = {}
    delta: dict[str, torch.Tensor] = {}
    for name, module in unet.named_modules():
        if not isinstance(module, nn.Linear) or not name.endswith(("to_q", "to_v", "proj")):
            continue
        out, into = module.weight.shape
        left, a, b = draw(4, 2) / 2, draw(out // 4, 1), draw(1, into // 2)
        stem = stem_of(name)
        file |= {f"{stem}.lokr_w1": left, f"{stem}.lokr_w2_a": a, f"{stem}.lokr_w2_b": b}
        file[f"{stem}.alpha"] = torch.tensor(0.5)
        delta[f"{name}.weight"] = 0.5 * torch.kron(left, a @ b)
    return file, delta


def dora(unet: nn.Module, seed: int) -> tuple[Tensors, dict[str, torch.Tensor]]:
    draw = drawn(seed)
    file: Tensors = {}
    delta: dict[str, torch.Tensor] = {}
    for name, module in unet.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d) or "attn1" in name:
            continue
        weight = module.weight.detach()
        ones = (1,) * (weight.ndim - 2)
        down, up = draw(2, *weight.shape[1:]) / 6, draw(len(weight), 2, *ones) / 6
        total = weight + (up.flatten(1) @ down.flatten(1)).view_as(weight)
        lengths = weight.flatten(1).norm(dim=1) * (1 + draw(len(weight)) / 5)
        stem = stem_of(name)
        file |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
        file[f"{stem}.magnitude"] = lengths
        first = (-1, *(1 for _ in total.shape[1:]))
        scaled = total * (lengths / total.flatten(1).norm(dim=1)).view(first)
        delta[f"{name}.weight"] = scaled - weight
    return file, delta


def merged(delta: dict[str, torch.Tensor], strength: float) -> dict[str, torch.Tensor]:
    return {name: strength * change for name, change in delta.items()}


@pytest.mark.parametrize("memory", [PLENTY, NOTHING], ids=["stacked", "set by set"])
def test_rows_of_all_kinds_share_a_pass_and_each_is_as_if_merged(
    memory: int, tmp_path: Path
) -> None:
    unet = tiny_models.sd1().unet
    plain = lora_file(tmp_path / "plain.safetensors", rank=4, targets=LOCON, size=0.2)
    state = {name: value.clone() for name, value in unet.state_dict().items()}
    before = predict(unet, 8)
    files = [whole_and_bias(unet, 1), lokr(unet, 2), dora(unet, 3), dora(unet, 4)]
    read_in = [
        read(file, unet, tmp_path / f"{number}.safetensors")
        for number, (file, _) in enumerate(files)
    ]
    rows = LoraRows(unet, memory)
    plain_weights = read_weights(plain, "t", "p", {"unet": rows.modules}, CPU, torch.float32)
    pair = plain_weights["unet"]
    sets: list[list[tuple[int, float]]] = [
        [(0, 1.0)], [(1, 1.0)], [(2, 0.6)], [(2, 0.6), (3, -0.4)],
        [(0, 0.5), (1, 0.7), (2, 0.3)], [(4, 1.0)], [(4, 0.8), (0, -1.0)], [],
    ]  # fmt: skip
    known = [*read_in, pair]
    deltas = [delta for _, delta in files]
    deltas.append(
        {
            f"{name}.weight": _product(layer, dict(unet.named_modules())[name])
            for name, layer in pair.layers.items()
        }
    )
    asked: list[RowSet] = [tuple((known[n], s) for n, s in row) for row in sets]
    with rows.carrying(asked):
        together = predict(unet, 8)
    for number, row in enumerate(sets):
        changed = {name: value.clone() for name, value in state.items()}
        for which, strength in row:
            for name, change in merged(deltas[which], strength).items():
                changed[name] += change
        other = tiny_models.sd1().unet
        other.load_state_dict(changed)
        assert relative(together[number], predict(other, 8, number)[0]) < 5e-5, row
        if row:
            assert relative(together[number], before[number]) > 1e-3
    assert all(torch.equal(state[name], value) for name, value in unet.state_dict().items())
    assert torch.equal(before, predict(unet, 8))
    assert not any(module._forward_hooks for module in unet.modules())


def _product(layer: Any, module: nn.Module) -> torch.Tensor:
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    down, up = layer.down, layer.up
    if isinstance(module, nn.Linear):
        return (down @ up).t()
    return (up.flatten(1) @ down.flatten(1)).view(weight.shape)


@torch.no_grad()
def test_one_set_for_all_rows_serves_a_pass_of_fewer(tmp_path: Path) -> None:
    norm, linear = nn.LayerNorm(6), nn.Linear(6, 6)
    for module, tensors in (
        (norm, {f"{STEM}.w_norm": torch.randn(6), f"{STEM}.b_norm": torch.randn(6)}),
        (linear, {f"{STEM}.diff": torch.randn(6, 6), f"{STEM}.diff_b": torch.randn(6)}),
    ):
        tree, given = Holder(module), torch.randn(1, 4, 6)
        weights = read(tensors, tree, tmp_path / "x.safetensors")
        other = type(module)(6) if module is norm else nn.Linear(6, 6)  # type: ignore[call-arg]
        first, second = tensors.values()
        assert isinstance(module.weight, torch.Tensor)
        assert isinstance(module.bias, torch.Tensor)
        other.load_state_dict(
            {"weight": module.weight + 0.5 * first, "bias": module.bias + 0.5 * second}
        )
        with LoraRows(tree, PLENTY).carrying([((weights, 0.5),)] * 4):
            assert relative(tree(given), other(given)) < CLOSE


@torch.no_grad()
@pytest.mark.parametrize("dora_too", [False, True], ids=["bias", "dora and bias"])
def test_peft_s_own_forward_with_lora_bias_and_dora(dora_too: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Holder(nn.Linear(6, 8))
    given = torch.randn(2, 3, 6)
    config = LoraConfig(
        r=2, lora_alpha=3, target_modules=["conv_in"], lora_bias=not dora_too, use_dora=dora_too
    )
    plain = Holder(nn.Linear(6, 8))
    plain.load_state_dict(module.state_dict())
    inject_adapter_in_model(config, module, "my-style")
    for name, weights in module.named_parameters():
        if "lora_magnitude" in name:
            weights.mul_(1.2)
        elif "lora_" in name:
            weights.copy_(torch.randn_like(weights))
    tensors = {  # with the adapter's name, as a state_dict of the module has it
        f"unet.{name}": weights for name, weights in module.state_dict().items() if "lora_" in name
    }
    tensors["unet.conv_in.alpha"] = torch.tensor(3.0)
    weights_read = read(tensors, plain, tmp_path / "x.safetensors")
    with LoraRows(plain, PLENTY).carrying([((weights_read, 1.0),)] * 2):
        assert relative(plain(given), module(given)) < CLOSE


def test_numbers_that_are_not_finite_are_refused_in_every_kind(tmp_path: Path) -> None:
    for name in ("linear/lokr", "linear/loha-high", "linear/locon-dora"):
        tensors = {f"{STEM}.{n}": t.clone() for n, t in lycoris()[name].items() if n != "output"}
        first = next(key for key in tensors if not key.endswith("alpha"))
        tensors[first].view(-1)[0] = float("nan")
        with pytest.raises(AdapterRefused, match="not finite"):
            read(tensors, Holder(bases()["linear"][0]), tmp_path / "x.safetensors")
