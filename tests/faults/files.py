"""Small LoRA files without torch: enough for the doctor, each with a content of its own."""

import json
from array import array
from pathlib import Path

RANK, WIDTH = 64, 320
MODULES = [
    f"lora_unet_down_blocks_0_attentions_{block}_transformer_blocks_0_attn{attention}_to_{part}"
    for block in (0, 1)
    for attention in (1,)
    for part in ("q", "k", "v", "out_0")
]


def lora_file(path: Path, number: int) -> Path:
    """A LoRA of 1.3 MB, so that it is copied in more than one piece; `number` is in its weights."""
    header: dict[str, object] = {}
    size = 0
    for name in MODULES:
        for role, shape in (("lora_down", [RANK, WIDTH]), ("lora_up", [WIDTH, RANK])):
            bytes_ = RANK * WIDTH * 4
            header[f"{name}.{role}.weight"] = {
                "dtype": "F32",
                "shape": shape,
                "data_offsets": [size, size + bytes_],
            }
            size += bytes_
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    weights = array("f", [number / 1e6]) * (size // 4)
    path.write_bytes(len(text).to_bytes(8, "little") + text + weights.tobytes())
    return path
