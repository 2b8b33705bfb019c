"""LoRAs for models that sdgen mixes none into are called by the right name, in every spelling."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sdgen.adapters import inspect, verdict
from sdgen.adapters.other_models import other_model
from sdgen.models import find_model
from tests.adapter_files import family_pairs, kohya

A, B = ".lora_A.weight", ".lora_B.weight"


def keys(names: Iterable[str], width: int, out: int = 0) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name in names:
        found |= {f"{name}{A}": (4, width), f"{name}{B}": (out or width, 4)}
    return found


def blocks(count: int, *inner: str) -> list[str]:
    return [name.format(n) for n in range(count) for name in inner]


# title, width of the attention, module names in the code of diffusers or of the makers
LAYOUTS: dict[str, tuple[str, int, list[str]]] = {
    "flux-1": (
        "FLUX.1", 3072,
        [*blocks(19, "transformer_blocks.{}.attn.to_q", "transformer_blocks.{}.norm1.linear"),
         *blocks(38, "single_transformer_blocks.{}.attn.to_q")],
    ),
    "flux-1-makers": (
        "FLUX.1", 3072,
        [*blocks(19, "double_blocks.{}.img_attn.qkv", "double_blocks.{}.img_mod.lin"),
         *blocks(38, "single_blocks.{}.linear1", "single_blocks.{}.modulation.lin")],
    ),
    "flux-1-or-chroma": (
        "FLUX.1 or Chroma", 3072,
        [*blocks(19, "double_blocks.{}.img_attn.qkv"), *blocks(38, "single_blocks.{}.linear1")],
    ),
    "chroma": (
        "Chroma", 3072,
        [*blocks(19, "double_blocks.{}.img_attn.qkv"), "distilled_guidance_layer.in_proj",
         *blocks(38, "single_blocks.{}.linear1")],
    ),
    "klein-4b": (
        "FLUX.2 klein 4B", 3072,
        [*blocks(5, "transformer_blocks.{}.attn.to_q", "transformer_blocks.{}.ff.linear_in"),
         *blocks(20, "single_transformer_blocks.{}.attn.to_qkv_mlp_proj")],
    ),
    "klein-4b-makers": (
        "FLUX.2 klein 4B", 3072,
        [*blocks(5, "double_blocks.{}.img_attn.qkv"), *blocks(20, "single_blocks.{}.linear1")],
    ),
    "klein-9b": (
        "FLUX.2 klein 9B", 4096,
        [*blocks(8, "double_blocks.{}.img_attn.qkv"), *blocks(24, "single_blocks.{}.linear1")],
    ),
    "flux-2": (
        "FLUX.2", 6144,
        [*blocks(8, "double_blocks.{}.img_attn.qkv"), *blocks(48, "single_blocks.{}.linear1")],
    ),
    "flux-3": ("FLUX.3", 3072, blocks(28, "single_blocks.{}.q_proj", "single_blocks.{}.mlp_in")),
    "qwen-image": (
        "Qwen-Image", 3072,
        blocks(60, "transformer_blocks.{}.attn.to_q", "transformer_blocks.{}.attn.add_q_proj",
               "transformer_blocks.{}.img_mlp.net.2", "transformer_blocks.{}.img_mod.1"),
    ),
    "qwen-image-attention": (
        "Qwen-Image", 3072,
        blocks(60, "transformer_blocks.{}.attn.to_q", "transformer_blocks.{}.attn.add_k_proj"),
    ),
    "qwen-image-2.1": (
        "Qwen-Image-2.1", 4096,
        blocks(32, "transformer_blocks.{}.attn.to_q", "transformer_blocks.{}.img_mlp.gate_layer"),
    ),
    "sd3": (
        "Stable Diffusion 3", 1536,
        blocks(24, "transformer_blocks.{}.attn.to_q", "transformer_blocks.{}.attn.add_k_proj"),
    ),
    "sd3-makers": (
        "Stable Diffusion 3", 1536,
        blocks(24, "joint_blocks.{}.x_block.attn.qkv", "joint_blocks.{}.context_block.attn.qkv"),
    ),
    "sd35-large": (
        "Stable Diffusion 3.5 Large", 2432, blocks(38, "transformer_blocks.{}.attn.to_q")
    ),
    "z-image": (
        "Z-Image", 3840, blocks(30, "layers.{}.attention.to_q", "layers.{}.feed_forward.w1")
    ),
    "z-image-makers": ("Z-Image", 3840, blocks(30, "layers.{}.attention.qkv")),
    "lumina-2": (
        "Lumina 2", 2304, blocks(26, "layers.{}.attention.qkv", "layers.{}.feed_forward.w1")
    ),
    "wan": ("Wan", 5120, blocks(40, "blocks.{}.self_attn.q", "blocks.{}.ffn.0")),
    "wan-diffusers": ("Wan", 5120, blocks(40, "blocks.{}.attn1.to_q", "blocks.{}.ffn.net.0.proj")),
    "hunyuan-video": (
        "HunyuanVideo", 3072,
        [*blocks(20, "transformer_blocks.{}.attn.to_q"),
         *blocks(40, "single_transformer_blocks.{}.attn.to_q")],
    ),
    "hunyuan-video-makers": (
        "HunyuanVideo", 3072,
        [*blocks(20, "double_blocks.{}.img_attn_qkv"), *blocks(40, "single_blocks.{}.linear1")],
    ),
    "sana": ("Sana", 2240, blocks(20, "transformer_blocks.{}.attn1.to_q")),
    "krea-2": ("Krea 2", 4096, blocks(28, "blocks.{}.attn.wq", "blocks.{}.mlp.gate")),
    "anima": (
        "Anima", 2048, blocks(28, "blocks.{}.self_attn.q_proj", "blocks.{}.cross_attn.q_proj")
    ),
    "hidream": ("HiDream", 2560, blocks(16, "double_stream_blocks.{}.block.attn1.to_q")),
    "auraflow": ("AuraFlow", 3072, blocks(4, "joint_transformer_blocks.{}.attn.to_q")),
}  # fmt: skip
STARTS = ["transformer.", "diffusion_model.", "base_model.model.", ""]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_called_by_its_model(layout: str) -> None:
    title, width, names = LAYOUTS[layout]
    for start in STARTS:
        assert other_model(keys([start + name for name in names], width)) == title
    flat = keys([f"lora_unet_{name.replace('.', '_')}" for name in names], width)
    kohya_keys = {key.replace(A, ".lora_down.weight"): shape for key, shape in flat.items()}
    expected = {"hunyuan-video-makers": "HunyuanVideo"}.get(layout, title)
    assert other_model(kohya_keys) == expected


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_no_unet_is_called_otherwise(family: str, tmp_path: Path) -> None:
    for ldm in (False, True):
        path = kohya(
            family_pairs(family), tmp_path / "x.safetensors", sdxl=family == "sdxl", ldm=ldm
        )
        assert inspect(path).family == family


def test_a_foreign_lora_with_clip_s_text_encoder_is_refused_by_name(tmp_path: Path) -> None:
    """Trainers of FLUX.1 also train CLIP, which is that of Stable Diffusion 1."""
    title, width, names = LAYOUTS["flux-1-makers"]
    tensors = {
        key: torch.ones(shape)
        for key, shape in keys([f"diffusion_model.{name}" for name in names[:6]], width).items()
    }
    for name, pair in family_pairs("sd1", has="text_encoder").items():
        stem = f"lora_te1_text_model_{name.partition('.')[2].replace('.', '_')}"
        tensors |= {f"{stem}.lora_down.weight": pair.down, f"{stem}.lora_up.weight": pair.up}
    path = tmp_path / "x.safetensors"
    save_file(tensors, path)
    report = inspect(path)
    assert (report.family, report.base) == ("other", title)
    found = verdict(report, find_model("sd15"))
    assert found.level == "refused"
    assert found.sentence.startswith("This LoRA was made for FLUX.1")
