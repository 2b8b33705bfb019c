"""What a file is that somebody took for a model: called by its name, or known as what it is."""

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.checkpoint_kinds import checkpoint_kind
from sdgen.errors import ModelUnavailable
from sdgen.models import find_model
from sdgen.safetensors_header import read_whole_header, size_in_words
from tests.bare_models import SD1, SD2, SDXL, UNET, write_folder, write_tensors

U = "model.diffusion_model."
ATTENTION = f"{U}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
VAE = {"first_stage_model.a": (1,)}
Shapes = Mapping[str, tuple[int, ...]]


def refusal(path: Path) -> str:
    """The one sentence, or two, that a file is refused with."""
    with pytest.raises(ModelUnavailable) as caught:
        find_model(str(path))
    text = str(caught.value)
    assert path.name in text
    assert str(path.parent) not in text
    assert text.endswith(".")
    assert "\n" not in text
    return text


# --- no safetensors -------------------------------------------------------------------------

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER % (b"ab" * 32, 2_132_696_762), "is a Git LFS pointer of 2.1 GB, not the file"),
        (POINTER % (b"ab" * 32, 4_000_000), "is a Git LFS pointer of 4 MB, not the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the file"),
        (b"", "is empty"),
        (bytes(5), "nothing but zeros"),
        (bytes(5000), "nothing but zeros"),
        (b"<!DOCTYPE html><html><head><title>403</title>", "is a web page"),
        (b"\n  <html lang=en>", "is a web page"),
        (b"\xef\xbb\xbf<!doctype html>", "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
        (b'{"error": "Unauthorized", "message": "log in"}', "is a JSON text"),
        (b"[1, 2, 3, 4, 5, 6]", "is a JSON text"),
        (b"GGUF\x03\x00\x00\x00" + bytes(64), "is a GGUF file"),
        (b"\x80\x02}q\x00" + b"x" * 99, "is a pickled checkpoint"),
        (b"\x80\x05\x95" + b"x" * 99, "is a pickled checkpoint"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(64), "is a 7z archive"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(64), "is a RAR archive"),
        (b"\x1f\x8b\x08\x00" + b"x" * 64, "is a gzip archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "is a picture"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(64), "is a picture"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "is an HDF5 file"),
        (b"404: Not Found, sorry about that", "32 bytes of something else"),
        (b"short", "5 bytes of something else"),
        (bytes(range(255, 0, -1)), "is not a safetensors file"),
    ],
)
def test_what_is_no_safetensors_is_called_by_its_name(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    text = refusal(path)
    assert words in text
    assert "damaged" not in text


def test_a_pointer_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(POINTER % (b"ab" * 32, 6_938_040_682))
    assert refusal(path) == (
        "'model.safetensors' is a Git LFS pointer of 6.9 GB, not the file itself: run "
        "`git lfs pull` in its folder."
    )


def test_a_zip_is_told_from_what_torch_saves(tmp_path: Path) -> None:
    for inside, words in (("model/model.safetensors", "zip archive"), ("a/data.pkl", "pickled")):
        path = tmp_path / "model.safetensors"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(inside, b"x" * 100)
        assert words in refusal(path)


def test_a_file_that_was_cut_says_how_much_of_it_is_there(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "m.safetensors", SD1 | {"a": (100, 1000)})
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[: whole // 2])
    text = refusal(path)
    assert f"{whole // 2:,} bytes of {whole:,} bytes are there" in text
    assert "was not downloaded to its end" in text


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (1234, "1,234 bytes"), (45_000_000, "45 MB"), (2_132_696_762, "2.1 GB")],
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert size_in_words(count) == words


@given(st.binary(max_size=300))
def test_any_bytes_are_one_sentence(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(raw)
    assert refusal(path)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=9), st.lists, max_leaves=6))
def test_any_header_is_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "header.safetensors"
    for header in (value, {"__metadata__": value}, {"a": value}, {"a": {"dtype": value}}):
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text)
        assert refusal(path)


def test_metadata_is_read(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "m.safetensors", SD1, {"modelspec.title": "Mine"})
    assert read_whole_header(path).metadata == {"format": "pt", "modelspec.title": "Mine"}


