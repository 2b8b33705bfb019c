"""Which model a single file holds, from the names in its header; and what it is if it is none.

The names are those of the CompVis and Stability code for Stable Diffusion, and of each family's own
code for the others, as diffusers/loaders/single_file_utils.py (CHECKPOINT_KEY_NAMES) and ComfyUI's
comfy/model_detection.py tell them apart.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from sdgen.errors import ModelUnavailable
from sdgen.safetensors_header import SafetensorsHeader, TensorEntry, read_whole_header

CheckpointKind = Literal["sd1", "sd2", "sdxl"]

UNET = "model.diffusion_model."
KIND_TITLES: Mapping[CheckpointKind, str] = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "Stable Diffusion XL",
}
_SD2_WIDTH, _REFINER_WIDTH = 1024, 1280  # numbers of one text token
_WRAPPERS = ("model.diffusion_model.", "diffusion_model.", "net.", "model.", "transformer.")
_TEXT = ("cond_stage_model.", "conditioner.", "text_encoders.", "text_encoder.")
_VAE = ("first_stage_model.", "vae.")
_LORA_MARKS = (".lora_", ".hada_w", ".lokr_w", ".oft_blocks", ".oft_diag")

# First match wins: a name, and the beginnings of keys that a file of it has, all of them.
_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("FLUX.3", ("early_stream_modulations.",)),
    ("FLUX.2", ("single_stream_modulation.",)),
    ("Chroma", ("distilled_guidance_layer.",)),
    ("HunyuanVideo", ("txt_in.individual_token_refiner.",)),
    ("FLUX.1", ("double_blocks.0.img_attn.",)),
    ("Stable Diffusion 3", ("joint_blocks.0.",)),
    ("AuraFlow", ("double_layers.0.", "cond_seq_linear.")),
    ("Krea 2", ("txtfusion.",)),
    ("Qwen-Image", ("txt_in.text_norm.",)),
    ("Qwen-Image", ("transformer_blocks.0.img_mod.",)),
    ("Z-Image", ("layers.0.adaLN_modulation.0.", "cap_embedder.")),
    ("Lumina 2", ("layers.0.adaLN_modulation.", "cap_embedder.")),
    ("Z-Image", ("layers.0.adaLN_modulation.0.",)),
    ("HiDream", ("double_stream_blocks.0.",)),
    ("Sana", ("blocks.0.cross_attn.q_linear.", "blocks.0.mlp.depth_conv.")),
    ("PixArt", ("blocks.0.cross_attn.q_linear.",)),
    ("Hunyuan-DiT", ("mlp_t5.0.",)),
    ("Wan (video)", ("head.modulation",)),
    ("LTX-Video", ("patchify_proj.",)),
    ("Mochi (video)", ("blocks.0.attn.qkv_x.",)),
    ("Anima", ("llm_adapter.",)),
    ("Cosmos", ("x_embedder.proj.1.",)),
    ("Stable Cascade", ("clip_txt_mapper.",)),
    ("Stable Cascade", ("down_blocks.1.0.channelwise.",)),
)
# Things that go with a model and are none.
_COMPANIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a ControlNet", ("control_model.",)),
    ("a ControlNet", ("controlnet_",)),
    ("a ControlNet", ("input_hint_block.",)),
    ("an IP-Adapter", ("ip_adapter.",)),
    ("a motion module of AnimateDiff (video)", ("down_blocks.0.motion_modules.",)),
    ("a textual inversion (an embedding)", ("string_to_param",)),
    ("a textual inversion (an embedding)", ("emb_params",)),
    ("a textual inversion (an embedding)", ("clip_l", "clip_g")),
    ("an upscaler", ("conv_first.", "conv_body.")),
    ("an upscaler", ("model.0.weight", "model.1.sub.")),
)
_PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("the denoiser of Stable Diffusion", ("input_blocks.0.0.",)),
    ("a denoiser in diffusers' layout", ("down_blocks.0.",)),
    ("a denoiser in diffusers' layout", ("transformer_blocks.0.",)),
    ("a VAE", ("first_stage_model.",)),
    ("a VAE", ("encoder.down",)),
    ("a VAE", ("decoder.up",)),
    ("a VAE", ("decoder.conv_in.",)),
    ("a text encoder", ("text_model.",)),
    ("a text encoder", ("transformer.text_model.",)),
    ("a text encoder", ("encoder.block.0.layer.0.SelfAttention.",)),
    ("a text encoder", ("model.layers.0.self_attn.",)),
    ("a text encoder", ("cond_stage_model.",)),
    ("text encoders", ("conditioner.embedders.",)),
)
_INPUTS: Mapping[int, str] = {  # channels that a UNet takes in, beside the 4 of plain drawing
    5: "a depth-to-image model",
    7: "an upscaling model",
    8: "a model that edits or varies pictures (InstructPix2Pix)",
    9: "an inpainting model",
}
_QUANTISED: tuple[tuple[str, str], ...] = (  # what a key ends with or holds
    (".quant_state.bitsandbytes__nf4", "4-bit weights (bitsandbytes NF4)"),
    (".quant_state.bitsandbytes__fp4", "4-bit weights (bitsandbytes FP4)"),
    (".absmax", "4-bit weights (bitsandbytes)"),
    (".SCB", "8-bit weights (bitsandbytes int8)"),
    (".wscales", "4-bit weights (SVDQuant, for Nunchaku)"),
    (".qweight", "4-bit weights (GPTQ, AWQ or SVDQuant)"),
    ("scaled_fp8", "8-bit weights with scales (scaled fp8)"),
    (".scale_weight", "8-bit weights with scales (scaled fp8)"),
    (".weight_scale", "8-bit weights with scales (scaled fp8)"),
    (".comfy_quant", "quantised weights of ComfyUI"),
)
PLAIN_DTYPES = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})  # torch casts these


def checkpoint_kind(path: Path) -> CheckpointKind:
    """Which base model a single checkpoint file holds, from the names in its header.

    Raises ModelUnavailable, saying what it is instead (a LoRA, an inpainting model, one part ...).
    """
    return kind_of(read_whole_header(path), path.name)


def kind_of(header: SafetensorsHeader, name: str) -> CheckpointKind:
    """As `checkpoint_kind`; `name` is what the errors call the file."""
    keys = header.tensors.keys()
    if any(mark in key for key in keys for mark in _LORA_MARKS) or any(
        key.startswith("lora_") for key in keys
    ):
        raise ModelUnavailable(f"'{name}' is a LoRA, not a base model; add it as a LoRA instead.")
    first = header.tensors.get(f"{UNET}input_blocks.0.0.weight")
    if first is None:
        raise ModelUnavailable(_something_else(header, name))
    _refuse_other_inputs(header.tensors, first, name)
    _refuse_quantised(header.tensors, name)
    has_text, has_vae = _holds(keys, *_TEXT), _holds(keys, *_VAE)
    if not has_text and not has_vae:
        raise ModelUnavailable(
            f"'{name}' holds the denoiser (UNet) alone: its text encoder and its VAE are missing. "
            "Look for the whole checkpoint."
        )
    if not has_vae:
        raise ModelUnavailable(f"'{name}' holds no VAE, so it cannot draw pictures by itself.")
    if not has_text:
        raise ModelUnavailable(f"'{name}' holds no text encoder, so it cannot read a prompt.")
    return _kind_by_text_encoder(header.tensors, name)


def text_width(tensors: Mapping[str, TensorEntry]) -> int | None:
    """Numbers of one text token that the UNet reads; None where no key tells."""
    for key, entry in tensors.items():
        if key.startswith(UNET) and key.endswith(".attn2.to_k.weight") and len(entry.shape) == 2:
            return entry.shape[1]
    return None


def _kind_by_text_encoder(tensors: Mapping[str, TensorEntry], name: str) -> CheckpointKind:
    """By the text encoders' names; the width of the UNet's text tells layouts apart."""
    keys = tensors.keys()
    width = text_width(tensors)
    if _holds(keys, "conditioner.embedders.1."):
        return "sdxl"
    if _holds(keys, "conditioner."):
        # SD 1.x and 2.x as Stability's newer code (sgm) saves them; a refiner has one encoder too,
        # and is told about sizes.
        is_refiner = width in (None, _REFINER_WIDTH) or _holds(keys, f"{UNET}label_emb.")
        if not is_refiner and _holds(keys, "conditioner.embedders.0.transformer."):
            return "sd2" if width == _SD2_WIDTH else "sd1"
        if not is_refiner and _holds(keys, "conditioner.embedders.0.model."):
            return "sd2"
        raise ModelUnavailable(f"'{name}' is a refiner of SDXL, which needs a picture as input.")
    if _holds(keys, "cond_stage_model.roberta."):
        raise ModelUnavailable(
            f"'{name}' is AltDiffusion, whose text encoder (XLM-RoBERTa) sdgen does not have."
        )
    if _holds(keys, "cond_stage_model.transformer."):
        return "sd2" if width == _SD2_WIDTH else "sd1"
    if _holds(keys, "cond_stage_model.model."):
        return "sd2"
    raise ModelUnavailable(f"'{name}' holds no text encoder that sdgen knows.")


def _refuse_other_inputs(tensors: Mapping[str, TensorEntry], first: TensorEntry, name: str) -> None:
    """Raises ModelUnavailable for UNets that need more than noise and text."""
    keys = tensors.keys()
    if _holds(keys, f"{UNET}input_blocks.1.0.time_stack."):
        raise ModelUnavailable(f"'{name}' is Stable Video Diffusion, which makes videos.")
    channels = first.shape[1] if len(first.shape) == 4 else 0
    what = _INPUTS.get(channels, "made for another input than noise")
    if _holds(keys, "depth_model."):
        what = _INPUTS[5]
    elif _holds(keys, "embedder.model."):
        what = "an unCLIP model, which varies pictures"
    elif channels == 4:
        return
    more = f" ({channels} channels instead of 4)" if channels not in (0, 4) else ""
    raise ModelUnavailable(
        f"'{name}' is {what}{more}: it needs a picture as input; sdgen draws from text."
    )


def _refuse_quantised(tensors: Mapping[str, TensorEntry], name: str) -> None:
    """Raises ModelUnavailable for weights that are not numbers by themselves."""
    what = _quantisation(tensors)
    if what:
        raise ModelUnavailable(
            f"'{name}' holds {what}, which sdgen does not read from a single file; look for the "
            "version in float16 or bfloat16."
        )


def _quantisation(tensors: Mapping[str, TensorEntry]) -> str:
    """How a file's weights are packed, in words; "" where they are plain numbers."""
    for mark, what in _QUANTISED:
        if any(key.endswith(mark) for key in tensors):
            return what
    for key, entry in tensors.items():
        is_weight = key.startswith(UNET) and key.endswith(".weight")
        if is_weight and entry.dtype not in PLAIN_DTYPES:
            return f"weights packed as {entry.dtype}"
    return ""


