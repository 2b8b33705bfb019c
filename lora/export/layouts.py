"""The two ways in which tools name an adapter's tensors, made from a checkpoint's own names.

    checkpoint  unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight
    PEFT        the same; text encoders with the level `text_model.` that older tools expect
    kohya       lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight

A [r, in(, k, k)] is kohya's lora_down, B [out, r(, 1, 1)] its lora_up; alpha = rank, as trained.
kohya's scripts train SDXL in the UNet of Stability's code, so its files have that code's names.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from sdgen.errors import SdgenError

A_SUFFIX, B_SUFFIX = ".lora_A.weight", ".lora_B.weight"
PARTS = ("unet", "text_encoder", "text_encoder_2")
_KOHYA_PREFIX = {"unet": "lora_unet", "text_encoder": "lora_te", "text_encoder_2": "lora_te2"}
_TEXT_MODEL = "text_model."


class ExportFailed(SdgenError):
    """A trained adapter could not be written, or what was written is not what was trained."""


def split_key(key: str) -> tuple[str, str, str]:
    """A checkpoint's key as (part, module, "A" or "B"); the module without `text_model.`.

    Raises ExportFailed where it is none.
    """
    part, _, rest = key.partition(".")
    for side, suffix in (("A", A_SUFFIX), ("B", B_SUFFIX)):
        if part in PARTS and rest.endswith(suffix):
            module = rest.removesuffix(suffix)
            return part, module if part == "unet" else module.removeprefix(_TEXT_MODEL), side
    raise ExportFailed(f"The checkpoint holds a tensor of unknown use: '{key[:200]}'.")


def ranks_of(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The rank of each module, by "part.module". Raises ExportFailed where A or B is missing."""
    sides: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        part, module, side = split_key(key)
        sides.setdefault(f"{part}.{module}", {})[side] = tensor
    if not sides:
        raise ExportFailed("The checkpoint holds no adapter: it has no tensors.")
    ranks = {}
    for name, pair in sides.items():
        if set(pair) != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1]:
            raise ExportFailed(f"The checkpoint is damaged: A and B of '{name}' do not match.")
        ranks[name] = int(pair["A"].shape[0])
    return ranks


def peft_layout(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors under the names that diffusers and PEFT read."""
    named = {}
    for key, tensor in tensors.items():
        part, module, side = split_key(key)
        if part != "unet":
            module = _TEXT_MODEL + module
        named[f"{part}.{module}{A_SUFFIX if side == 'A' else B_SUFFIX}"] = _cast(tensor, dtype)
    return named


def from_peft_layout(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse: a file of ours as a checkpoint holds it, float32."""
    named = {}
    for key, tensor in tensors.items():
        part, module, side = split_key(key)
        named[f"{part}.{module}{A_SUFFIX if side == 'A' else B_SUFFIX}"] = tensor.float()
    return named


def kohya_layout(
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype,
    layers_per_block: int | None = None,
) -> dict[str, Tensor]:
    """The tensors under the names that kohya's scripts, A1111, ComfyUI and Forge read.

    layers_per_block: of an SDXL UNet, whose blocks then get the names of Stability's code; None:
    SD 1.x or 2.x.
    """
    ranks = ranks_of(tensors)
    named: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        part, module, side = split_key(key)
        stem = kohya_name(part, module, layers_per_block)
        named[f"{stem}.lora_{'down' if side == 'A' else 'up'}.weight"] = _cast(tensor, dtype)
        rank = ranks[f"{part}.{module}"]
        named[f"{stem}.alpha"] = torch.tensor(float(rank), dtype=torch.float32)
    return named


def kohya_name(part: str, module: str, layers_per_block: int | None = None) -> str:
    """A module's name in kohya's files, without the tensor's suffix."""
    prefix = _KOHYA_PREFIX[part]
    if part == "unet":
        name = module if layers_per_block is None else stability_name(module, layers_per_block)
    else:
        name = _TEXT_MODEL + module
        if layers_per_block is not None and part == "text_encoder":
            prefix = "lora_te1"
    return f"{prefix}_{name.replace('.', '_')}"


_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}


def stability_name(module: str, layers_per_block: int) -> str:
    """A module of diffusers' UNet as Stability's code names it ("input_blocks.4.1.proj_in").

    Raises ExportFailed for a module that it does not have.
    """
    if module in _ENDS:
        return _ENDS[module]
    per_block = layers_per_block + 1
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", module):
        place = 1 if match[1] == "attentions" else 2 * int(match[2])
        return f"middle_block.{place}.{_inner(match[1], match[3])}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", module)
    if match is None:
        raise ExportFailed(f"The module '{module[:200]}' has no name in kohya's files for SDXL.")
    way, block, sort, layer, rest = match.groups()
    if sort == "downsamplers":
        return f"input_blocks.{(int(block) + 1) * per_block}.0.op"
    if sort == "upsamplers":  # SDXL upsamples only behind attention
        return f"output_blocks.{int(block) * per_block + layers_per_block}.2.{rest}"
    start = "input_blocks" if way == "down" else "output_blocks"
    number = int(block) * per_block + int(layer) + (1 if way == "down" else 0)
    return f"{start}.{number}.{int(sort == 'attentions')}.{_inner(sort, rest)}"


def _inner(sort: str, rest: str) -> str:
    return rest if sort == "attentions" else _RESNET.get(rest, rest)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """On the CPU, contiguous, in a memory of its own, as safetensors wants it."""
    return tensor.detach().to("cpu", dtype).contiguous().clone()