# --- safetensors of something else ----------------------------------------------------------


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({UNET: (8, 4, 3, 3)}, "the denoiser (UNet) alone"),
        ({"input_blocks.0.0.weight": (8, 4, 3, 3)}, "the denoiser of Stable Diffusion"),
        ({"model_ema.diffusion_modelinput_blocks00weight": (1,)} | VAE, "average of training"),
        (SD1 | {UNET: (8, 9, 3, 3)}, "an inpainting model (9 channels instead of 4)"),
        (SDXL | {UNET: (8, 9, 3, 3)}, "an inpainting model"),
        (SD1 | {UNET: (8, 8, 3, 3)}, "edits or varies pictures"),
        (SD2 | {UNET: (8, 5, 3, 3)}, "a depth-to-image model"),
        (SD2 | {"depth_model.model.a": (1,)}, "a depth-to-image model"),
        (SD2 | {UNET: (8, 7, 3, 3)}, "an upscaling model"),
        (SD2 | {"embedder.model.ln_final.weight": (1,)}, "an unCLIP model"),
        (SD2 | {f"{U}input_blocks.1.0.time_stack.a": (1,)}, "Stable Video Diffusion"),
        (
            {UNET: (8, 4, 3, 3), "cond_stage_model.roberta.a": (1,)} | VAE,
            "AltDiffusion",
        ),
        (SD1 | {"lora_unet_a.lora_down.weight": (1,)}, "LoRA"),
        ({"lora_unet_a.hada_w1_a": (1,)}, "LoRA"),
        ({"lycoris_a.lokr_w1": (1,)}, "LoRA"),
        ({"control_model.time_embed.0.weight": (1,)}, "a ControlNet"),
        ({"controlnet_cond_embedding.conv_in.weight": (1,)}, "a ControlNet"),
        ({"ip_adapter.1.to_k_ip.weight": (1,)}, "an IP-Adapter"),
        ({"emb_params": (4, 768)}, "a textual inversion"),
        ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "a textual inversion"),
        ({"decoder.conv_in.weight": (1,)}, "one part of a model (a VAE)"),
        ({"encoder.down.0.a": (1,)}, "one part of a model (a VAE)"),
        ({"text_model.encoder.layers.0.a": (1,)}, "one part of a model (a text encoder)"),
        ({"encoder.block.0.layer.0.SelfAttention.k.weight": (1,)}, "(a text encoder)"),
        ({"down_blocks.0.resnets.0.conv1.weight": (1,)}, "a denoiser in diffusers' layout"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (1,)}, "a FLUX.1 model"),
        ({f"{U}double_blocks.0.img_attn.norm.key_norm.scale": (1,)}, "a FLUX.1 model"),
        ({f"{U}single_stream_modulation.lin.weight": (1,)}, "a FLUX.2 model"),
        ({f"{U}early_stream_modulations.image.lin.weight": (1,)}, "a FLUX.3 model"),
        (
            {
                "distilled_guidance_layer.in_proj.bias": (1,),
                "double_blocks.0.img_attn.norm.key_norm.scale": (1,),
            },
            "a Chroma model",
        ),
        ({f"{U}joint_blocks.0.x_block.a": (1,)}, "a Stable Diffusion 3 model"),
        ({f"{U}layers.0.adaLN_modulation.0.weight": (1,)}, "a Z-Image model"),
        (
            {"layers.0.adaLN_modulation.1.weight": (1,), "cap_embedder.0.weight": (1,)},
            "a Lumina 2 model",
        ),
        ({"transformer_blocks.0.img_mod.1.weight": (1,)}, "a Qwen-Image model"),
        ({f"{U}txt_in.text_norm.weight": (1,)}, "a Qwen-Image model"),
        ({"txtfusion.projector.weight": (1,)}, "a Krea 2 model"),
        ({"double_stream_blocks.0.block.a": (1,)}, "a HiDream model"),
        (
            {"blocks.0.cross_attn.q_linear.weight": (1,), "blocks.0.mlp.depth_conv.a": (1,)},
            "a Sana model",
        ),
        ({"blocks.0.cross_attn.q_linear.weight": (1,)}, "a PixArt model"),
        ({f"{U}head.modulation": (1,)}, "a Wan (video) model"),
        ({"patchify_proj.weight": (1,)}, "a LTX-Video model"),
        ({"net.x_embedder.proj.1.weight": (1,)}, "a Cosmos model"),
        ({"clip_txt_mapper.weight": (1,)}, "a Stable Cascade model"),
        ({"something.else": (1,)}, "is not a Stable Diffusion 1.x, 2.x or XL checkpoint"),
    ],
)
def test_another_model_is_called_by_its_name(tmp_path: Path, tensors: Shapes, words: str) -> None:
    assert words in refusal(write_tensors(tmp_path / "x.safetensors", tensors))


