"""Models with all that tells what they are, and no weights that could draw."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

UNET = "model.diffusion_model.input_blocks.0.0.weight"
SD1 = {UNET: (8, 4, 3, 3), "first_stage_model.a": (1,), "cond_stage_model.transformer.a": (1,)}
SD2 = {UNET: (8, 4, 3, 3), "first_stage_model.a": (1,), "cond_stage_model.model.a": (1,)}
SDXL = {
    UNET: (8, 4, 3, 3),
    "first_stage_model.a": (1,),
    "conditioner.embedders.0.a": (1,),
    "conditioner.embedders.1.a": (1,),
}


def write_tensors(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    metadata: Mapping[str, str] | None = None,
    values: Mapping[str, Sequence[float]] | None = None,
    dtype: str = "F16",
) -> Path:
    """A safetensors file of zeros of two bytes, written by hand; `values` are further tensors, of
    float32. dtype: what the header calls the zeros."""
    header: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    for name, shape in shapes.items():
        count = 1
        for side in shape:
            count *= side
        begin, end = end, end + 2 * count
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    data = bytes(end)
    for name, numbers in (values or {}).items():
        begin = len(data)
        data += struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {
            "dtype": "F32", "shape": [len(numbers)], "data_offsets": [begin, len(data)],
        }  # fmt: skip
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def write_folder(
    folder: Path,
    pipeline: object = "StableDiffusionPipeline",
    scheduler: str = "PNDMScheduler",
    unet: Mapping[str, object] | None = None,
    **more: object,
) -> Path:
    """Just the settings of a diffusers folder."""
    index = {
        "_class_name": pipeline,
        "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", scheduler],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
    }
    (folder / "unet").mkdir(parents=True)
    (folder / "vae").mkdir()
    (folder / "model_index.json").write_text(json.dumps(index | more))
    (folder / "unet" / "config.json").write_text(json.dumps(unet or {"sample_size": 64}))
    (folder / "vae" / "config.json").write_text(json.dumps({"block_out_channels": [8, 8, 16, 16]}))
    return folder
