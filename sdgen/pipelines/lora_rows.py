"""A different LoRA on every row of one forward pass, by forward hooks that leave no trace.

LoRA: Hu et al. 2021, arXiv 2106.09685. The weights below are never touched, and a pass without
adapters has no hooks. Stacks of weights are kept, so they change only when the composition of the
batch does.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from torch import nn

from sdgen.pipelines.lora_changes import Change, ChangePiece, change_hook
from sdgen.pipelines.lora_layers import Hook, LayerWeights, Piece, hook_for

COMPOSITIONS = 4  # kept: batches that take turns need not stack anew at every step


@dataclass(frozen=True, eq=False)
class PartWeights:
    """One adapter in one part of a model, by the part's own module names."""

    key: str  # tells equal weights: the file's hash
    layers: Mapping[str, LayerWeights]
    changes: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)  # beside plain pairs

    @property
    def bytes(self) -> int:
        """Memory of its tensors."""
        changes = sum(change.bytes for found in self.changes.values() for change in found)
        return changes + sum(layer.bytes for layer in self.layers.values())


RowSet = tuple[tuple[PartWeights, float], ...]  # the adapters of a row with their strengths


@dataclass(frozen=True)
class _Plan:
    """The hooks of one composition, and the memory that their stacks take."""

    hooks: tuple[tuple[nn.Module, Hook], ...]
    bytes: int


class LoraRows:
    """A module tree whose passes can carry adapters row by row. Engine thread only."""

    def __init__(self, root: nn.Module, memory: int) -> None:
        """memory: bytes that stacks may take; above it rows go set by set, more slowly."""
        self.modules = {  # without the level that transformers 5.6 dropped
            name.removeprefix("text_model."): module
            for name, module in root.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d) or _is_norm(module)
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
        plan = self._made(rows, self._memory - self.bytes)
        self._plans[key] = plan
        return plan

    def _made(self, rows: Sequence[RowSet], room: int) -> _Plan:
        """room: bytes that its stacks may take."""
        sets: list[tuple[RowSet, int, int]] = []  # with the rows that have it: from, to
        start = 0
        for _, members in groupby(rows, key=_key):
            group = list(members)
            if group[0]:
                sets.append((group[0], start, start + len(group)))
            start += len(group)
        pieces: dict[str, list[Piece]] = {}
        changes: dict[str, list[ChangePiece]] = {}
        for row_set, start, stop in sets:
            for weights, strength in row_set:
                for name, layer in weights.layers.items():
                    pieces.setdefault(name, []).append(Piece(start, stop, layer, strength))
                for name, made in weights.changes.items():
                    changes.setdefault(name, []).extend(
                        ChangePiece(start, stop, change, strength) for change in made
                    )
        hooks: list[tuple[nn.Module, Hook]] = [  # before the pairs: see change_hook
            (self.modules[name], change_hook(self.modules[name], found))
            for name, found in changes.items()
        ]
        taken = 0
        for name, found in pieces.items():
            module = self.modules[name]
            hook, size = hook_for(module, found, room - taken)
            hooks.append((module, hook))
            taken += size
        return _Plan(tuple(hooks), taken)


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.LayerNorm | nn.GroupNorm) and module.weight is not None


def _key(row: RowSet) -> tuple[tuple[str, float], ...]:
    return tuple((weights.key, strength) for weights, strength in row)
