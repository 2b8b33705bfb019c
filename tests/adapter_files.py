"""LoRA files in every layout of the field, made from a small model with random pairs.

`pairs(pipe, ...)` draws the weights; each writer puts them into a file as one program would.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
from safetensors.torch import save_file

from sdgen.adapters.modules import family_modules
from tests.tiny_sdxl import _unet_name

Pairs = dict[str, "Pair"]  # "unet.down_blocks.0...to_q" -> its pair

ATTENTION = r"\.(to_q|to_k|to_v|to_out\.0|q_proj|k_proj|v_proj|out_proj)$"
ALL_LINEAR = ATTENTION[:-2] + r"|proj|proj_in|proj_out|net\.2|fc1|fc2)$"
CONVOLUTIONS = r"(conv1|conv2|conv_shortcut|conv|conv_in|conv_out|time_emb_proj|linear_\d)$"


@dataclass(frozen=True)
class Pair:
    """The two halves for one module; the change is alpha / rank * up @ down."""

    down: torch.Tensor
    up: torch.Tensor
    alpha: float

    @property
    def rank(self) -> int:
        return self.down.shape[0]


def parts(pipe: Any) -> dict[str, torch.nn.Module]:
    """The parts of a pipeline that adapters touch."""
    names = ("unet", "text_encoder", "text_encoder_2")
    return {name: getattr(pipe, name) for name in names if hasattr(pipe, name)}


def pairs(
    pipe: Any,
    pattern: str = ATTENTION,
    rank: int = 4,
    alpha: float = 2.0,
    only: Collection[str] = ("unet", "text_encoder", "text_encoder_2"),
    seed: int = 0,
) -> Pairs:
    """A random pair for each module of the pipeline whose name matches."""
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for part, model in parts(pipe).items():
        for name, module in model.named_modules():
            if part not in only or not re.search(pattern, name):
                continue
            if not isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
                continue
            out, into, *kernel = module.weight.shape
            name = f"{part}.{name.removeprefix('text_model.')}"
            found[name] = Pair(
                torch.randn(rank, into, *kernel, generator=draw),
                torch.randn(out, rank, *(1 for _ in kernel), generator=draw),
                alpha,
            )
    return found


def family_pairs(family: str, *, has: str = "", rank: int = 2) -> Pairs:
    """A pair for each attention module of a real family whose name holds `has`."""
    found = {}
    for name, shape in family_modules(family).items():  # type: ignore[arg-type]
        if has in name and re.search(ATTENTION, name):
            out, into, *kernel = shape
            found[name] = Pair(torch.ones(rank, into, *kernel), torch.ones(out, rank), 1.0)
    return found


def kohya(pairs: Pairs, path: Path, *, sdxl: bool = False, ldm: bool = False) -> Path:
    """As sd-scripts writes it; ldm: UNet names of Stability's code, which it has for SDXL."""
    tensors: dict[str, torch.Tensor] = {}
    numbers = re.findall(r"down_blocks\.\d+\.(?:resnets|attentions)\.(\d+)", " ".join(pairs))
    per_block = max(map(int, numbers), default=0) + 2
    for name, pair in pairs.items():
        part, _, module = name.partition(".")
        if part == "unet" and ldm:
            module = _unet_name(f"{module}.weight", per_block).removesuffix(".weight")
        if part != "unet":
            module = f"text_model.{module}"
        start = {"unet": "lora_unet", "text_encoder_2": "lora_te2"}.get(
            part, "lora_te1" if sdxl else "lora_te"
        )
        stem = f"{start}_{module.replace('.', '_')}"
        tensors[f"{stem}.lora_down.weight"] = pair.down
        tensors[f"{stem}.lora_up.weight"] = pair.up
        tensors[f"{stem}.alpha"] = torch.tensor(pair.alpha)
    return _save(tensors, path)


def peft(pairs: Pairs, path: Path, *, text_model: bool = False, told: bool = True) -> Path:
    """`unet.<module>.lora_A.weight`, alpha in the metadata as diffusers puts it there.

    text_model: with the level that transformers 5.6 dropped. told: whether alpha is written."""
    tensors = {}
    for name, pair in pairs.items():
        stem = _with_text_model(name) if text_model else name
        tensors[f"{stem}.lora_A.weight"] = pair.down
        tensors[f"{stem}.lora_B.weight"] = pair.up
    return _save(tensors, path, adapter_metadata(pairs) if told else {})


def adapter_metadata(pairs: Pairs) -> dict[str, str]:
    """rank and alpha as one JSON string, like diffusers' save_lora_weights."""
    told: dict[str, Any] = {}
    for name, pair in pairs.items():
        part = name.partition(".")[0]
        told[f"{part}.r"], told[f"{part}.lora_alpha"] = pair.rank, pair.alpha
        told.setdefault(f"{part}.target_modules", []).append(name.partition(".")[2])
    return {"lora_adapter_metadata": json.dumps(told)}


def peft_model(pairs: Pairs, path: Path) -> Path:
    """As PEFT's own save_pretrained names the keys of a UNet."""
    tensors = {}
    for name, pair in pairs.items():
        stem = f"base_model.model.{name.removeprefix('unet.')}"
        tensors[f"{stem}.lora_A.weight"] = pair.down
        tensors[f"{stem}.lora_B.weight"] = pair.up
    return _save(tensors, path)


def diffusers(pairs: Pairs, path: Path) -> Path:
    """As diffusers' training scripts save it: their converter, their save function."""
    by_part: dict[str, dict[str, torch.Tensor]] = {}
    for name, pair in pairs.items():
        part, _, module = name.partition(".")
        tensors = by_part.setdefault(part, {})
        tensors[f"{module}.lora_A.weight"] = pair.down
        tensors[f"{module}.lora_B.weight"] = pair.up
    StableDiffusionPipeline.save_lora_weights(
        path.parent,
        unet_lora_layers=convert_state_dict_to_diffusers(by_part["unet"]),
        text_encoder_lora_layers=convert_state_dict_to_diffusers(by_part.get("text_encoder", {}))
        if "text_encoder" in by_part
        else None,
        weight_name=path.name,
    )
    return path


def diffusers_kohya(pairs: Pairs, path: Path) -> Path:
    """As diffusers' convert_state_dict_to_kohya writes it, which takes alpha for the rank."""
    tensors = {}
    for name, pair in pairs.items():
        tensors[f"{name}.lora_A.weight"] = pair.down
        tensors[f"{name}.lora_B.weight"] = pair.up
    return _save(convert_state_dict_to_kohya(tensors), path)


def diffusers_old(pairs: Pairs, path: Path, *, prefix: bool = True) -> Path:
    """Attention processors of 2023: `unet.….attn1.processor.to_q_lora.down.weight`."""
    tensors = {}
    old = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
    for name, pair in pairs.items():
        part, _, module = name.partition(".")
        stem, _, last = module.replace("to_out.0", "to_out").rpartition(".")
        if part == "unet":
            stem = f"{stem}.processor.{last}_lora"
        else:
            stem = f"text_model.{stem}.{old[last]}_lora"
        stem = f"{part}.{stem}" if prefix else stem
        tensors[f"{stem}.down.weight"] = pair.down
        tensors[f"{stem}.up.weight"] = pair.up
    return _save(tensors, path)


def _with_text_model(name: str) -> str:
    part, _, module = name.partition(".")
    return name if part == "unet" else f"{part}.text_model.{module}"


def _save(
    tensors: Mapping[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata or None)
    return path


Writer = Callable[[Pairs, Path], Path]
