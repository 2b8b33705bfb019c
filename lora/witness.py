"""What others see of a run while it goes, and what they ask of it: status, metrics, commands."""

import contextlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import psutil  # type: ignore[import-untyped]  # comes with accelerate
import torch

from lora.processes import Alone
from lora.runs import RunFolder, Status, write_whole
from lora.trainer import Step

STATUS_SECONDS = 0.5  # between two writings of the status
OnStep = Callable[[Status, Step], None]


class Witness:
    """Writes the status and the metrics of a run, and takes commands and signals.

    Of several processes only the first one writes; all of them hear the same commands.
    """

    def __init__(self, run: RunFolder, group: Alone, on_step: OnStep | None) -> None:
        self._run = run
        self._group = group
        self._on_step = on_step
        self._stop = False
        self._told = 0.0
        self.status = run.read_status().changed(
            state="preparing", pid=os.getpid(), error="", message=""
        )
        self.tell()

    def tell(self, **fields: object) -> None:
        """Change the status and write it."""
        self.status = self.status.changed(**fields)
        self._told = time.monotonic()
        if self._group.rank == 0:
            self.status.write(self._run.status)

    def note(self, step: int, steps: int, done: Step, seconds: float) -> None:
        """One line of metrics; the status not more often than people read."""
        before = self.status.seconds_per_step
        smooth = seconds if before is None else 0.9 * before + 0.1 * seconds
        line: dict[str, float] = {"step": step, "loss": done.loss, "lr": done.learning_rate}
        if math.isfinite(done.gradient_norm):
            line["grad_norm"] = done.gradient_norm
        self.write_line({**line, "seconds": round(seconds, 5)})
        self.status = self.status.changed(
            step=step, seconds_per_step=smooth, seconds_left=smooth * (steps - step)
        )
        if time.monotonic() - self._told >= STATUS_SECONDS:
            self.tell(peak_gb=peak_gb())
        if self._on_step is not None:
            self._on_step(self.status, done)

    def write_line(self, line: dict[str, Any]) -> None:
        if self._group.rank == 0:
            with self._run.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps that will be done again."""
        if self._group.rank:
            return
        lines = [json.dumps(line) for line in self._run.read_metrics() if line["step"] <= step]
        write_whole(self._run.metrics, "".join(f"{line}\n" for line in lines).encode())

    def stop_asked(self) -> bool:
        """Whether to stop now; for the first process, where no other one waits for the answer."""
        return self._run.take("stop") or self._stop

    def asked(self) -> tuple[bool, bool, bool]:
        """Whether to stop, to save, to draw samples now; the same in all processes."""
        mine = (False, False, False)
        if self._group.rank == 0:
            take = self._run.take
            mine = (self.stop_asked(), take("save-now"), take("sample-now"))
        stop, save, sample = self._group.agree(mine)
        return stop, save, sample

    @contextlib.contextmanager
    def stop_on_signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl+C end the run after its step, with a checkpoint."""

        def stop(_signal: int, _frame: FrameType | None) -> None:
            self._stop = True

        before: dict[signal.Signals, Any] = {}
        with contextlib.suppress(ValueError):  # not the main thread: a notebook's, a test's
            for number in (signal.SIGTERM, signal.SIGINT):
                before[number] = signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def peak_gb() -> float:
    """The most memory that was in use, GB: of the GPU, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    memory = psutil.Process().memory_info()
    if sys.platform == "win32":
        return float(memory.peak_wset) / 1e9
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