def _something_else(header: SafetensorsHeader, name: str) -> str:
    """What a safetensors file is that holds no Stable Diffusion, as a sentence."""
    keys = header.tensors.keys()
    bare = [_unwrapped(key) for key in keys]
    packed = _quantisation(header.tensors)
    for what, starts in _COMPANIONS:
        if all(_holds(keys, start) or _holds(bare, start) for start in starts):
            return f"'{name}' is {what}, not a base model."
    for family, starts in _FAMILIES:
        if all(_holds(bare, start) for start in starts):
            holding = f" with {packed}" if packed else ""
            return (
                f"'{name}' is a {family} model{holding}, which sdgen does not read from a single "
                "file; give such a model as a folder in diffusers' layout or as a Hub id."
            )
    if _holds(keys, "model_ema.diffusion_model"):
        return (
            f"'{name}' holds its denoiser only as an average of training (model_ema), which sdgen "
            "does not read; look for the version for drawing, often called emaonly or pruned."
        )
    for what, starts in _PARTS:
        if all(_holds(keys, start) or _holds(bare, start) for start in starts):
            return f"'{name}' is one part of a model ({what}), not a whole checkpoint."
    told = header.metadata.get("modelspec.architecture", "")[:60]
    calls = f" It calls itself '{told}'." if told.isprintable() and told else ""
    return (
        f"'{name}' is not a Stable Diffusion 1.x, 2.x or XL checkpoint; "
        f"give such a model as a folder in diffusers' layout or as a Hub id.{calls}"
    )


def _unwrapped(key: str) -> str:
    """A key without what programs put before a denoiser's own names."""
    for start in _WRAPPERS:
        if key.startswith(start):
            return key.removeprefix(start)
    return key


def _holds(keys: Collection[str], *starts: str) -> bool:
    return any(key.startswith(starts) for key in keys)
