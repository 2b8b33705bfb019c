"""What adapters change at a module beyond a plain pair: whole weights, LoHa, LoKr, DoRA, norms.

Each is one more hook beside the pairs' own (lora_layers.py), made only where an adapter of the
batch has such a thing. The base's weights are read and never written. A change acts on the rows of
its adapter alone and grows in proportion to the strength, as ComfyUI has it:

    y[row] += strength * (what the module would give with the changed weights - what it gives)

Letters in shapes: r rows, i and o channels in and out, s tokens, h and w a grid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from sdgen.pipelines.lora_layers import Hook


@dataclass(frozen=True, eq=False)
class Whole:
    """The weight's change itself: [o, i] of a Linear, [o, i, kh, kw] of a convolution."""

    weight: torch.Tensor

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return self.weight.nbytes

    def of(self, module: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        """What it adds to the output for these inputs, without bias."""
        return _through(module, rows, self.weight)


@dataclass(frozen=True, eq=False)
class Hadamard:
    """LoHa of a high rank (arXiv 2108.06098): (up_1 down_1) * (up_2 down_2), elementwise.

    up [o, k], down [k, i kh kw]. Kept as factors, as the product is as large as the base's weight;
    it is made anew in every pass, which costs k / s of the pass through the module.
    """

    ups: tuple[torch.Tensor, torch.Tensor]
    downs: tuple[torch.Tensor, torch.Tensor]

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(factor.nbytes for factor in (*self.ups, *self.downs))

    def of(self, module: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        """As Whole.of."""
        weight = (self.ups[0] @ self.downs[0]).mul_(self.ups[1] @ self.downs[1])
        shape = (len(weight), -1) if isinstance(module, nn.Linear) else _kernel_shape(module)
        return _through(module, rows, weight.view(shape))


@dataclass(frozen=True, eq=False)
class Kronecker:
    """LoKr (arXiv 2212.10650): kron(left, right), never multiplied out.

    left [o1, i1], right [o2, i2] or [o2, i2, kh, kw]. gain_in [i] and gain_out [o] are DoRA's.
    """

    left: torch.Tensor
    right: torch.Tensor
    gain_in: torch.Tensor | None = None
    gain_out: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        tensors = (self.left, self.right, self.gain_in, self.gain_out)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    def of(self, module: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        """As Whole.of."""
        if self.gain_in is not None:
            rows = rows * _along(self.gain_in, module)
        (o1, i1), i2 = self.left.shape, self.right.shape[1]
        if isinstance(module, nn.Linear):
            split = rows.reshape(*rows.shape[:-1], i1, i2)
            inner = torch.matmul(split, self.right.t())  # [r, s, i1, o2]
            out = torch.matmul(self.left, inner).flatten(-2)
        else:
            parts = rows.reshape(len(rows) * i1, i2, *rows.shape[2:])
            inner = _through(module, parts, self.right)  # [r i1, o2, h, w]
            o2, *grid = inner.shape[1:]
            out = torch.matmul(self.left, inner.reshape(len(rows), i1, -1))  # [r, o1, o2 h w]
            out = out.view(len(rows), o1 * o2, *grid)
        return out if self.gain_out is None else out * _along(self.gain_out, module)


@dataclass(frozen=True, eq=False)
class InputGain:
    """The base's weight with its columns scaled, W * gain: DoRA along the inputs. gain [i]."""

    gain: torch.Tensor

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return self.gain.nbytes

    def of(self, module: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        """As Whole.of."""
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        return _through(module, rows * _along(self.gain, module), weight)


@dataclass(frozen=True, eq=False)
class Affine:
    """Vectors [c] by which outputs are changed: gain * value + bias.

    The value is the module's output, or, of a norm, what it normalised, without its own weight and
    bias. So for DoRA along the outputs, for biases, and for norms.
    """

    gain: torch.Tensor | None
    bias: torch.Tensor | None

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(vector.nbytes for vector in (self.gain, self.bias) if vector is not None)


Change = Whole | Hadamard | Kronecker | InputGain | Affine


@dataclass(frozen=True)
class ChangePiece:
    """Neighbouring rows for which one adapter changes one module."""

    start: int
    stop: int
    change: Change
    strength: float


def change_hook(module: nn.Module, pieces: Sequence[ChangePiece]) -> Hook:
    """The hook that applies all pieces to the module's output. It must come before those that add
    pairs, as DoRA scales what the base alone gives."""
    affine = [piece for piece in pieces if isinstance(piece.change, Affine)]
    others = [piece for piece in pieces if not isinstance(piece.change, Affine)]
    return partial(_changed, _vectors(module, affine), tuple(others))


def _changed(
    vectors: "_Vectors | None",
    pieces: Sequence[ChangePiece],
    module: nn.Module,
    args: tuple[Any, ...],
    out: torch.Tensor,
) -> None:
    if vectors is not None:
        vectors.add_to(module, args[0], out)
    for piece in pieces:
        assert not isinstance(piece.change, Affine)
        added = piece.change.of(module, args[0][piece.start : piece.stop])
        out[piece.start : piece.stop].add_(added, alpha=piece.strength)


@dataclass(frozen=True, eq=False)
class _Vectors:
    """The sums of Affine for rows of many sets: [r, c], or [1, c] where all rows are alike."""

    start: int
    stop: int
    gain: torch.Tensor | None
    bias: torch.Tensor | None

    def add_to(self, module: nn.Module, given: torch.Tensor, out: torch.Tensor) -> None:
        """Change those rows of the module's output `out` for its input `given`."""
        rows = slice(self.start, self.stop)
        target = out[rows]
        if self.gain is not None:
            value = _normalised(module, given[rows])
            target.addcmul_(target if value is None else value, _spread(self.gain, module, target))
        if self.bias is not None:
            target.add_(_spread(self.bias, module, target))


def _vectors(module: nn.Module, pieces: Sequence[ChangePiece]) -> _Vectors | None:
    if not pieces:
        return None
    start, stop = min(p.start for p in pieces), max(p.stop for p in pieces)
    alike = len({(piece.start, piece.stop) for piece in pieces}) == 1

    def summed(pick: Callable[[Affine], torch.Tensor | None]) -> torch.Tensor | None:
        table: torch.Tensor | None = None
        for piece in pieces:
            assert isinstance(piece.change, Affine)
            vector = pick(piece.change)
            if vector is None:
                continue
            if table is None:
                table = vector.new_zeros(1 if alike else stop - start, len(vector))
            rows = slice(None) if alike else slice(piece.start - start, piece.stop - start)
            table[rows].add_(vector, alpha=piece.strength)
        return table

    return _Vectors(start, stop, summed(lambda one: one.gain), summed(lambda one: one.bias))


def _normalised(module: nn.Module, rows: torch.Tensor) -> torch.Tensor | None:
    """What a norm gives before its own weight and bias; None for other modules."""
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(rows, module.normalized_shape, None, None, module.eps)
    if isinstance(module, nn.GroupNorm):
        return F.group_norm(rows, module.num_groups, None, None, module.eps)
    return None


def _spread(table: torch.Tensor, module: nn.Module, target: torch.Tensor) -> torch.Tensor:
    """Vectors [r, c] so that they lie along the target's channels."""
    between = target.ndim - 2
    if isinstance(module, nn.Linear | nn.LayerNorm):
        return table.view(len(table), *(1 for _ in range(between)), -1)
    return table.view(len(table), -1, *(1 for _ in range(between)))


def _along(vector: torch.Tensor, module: nn.Module) -> torch.Tensor:
    """A vector of channels so that it lies along the channels of a module's inputs or outputs."""
    return vector if isinstance(module, nn.Linear) else vector.view(1, -1, 1, 1)


def _through(module: nn.Module, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Rows through a weight in the place of the module's own, with its stride and padding."""
    if isinstance(module, nn.Linear):
        return F.linear(rows, weight)
    assert isinstance(module, nn.Conv2d)
    return F.conv2d(rows, weight, None, module.stride, module.padding, module.dilation)


def _kernel_shape(module: nn.Module) -> tuple[int, ...]:
    assert isinstance(module, nn.Conv2d)
    return (module.out_channels, module.in_channels, *module.kernel_size)
