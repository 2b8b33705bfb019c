"""What a LoRA adds at one module, as forward hooks: for Linear and for convolutions.

    y[row] += strength * up(down(x[row]))

Set by set, rows that share their adapters use the resident tensors as they lie. Stacked, one
batched product serves rows of many sets, padded to the largest rank; for convolutions the rows are
the groups of one convolution.

Letters in shapes: r rows, i and o channels in and out, k rank, s tokens, h and w a grid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

FEW_SETS = 2  # up to so many, a product for each is as fast as a stack, and copies nothing
WASTE = 2.0  # a stack may hold that many times the numbers that its rows need

Hook = Callable[[Any, tuple[Any, ...], torch.Tensor], None]


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """One adapter at one module, on the module's device in its dtype; alpha / rank is in `up`.

    Linear: down [i, k], up [k, o]. Convolution of 1x1: down [k, i], up [o, k]. Any other
    convolution: down [k, i, h, w], up [o, k].
    """

    down: torch.Tensor
    up: torch.Tensor
    rank: int

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return self.down.nbytes + self.up.nbytes


@dataclass(frozen=True)
class Piece:
    """Neighbouring rows that have one adapter at one module."""

    start: int
    stop: int
    layer: LayerWeights
    strength: float


def fitted(module: nn.Module, down: torch.Tensor, up: torch.Tensor) -> LayerWeights | None:
    """A file's tensors in the layout that this module works with; None where they do not fit it.

    down [k, i] or [k, i, h, w], up [o, k] or [o, k, 1, 1], alpha / rank already in `up`.
    """
    rank = down.shape[0]
    up = up.flatten(1)
    if isinstance(module, nn.Linear):
        down = down.flatten(1)
        if down.shape != (rank, module.in_features) or up.shape != (module.out_features, rank):
            return None
        return LayerWeights(down.t().contiguous(), up.t().contiguous(), rank)
    if not isinstance(module, nn.Conv2d) or module.groups != 1 or module.padding_mode != "zeros":
        return None
    if down.ndim == 2:
        down = down[:, :, None, None]
    if down.shape != (rank, module.in_channels, *module.kernel_size):
        return None
    if up.shape != (module.out_channels, rank):
        return None
    if _is_pointwise(module):
        return LayerWeights(down.flatten(1).contiguous(), up.contiguous(), rank)
    return LayerWeights(down.contiguous(), up.contiguous(), rank)


def hook_for(module: nn.Module, pieces: Sequence[Piece], room: int) -> tuple[Hook, int]:
    """The hook that adds all pieces to the module's output, and the bytes that it took for stacks.

    room: bytes that it may take at most; it does without where stacks would not pay.
    """
    size = _stack_bytes(pieces)
    if size and size <= room:
        return _stacked(module, pieces), size
    return _by_set(module, pieces), 0


def _is_pointwise(module: nn.Conv2d) -> bool:
    sizes = (module.kernel_size, module.stride, module.padding)
    return sizes == ((1, 1), (1, 1), (0, 0))


# ---- set by set: the resident tensors as they lie ---------------------------------------------


def _by_set(module: nn.Module, pieces: Sequence[Piece]) -> Hook:
    """The hook that serves neighbouring rows of equal adapters by one product each."""
    if isinstance(module, nn.Linear):
        return partial(_linear_by_set, tuple(pieces))
    assert isinstance(module, nn.Conv2d)
    return partial(_conv_by_set, tuple(pieces), _is_pointwise(module))


def _linear_by_set(
    pieces: Sequence[Piece], module: nn.Linear, args: tuple[Any, ...], out: torch.Tensor
) -> None:
    del module
    for piece in pieces:
        down, up = piece.layer.down, piece.layer.up
        inner = args[0][piece.start : piece.stop].reshape(-1, down.shape[0]) @ down  # [r s, k]
        target = out[piece.start : piece.stop]
        if target.is_contiguous():
            target.view(-1, up.shape[1]).addmm_(inner, up, alpha=piece.strength)
        else:
            target.add_((inner @ up).view(target.shape), alpha=piece.strength)


def _conv_by_set(
    pieces: Sequence[Piece],
    pointwise: bool,
    module: nn.Conv2d,
    args: tuple[Any, ...],
    out: torch.Tensor,
) -> None:
    for piece in pieces:
        down, up = piece.layer.down, piece.layer.up
        rows = args[0][piece.start : piece.stop]
        if pointwise:
            inner = torch.matmul(down, rows.flatten(2))  # [r, k, h w]
        else:
            inner = _convolved(module, rows, down).flatten(2)
        up = up.expand(len(rows), -1, -1)
        _add_product(out[piece.start : piece.stop], up, inner, piece.strength)


# ---- stacked: one batched product for rows of many sets ---------------------------------------


def _stack_bytes(pieces: Sequence[Piece]) -> int:
    """The size of the stacks for one module; 0 where they would not pay."""
    if len({piece.start for piece in pieces}) <= FEW_SETS:
        return 0
    ranks = _ranks(pieces)
    largest = max(ranks.values())
    if len(ranks) * largest > WASTE * sum(ranks.values()):
        return 0
    layer = pieces[0].layer
    return len(ranks) * largest * layer.bytes // layer.rank


def _ranks(pieces: Sequence[Piece]) -> dict[int, int]:
    """By row the rank that its adapters need together."""
    ranks: dict[int, int] = {}
    for piece in pieces:
        for row in range(piece.start, piece.stop):
            ranks[row] = ranks.get(row, 0) + piece.layer.rank
    return ranks


def _stacked(module: nn.Module, pieces: Sequence[Piece]) -> Hook:
    """The hook that serves all rows of a module at once."""
    ranks = _ranks(pieces)
    rows = sorted(ranks)
    linear = isinstance(module, nn.Linear)
    down, up = _stacks(pieces, rows, max(ranks.values()), linear)
    where: slice | torch.Tensor = slice(rows[0], rows[-1] + 1)
    if len(rows) != rows[-1] + 1 - rows[0]:
        where = torch.tensor(rows, device=down.device)
    if linear:
        return partial(_linear_stacked, where, down, up)
    assert isinstance(module, nn.Conv2d)
    if _is_pointwise(module):
        return partial(_pointwise_stacked, where, down, up)
    return partial(_conv_stacked, where, down.flatten(0, 1), up)


def _stacks(
    pieces: Sequence[Piece], rows: Sequence[int], rank: int, linear: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """down and up of all rows, [r, ...] each, strengths folded into up, the rest filled with 0."""
    by_row: dict[int, list[Piece]] = {row: [] for row in rows}
    for piece in pieces:
        for row in range(piece.start, piece.stop):
            by_row[row].append(piece)
    if all(len(found) == 1 and found[0].layer.rank == rank for found in by_row.values()):
        ordered = [by_row[row][0] for row in rows]
        down = torch.stack([piece.layer.down for piece in ordered])
        up = torch.stack([piece.layer.up for piece in ordered])
        if any(piece.strength != 1.0 for piece in ordered):
            strengths = [piece.strength for piece in ordered]
            up.mul_(torch.tensor(strengths, device=up.device)[:, None, None])
        return down, up
    one = pieces[0].layer
    down_rank, up_rank = (1, 0) if linear else (0, 1)  # the dimension that is the rank
    down_shape, up_shape = list(one.down.shape), list(one.up.shape)
    down_shape[down_rank] = up_shape[up_rank] = rank
    down = one.down.new_zeros(len(rows), *down_shape)
    up = one.up.new_zeros(len(rows), *up_shape)
    for place, row in enumerate(rows):
        begin = 0
        for piece in by_row[row]:
            layer = piece.layer
            down[place].narrow(down_rank, begin, layer.rank).copy_(layer.down)
            part = up[place].narrow(up_rank, begin, layer.rank)
            torch.mul(layer.up, piece.strength, out=part)
            begin += layer.rank
    return down, up


def _linear_stacked(
    where: slice | torch.Tensor,
    down: torch.Tensor,
    up: torch.Tensor,
    module: nn.Linear,
    args: tuple[Any, ...],
    out: torch.Tensor,
) -> None:
    del module
    rows = args[0][where]
    inner = torch.bmm(rows.reshape(len(down), -1, down.shape[1]), down)  # [r, s, k]
    _place(out, where, inner, up)


def _pointwise_stacked(
    where: slice | torch.Tensor,
    down: torch.Tensor,
    up: torch.Tensor,
    module: nn.Conv2d,
    args: tuple[Any, ...],
    out: torch.Tensor,
) -> None:
    del module
    inner = torch.bmm(down, args[0][where].flatten(2))  # [r, k, h w]
    _place(out, where, up, inner)


def _conv_stacked(
    where: slice | torch.Tensor,
    down: torch.Tensor,
    up: torch.Tensor,
    module: nn.Conv2d,
    args: tuple[Any, ...],
    out: torch.Tensor,
) -> None:
    rows = args[0][where]
    count, channels = rows.shape[:2]
    joined = rows.reshape(1, count * channels, *rows.shape[2:])  # the rows as groups of one row
    inner = _convolved(module, joined, down, groups=count)  # [1, r k, h, w]
    _place(out, where, up, inner.view(count, up.shape[2], -1))


# ---- what both need ---------------------------------------------------------------------------


def _convolved(
    module: nn.Conv2d, rows: torch.Tensor, down: torch.Tensor, groups: int = 1
) -> torch.Tensor:
    """Through `down`, with the module's own stride, padding and dilation."""
    return F.conv2d(rows, down, None, module.stride, module.padding, module.dilation, groups)


def _place(
    out: torch.Tensor, where: slice | torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> None:
    """Adds the batched product left @ right to those rows of `out`."""
    if isinstance(where, slice):
        _add_product(out[where], left, right)
    else:
        out.index_add_(0, where, torch.bmm(left, right).view(len(where), *out.shape[1:]))


def _add_product(
    target: torch.Tensor, left: torch.Tensor, right: torch.Tensor, strength: float = 1.0
) -> None:
    """target += strength * left @ right; in place also where it lies in another order."""
    if target.is_contiguous():
        shape = (len(target), left.shape[1], right.shape[2])
        target.view(shape).baddbmm_(left, right, alpha=strength)
    else:
        target.add_(torch.bmm(left, right).view(target.shape), alpha=strength)
