"""Write sdgen/assets/modules.json: modules and shapes of Stable Diffusion 1.x, 2.x and XL.

    python -m tools.adapters.module_tables

The models are built from their published settings on torch's meta device: no weights, no network.
"""

import itertools
import json
from collections import defaultdict
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sdgen.adapters.modules import TABLES

CHANGEABLE = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.LayerNorm, torch.nn.GroupNorm)
CROSS_ATTENTION = (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D")
SD: dict[str, Any] = {"sample_size": 64, "block_out_channels": (320, 640, 1280, 1280)}
UNETS: dict[str, dict[str, Any]] = {  # of the unet/config.json files on the Hub
    "sd1": SD | {"cross_attention_dim": 768, "attention_head_dim": 8},
    "sd2": SD
    | {
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "sdxl": {
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
OPEN_CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23}
OPEN_CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32}


def family_models(family: str) -> dict[str, torch.nn.Module]:
    """The parts of a family that adapters touch, without weights."""
    with torch.device("meta"):
        parts: dict[str, torch.nn.Module] = {"unet": UNet2DConditionModel(**UNETS[family])}
        clip = OPEN_CLIP_H if family == "sd2" else CLIP_L
        heads = {"num_attention_heads": clip["hidden_size"] // 64}
        parts["text_encoder"] = CLIPTextModel(CLIPTextConfig(**clip, **heads))
        if family == "sdxl":
            big = CLIPTextConfig(**OPEN_CLIP_G, num_attention_heads=20, projection_dim=1280)
            parts["text_encoder_2"] = CLIPTextModelWithProjection(big)
    return parts


def shapes(parts: dict[str, torch.nn.Module]) -> dict[str, tuple[int, ...]]:
    """Every Linear, Conv2d and norm with its part before its name, and its weight's shape."""
    return {
        f"{part}.{name.removeprefix('text_model.')}": tuple(module.weight.shape)
        for part, model in parts.items()
        for name, module in model.named_modules()
        if isinstance(module, CHANGEABLE)
    }


def fold(names: set[str]) -> list[str]:
    """Short forms of names: numbers at one place that may stand in for each other in braces."""
    split = {tuple(name.split(".")) for name in names}
    for place in range(max(len(parts) for parts in split)):
        groups: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for parts in split:
            if place < len(parts) and parts[place].isdigit():
                groups[(*parts[:place], "{}", *parts[place + 1 :])].add(parts[place])
            else:
                groups[parts].add("")
        split = {
            tuple(_braces(numbers) if part == "{}" else part for part in parts)
            for parts, numbers in groups.items()
        }
    return sorted(".".join(parts) for parts in split)


def _braces(numbers: set[str]) -> str:
    values = sorted(int(number) for number in numbers)
    if len(values) == 1:
        return str(values[0])
    pieces = []
    for _, run in itertools.groupby(enumerate(values), lambda pair: pair[1] - pair[0]):
        row = [value for _, value in run]
        pieces.append(f"{row[0]}-{row[-1]}" if len(row) > 1 else str(row[0]))
    return "{" + ",".join(pieces) + "}"


def main() -> None:
    """Write the table."""
    tables: dict[str, list[tuple[tuple[int, ...], list[str]]]] = {}
    for family in UNETS:
        by_shape: dict[tuple[int, ...], set[str]] = defaultdict(set)
        for name, shape in shapes(family_models(family)).items():
            by_shape[shape].add(name)
        tables[family] = [(shape, fold(names)) for shape, names in sorted(by_shape.items())]
    lines = []
    for family, rows in tables.items():
        body = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        lines.append(f'"{family}": [\n{body}\n ]')
    TABLES.write_text("{" + ",\n ".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
