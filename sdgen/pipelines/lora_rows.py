"""A different LoRA on every row of one forward pass, by forward hooks that leave no trace.

    y[row] += strength * up(down(x[row]))     for every adapter of that row

LoRA: Hu et al. 2021, arXiv 2106.09685. The weights below are never touched, and a pass without
adapters has no hooks. Rows that share their adapters use the resident tensors as they lie; a pass
of many sets stacks them, padded to the largest rank, so that one batched product serves all rows.
Stacks are kept, so they change only when the composition of the batch does.

Letters in shapes: r rows, i and o channels in and out, k rank, s tokens, h and w a grid.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

FEW_SETS = 2  # up to so many, a product for each is as fast as a stack, and copies nothing
WASTE = 2.0  # a stack may hold that many times the numbers that its rows need
COMPOSITIONS = 4  # kept: batches that take turns need not stack anew at every step


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


@dataclass(frozen=True, eq=False)
class PartWeights:
    """One adapter in one part of a model, by the part's own module names."""

    key: str  # tells equal weights: the file's hash
    layers: Mapping[str, LayerWeights]


RowSet = tuple[tuple[PartWeights, float], ...]  # the adapters of a row with their strengths
Hook = Callable[[Any, tuple[Any, ...], torch.Tensor], None]


@dataclass(frozen=True)
class _Piece:
    """Neighbouring rows that have one adapter at one module."""

    start: int
    stop: int
    layer: LayerWeights
    strength: float


@dataclass(frozen=True)
class _Plan:
    """The hooks of one composition, and the memory that their stacks take."""

    hooks: tuple[tuple[nn.Module, Hook], ...]
    bytes: int


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


class LoraRows:
    """A module tree whose passes can carry adapters row by row. Engine thread only."""

    def __init__(self, root: nn.Module, memory: int) -> None:
        """memory: bytes that stacks may take; above it rows go set by set, more slowly."""
        self.modules = {  # without the level that transformers 5.6 dropped
            name.removeprefix("text_model."): module
            for name, module in root.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
        }
        self._memory = memory
        self._plans: OrderedDict[tuple[Any, ...], _Plan] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Memory that the stacks take now."""
        return sum(plan.bytes for plan in self._plans.values())

    @contextmanager
    def carrying(self, rows: Sequence[RowSet]) -> Iterator[None]:
        """While it lasts, row number n of every pass has the adapters of rows[n].

        Rows of equal sets should be neighbours, and those without adapters come last. With one
        set for all rows, a pass may have fewer rows than that.
        """
        if not any(rows):
            yield
            return
        handles = []
        try:
            for module, hook in self._plan(rows).hooks:
                handles.append(module.register_forward_hook(hook))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def forget(self, key: str | None = None) -> None:
        """Give stacks back: those with the weights of that key, or all. Made anew when needed."""
        for composition in list(self._plans):
            if key is None or any(key == name for row in composition for name, _ in row):
                del self._plans[composition]

    def _plan(self, rows: Sequence[RowSet]) -> _Plan:
        key = tuple(_key(row) for row in rows)
        plan = self._plans.get(key)
        if plan is not None:
            self._plans.move_to_end(key)
            return plan
        while self._plans and (len(self._plans) >= COMPOSITIONS or self.bytes > self._memory // 2):
            self._plans.popitem(last=False)
        plan = self._made(rows)
        self._plans[key] = plan
        return plan

    def _made(self, rows: Sequence[RowSet]) -> _Plan:
        sets: list[tuple[RowSet, int, int]] = []  # with the rows that have it: from, to
        start = 0
        for _, members in groupby(rows, key=_key):
            group = list(members)
            if group[0]:
                sets.append((group[0], start, start + len(group)))
            start += len(group)
        pieces: dict[str, list[_Piece]] = {}
        for row_set, start, stop in sets:
            for weights, strength in row_set:
                for name, layer in weights.layers.items():
                    pieces.setdefault(name, []).append(_Piece(start, stop, layer, strength))
        hooks: list[tuple[nn.Module, Hook]] = []
        taken = 0
        for name, found in pieces.items():
            module = self.modules[name]
            size = _stack_bytes(found)
            if size and taken + size <= self._memory:
                hooks.append((module, _stacked(module, found)))
                taken += size
            else:
                hooks.append((module, _by_set(module, found)))
        return _Plan(tuple(hooks), taken)


def _key(row: RowSet) -> tuple[tuple[str, float], ...]:
    return tuple((weights.key, strength) for weights, strength in row)


def _is_pointwise(module: nn.Conv2d) -> bool:
    sizes = (module.kernel_size, module.stride, module.padding)
    return sizes == ((1, 1), (1, 1), (0, 0))


# ---- set by set: the resident tensors as they lie ---------------------------------------------


def _by_set(module: nn.Module, pieces: Sequence[_Piece]) -> Hook:
    """The hook that serves neighbouring rows of equal adapters by one product each."""
    if isinstance(module, nn.Linear):
        return partial(_linear_by_set, tuple(pieces))
    assert isinstance(module, nn.Conv2d)
    return partial(_conv_by_set, tuple(pieces), _is_pointwise(module))


def _linear_by_set(
    pieces: Sequence[_Piece], module: nn.Linear, args: tuple[Any, ...], out: torch.Tensor
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
    pieces: Sequence[_Piece],
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


def _stack_bytes(pieces: Sequence[_Piece]) -> int:
    """The size of the stacks for one module; 0 where they would not pay."""
    if len({piece.start for piece in pieces}) <= FEW_SETS:
        return 0
    ranks = _ranks(pieces)
    largest = max(ranks.values())
    if len(ranks) * largest > WASTE * sum(ranks.values()):
        return 0
    layer = pieces[0].layer
    return len(ranks) * largest * layer.bytes // layer.rank


def _ranks(pieces: Sequence[_Piece]) -> dict[int, int]:
    """By row the rank that its adapters need together."""
    ranks: dict[int, int] = {}
    for piece in pieces:
        for row in range(piece.start, piece.stop):
            ranks[row] = ranks.get(row, 0) + piece.layer.rank
    return ranks


def _stacked(module: nn.Module, pieces: Sequence[_Piece]) -> Hook:
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
    pieces: Sequence[_Piece], rows: Sequence[int], rank: int, linear: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """down and up of all rows, [r, ...] each, strengths folded into up, the rest filled with 0."""
    by_row: dict[int, list[_Piece]] = {row: [] for row in rows}
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