def test_what_a_stranger_calls_itself_is_told(tmp_path: Path) -> None:
    metadata = {"modelspec.architecture": "hunyuan-image-2.1"}
    path = write_tensors(tmp_path / "x.safetensors", {"blocks.a": (1,)}, metadata)
    assert refusal(path).endswith("It calls itself 'hunyuan-image-2.1'.")
    write_tensors(path, {"blocks.a": (1,)}, {"modelspec.architecture": "a\nb"})
    assert "calls itself" not in refusal(path)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("a.weight.quant_state.bitsandbytes__nf4", "bitsandbytes NF4"),
        ("a.weight.quant_state.bitsandbytes__fp4", "bitsandbytes FP4"),
        ("a.weight.absmax", "4-bit weights"),
        ("a.SCB", "int8"),
        ("a.qweight", "GPTQ"),
        ("scaled_fp8", "scaled fp8"),
        ("a.scale_weight", "scaled fp8"),
        ("a.comfy_quant", "ComfyUI"),
    ],
)
def test_packed_weights_are_named(tmp_path: Path, key: str, words: str) -> None:
    flux = {f"{U}double_blocks.0.img_attn.qkv.weight": (1,)}
    for base in (SD1, SDXL, flux):
        text = refusal(write_tensors(tmp_path / "x.safetensors", {**base, f"{U}{key}": (1,)}))
        assert words in text
        assert ("FLUX.1" in text) == (base is flux)


def test_plain_types_are_no_packing(tmp_path: Path) -> None:
    for dtype in ("F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"):
        path = write_tensors(tmp_path / "x.safetensors", SD1, dtype=dtype)
        assert checkpoint_kind(path) == "sd1"
    assert "packed as U8" in refusal(write_tensors(tmp_path / "x.safetensors", SD1, dtype="U8"))


# --- layouts of Stable Diffusion ------------------------------------------------------------

SGM_H = {"conditioner.embedders.0.model.ln_final.weight": (1,)}
SGM_L = {"conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": (1,)}
OLD = {"cond_stage_model.transformer.embeddings.token_embedding.weight": (1,)}
LABELS = {f"{U}label_emb.0.0.weight": (8, 2560)}


@pytest.mark.parametrize(
    ("text", "width", "kind"),
    [
        (OLD, 768, "sd1"),
        (OLD, None, "sd1"),
        (OLD, 1024, "sd2"),  # saved by a converter under transformers' names
        (SGM_L, 768, "sd1"),
        (SGM_H, 1024, "sd2"),
        (SGM_H, 48, "sd2"),
        ({"conditioner.embedders.1.model.a": (1,)} | SGM_L, 2048, "sdxl"),
        (SGM_H | LABELS, 1280, None),
        (SGM_H, 1280, None),
        (SGM_H | LABELS, 48, None),
        (SGM_H, None, None),
    ],
)
def test_layouts_are_told_apart_by_encoders_and_the_width_of_text(
    tmp_path: Path, text: Shapes, width: int | None, kind: str | None
) -> None:
    tensors = {UNET: (8, 4, 3, 3)} | VAE | dict(text)
    if width is not None:
        tensors[ATTENTION] = (8, width)
    path = write_tensors(tmp_path / "x.safetensors", tensors)
    if kind is None:
        assert "refiner" in refusal(path)
    else:
        assert checkpoint_kind(path) == kind


def test_the_vae_may_have_its_newer_name(tmp_path: Path) -> None:
    tensors = {UNET: (8, 4, 3, 3), "vae.decoder.a": (1,)} | OLD
    assert checkpoint_kind(write_tensors(tmp_path / "x.safetensors", tensors)) == "sd1"


# --- settings around it ---------------------------------------------------------------------


def test_the_folder_around_a_checkpoint_may_be_its_settings(tmp_path: Path) -> None:
    unet = {"sample_size": 40, "cross_attention_dim": 768}
    home = write_folder(tmp_path / "home", unet=unet)
    (home / "scheduler").mkdir()
    (home / "scheduler" / "scheduler_config.json").write_text("{}")
    fits = {**SD1, ATTENTION: (8, 768)}
    assert find_model(str(write_tensors(home / "a.safetensors", fits))).width == 320
    other = {**SD1, ATTENTION: (8, 1024)}
    assert find_model(str(write_tensors(home / "b.safetensors", other))).width == 512
    assert find_model(str(write_tensors(home / "c.safetensors", SDXL))).width == 1024
    (home / "scheduler" / "scheduler_config.json").unlink()
    assert find_model(str(home / "a.safetensors")).width == 512
