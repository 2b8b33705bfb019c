"""Names of modules: as files write them, and as the model has them."""

import re
from collections.abc import Collection, Iterable
from typing import Literal

Part = Literal["unet", "text_encoder", "text_encoder_2"]
PARTS: tuple[Part, ...] = ("unet", "text_encoder", "text_encoder_2")

_FLAT: dict[str, Part] = {
    "lora_unet_": "unet",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te_": "text_encoder",
}
_LYCORIS = "lycoris_"  # of LyCORIS' own wrapper; it names no part
_DOTTED: dict[str, Part] = {
    "unet.": "unet",
    "model.diffusion_model.": "unet",
    "diffusion_model.": "unet",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder.": "text_encoder",
    "text_encoders.clip_l.transformer.": "text_encoder",
    "text_encoders.clip_g.transformer.": "text_encoder_2",
    "clip_l.transformer.": "text_encoder",
    "clip_g.transformer.": "text_encoder_2",
    "cond_stage_model.transformer.": "text_encoder",
    "conditioner.embedders.0.transformer.": "text_encoder",
}
_BARE: dict[str, Part] = {  # how names begin in files without prefixes
    "down_blocks.": "unet",
    "mid_block.": "unet",
    "up_blocks.": "unet",
    "time_embedding.": "unet",
    "add_embedding.": "unet",
    "conv_in": "unet",
    "conv_out": "unet",
    "conv_norm_out": "unet",
    "input_blocks.": "unet",
    "middle_block.": "unet",
    "output_blocks.": "unet",
    "text_model.": "text_encoder",
    "encoder.layers.": "text_encoder",
    "final_layer_norm": "text_encoder",
}
# Old diffusers named the projections of CLIP like those of the UNet.
_OLD_CLIP = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


def split_part(stem: str) -> tuple[Part, str, bool] | None:
    """A name as (part, the rest, whether it has underscores for dots); None: of no part."""
    for start, part in _FLAT.items():
        if stem.startswith(start):
            return part, stem.removeprefix(start).removeprefix("text_model_"), True
    if stem.startswith(_LYCORIS):
        rest = stem.removeprefix(_LYCORIS)
        is_text = rest.startswith(("text_model_", "encoder_layers_"))
        return "text_encoder" if is_text else "unet", rest.removeprefix("text_model_"), True
    stem = stem.removeprefix("base_model.model.")
    for start, part in (_DOTTED | _BARE).items():
        if stem.startswith(start):
            rest = stem.removeprefix(start) if start in _DOTTED else stem
            rest = rest.removeprefix("base_model.model.")
            return part, _modern(part, rest), False
    return None


def _modern(part: Part, name: str) -> str:
    """A dotted name as today's diffusers and transformers have it."""
    if part == "unet":
        name = name.replace(".processor.", ".")
        return re.sub(r"(\.attn\d)\.to_out\Z", r"\1.to_out.0", name)
    head, _, last = name.removeprefix("text_model.").rpartition(".")
    if head.endswith("self_attn"):
        last = _OLD_CLIP.get(last, last)
    return f"{head}.{last}" if head else last


class Resolver:
    """Finds a model's module by the name that a file gives it."""

    def __init__(self, modules: Collection[str]) -> None:
        """modules: with their part before them, "unet.conv_in"."""
        self._dotted: dict[Part, dict[str, str]] = {part: {} for part in PARTS}
        self._flat: dict[Part, dict[str, str]] = {part: {} for part in PARTS}
        for part in PARTS:
            start = f"{part}."
            names = [name.removeprefix(start) for name in modules if name.startswith(start)]
            self._dotted[part] = {name: name for name in names}
            if part == "unet":
                self._dotted[part] |= {old: name for name, old in ldm_names(names)}
            for known, name in self._dotted[part].items():
                self._flat[part].setdefault(known.replace(".", "_"), name)

    def __call__(self, part: Part, stem: str, *, flat: bool) -> str | None:
        """The module's name in the model, or None where the model has no such module."""
        return (self._flat if flat else self._dotted)[part].get(stem)


_LDM_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_LDM_RESNET = {
    "norm1": "in_layers.0",
    "norm2": "out_layers.0",
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)")
_MID = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def ldm_names(modules: Collection[str]) -> Iterable[tuple[str, str]]:
    """(module of a diffusers UNet, the same in the code of CompVis and Stability)."""
    matches = {name: _BLOCK.match(name) for name in modules}
    down = [match for match in matches.values() if match and match[1] == "down"]
    per_block = max((int(match[4]) for match in down if match[3] == "resnets"), default=0) + 2
    with_attention = {
        match[2] for match in matches.values() if match and match[1] == "up" and "attn" in match[5]
    }
    for name, match in matches.items():
        mid = _MID.match(name)
        if name in _LDM_ENDS:
            yield name, _LDM_ENDS[name]
        elif mid is not None:
            place = 1 if mid[1] == "attentions" else 2 * int(mid[2])
            yield name, f"middle_block.{place}.{_inner(mid[1], mid[3])}"
        elif match is not None:
            way, block, sort, layer, rest = match.groups()
            at = int(block) * per_block
            if sort == "downsamplers":
                yield name, f"input_blocks.{at + per_block}.0.op"
            elif sort == "upsamplers":
                place = 2 if block in with_attention else 1
                yield name, f"output_blocks.{at + per_block - 1}.{place}.{rest}"
            else:
                start = f"input_blocks.{1 + at + int(layer)}"
                if way == "up":
                    start = f"output_blocks.{at + int(layer)}"
                yield name, f"{start}.{int(sort == 'attentions')}.{_inner(sort, rest)}"


def _inner(sort: str, rest: str) -> str:
    return _LDM_RESNET.get(rest, rest) if sort == "resnets" else rest


def is_like_a_lora(key: str) -> bool:
    """Whether a key is one of a LoRA for whatever model, for example for Flux."""
    return bool(_LIKE.search(key))


_LIKE = re.compile(
    r"\.lora_|\.lora\.|_lora\.(up|down)\.|\A(lora|lycoris)_|\.hada_w|\.lokr_w|\.oft_|\.diff(_[bm])?\Z"
    r"|\.dora_scale\Z|\.[wb]_norm\Z"
)
