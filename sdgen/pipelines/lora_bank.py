"""The LoRA adapters in memory: examined once, shared by all requests, never in the base weights.

An adapter stays resident after its request, so that using it again costs nothing; above a limit
the least recently used ones that no request needs leave. See lora_rows.py for how rows use them.
"""

import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from sdgen.adapters import inspect
from sdgen.adapters.names import PARTS, Part
from sdgen.adapters.report import AdapterReport
from sdgen.errors import AdapterRefused, AdapterUnavailable
from sdgen.pipelines.faults import free_memory, is_out_of_memory
from sdgen.pipelines.lora_probes import probe_text_encoder, probe_unet
from sdgen.pipelines.lora_rows import LoraRows, PartWeights, RowSet
from sdgen.pipelines.lora_weights import read_weights
from sdgen.request import AdapterUse

MIB = 2**20

# What an adapter must change in the output of a part, relative to its largest number, to be more
# than rounding. Full strength, a fixed input.
LEAST_CHANGE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}


@dataclass(frozen=True, eq=False)
class LoadedAdapter:
    """One file in memory."""

    path: Path
    stamp: tuple[int, int]  # of the file when it was read
    report: AdapterReport
    parts: Mapping[Part, PartWeights]

    @cached_property
    def bytes(self) -> int:
        """Memory of its tensors."""
        return sum(weights.bytes for weights in self.parts.values())


class AdapterSet:
    """The adapters of one request with their strengths. While it lives, they stay in memory."""

    def __init__(self, uses: Sequence[tuple[LoadedAdapter, AdapterUse]] = ()) -> None:
        self.adapters = tuple(adapter for adapter, _ in uses)
        self._rows = {part: _row_set(part, uses) for part in PARTS}

    def row(self, part: Part) -> RowSet:
        """What a row of that part carries: those of its adapters that act there."""
        return self._rows[part]

    def key(self, part: Part) -> tuple[tuple[str, float], ...]:
        """Equal for sets that act alike in that part; () for none."""
        return tuple((weights.key, strength) for weights, strength in self._rows[part])


def _row_set(part: Part, uses: Sequence[tuple[LoadedAdapter, AdapterUse]]) -> RowSet:
    found = []
    for adapter, use in uses:
        strength = use.scale if part == "unet" else use.text_strength
        if strength and part in adapter.parts:
            found.append((adapter.parts[part], strength))
    return tuple(found)


NO_ADAPTERS = AdapterSet()


