"""The name of the model that a LoRA was made for, where it is none that sdgen mixes adapters into.

Told by how modules are named, in the code of the model's makers and in diffusers', by widths and
by numbers of blocks; see diffusers/models/transformers and diffusers/loaders/
lora_conversion_utils.py. Nothing here is about files for Stable Diffusion 1, 2 and XL.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping

Shapes = Mapping[str, tuple[int, ...]]

_PREFIX = re.compile(
    r"\A(base_model[._]model[._]|model[._]diffusion_model[._]|diffusion_model[._]|transformer\."
    r"|conditional_transformer\.|lora_unet[._]|lora_transformer[._]|lycoris_|default\.)+"
)
_TEXT = re.compile(r"lora_te|text_|clip_|encoder\.layers|base_model\.model\.text_")  # its encoder
_END = re.compile(
    r"\.(lora_|lora\.|processor|hada_|lokr_|oft_|diff|alpha|dora_scale|magnitude|weight|bias)"
)
_DOWN = re.compile(r"\.(lora_down|lora_A|lora\.down)(\.[^.]+)?\.weight\Z|_lora\.down\.weight\Z")


class _Names:
    """The modules of a file with underscores for dots, and what their numbers and shapes tell."""

    def __init__(self, shapes: Shapes) -> None:
        stems = {key: _PREFIX.sub("", key) for key in shapes if not _TEXT.match(key)}
        self.dotted = {_END.split(stem, maxsplit=1)[0] for stem in stems.values()}
        self.flat = {stem.replace(".", "_") for stem in self.dotted}
        widths: Counter[int] = Counter()
        for key, stem in stems.items():
            name = stem.replace(".", "_")
            if _DOWN.search(key) and len(shapes[key]) > 1 and _INPUT.search(name):
                widths[shapes[key][1]] += 1
        self.width = widths.most_common(1)[0][0] if widths else 0  # of what attention reads

    def has(self, pattern: str) -> bool:
        """Whether a module's name, dots as underscores, begins so."""
        find = re.compile(pattern)
        return any(find.match(name) for name in self.flat)

    def blocks(self, name: str) -> int:
        """How many blocks of that name there are at least, by the largest number."""
        numbers = (re.match(rf"{name}_(\d+)_", flat) for flat in self.flat)
        return max((int(found[1]) + 1 for found in numbers if found), default=0)


_INPUT = re.compile(r"(to_q|to_k|to_v|qkv|to_qkv_mlp_proj|linear1|self_attn_q|wq|q_proj)(_|\.|\Z)")


def other_model(shapes: Shapes) -> str:
    """The model's name; "" where names and shapes tell none.

    shapes: of all tensors of the file, by key.
    """
    names = _Names(shapes)
    return next((title for rule in _RULES if (title := rule(names))), "")


def _flux(names: _Names) -> str:
    double = max(names.blocks("double_blocks"), names.blocks("transformer_blocks"))
    single = max(names.blocks("single_blocks"), names.blocks("single_transformer_blocks"))
    if names.has(r"(content_)?mode_blocks_") or names.has(
        r"single_blocks_\d+_(q_proj|k_proj|v_proj|attn_out|mlp_in|mlp_out)"
        r"|single_transformer_blocks_\d+_ff_linear_"
    ):
        return "FLUX.3"
    if not single and not names.has("double_blocks_"):
        return ""
    if names.has(r"(double_blocks_\d+_(img|txt)_mlp_fc|txt_in_individual|context_embedder_token)"):
        return "HunyuanVideo"
    if any(re.match(r"double_blocks\.\d+\.(img|txt)_attn_", name) for name in names.dotted):
        return "HunyuanVideo"
    if double == 20 or single > 38:
        return "FLUX.2" if names.width == 6144 else "HunyuanVideo"
    if names.has("distilled_guidance_layer"):
        return "Chroma"
    second = names.has(r"single_transformer_blocks_\d+_attn_to_qkv_mlp_proj") or names.has(
        r"(double|single)_stream_modulation|transformer_blocks_\d+_ff(_context)?_linear_(in|out)"
    )
    if names.width in (4096, 6144) or second:
        sizes = {3072: "FLUX.2 klein 4B", 4096: "FLUX.2 klein 9B"}
        return sizes.get(names.width, "FLUX.2")
    if names.width != 3072:
        return "Flux"
    if double <= 5 and 0 < single <= 20 and double and not names.has(_FLUX_1_ALONE):
        return "FLUX.2 klein 4B"
    return "FLUX.1" if names.has(_FLUX_1_ALONE) else "FLUX.1 or Chroma"


