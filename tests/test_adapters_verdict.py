"""What the doctor says about real layouts, and the verdict for a model."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdgen.adapters import inspect, verdict
from sdgen.adapters.modules import FAMILIES, TABLES, family_modules, family_of, model_modules
from sdgen.errors import AdapterRefused
from sdgen.models import DEFAULT_MODEL, FileSource, ModelSpec, find_model
from tests import adapter_files
from tests.adapter_files import (
    ALL_LINEAR,
    ATTENTION,
    CONVOLUTIONS,
    Pair,
    Pairs,
    family_pairs,
    pairs,
)
from tests.tiny_models import saved, sd1
from tests.tiny_sdxl import checkpoint, sdxl
from tools.adapters.module_tables import family_models, shapes

MODELS = {"sd1": "sd15", "sd2": "sd-turbo", "sdxl": "sdxl"}
TITLES = {"sd1": "a Stable Diffusion 1.x", "sd2": "a Stable Diffusion 2.x", "sdxl": "an SDXL"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tables_are_what_diffusers_and_transformers_build(family: str) -> None:
    assert family_modules(family) == shapes(family_models(family))  # type: ignore[arg-type]


def test_the_tables_are_small() -> None:
    assert TABLES.stat().st_size < 40_000


KOHYA, PEFT = adapter_files.kohya, adapter_files.peft


WRITERS: list[tuple[str, Callable[..., Path]]] = [
    ("sd1", KOHYA),
    ("sd1", PEFT),
    ("sd1", partial(PEFT, text_model=True)),
    ("sd2", KOHYA),
    ("sd2", PEFT),
    ("sdxl", partial(KOHYA, sdxl=True)),
    ("sdxl", PEFT),
    ("sdxl", partial(KOHYA, sdxl=True, ldm=True)),
]


@pytest.mark.parametrize(
    ("family", "writer", "has"),
    [
        (family, writer, has)
        for family, writer in WRITERS
        for has in ("", "attn1", "attn2", "text_encoder")
        if (family, has) != ("sd2", "attn1")  # it has the very shapes of that of 1.x
    ],
)
def test_shapes_tell_the_family(
    family: str, writer: Callable[..., Path], has: str, tmp_path: Path
) -> None:
    if family == "sdxl":
        has = has.replace("text_encoder", "text_encoder_2")  # the first alone is that of 1.x
    report = inspect(writer(family_pairs(family, has=has), tmp_path / "x.safetensors"))
    assert report.family == family
    for other, model in MODELS.items():
        found = verdict(report, find_model(model))
        if other == family:
            assert (found.level, found.share, found.left_out) == ("fits", 1.0, ())
        elif has in ("", "attn2"):
            assert found.level == "refused"
            assert found.share < 0.95
            title = find_model(model).title
            assert found.sentence == f"This is {TITLES[family]} LoRA; the model is {title}."


def test_an_sdxl_lora_without_shared_shapes_on_sd15_is_refused_by_name(tmp_path: Path) -> None:
    report = inspect(KOHYA(family_pairs("sdxl", has="attn2.to_k"), tmp_path / "x", sdxl=True))
    found = verdict(report, find_model("sd15"))
    assert found.sentence == "This is an SDXL LoRA; the model is Stable Diffusion 1.5."
    assert 0 < len(found.left_out) <= 20
    assert {why for _, why in found.left_out} == {
        "not in this model",
        "other shape: 2048 wide, this model has 768",
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ModelSpec]:
    pipe = sd1()
    return pipe, find_model(str(saved(pipe, tmp_path_factory.mktemp("tiny") / "model")))


def test_the_modules_of_a_folder_are_those_of_its_files(tiny: tuple[Any, ModelSpec]) -> None:
    pipe, spec = tiny
    expected = shapes(adapter_files.parts(pipe))
    assert model_modules(spec) == expected


def test_a_part_that_does_not_apply_is_named(tiny: tuple[Any, ModelSpec], tmp_path: Path) -> None:
    pipe, spec = tiny
    drawn = pairs(pipe, ALL_LINEAR)
    name = next(iter(drawn))
    wide = replace(drawn[name], down=torch.ones(4, 99))
    pair = replace(drawn[name], up=drawn[name].up.clone(), down=drawn[name].down.clone())
    foreign = {name.replace("down_blocks.1", "down_blocks.7"): pair}
    path = PEFT({**drawn, name: wide, **foreign}, tmp_path / "x.safetensors")
    found = verdict(inspect(path), spec)
    keys = 2 * (len(drawn) + 1)
    assert found.share == pytest.approx((keys - 4) / keys)
    assert dict(found.left_out) == {
        name: f"other shape: 99 wide, this model has {drawn[name].down.shape[1]}",
        next(iter(foreign)): "not in this model",
    }
    assert found.level == ("fits" if found.share >= 0.95 else "warns")


def test_under_95_percent_warns(tiny: tuple[Any, ModelSpec], tmp_path: Path) -> None:
    pipe, spec = tiny
    drawn = pairs(pipe, ATTENTION)
    some = list(drawn)[: len(drawn) // 4]
    mixed = {name.replace("layers.", "layers.1").replace("_blocks.", "_blocks.1")
             if name in some else name: pair for name, pair in drawn.items()}  # fmt: skip
    found = verdict(inspect(PEFT(mixed, tmp_path / "x.safetensors")), spec)
    assert found.level == "warns"
    assert found.share == pytest.approx(1 - len(some) / len(drawn))
    assert f"Only {100 * found.share:.0f} %" in found.sentence
    assert "not in this model" in found.sentence


def test_convolutions_of_1x1_and_3x3_fit(tiny: tuple[Any, ModelSpec], tmp_path: Path) -> None:
    pipe, spec = tiny
    drawn = pairs(pipe, f"{ATTENTION}|{CONVOLUTIONS}|proj_in$")
    report = inspect(KOHYA(drawn, tmp_path / "x.safetensors"))
    assert report.kind == "locon"
    assert report.parts.convolutions > 0
    assert verdict(report, spec).share == 1.0


def test_a_convolution_of_another_size_does_not_fit(
    tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    pipe, spec = tiny
    drawn = pairs(pipe, r"resnets\.0\.conv1$")
    wrong = {n: replace(pair, down=pair.down[..., :1, :1]) for n, pair in drawn.items()}
    assert verdict(inspect(PEFT(wrong, tmp_path / "x.safetensors")), spec).level == "refused"


def with_middle(drawn: Pairs) -> dict[str, torch.Tensor]:
    """LoCon as LyCORIS writes it: the 3x3 in the middle, both halves 1x1."""
    tensors = {}
    for name, pair in drawn.items():
        stem = f"lora_unet_{name.removeprefix('unet.').replace('.', '_')}"
        rank, into, *kernel = pair.down.shape
        tensors[f"{stem}.lora_down.weight"] = torch.ones(rank, into, 1, 1)
        tensors[f"{stem}.lora_mid.weight"] = torch.ones(rank, rank, *kernel)
        tensors[f"{stem}.lora_up.weight"] = pair.up
        tensors[f"{stem}.alpha"] = torch.tensor(1.0)
    return tensors


def test_a_middle_of_locon_fits(tiny: tuple[Any, ModelSpec], tmp_path: Path) -> None:
    pipe, spec = tiny
    save_file(with_middle(pairs(pipe, r"resnets\.\d\.conv\d$")), tmp_path / "x.safetensors")
    report = inspect(tmp_path / "x.safetensors")
    assert (report.kind, report.ranks, report.alphas) == ("locon", (4,), (1.0,))
    assert verdict(report, spec).share == 1.0


STEM = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
TARGET = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
PLAIN = {f"{STEM}.lora_down.weight": torch.ones(2, 32), f"{STEM}.lora_up.weight": torch.ones(32, 2)}
PEFT_PLAIN = {
    f"unet.{TARGET}.lora_A.weight": torch.ones(2, 32),
    f"unet.{TARGET}.lora_B.weight": torch.ones(32, 2),
}
MIXED: dict[str, dict[str, torch.Tensor]] = {
    "dora": {**PLAIN, f"{STEM}.dora_scale": torch.ones(32, 1)},
    "dora-inputs": {**PLAIN, f"{STEM}.dora_scale": torch.ones(1, 32)},
    "dora-peft": {**PEFT_PLAIN, f"unet.{TARGET}.lora_magnitude_vector": torch.ones(32)},
    "dora-peft-named": {
        **PEFT_PLAIN, f"unet.{TARGET}.lora_magnitude_vector.my-style.weight": torch.ones(32)
    },
    "dora-ai-toolkit": {**PLAIN, f"{STEM}.magnitude": torch.ones(32)},
    "loha": {
        f"{STEM}.hada_w{n}_{half}": torch.ones(*shape)
        for n in (1, 2)
        for half, shape in (("a", (32, 2)), ("b", (2, 32)))
    },
    "lokr": {f"{STEM}.lokr_w1": torch.ones(4, 4), f"{STEM}.lokr_w2": torch.ones(8, 8)},
    "full": {f"{STEM}.diff": torch.ones(32, 32)},
    "full-norm": {f"{STEM[:-len('attn1_to_q')]}norm1.w_norm": torch.ones(32)},
    "lora-bias": {**PEFT_PLAIN, f"unet.{TARGET}.lora_B.bias": torch.ones(32)},
    "lora-diff-b": {**PLAIN, f"{STEM}.diff_b": torch.ones(32)},
}  # fmt: skip
KINDS: dict[str, dict[str, torch.Tensor]] = {
    "oft": {f"{STEM}.oft_blocks": torch.ones(4, 8, 8), f"{STEM}.alpha": torch.tensor(1.0)},
    "oft-butterfly": {f"{STEM}.boft_R.default": torch.ones(4, 8, 8)},
    "glora": {f"{STEM}.{name}.weight": torch.ones(32, 32) for name in ("a1", "a2", "b1", "b2")},
    "ia3": {f"{STEM}.on_input": torch.tensor([True])},
}


@pytest.mark.parametrize("kind", MIXED)
def test_what_is_mixed_is_named_and_fits(
    kind: str, tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    save_file(MIXED[kind], path)
    report = inspect(path)
    assert report.kind == kind.partition("-")[0]
    found = verdict(report, tiny[1])
    assert (found.level, found.share) == ("fits", 1.0), found.left_out


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_mixed_is_named_and_refused(
    kind: str, tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    save_file(KINDS[kind], path)
    report = inspect(path)
    assert report.kind == kind.partition("-")[0]
    found = verdict(report, tiny[1])
    assert found.level == "refused"
    assert {"oft": "OFT", "glora": "GLoRA", "ia3": "(IA)^3"}[report.kind] in found.sentence


def test_a_plain_lora_of_the_same_module_is_not_refused(
    tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    save_file(PLAIN, tmp_path / "x.safetensors")
    assert verdict(inspect(tmp_path / "x.safetensors"), tiny[1]).level == "fits"


def test_half_a_pair_does_not_count(tiny: tuple[Any, ModelSpec], tmp_path: Path) -> None:
    path = KOHYA(pairs(tiny[0], only=["unet"]), tmp_path / "x.safetensors")
    tensors = load_file(path)
    del tensors[f"{STEM}.lora_up.weight"]
    save_file(tensors, path)
    found = verdict(inspect(path), tiny[1])
    assert found.share == pytest.approx(1 - 2 / len(tensors))
    assert {name for name, _ in found.left_out} == {
        f"{STEM}.lora_down.weight", f"{STEM}.alpha"
    }  # fmt: skip


def test_alpha_is_read_and_never_assumed_silently(
    tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    drawn = pairs(tiny[0], rank=8, alpha=3.0)
    path = tmp_path / "x.safetensors"
    for writer in (KOHYA, PEFT):
        report = inspect(writer(drawn, path))
        assert (report.ranks, report.alphas, report.alpha_is_told) == ((8,), (3.0,), True)
    report = inspect(PEFT(drawn, path, told=False))
    assert (report.alphas, report.alpha_is_told) == ((8.0,), False)
    tensors = load_file(KOHYA(drawn, path))
    del tensors[next(key for key in tensors if key.endswith(".alpha"))]
    save_file(tensors, path)
    report = inspect(path)
    assert (report.alphas, report.alpha_is_told) == ((3.0, 8.0), False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.float64])
def test_alpha_of_any_type_is_read(dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({**PLAIN, f"{STEM}.alpha": torch.tensor(3).to(dtype)}, path)
    assert inspect(path).alphas == (3.0,)


def test_the_parts_are_counted(tiny: tuple[Any, ModelSpec], tmp_path: Path) -> None:
    drawn = pairs(tiny[0], f"{ALL_LINEAR}|{CONVOLUTIONS}")
    for writer in (KOHYA, PEFT, partial(KOHYA, ldm=True)):
        parts = inspect(writer(drawn, tmp_path / "x.safetensors")).parts
        assert sum(vars(parts).values()) == len(drawn)
        assert parts.attention == sum(".attn" in name for name in drawn)
        assert parts.feed_forward == sum(".ff.net" in name for name in drawn)
        assert parts.text_encoder == sum(name.startswith("text") for name in drawn)
        convolutions = ("conv", "conv1", "conv2", "conv_shortcut", "conv_in", "conv_out")
        assert parts.convolutions == sum(n.rpartition(".")[2] in convolutions for n in drawn)


def test_a_lora_of_another_kind_of_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    stem = "transformer.single_transformer_blocks.0.attn.to_q"
    save_file(
        {f"{stem}.lora_A.weight": torch.ones(2, 8), f"{stem}.lora_B.weight": torch.ones(8, 2)}, path
    )
    report = inspect(path)
    assert (report.family, report.base) == ("other", "Flux")
    found = verdict(report, find_model("sd15"))
    assert found.level == "refused"
    assert found.sentence == (
        "This LoRA was made for Flux; nothing of it applies to Stable Diffusion 1.5."
    )


def test_a_lora_of_the_bundled_model_is_known_by_its_shapes(tmp_path: Path) -> None:
    modules = model_modules(find_model(DEFAULT_MODEL))
    assert modules is not None
    drawn = {
        name: Pair(torch.ones(2, shape[1]), torch.ones(shape[0], 2), 1.0)
        for name, shape in modules.items()
        if re.search(ATTENTION, name)
    }
    report = inspect(KOHYA(drawn, tmp_path / "x.safetensors"))
    assert (report.family, report.base) == ("other", "Picturebook")
    found = verdict(report, find_model("sd15"))
    assert found.sentence == (
        "This LoRA was made for Picturebook; nothing of it applies to Stable Diffusion 1.5."
    )


def test_a_lora_of_the_right_family_that_does_not_apply_says_why(tmp_path: Path) -> None:
    name = "unet.down_blocks.9.attentions.0.transformer_blocks.0.attn1.to_q"
    drawn = {name: Pair(torch.ones(2, 320), torch.ones(320, 2), 1.0)}
    report = replace(inspect(PEFT(drawn, tmp_path / "x.safetensors")), family="sd1")
    found = verdict(report, find_model("sd15"))
    assert found.level == "refused"
    assert found.sentence == (
        "Nothing of this LoRA applies to Stable Diffusion 1.5: not in this model."
    )


def test_a_model_nobody_knows_yet_leaves_it_open(tmp_path: Path) -> None:
    save_file(PLAIN, tmp_path / "x.safetensors")
    spec = find_model("someone/some-model", tmp_path / "hub")
    found = verdict(inspect(tmp_path / "x.safetensors"), spec, tmp_path / "hub")
    assert found.level == "warns"
    assert "once that model is on this machine" in found.sentence


def test_a_single_checkpoint_has_a_verdict_too(tmp_path: Path) -> None:
    path = checkpoint(sdxl(), tmp_path / "model.safetensors")
    spec = find_model(str(path))
    assert isinstance(spec.source, FileSource)
    assert family_of(spec) == "sdxl"
    report = inspect(PEFT(family_pairs("sdxl"), tmp_path / "x.safetensors"))
    assert verdict(report, spec).share == 1.0


def test_families_of_models() -> None:
    names = ("sd15", "lcm", "sd-turbo", "sdxl", "sdxl-turbo", "picturebook")
    found = [family_of(find_model(name)) for name in names]
    assert found == ["sd1", "sd1", "sd2", "sdxl", "sdxl", None]


def test_a_file_that_is_gone_is_refused(tiny: tuple[Any, ModelSpec], tmp_path: Path) -> None:
    save_file(PLAIN, tmp_path / "x.safetensors")
    report = inspect(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").unlink()
    with pytest.raises(AdapterRefused):
        verdict(report, tiny[1])
