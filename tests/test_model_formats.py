"""Formats of models: what a single file is, and which files of a folder make a whole model."""

import json
import struct
from pathlib import Path

import pytest

from sdgen.errors import ModelUnavailable
from sdgen.model_formats import (
    ModelIndex,
    checkpoint_kind,
    choose_weights,
    folder_variant,
    missing_parts,
    predicts_velocity,
    read_header,
)
from sdgen.models import FileSource, find_model
from sdgen.safetensors_header import read_whole_header
from tests.bare_models import SD1, SD2, SDXL, UNET, write_folder, write_tensors

# --- single files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensors", "family", "side"), [(SD1, "sd", 512), (SD2, "sd", 512), (SDXL, "whole", 1024)]
)
def test_a_checkpoint_tells_what_it_is(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], family: str, side: int
) -> None:
    path = write_tensors(tmp_path / "own model.safetensors", tensors)
    spec = find_model(str(path))
    assert (spec.family, spec.width, spec.height, spec.title) == (family, side, side, "own model")
    assert spec.source == FileSource(path)


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "model.bin", SDXL)
    assert checkpoint_kind(path) == "sdxl"
    for start in (b"PK\x03\x04", b"\x80\x02}q", b"\x80\x04\x95"):
        pickled = tmp_path / "evil.safetensors"
        pickled.write_bytes(start + b"x" * 100)
        with pytest.raises(ModelUnavailable, match="pickled"):
            find_model(str(pickled))


@pytest.mark.parametrize("suffix", [".ckpt", ".bin", ".pt"])
def test_a_pickled_checkpoint_is_refused_with_one_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"\x80\x02}q\x00" + b"x" * 1000)
    with pytest.raises(ModelUnavailable, match="pickled") as caught:
        find_model(str(path))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"lora_unet_down.lora_down.weight": (1,)}, "LoRA"),
        ({"unet.down.lora_A.weight": (1,)}, "LoRA"),
        (SD1 | {UNET: (8, 9, 3, 3)}, "needs a picture"),
        (SD1 | {UNET: (8, 8, 3, 3)}, "needs a picture"),
        ({UNET: (8, 4, 3, 3), "cond_stage_model.transformer.a": (1,)}, "no VAE"),
        ({UNET: (8, 4, 3, 3), "first_stage_model.a": (1,)}, "no text encoder"),
        (
            {UNET: (8, 4, 3, 3), "first_stage_model.a": (1,), "conditioner.embedders.0.a": (1,)},
            "refiner",
        ),
        ({"down_blocks.0.resnets.0.conv1.weight": (1,)}, "one part"),
        ({"first_stage_model.decoder.conv_in.weight": (1,)}, "one part"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (1,)}, "folder"),
    ],
)
def test_a_file_that_is_something_else_is_called_by_its_name(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], words: str
) -> None:
    with pytest.raises(ModelUnavailable, match=words):
        find_model(str(write_tensors(tmp_path / "x.safetensors", tensors)))


def test_every_truncation_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    whole = write_tensors(tmp_path / "x.safetensors", SD1).read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in (*range(0, 64), *range(64, len(whole), 61), len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(ModelUnavailable):
            read_header(cut)
    cut.write_bytes(whole + b"more")
    assert read_whole_header(cut).surplus == 4
    assert read_header(cut) == read_header(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"nonsense",
        b"{}",
        b'{"a": 1}',
        b'{"a": {"dtype": "F16", "shape": [1]}}',
        b'{"a": {"dtype": "F16", "shape": ["x"], "data_offsets": [0, 2]}}',
        b'{"a": {"dtype": "F16", "shape": [1], "data_offsets": [0]}}',
        b"[" * 5000,
    ],
)
def test_a_damaged_header_is_one_sentence(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelUnavailable):
        read_header(path)


def test_a_header_is_never_longer_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(ModelUnavailable, match="not a safetensors"):
        read_header(path)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(("spread", "velocity"), [(0.5, True), (0.01, False)])
def test_sd2_of_768_pixels_is_told_by_the_spread_of_a_bias(
    tmp_path: Path, dtype: str, spread: float, velocity: bool
) -> None:
    values = [spread, -spread] * 8
    if dtype == "BF16":
        data = b"".join(struct.pack("<f", value)[2:] for value in values)
    else:
        data = struct.pack(f"<{len(values)}{'f' if dtype == 'F32' else 'e'}", *values)
    key = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
    header = {key: {"dtype": dtype, "shape": [16], "data_offsets": [0, len(data)]}}
    header |= {
        name: {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 2]}
        for name, shape in SD2.items()
    }
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    assert predicts_velocity(path) is velocity
    assert find_model(str(path)).width == (768 if velocity else 512)


def test_settings_beside_a_checkpoint_tell_its_size(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "x.safetensors", SD1)
    write_folder(tmp_path / "x", unet={"sample_size": 32})
    assert find_model(str(path)).width == 256


# --- which files ----------------------------------------------------------------------------


def test_the_variant_is_chosen_and_plain_files_stand_in() -> None:
    both = ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"]
    assert choose_weights(both, "fp16") == ("diffusion_pytorch_model.fp16.safetensors",)
    assert choose_weights(both, None) == ("diffusion_pytorch_model.safetensors",)
    assert choose_weights(["model.safetensors"], "fp16") == ("model.safetensors",)
    assert choose_weights(["model.fp16.safetensors"], None) == ()
    assert choose_weights(["model.bin", "pytorch_model.bin", "x.safetensors"], None) == ()


@pytest.mark.parametrize(
    "pattern", ["model-{}-of-00002.safetensors", "model.fp16-{}-of-00002.safetensors"]
)
def test_shards_count_only_together(pattern: str) -> None:
    shards = tuple(pattern.format(number) for number in ("00001", "00002"))
    assert choose_weights(shards, "fp16") == shards
    assert choose_weights(shards[:1], "fp16") == ()


def test_a_model_is_loaded_in_one_variant() -> None:
    index = ModelIndex("P", {"unet": ("diffusers", "UNet"), "vae": ("diffusers", "AutoencoderKL")})
    plain, half = "model.safetensors", "model.fp16.safetensors"
    assert folder_variant({"unet": [plain, half], "vae": [plain]}, index, "fp16") == "fp16"
    assert folder_variant({"unet": [plain, half], "vae": [plain, half]}, index, None) is None
    assert folder_variant({"unet": [half], "vae": [half]}, index, None) == "fp16"


def test_what_is_missing_is_named() -> None:
    index = ModelIndex(
        "P",
        {
            "unet": ("diffusers", "UNet2DConditionModel"),
            "vae": ("diffusers", "AutoencoderKL"),
            "tokenizer": ("transformers", "CLIPTokenizer"),
            "scheduler": ("diffusers", "PNDMScheduler"),
            "text_encoder": ("transformers", "CLIPTextModel"),
            "feature_extractor": ("transformers", "CLIPImageProcessor"),
        },
    )
    shard = "model-{}-of-00002.safetensors"
    names = {
        "unet": ["config.json", "diffusion_pytorch_model.bin"],
        "vae": ["model.safetensors"],
        "text_encoder": ["config.json", shard.format("00001"), shard.format("00002")],
    }
    assert missing_parts(names, index) == (
        "unet (only pickled weights)",
        "vae (config.json)",
        "tokenizer (vocabulary)",
        "scheduler (scheduler_config.json)",
        "text_encoder (list of its shards)",
    )
