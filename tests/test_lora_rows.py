"""Rows of one pass with adapters of their own: each as diffusers draws it alone with PEFT."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from sdgen.pipelines.lora_layers import LayerWeights, fitted
from sdgen.pipelines.lora_rows import LoraRows, PartWeights, RowSet
from sdgen.pipelines.lora_weights import read_weights
from tests import tiny_models
from tests.tiny_loras import ATTENTION, LOCON, TEXT, lora_file, lora_modules, with_loras

CPU = torch.device("cpu")
CLOSE = 1e-5  # relative, float32
PLENTY, NOTHING = 2**30, 0  # bytes for stacks


@pytest.fixture(scope="module")
def unet() -> torch.nn.Module:
    return tiny_models.sd1().unet


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("loras")
    kinds = [
        {"rank": 4, "layout": "diffusers"},
        {"rank": 16, "alpha": 4.0, "targets": LOCON},
        {"rank": 1, "alpha": 3.0, "targets": LOCON, "layout": "kohya"},
        {"rank": 8, "targets": ("to_k", "conv_shortcut", "downsamplers.0.conv")},
    ]
    return [
        lora_file(folder / f"{number}.safetensors", seed=number, size=0.2, **kind)  # type: ignore[arg-type]
        for number, kind in enumerate(kinds)
    ]


def inputs(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    latents = torch.randn(rows, 4, 8, 8, generator=generator)
    times = torch.linspace(900, 20, rows)
    return latents, times, torch.randn(rows, 77, 32, generator=generator)


@torch.inference_mode()
def predict(unet: torch.nn.Module, rows: int, only: int | None = None) -> torch.Tensor:
    latents, times, text = inputs(rows)
    keep = slice(None) if only is None else slice(only, only + 1)
    output: torch.Tensor = unet(latents[keep], times[keep], text[keep], return_dict=False)[0]
    return output


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


def loaded(path: Path, rows: LoraRows) -> PartWeights:
    found = read_weights(path, "t", str(path), {"unet": rows.modules}, CPU, torch.float32)
    return found["unet"]


def mixed(files: Sequence[Path]) -> list[list[tuple[Path, float]]]:
    """Eight rows: alone, in twos and threes, shared by neighbours, and two without any."""
    a, b, c, d = files
    return [
        [(a, 1.0)],
        [(b, 0.5), (d, -1.0)],
        [(b, 1.0)],
        [(b, 1.0)],
        [(c, 2.0)],
        [(a, 0.3), (b, 0.4), (d, 1.0)],
        [],
        [],
    ]


@pytest.mark.parametrize("memory", [PLENTY, NOTHING], ids=["stacked", "set by set"])
def test_each_row_is_what_diffusers_predicts_for_it_alone(
    unet: torch.nn.Module, files: list[Path], memory: int
) -> None:
    rows = LoraRows(unet, memory)
    weights = {path: loaded(path, rows) for path in files}
    asked = mixed(files)
    sets: list[RowSet] = [tuple((weights[path], s) for path, s in row) for row in asked]
    base = predict(unet, 8)
    with rows.carrying(sets):
        together = predict(unet, 8)
    assert (rows.bytes > 0) == (memory > 0), "stacks are used where there is room, and only there"
    for number, row in enumerate(asked):
        if not row:
            assert relative(together[number], base[number]) < CLOSE
            continue
        reference = with_loras([(path, scale, 0.0) for path, scale in row])
        for place, (path, _) in enumerate(row):
            covered = lora_modules(reference.unet, f"a{place}")
            assert covered == len(weights[path].layers), "diffusers itself left layers out"
        wanted = predict(reference.unet, 8, number)
        assert relative(together[number], wanted[0]) < CLOSE
        assert relative(together[number], base[number]) > 1e-3, "the adapter hardly acts"


def test_nothing_is_left_behind(unet: torch.nn.Module, files: list[Path]) -> None:
    rows = LoraRows(unet, PLENTY)
    before = predict(unet, 2)
    state = {key: value.clone() for key, value in unet.state_dict().items()}
    weights = loaded(files[1], rows)
    with rows.carrying([((weights, 1.0),), ((weights, -2.0),)]):
        assert any(module._forward_hooks for module in unet.modules())
        predict(unet, 2)
    with pytest.raises(RuntimeError, match="out of memory"), rows.carrying([((weights, 1.0),)]):
        raise RuntimeError("out of memory")
    assert not any(module._forward_hooks for module in unet.modules())
    assert all(torch.equal(state[key], value) for key, value in unet.state_dict().items())
    assert torch.equal(before, predict(unet, 2))


def test_a_pass_without_adapters_has_no_hooks(unet: torch.nn.Module) -> None:
    with LoraRows(unet, PLENTY).carrying([(), (), ()]):
        assert not any(module._forward_hooks for module in unet.modules())


def test_stacks_change_only_with_the_composition(unet: torch.nn.Module, files: list[Path]) -> None:
    rows = LoraRows(unet, PLENTY)
    sets: list[RowSet] = [((loaded(path, rows), 1.0),) for path in files]

    def stacks() -> set[int]:
        with rows.carrying(sets):
            predict(unet, len(sets))
        found = [hook for plan in rows._plans.values() for _, hook in plan.hooks]
        return {id(hook) for hook in found}

    first = stacks()
    assert stacks() == first
    sets.reverse()
    assert not stacks() <= first
    rows.forget(sets[0][0][0].key)
    assert rows.bytes == 0


@pytest.fixture(scope="module")
def three(unet: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> list[RowSet]:
    """Rows that are stacked: two sets would each get a product of their own."""
    rows, folder = LoraRows(unet, PLENTY), tmp_path_factory.mktemp("equal")
    paths = [lora_file(folder / f"{n}.safetensors", seed=n) for n in range(3)]
    return [((loaded(path, rows), 1.0),) for path in paths]


def carried(rows: LoraRows, sets: Sequence[RowSet], unet: torch.nn.Module) -> torch.Tensor:
    """What a pass with these rows predicts."""
    with rows.carrying(sets):
        return predict(unet, len(sets))


def test_stacks_fill_their_memory_and_never_more(
    unet: torch.nn.Module, three: list[RowSet]
) -> None:
    free = LoraRows(unet, PLENTY)
    wanted = carried(free, three, unet)
    whole = free.bytes
    for memory in (whole, whole - 1, whole // 2, whole // 10):
        rows = LoraRows(unet, memory)
        assert relative(carried(rows, three, unet), wanted) < CLOSE
        assert (rows.bytes == whole) == (memory == whole)
        assert 0 < rows.bytes <= memory


def test_older_stacks_stay_while_they_take_half_of_the_memory(
    unet: torch.nn.Module, three: list[RowSet]
) -> None:
    free = LoraRows(unet, PLENTY)
    carried(free, three, unet)
    whole = free.bytes
    for memory, kept in ((2 * whole, 2), (2 * whole - 1, 1)):
        rows = LoraRows(unet, memory)
        carried(rows, three, unet)
        carried(rows, three[::-1], unet)
        assert rows.bytes == kept * whole


def test_older_and_newer_stacks_share_the_memory(
    unet: torch.nn.Module, three: list[RowSet]
) -> None:
    free = LoraRows(unet, PLENTY)
    carried(free, three, unet)
    whole, more = free.bytes, [*three, *three[::-1]]
    rows = LoraRows(unet, 2 * whole)
    wanted = carried(LoraRows(unet, NOTHING), more, unet)
    carried(rows, three, unet)
    assert relative(carried(rows, more, unet), wanted) < CLOSE
    assert whole < rows.bytes <= 2 * whole, "the newer ones got what was left"


def test_the_stacks_of_four_compositions_are_kept(
    unet: torch.nn.Module, three: list[RowSet]
) -> None:
    a, b, c = three
    compositions = [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b]]
    rows = LoraRows(unet, PLENTY)
    for sets in (*compositions[:4], compositions[0]):
        carried(rows, sets, unet)
    four = rows.bytes
    carried(rows, compositions[4], unet)
    assert rows.bytes == four, "one left"

    def hooks() -> set[int]:
        return {id(hook) for plan in rows._plans.values() for _, hook in plan.hooks}

    before = hooks()
    carried(rows, compositions[0], unet)
    assert hooks() == before, "not the one that was used lately"


def test_rank_1_to_128_and_alpha_apart_from_rank(unet: torch.nn.Module, tmp_path: Path) -> None:
    rows = LoraRows(unet, PLENTY)
    every = ("peft", "diffusers", "kohya")
    for rank, alpha, layouts in ((1, 2.0, every), (2, 16.0, every[:1]), (128, 64.0, every)):
        for layout in layouts:
            path = tmp_path / f"{layout}-{rank}.safetensors"
            lora_file(path, rank=rank, alpha=alpha, layout=layout, seed=rank, size=0.3 / rank)
            with rows.carrying([((loaded(path, rows), 1.0),)]):
                found = predict(unet, 1)
            wanted = predict(with_loras([(path, 1.0, 1.0)]).unet, 1)
            assert relative(found, wanted) < CLOSE, (rank, layout)
            assert relative(found, predict(unet, 1)) > 1e-4, (rank, layout)


def test_a_rank_stabilised_alpha_is_over_the_root_of_the_rank(
    unet: torch.nn.Module, tmp_path: Path
) -> None:
    """rsLoRA, Kalajdzievski 2023, arXiv 2312.03732: at rank 16 four times as strong."""
    rows = LoraRows(unet, PLENTY)
    found = []
    for rslora in (True, False):
        path = tmp_path / f"{rslora}.safetensors"
        lora_file(path, rank=16, alpha=4.0, seed=3, size=0.05, rslora=rslora)
        with rows.carrying([((loaded(path, rows), 1.0),)]):
            found.append(predict(unet, 1))
        assert relative(found[-1], predict(with_loras([(path, 1.0, 1.0)]).unet, 1)) < CLOSE
    assert relative(found[0], found[1]) > 1e-3, "it makes a difference here"


def test_a_middle_of_locon_is_part_of_the_way_down() -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(6, 10, 3, stride=2, padding=1)
    down, mid, up = torch.randn(4, 6, 1, 1), torch.randn(4, 4, 3, 3), torch.randn(10, 4, 1, 1)
    merged = torch.einsum("abhw,bi->aihw", mid, down.flatten(1))
    layer = fitted(conv, merged, up)
    assert layer is not None
    x = torch.randn(3, 6, 9, 9)
    wanted = conv(x) + 0.5 * torch.nn.functional.conv2d(
        torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, down), mid, stride=2, padding=1),
        up,
    )
    tree = torch.nn.Sequential(conv)
    rows = LoraRows(tree, PLENTY)
    with rows.carrying([((PartWeights("a", {"0": layer}), 0.5),)] * 3), torch.no_grad():
        assert relative(tree(x), wanted) < CLOSE


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("kernel", [1, 3])
@torch.no_grad()
def test_convolutions_in_either_layout(layout: torch.memory_format, kernel: int) -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(8, 12, kernel, padding=kernel // 2)
    tree = torch.nn.Sequential(conv).to(memory_format=layout)
    x = torch.randn(6, 8, 5, 5).contiguous(memory_format=layout)
    layers = []
    for _ in range(5):
        layer = fitted(conv, torch.randn(3, 8, kernel, kernel), torch.randn(12, 3, 1, 1))
        assert layer is not None
        layers.append(layer)
    sets: list[RowSet] = [((PartWeights(str(n), {"0": one}), 0.7),) for n, one in enumerate(layers)]
    for order in ([*sets, ()], [sets[0], (), *sets[1:]]):  # the second with a gap
        wanted = torch.cat([_alone(conv, x[n : n + 1], row) for n, row in enumerate(order)])
        for memory in (PLENTY, NOTHING):
            with LoraRows(tree, memory).carrying(order):
                assert relative(tree(x), wanted) < CLOSE


def _alone(conv: torch.nn.Conv2d, x: torch.Tensor, row: RowSet) -> torch.Tensor:
    output = conv(x)
    for weights, strength in row:
        layer = weights.layers["0"]
        down = layer.down.reshape(layer.rank, 8, *conv.kernel_size)
        inner = torch.nn.functional.conv2d(x, down, padding=conv.padding)
        output = output + strength * torch.nn.functional.conv2d(inner, layer.up[..., None, None])
    return output


def test_tensors_that_do_not_fit_a_module_are_left_out() -> None:
    linear, conv = torch.nn.Linear(4, 6), torch.nn.Conv2d(4, 6, 3)
    assert fitted(linear, torch.zeros(2, 5), torch.zeros(6, 2)) is None
    assert fitted(linear, torch.zeros(2, 4), torch.zeros(5, 2)) is None
    assert fitted(conv, torch.zeros(2, 4, 1, 1), torch.zeros(6, 2, 1, 1)) is None
    assert fitted(torch.nn.LayerNorm(4), torch.zeros(2, 4), torch.zeros(4, 2)) is None
    found = fitted(linear, torch.zeros(2, 4, 1, 1), torch.zeros(6, 2, 1, 1))
    assert isinstance(found, LayerWeights)


def test_a_text_encoder_carries_them_too(tmp_path: Path) -> None:
    encoder = tiny_models.sd1().text_encoder
    path = lora_file(tmp_path / "t.safetensors", targets=ATTENTION, text=TEXT, rank=3, alpha=7.0)
    rows = LoraRows(encoder, PLENTY)
    found = read_weights(path, "t", "t", {"text_encoder": rows.modules}, CPU, torch.float32)
    ids = torch.arange(77)[None]
    with rows.carrying([((found["text_encoder"], -0.7),)]), torch.no_grad():
        ours = encoder(ids)[0]
    with torch.no_grad():
        wanted = with_loras([(path, 1.0, -0.7)]).text_encoder(ids)[0]
        assert relative(ours, wanted) < CLOSE
        assert relative(ours, encoder(ids)[0]) > 1e-3
