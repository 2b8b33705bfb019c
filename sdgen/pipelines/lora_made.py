"""From the tensors that a file holds for one module to what acts in a pass.

Everything is computed once, in float32 on the CPU, and handed on in the module's dtype. The sorts
of change are those of sdgen.adapters.keys.FileLayer; the formulas are those of LyCORIS' own forward
(lycoris/modules), and for DoRA of LyCORIS, PEFT and ai-toolkit, which agree at strength 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from sdgen.adapters.keys import FileLayer
from sdgen.pipelines.lora_changes import Affine, Change, Hadamard, InputGain, Kronecker, Whole
from sdgen.pipelines.lora_layers import LayerWeights, fitted

Tensors = Mapping[str, torch.Tensor]  # by role


@dataclass(frozen=True)
class Made:
    """What one adapter does at one module, on the module's device in its dtype."""

    pair: LayerWeights | None
    changes: tuple[Change, ...]


def made_for(
    module: nn.Module,
    layer: FileLayer,
    tensors: Tensors,
    device: torch.device,
    dtype: torch.dtype,
) -> Made | None:
    """What the tensors of a layer, by role in float32, do at that module; None: it cannot be."""
    if isinstance(module, nn.LayerNorm | nn.GroupNorm):
        norm = Affine(_flat(tensors.get("diff")), _flat(tensors.get("diff_b")))
        return Made(None, (_on(norm, device, dtype),))
    if not isinstance(module, nn.Linear | nn.Conv2d) or not _is_plain(module):
        return None
    pair = _pair(layer, tensors)
    changes = _changes(module, layer, tensors)
    bias = tensors["diff_b"].flatten() if "diff_b" in tensors else None
    if "bias" in tensors:
        own = tensors["bias"].flatten() * layer.multiplier
        bias = own if bias is None else bias + own
    gain: torch.Tensor | None = None
    if layer.axis:
        lengths = tensors.get("dora_scale", tensors.get("magnitude"))
        assert lengths is not None  # or there were no axis
        weight = module.weight.detach().to("cpu", torch.float32)
        scale = _dora_scale(_summed(weight, pair, changes), lengths, layer.axis)
        pair, changes = _scaled(module, pair, changes, scale, layer.axis)
        if layer.axis == "in":
            changes.append(InputGain(scale - 1))
        else:
            gain = scale - 1
            if module.bias is not None:  # which DoRA does not scale
                own = module.bias.detach().to("cpu", torch.float32) * gain
                bias = -own if bias is None else bias - own
    if gain is not None or bias is not None:
        changes.append(Affine(gain, bias))
    if pair is None:
        pair, changes = _as_pairs(changes, tuple(module.weight.shape))
    found = None
    if pair is not None:
        found = fitted(module, *(half.to(device, dtype) for half in pair))
        if found is None:
            return None
    return Made(found, tuple(_on(change, device, dtype) for change in changes))


def _is_plain(module: nn.Linear | nn.Conv2d) -> bool:
    return isinstance(module, nn.Linear) or (module.groups == 1 and module.padding_mode == "zeros")


def _flat(vector: torch.Tensor | None) -> torch.Tensor | None:
    return None if vector is None else vector.flatten()