class LoraBank:
    """The adapters of one model. Engine thread only."""

    def __init__(
        self,
        parts: Mapping[Part, nn.Module],
        device: torch.device,
        dtype: torch.dtype,
        memory: int,
    ) -> None:
        """parts: the model's modules. memory: bytes of adapters and stacks together."""
        self._rows = {part: LoraRows(module, memory) for part, module in parts.items()}
        self._parts = parts
        self._device = device
        self._dtype = dtype
        self._memory = memory
        self._reports: dict[Path, tuple[tuple[int, int], AdapterReport]] = {}
        self._loaded: OrderedDict[Path, LoadedAdapter] = OrderedDict()  # least recent first
        self._live: weakref.WeakSet[AdapterSet] = weakref.WeakSet()
        self._sound: set[str] = set()  # hashes of files that passed the examination
        self._base: dict[Part, torch.Tensor] = {}  # what the probes gave without adapters

    # ---- what a request asks ------------------------------------------------------------------

    def report(self, use: AdapterUse) -> AdapterReport:
        """What its header says. Raises AdapterUnavailable, AdapterRefused."""
        path = Path(use.name)
        stamp = _stamp(path)
        known = self._reports.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, inspect(path, bytes_max=None))
            self._reports[path] = known
        return known[1]

    def adapters(self, uses: Sequence[AdapterUse]) -> AdapterSet:
        """The adapters of a request, in memory and examined; names are paths of files.

        Those without any strength are left out. Raises AdapterUnavailable for a file that is gone,
        AdapterRefused for one that cannot work here, with the reason.
        """
        wanted = [use for use in uses if use.scale or use.text_strength]
        if not wanted:
            return NO_ADAPTERS
        found = AdapterSet([(self._adapter(use), use) for use in wanted])
        self._live.add(found)
        self._make_room()
        return found

    @contextmanager
    def carrying(self, part: Part, rows: Sequence[AdapterSet]) -> Iterator[None]:
        """While it lasts, row number n of every pass of that part carries rows[n].

        Memory that runs out gives up all that no request needs, before the caller hears of it.
        """
        try:
            with self._rows[part].carrying([row.row(part) for row in rows]):
                yield
        except Exception as error:
            if is_out_of_memory(error):
                self._give_up_spare_memory()
            raise

    def resident(self) -> tuple[str, ...]:
        """Paths of the adapters in memory, the least recently used first."""
        return tuple(str(path) for path in self._loaded)

    @property
    def bytes(self) -> int:
        """Memory that adapters and stacks take."""
        adapters = sum(adapter.bytes for adapter in self._loaded.values())
        return adapters + sum(rows.bytes for rows in self._rows.values())

    # ---- loading and leaving ------------------------------------------------------------------

    def _adapter(self, use: AdapterUse) -> LoadedAdapter:
        path = Path(use.name)
        known = self._loaded.get(path)
        if known is not None and known.stamp == _stamp(path):
            self._loaded.move_to_end(path)
            return known
        report = self.report(use)
        try:
            adapter = self._read(path, report)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            adapter = None
        if adapter is None:
            self._give_up_spare_memory()
            adapter = self._read(path, report)
        if known is not None:
            self._leave(known)
        self._loaded[path] = adapter
        return adapter

    def _read(self, path: Path, report: AdapterReport) -> LoadedAdapter:
        stamp = self._reports[path][0]  # of the very file that was inspected
        modules = {part: rows.modules for part, rows in self._rows.items()}
        weights = read_weights(
            path,
            report.title,
            report.sha256,
            modules,
            self._device,
            self._dtype,
            report.settings,
        )
        if _stamp(path) != stamp:
            raise AdapterUnavailable(
                f"The adapter '{report.title}' changed while it was read. Please try again."
            )
        adapter = LoadedAdapter(path, stamp, report, weights)
        if report.sha256 not in self._sound:
            self._examine(adapter)
            self._sound.add(report.sha256)
        return adapter

    def _examine(self, adapter: LoadedAdapter) -> None:
        """Raises AdapterRefused when it breaks the model's numbers, or changes nothing."""
        title = adapter.report.title
        changes = False
        for part, weights in adapter.parts.items():
            if part not in self._base:
                self._base[part] = self._probe(part)
            base = self._base[part].float()
            try:
                with self._rows[part].carrying([((weights, 1.0),)]):
                    output = self._probe(part).float()
            finally:
                self._rows[part].forget(weights.key)
            if not bool(torch.isfinite(output).all()):
                raise AdapterRefused(
                    f"The adapter '{title}' breaks this model's numbers: its weights are too large."
                )
            change = (output - base).abs().max() / base.abs().max()
            changes = changes or float(change) > LEAST_CHANGE[self._dtype]
        if not changes:
            raise AdapterRefused(
                f"The adapter '{title}' changes nothing in this model: its weights are zero, or so "
                "small that they drown in rounding."
            )

    def _probe(self, part: Part) -> torch.Tensor:
        if part == "unet":
            return probe_unet(self._parts[part], self._device, self._dtype)
        return probe_text_encoder(self._parts[part], self._device)

    def _make_room(self) -> None:
        """The least recently used leave while memory is above the limit, but none in use."""
        if self.bytes <= self._memory:
            return
        for rows in self._rows.values():
            rows.forget()
        for adapter in self._idle():
            if self.bytes <= self._memory:
                return
            self._leave(adapter)

    def _give_up_spare_memory(self) -> None:
        for rows in self._rows.values():
            rows.forget()
        for adapter in self._idle():
            self._leave(adapter)
        free_memory()

    def _idle(self) -> list[LoadedAdapter]:
        used = {id(adapter) for found in self._live for adapter in found.adapters}
        return [adapter for adapter in self._loaded.values() if id(adapter) not in used]

    def _leave(self, adapter: LoadedAdapter) -> None:
        del self._loaded[adapter.path]
        for part, weights in adapter.parts.items():
            self._rows[part].forget(weights.key)


def _stamp(path: Path) -> tuple[int, int]:
    """Changes when the file does. Raises AdapterUnavailable when it is gone."""
    try:
        found = path.stat()
    except OSError as error:
        raise AdapterUnavailable(
            f"The adapter '{path.stem}' is not on this machine any more."
        ) from error
    return found.st_mtime_ns, found.st_size