# Chroma's blocks have no modulation of their own.
_FLUX_1_ALONE = (
    r"double_blocks_\d+_(img|txt)_mod|single_blocks_\d+_modulation|time_in|guidance_in|vector_in"
    r"|(single_)?transformer_blocks_\d+_norm1?(_context)?_linear|time_text_embed"
)


def _joint(names: _Names) -> str:
    """Models whose blocks read picture and text together, without single ones."""
    if names.has("joint_blocks_"):
        return "Stable Diffusion 3"
    if not names.has(r"transformer_blocks_\d+_(attn_|img_|txt_)"):
        return ""
    if names.has(r"transformer_blocks_\d+_attn_to_gate|text_fusion_"):
        return "Krea 2"
    if names.has(r"transformer_blocks_\d+_img_mlp_(proj|out|gate_layer)"):
        return "Qwen-Image-2.1"
    if names.has(r"transformer_blocks_\d+_(img|txt)_(mlp|mod)"):
        return "Qwen-Image"
    if names.width in (1536, 2432):
        return "Stable Diffusion 3.5 Large" if names.width == 2432 else "Stable Diffusion 3"
    if names.has(r"transformer_blocks_\d+_attn2_") and names.has(
        r"transformer_blocks_\d+_attn_add_"
    ):
        return "Stable Diffusion 3"
    if names.width == 4096:
        return "Qwen-Image-2.1"
    if names.width == 3072:
        blocks = names.blocks("transformer_blocks")
        if blocks > 19:
            return "Qwen-Image"
        context = names.has(r"transformer_blocks_\d+_(ff_context|norm1_context|ff_net)")
        return "FLUX.1 or Chroma" if context else "Qwen-Image or FLUX.1"
    if names.has(r"transformer_blocks_\d+_attn_add_[qkv]_proj"):
        return "Stable Diffusion 3 or Qwen-Image"
    return ""


def _single_stream(names: _Names) -> str:
    if not names.has(r"(layers|noise_refiner|context_refiner)_\d+_(attention|attn|feed_forward)"):
        return ""
    widths = {3840: "Z-Image", 2304: "Lumina 2"}
    if names.width in widths:
        return widths[names.width]
    if names.has(r"layers_\d+_(adaln_modulation|attention_o\Z)"):
        return "Ideogram 4"
    if names.has(r"layers_\d+_(attn_to_|feed_forward_linear_)"):
        return "Lumina 2"
    return "Z-Image" if names.has(r"layers_\d+_attention_to_") else "Z-Image or Lumina 2"


def _crossing(names: _Names) -> str:
    """Models whose blocks read the text by cross attention."""
    if names.has(r"blocks_\d+_attn_w[qkvo]|txtfusion_"):
        return "Krea 2"
    if names.has(r"blocks_\d+_(self|cross)_attn_(q_proj|k_proj|v_proj|output_proj)|llm_adapter_"):
        return "Anima"
    if names.has(r"blocks_\d+_(self_attn|cross_attn)_|blocks_\d+_ffn_"):
        return "Wan"
    if names.has(r"blocks_\d+_attn[12]_"):
        return "Hunyuan-DiT" if names.width == 1408 else "Wan"
    if not names.has(r"transformer_blocks_\d+_(attn[12]_|ff_)"):
        return ""
    if names.width == 2240 or names.has(r"transformer_blocks_\d+_ff_conv_"):
        return "Sana"
    if names.has(r"transformer_blocks_\d+_audio|audio_"):
        return "LTX-2"
    by_width = {1152: "PixArt or Sana", 1920: "CogVideoX", 2048: "LTX-Video or Anima"}
    return by_width.get(names.width, "")


def _by_one_name(names: _Names) -> str:
    for pattern, title in _ALONE.items():
        if names.has(pattern):
            return title
    return ""


_ALONE = {
    r"lora_prior_|lora_te_\w*cascade": "Stable Cascade",
    r"(double|single)_stream_blocks_": "HiDream",
    r"joint_transformer_blocks_|double_layers_\d|single_layers_\d": "AuraFlow",
}
_RULES: tuple[Callable[[_Names], str], ...] = (
    _by_one_name,
    _flux,
    _joint,
    _single_stream,
    _crossing,
)