def _on(change: Change, device: torch.device, dtype: torch.dtype) -> Change:
    """The same on another device and in another dtype."""

    def moved(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(moved(one) for one in value)
        return None if value is None else value.to(device, dtype).contiguous()

    return type(change)(**{name: moved(value) for name, value in vars(change).items()})


# ---- the change of the weight -----------------------------------------------------------------

Pair = tuple[torch.Tensor, torch.Tensor]  # down [k, i(, kh, kw)], up [o, k(, 1, 1)]


def _pair(layer: FileLayer, tensors: Tensors) -> Pair | None:
    """A plain pair, multiplier in `up` and a middle of LoCon in `down`."""
    if "down" not in tensors:
        return None
    down, up = tensors["down"], tensors["up"]
    if "mid" in tensors:
        down = torch.einsum("abhw,bi->aihw", tensors["mid"], down.flatten(1))
    return down, up.flatten(1) * layer.multiplier


def _changes(module: nn.Linear | nn.Conv2d, layer: FileLayer, tensors: Tensors) -> list[Change]:
    """What there is beside a pair: LoHa, LoKr, a whole weight."""
    shape = tuple(module.weight.shape)
    found: list[Change] = []
    if "hada_w1_a" in tensors:
        found.append(_loha(shape, tensors, layer.multiplier))
    if any(role.startswith("lokr_") for role in tensors):
        left = _factor(tensors, "lokr_w1")
        right = _factor(tensors, "lokr_w2")
        found.append(Kronecker(left * layer.multiplier, right.reshape(len(right), -1, *shape[2:])))
    if "diff" in tensors:
        found.append(Whole(tensors["diff"].reshape(shape)))
    return found


def _loha(shape: tuple[int, ...], tensors: Tensors, multiplier: float) -> Change:
    ups, downs = [], []
    for n in ("1", "2"):
        a, b = tensors[f"hada_w{n}_a"], tensors[f"hada_w{n}_b"]
        if f"hada_t{n}" in tensors:  # Tucker: w_a [k, o], w_b [k, i]
            ups.append(a.t())
            downs.append(torch.einsum("abhw,bi->aihw", tensors[f"hada_t{n}"], b).flatten(1))
        else:  # w_a [o, k], w_b [k, i kh kw]
            ups.append(a.flatten(1))
            downs.append(b.flatten(1))
    return Hadamard((ups[0] * multiplier, ups[1]), (downs[0], downs[1]))


def _factor(tensors: Tensors, name: str) -> torch.Tensor:
    """A factor of LoKr, whole."""
    if name in tensors:
        return tensors[name]
    a, b = tensors[f"{name}_a"], tensors[f"{name}_b"]
    if name == "lokr_w2" and "lokr_t2" in tensors:
        return torch.einsum("abhw,bi,ao->oihw", tensors["lokr_t2"], b, a)
    return a @ b.flatten(1)


def _as_pairs(changes: list[Change], shape: tuple[int, ...]) -> tuple[Pair | None, list[Change]]:
    """The changes with a LoHa of low rank as a pair, which is served in stacks."""
    for change in changes:
        pair = _as_pair(change, shape) if isinstance(change, Hadamard) else None
        if pair is not None:
            return pair, [other for other in changes if other is not change]
    return None, changes


def _as_pair(change: Hadamard, shape: tuple[int, ...]) -> Pair | None:
    """LoHa as a plain pair, whose rank is the product of the two ranks: up is the row-wise
    Khatri-Rao product of the ups, down the column-wise one of the downs. None where that would be
    larger than the weight itself."""
    rank = change.ups[0].shape[1] * change.ups[1].shape[1]
    inner = change.downs[0].shape[1]
    if rank * (shape[0] + inner) > shape[0] * inner:
        return None
    up = torch.einsum("oa,ob->oab", *change.ups).flatten(1)
    down = torch.einsum("ai,bi->abi", *change.downs).flatten(0, 1)
    return down.view(rank, shape[1], *shape[2:]), up


# ---- DoRA -------------------------------------------------------------------------------------


def _summed(weight: torch.Tensor, pair: Pair | None, changes: list[Change]) -> torch.Tensor:
    """The weight with all changes, in its own shape."""
    total = weight.clone()
    if pair is not None:
        total += (pair[1] @ pair[0].flatten(1)).view_as(total)
    for change in changes:
        match change:
            case Whole(whole):
                total += whole
            case Hadamard(ups, downs):
                total += ((ups[0] @ downs[0]) * (ups[1] @ downs[1])).view_as(total)
            case Kronecker(left, right):
                left = left.view(*left.shape, *(1 for _ in right.shape[2:]))
                total += torch.kron(left, right.contiguous()).reshape(total.shape)
    return total


def _dora_scale(total: torch.Tensor, lengths: torch.Tensor, axis: str) -> torch.Tensor:
    """What brings each row (or column) of `total` to its length, [o] or [i]."""
    if axis == "in":
        total = total.transpose(0, 1)
    norms = total.flatten(1).norm(dim=1)
    return torch.div(lengths.flatten(), norms + torch.finfo(torch.float32).eps)


def _scaled(
    module: nn.Linear | nn.Conv2d,
    pair: Pair | None,
    changes: list[Change],
    scale: torch.Tensor,
    axis: str,
) -> tuple[Pair | None, list[Change]]:
    """The changes with their rows (or columns) scaled as DoRA scales the sum."""
    ways = module.weight.ndim - 2
    wide = scale.repeat_interleave(module.weight[0, 0].numel())  # by column of the flat weight
    if pair is not None and axis == "out":
        pair = pair[0], pair[1] * scale[:, None]
    elif pair is not None:
        down = pair[0]
        pair = down * scale.view(1, -1, *(1 for _ in range(down.ndim - 2))), pair[1]
    found: list[Change] = []
    for change in changes:
        match change:
            case Whole(whole):
                first = (-1, 1) if axis == "out" else (1, -1)
                found.append(Whole(whole * scale.view(*first, *(1 for _ in range(ways)))))
            case Hadamard(ups, downs) if axis == "out":
                found.append(Hadamard((ups[0] * scale[:, None], ups[1]), downs))
            case Hadamard(ups, downs):
                found.append(Hadamard(ups, (downs[0] * wide, downs[1])))
            case Kronecker() if axis == "out":
                found.append(replace(change, gain_out=scale))
            case Kronecker():
                found.append(replace(change, gain_in=scale))
            case _:
                found.append(change)
    return pair, found
