"""What a run looks like from outside: its state as far as it can be proven, and its curves."""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lora.config import TrainingRecipe
from lora.jobs.traces import APP, Exit, is_alive, read_exit
from lora.runs import RunFolder, State, Status
from sdgen.errors import ModelUnavailable, SdgenError
from sdgen.model_formats import read_header

Shown = State | Literal["stopping", "interrupted"]
RUNNING: frozenset[Shown] = frozenset(
    {"preparing", "preflight", "training", "evaluating", "exporting", "stopping"}
)
CAN_GO_ON: frozenset[Shown] = frozenset({"stopped", "failed", "interrupted"})
QUIET_SECONDS = 600.0  # a training from the command line that said nothing for so long is gone


@dataclass(frozen=True)
class RunView:
    """One run for the page. error: a sentence, where the state is "failed" or "interrupted"."""

    folder: RunFolder = field(repr=False)
    recipe: TrainingRecipe | None = field(repr=False)
    state: Shown
    status: Status
    error: str = ""
    ahead: int = 0  # trainings before it, where it waits
    paused: bool = False  # while a picture is drawn

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def running(self) -> bool:
        return self.state in RUNNING

    @property
    def files(self) -> tuple[Path, ...]:
        """The finished adapter's files; empty until they were verified."""
        return exported(self.folder, self.status) if self.state == "done" else ()


def exported(folder: RunFolder, status: Status) -> tuple[Path, ...]:
    """The files that the training says it has written; what was taken away since is left out,
    where it lay among the app's adapters."""
    files = (folder.path / name for name in status.files)
    return tuple(path for path in files if _is_inside(path, folder.path) or path.exists())


def verified(folder: RunFolder, status: Status) -> bool:
    """True when the training names files in its folder, and all are whole safetensors files."""
    files = exported(folder, status)
    try:
        whole = all(read_header(path) for path in files)
    except (ModelUnavailable, OSError):
        return False
    return whole and any(_is_inside(path, folder.path) for path in files)


def _is_inside(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder)


def shown_state(folder: RunFolder, status: Status, *, alive: bool, stopping: bool) -> Shown:
    """The state of a run that does not wait. "done" is only what ended well and left its files.

    alive: its process runs and is ours. stopping: it was told to stop.
    """
    if alive:
        if stopping:
            return "stopping"
        if status.state == "queued":
            return "preparing"
        return "exporting" if status.finished else status.state
    end = read_exit(folder)
    if end is None:
        return _unseen(folder, status)
    if end.code == 0 and status.state == "done":
        return "done" if verified(folder, status) else "failed"
    if end.asked_by == APP:
        return "interrupted"
    if end.asked_by or (end.code == 0 and status.state == "stopped"):
        return "stopped"
    return "failed"


def _unseen(folder: RunFolder, status: Status) -> Shown:
    """Nobody saw how it ended: it runs from the command line, or did, or the machine went off."""
    if status.state == "done":
        return "done" if verified(folder, status) else "failed"
    if status.finished:
        return status.state
    fresh = time.time() - status.updated < QUIET_SECONDS
    if status.state != "queued" and fresh and status.pid is not None and is_alive(status.pid):
        return status.state
    return "interrupted"


def what_went_wrong(folder: RunFolder, state: Shown, status: Status) -> str:
    """A sentence for a run that failed or was interrupted; "" for all others."""
    if state == "interrupted":
        return "It was interrupted. What was reached is kept; Continue goes on from there."
    if state != "failed":
        return ""
    if status.error:
        return status.error
    return _sentence(read_exit(folder), status)


def _sentence(end: Exit | None, status: Status) -> str:
    if status.state == "done":
        return "The training ended, but its files are not there or not whole. Continue tries again."
    if end is not None and end.code in (-9, 137):
        return (
            "The system ended the training, most likely because memory ran out. Choose a smaller "
            "batch or resolution; Continue goes on from the last checkpoint."
        )
    code = "" if end is None else f" (exit code {end.code})"
    return f"The training ended unexpectedly{code}. Its log says more; Continue tries again."


def read_recipe(folder: RunFolder) -> TrainingRecipe | None:
    """The run's recipe, or None where it is damaged or from a newer version."""
    try:
        return folder.read_recipe()
    except SdgenError:
        return None


@dataclass
class Curves:
    """The losses of a run, read on from where the last reading ended."""

    path: Path
    loss: dict[int, float] = field(default_factory=dict)  # by step
    held_out: dict[int, float] = field(default_factory=dict)
    _offset: int = 0

    def read(self) -> bool:
        """Take what is new; True where something was. Half a line waits for its other half."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self._offset:  # written anew
                    self.loss, self.held_out, self._offset = {}, {}, 0
                file.seek(self._offset)
                lines = file.read()
        except OSError:
            return False
        whole = lines[: lines.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self._take(line)
        return bool(whole)

    def _take(self, line: bytes) -> None:
        try:
            values = json.loads(line)
            step = int(values["step"])
        except (ValueError, KeyError, TypeError):
            return
        for name, curve in (("loss", self.loss), ("held_out_loss", self.held_out)):
            value = values.get(name)
            if isinstance(value, int | float) and math.isfinite(value):
                curve[step] = float(value)
