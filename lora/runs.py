"""A training run on disk: where its files lie, how far it is, and which runs there are. No torch.

    RUN/recipe.json    what is trained (lora.config.TrainingRecipe, completed)
    RUN/start.safetensors  an adapter to go on from, where the run did not begin with a fresh one
    RUN/photos/        the checked photos with their captions (lora.dataset)
    RUN/status.json    how far it is, for whoever looks (Status)
    RUN/metrics.jsonl  one line a step: loss, learning rate, gradient norm, seconds
    RUN/checkpoints/   step-000123/ with adapter.safetensors, state.safetensors, state.json
    RUN/samples/       step-000123/00.png ..., and index.json with prompts and seeds
    RUN/commands/      files that somebody drops: sample-now, save-now, stop; gone when obeyed
    RUN/exports/       the finished adapter for diffusers and for kohya's tools
    RUN/scores.json    what the evaluation measured
    RUN/log.txt        what the training process wrote

Files that others read while they are written appear whole or not at all.
"""

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lora.config import TrainingRecipe, default_runs_folder
from sdgen.atomic_write import make_folder, sync_folder
from sdgen.data_folder import make_data_folder

State = Literal[
    "queued",
    "preparing",
    "preflight",
    "training",
    "evaluating",
    "exporting",
    "done",
    "stopped",
    "failed",
]
FINISHED: frozenset[State] = frozenset({"done", "stopped", "failed"})
Command = Literal["sample-now", "save-now", "stop"]


class Status(BaseModel):
    """How far a run is. `updated` is in seconds since 1970; `error` and `message` are sentences."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: State = "queued"
    step: int = 0
    steps: int = 0
    seconds_per_step: float | None = None
    seconds_left: float | None = None
    peak_gb: float | None = None
    message: str = ""
    error: str = ""
    updated: float = 0.0
    pid: int | None = None
    best_step: int | None = None
    best_strength: float | None = None
    reason: str = ""  # why that step
    files: tuple[str, ...] = ()  # exported, relative to the run folder or absolute

    @property
    def finished(self) -> bool:
        """True when nothing more will happen by itself."""
        return self.state in FINISHED

    def changed(self, **fields: object) -> "Status":
        """The same with other fields and the time of now."""
        values = {**self.model_dump(), **fields, "updated": datetime.now(UTC).timestamp()}
        return Status.model_validate(values)

    @classmethod
    def read(cls, path: Path) -> "Status":
        """What the file says; a fresh Status where there is no readable file yet."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return cls()

    def write(self, path: Path) -> None:
        """Put it on disk, whole."""
        write_whole(path, self.model_dump_json(indent=1).encode(), sync=False)


@dataclass(frozen=True)
class RunFolder:
    """The places of one run's files; nothing is made until something is written."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name, which tells runs apart on the page."""
        return self.path.name

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.json"

    @property
    def start(self) -> Path:
        """An adapter to begin with instead of a fresh one, where there is this file."""
        return self.path / "start.safetensors"

    @property
    def photos(self) -> Path:
        return self.path / "photos"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def samples_index(self) -> Path:
        return self.samples / "index.json"

    @property
    def commands(self) -> Path:
        return self.path / "commands"

    @property
    def exports(self) -> Path:
        return self.path / "exports"

    @property
    def scores(self) -> Path:
        return self.path / "scores.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint after `step` steps."""
        return self.checkpoints / step_name(step)

    def sample_folder(self, step: int) -> Path:
        """The folder of the samples drawn after `step` steps."""
        return self.samples / step_name(step)

    def saved_steps(self) -> list[int]:
        """The steps of which a checkpoint is there, rising."""
        return _steps_in(self.checkpoints)

    def sampled_steps(self) -> list[int]:
        """The steps of which samples are there, rising; 0 is the base alone."""
        return _steps_in(self.samples)

    def read_recipe(self) -> TrainingRecipe:
        """The run's recipe. Raises InvalidRecipe when it is missing or damaged."""
        return TrainingRecipe.read(self.recipe)

    def read_status(self) -> Status:
        """How far it is."""
        return Status.read(self.status)

    def read_metrics(self) -> list[dict[str, float]]:
        """The lines of metrics.jsonl in order; half-written and damaged ones are left out."""
        try:
            lines = self.metrics.read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        found: list[dict[str, float]] = []
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                found.append(value)
        return found

    def send(self, command: Command) -> None:
        """Ask the training process for something; it looks after every step."""
        self.commands.mkdir(parents=True, exist_ok=True)
        (self.commands / command).touch()

    def take(self, command: Command) -> bool:
        """True once for each command that was sent; for the training process."""
        try:
            (self.commands / command).unlink()
        except FileNotFoundError:
            return False
        return True


def step_name(step: int) -> str:
    """The folder name of a step: "step-000123"."""
    return f"step-{step:06d}"


def new_run_folder(data_dir: Path, name: str) -> RunFolder:
    """A new, empty folder for a run of the adapter `name`, in data_dir/training."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "adapter"
    home = default_runs_folder(data_dir)
    make_data_folder(data_dir)
    while True:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        path = home / f"{stamp}-{slug}-{secrets.token_hex(2)}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return RunFolder(path)


def list_runs(data_dir: Path) -> list[RunFolder]:
    """The runs of the data folder, newest first: every folder with a recipe in it."""
    home = default_runs_folder(data_dir)
    try:
        folders = sorted(home.iterdir(), reverse=True)
    except OSError:
        return []
    return [RunFolder(path) for path in folders if (path / "recipe.json").is_file()]


def write_whole(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file so that readers see the old one or the new one, never a part.

    sync: also wait until the disk has it, so that a power cut leaves the whole file, and there.
    """
    make_folder(path.parent)
    stump = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with stump.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        stump.replace(path)
        if sync:
            sync_folder(path.parent)
    except OSError:
        stump.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, object], *, sync: bool = True) -> None:
    """The same for a JSON object."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False).encode(), sync=sync)


def _steps_in(folder: Path) -> list[int]:
    """The numbers of the step folders in `folder`, rising."""
    try:
        names = [path.name for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []
    return sorted(int(match[1]) for name in names if (match := re.fullmatch(r"step-(\d+)", name)))
