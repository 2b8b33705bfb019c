"""Every way of naming a LoRA's keys leads to the module, the halves and the alpha it should."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from lora.export.loading import load_lora_file
from sdgen.adapters.header import read_header
from sdgen.adapters.keys import FileLayer, layers
from tests import adapter_files
from tests.adapter_files import ALL_LINEAR, ATTENTION, CONVOLUTIONS, Pairs, Writer, pairs, parts
from tests.tiny_models import sd1, sd2
from tests.tiny_sdxl import sdxl

EVERYTHING = f"{ALL_LINEAR}|{CONVOLUTIONS}"


@cache
def model(kind: str) -> Any:
    return {"sd1": sd1, "sd2": sd2, "sdxl": sdxl}[kind]()


def modules(pipe: Any) -> dict[str, tuple[int, ...]]:
    return {
        f"{part}.{name.removeprefix('text_model.')}": tuple(module.weight.shape)
        for part, whole in parts(pipe).items()
        for name, module in whole.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }


def read(path: Path, pipe: Any) -> tuple[dict[str, FileLayer], list[str]]:
    found, left = layers(read_header(path), modules(pipe))
    by_name = {f"{layer.part}.{layer.module}": layer for layer in found}
    assert len(by_name) == len(found)
    return by_name, left


def same_as_drawn(path: Path, pipe: Any, drawn: Pairs, alpha: float | None = None) -> None:
    """Module by module the very tensors and the alpha that were written."""
    found, left = read(path, pipe)
    assert not left
    assert found.keys() == drawn.keys()
    with safe_open(path, framework="pt") as file:
        for name, layer in found.items():
            pair = drawn[name]
            assert torch.equal(file.get_tensor(layer.down), pair.down)
            assert torch.equal(file.get_tensor(layer.up), pair.up)
            assert layer.rank == pair.rank
            expected = (pair.alpha if alpha is None else alpha) / pair.rank
            assert layer.multiplier == pytest.approx(expected)


KOHYA = adapter_files.kohya
LAYOUTS: list[tuple[str, str, Writer, str]] = [
    ("sd1", "kohya", KOHYA, EVERYTHING),
    ("sd2", "kohya", KOHYA, EVERYTHING),
    ("sdxl", "kohya", partial(KOHYA, sdxl=True), EVERYTHING),
    ("sdxl", "kohya-ldm", partial(KOHYA, sdxl=True, ldm=True), EVERYTHING),
    ("sd1", "kohya-ldm", partial(KOHYA, ldm=True), EVERYTHING),
    ("sd1", "peft", adapter_files.peft, EVERYTHING),
    ("sd1", "peft-text-model", partial(adapter_files.peft, text_model=True), EVERYTHING),
    ("sdxl", "peft", adapter_files.peft, EVERYTHING),
    ("sdxl", "peft-text-model", partial(adapter_files.peft, text_model=True), EVERYTHING),
]


@pytest.mark.parametrize(
    ("kind", "writer", "pattern"), [(k, w, p) for k, _, w, p in LAYOUTS], ids=[
        f"{k}-{name}" for k, name, _, _ in LAYOUTS
    ],
)  # fmt: skip
def test_a_layout_is_read(kind: str, writer: Writer, pattern: str, tmp_path: Path) -> None:
    pipe = model(kind)
    drawn = pairs(pipe, pattern, rank=3, alpha=1.5)
    assert len(drawn) > 40
    same_as_drawn(writer(drawn, tmp_path / "x.safetensors"), pipe, drawn)


@pytest.mark.parametrize(
    "writer",
    [
        partial(adapter_files.peft, told=False),
        adapter_files.diffusers,
        adapter_files.diffusers_old,
        partial(adapter_files.diffusers_old, prefix=False),
        adapter_files.diffusers_kohya,
    ],
    ids=["peft", "diffusers", "diffusers-old", "attention-processors", "diffusers-kohya"],
)
def test_layouts_without_alpha_count_it_as_the_rank(writer: Writer, tmp_path: Path) -> None:
    pipe = model("sd1")
    drawn = pairs(pipe, ATTENTION)
    path = writer(drawn, tmp_path / "x.safetensors")
    same_as_drawn(path, pipe, drawn, alpha=4.0)


def test_a_unet_saved_by_peft_itself_is_read(tmp_path: Path) -> None:
    pipe = model("sd1")
    drawn = pairs(pipe, EVERYTHING, only=["unet"])
    path = adapter_files.peft_model(drawn, tmp_path / "adapter_model.safetensors")
    same_as_drawn(path, pipe, drawn, alpha=4.0)


def from_diffusers(pipe: Any, path: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor, float]]:
    """What diffusers loads from a file: module -> (down, up, what their product is scaled with)."""
    load_lora_file(pipe, path, "x")
    try:
        return {
            f"{part}.{name.removeprefix('text_model.')}": (
                module.lora_A["x"].weight.detach().clone(),
                module.lora_B["x"].weight.detach().clone(),
                float(module.scaling["x"]),
            )
            for part, whole in parts(pipe).items()
            for name, module in whole.named_modules()
            if "x" in getattr(module, "lora_A", {})
        }
    finally:
        pipe.unload_lora_weights()


WITH_DIFFUSERS: list[tuple[str, str, Writer, str]] = [
    *(layout for layout in LAYOUTS if layout[:2] in (("sd1", "kohya"), ("sd2", "kohya"))),
    # Of SDXL's size embedding diffusers 0.42 knows only the name in Stability's code.
    ("sdxl", "kohya", partial(KOHYA, sdxl=True), EVERYTHING.replace(r"|linear_\d", "")),
    ("sdxl", "kohya-ldm", partial(KOHYA, sdxl=True, ldm=True), EVERYTHING),
    ("sd1", "peft", adapter_files.peft, EVERYTHING),
    ("sd1", "peft-untold", partial(adapter_files.peft, told=False), EVERYTHING),
    ("sd1", "diffusers", adapter_files.diffusers, ATTENTION),
    ("sd1", "diffusers-old", adapter_files.diffusers_old, ATTENTION),
    ("sd1", "diffusers-kohya", adapter_files.diffusers_kohya, ATTENTION),
]


@pytest.mark.parametrize(
    ("kind", "writer", "pattern"), [(k, w, p) for k, _, w, p in WITH_DIFFUSERS], ids=[
        f"{k}-{name}" for k, name, _, _ in WITH_DIFFUSERS
    ],
)  # fmt: skip
def test_diffusers_reads_the_same(kind: str, writer: Writer, pattern: str, tmp_path: Path) -> None:
    pipe = model(kind)
    path = writer(pairs(pipe, pattern, rank=3, alpha=1.5), tmp_path / "x.safetensors")
    ours, left = read(path, pipe)
    theirs = from_diffusers(pipe, path)
    assert not left
    assert ours.keys() == theirs.keys()
    with safe_open(path, framework="pt") as file:
        for name, (down, up, scaling) in theirs.items():
            layer = ours[name]
            assert torch.equal(file.get_tensor(layer.down).flatten(), down.flatten())
            assert torch.equal(file.get_tensor(layer.up).flatten(), up.flatten())
            assert layer.multiplier == pytest.approx(scaling)
