"""Small LoRA files for the bundled model, written in milliseconds and without torch."""

import re
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from sdgen.adapters.modules import Modules, family_modules, model_modules
from sdgen.models import find_model

ATTENTION = re.compile(r"unet\..*\.to_[qv]$")
TEXT = re.compile(r"text_encoder\..*\.q_proj$")
RANK = 4


def modules_of(model: str = "picturebook") -> Modules:
    """The model's modules and the shapes of their weights."""
    found = model_modules(find_model(model))
    assert found is not None
    return found


def write_lora(
    path: Path,
    *,
    title: str = "",
    trigger: str = "",
    strength: float | None = None,
    text: bool = False,
    strange: float = 0.0,
    sdxl: bool = False,
    seed: int = 0,
    size: float = 0.02,
) -> Path:
    """A LoRA with random numbers; its path.

    text: with parts in the text encoder. strange: share of its modules that no model has. sdxl:
    made for that family. size: of its numbers.
    """
    modules = family_modules("sdxl") if sdxl else modules_of()
    names = [name for name in modules if ATTENTION.search(name)][:20]
    if text:
        names += [name for name in modules if TEXT.search(name)][:2]
    draw = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for place, name in enumerate(names):
        out, into = modules[name][:2]
        if place < strange * len(names):
            name = f"unet.down_blocks.9.attentions.{place}.transformer_blocks.0.attn1.to_q"
        tensors[f"{name}.lora_A.weight"] = draw.normal(0, size, (RANK, into)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = draw.normal(0, size, (out, RANK)).astype(np.float32)
    told = {"modelspec.title": title, "modelspec.trigger_phrase": trigger}
    if strength is not None:
        told["sdgen.strength"] = str(strength)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {name: value for name, value in told.items() if value})
    return path


def fill(data_dir: Path) -> None:
    """Four adapters in a data folder: two that fit, one that fits half, one for SDXL."""
    folder = data_dir / "adapters"
    write_lora(
        folder / "storm-hero.safetensors",
        title="Storm hero", trigger="storm hero, red cape", strength=0.8, text=True,
    )  # fmt: skip
    write_lora(folder / "watercolour.safetensors", title="Watercolour", trigger="watercolour")
    write_lora(folder / "half.safetensors", title="Half of another", strange=0.5, seed=2)
    write_lora(folder / "big.safetensors", title="Big XL look", sdxl=True, seed=3)
