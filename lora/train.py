"""A training run from its recipe to the verified file; the same for command line, page, notebook.

run = new_run_folder(data_dir, recipe.name)
prepare(recipe, run)      # the recipe and the checked photos into the folder
trained = train(run)      # to the end, or until it is stopped
trained = resume(run)     # on from the last checkpoint, as if nothing had happened
"""

import contextlib
import json
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil  # type: ignore[import-untyped]  # comes with accelerate
import torch

from lora.base import Base, load_base
from lora.cache import encode_photos
from lora.checkpoints import (
    Checkpoint,
    latest_checkpoint,
    read_tensors,
    save_checkpoint,
    tensor_bytes,
)
from lora.config import CompleteRecipe, InvalidRecipe, TrainingRecipe, completed
from lora.dataset import Dataset, load_dataset, write_dataset
from lora.network import load_adapter_state
from lora.preflight import preflight
from lora.processes import Alone, processes
from lora.runs import RunFolder, State, Status, write_whole
from lora.samples import HeldOut, draw_samples
from lora.trainer import Step, Trainer
from sdgen.config import Settings, read_settings
from sdgen.errors import SdgenError
from sdgen.pipelines.faults import is_out_of_memory

log = logging.getLogger(__name__)

MOVES_WITHIN = 20  # steps; an adapter that still is zero by then never will move
MOST_RETURNS = 3  # to the last good state, before a run is given up
STATUS_SECONDS = 0.5  # between two writings of the status


class TrainingFailed(SdgenError):
    """A run cannot go on; what was saved is kept."""


@dataclass(frozen=True)
class TrainedRun:
    """How a run ended: done with files, or stopped with a checkpoint."""

    folder: RunFolder
    state: State
    step: int
    status: Status


OnStep = Callable[[Status, Step], None]


def prepare(recipe: TrainingRecipe, run: RunFolder, base: Base | None = None) -> CompleteRecipe:
    """Check the recipe's photos into the run's folder, and complete the recipe there.

    Photos that lie there already, checked and captioned, are taken as they are. Raises
    InvalidRecipe, PhotosRefused, and what load_base raises.
    """
    base = base or load_base(recipe)
    if (run.photos / "metadata.jsonl").is_file():
        dataset = load_dataset(run.photos)
    else:
        dataset = _checked_photos(recipe, run, base)
    if not dataset.examples:
        raise InvalidRecipe("photos", "There is no photo to train on.")
    whole = completed(recipe, base.family, len(dataset.examples))
    factor = 2 ** (len(base.vae.config.block_out_channels) - 1)
    if any(side % factor for example in dataset.examples for side in example.bucket):
        raise InvalidRecipe(
            "resolution", f"'{base.spec.title}' needs a resolution that {factor * 4} divides."
        )
    write_whole(run.recipe, whole.to_json().encode())
    return whole


def train(
    run: RunFolder,
    on_step: OnStep | None = None,
    settings: Settings | None = None,
    *,
    export: bool = True,
) -> TrainedRun:
    """Train the run's recipe to its end, from the last checkpoint where there is one.

    on_step: called after every step. export: choose the best checkpoint and write its files at the
    end; False ends with the last checkpoint. Raises TrainingFailed, InvalidRecipe and what loading
    raises; the run's status then says the same.
    """
    with processes() as group:
        return _train(run, on_step, settings or read_settings(), group, export)


def _train(
    run: RunFolder, on_step: OnStep | None, settings: Settings, group: Alone, export: bool
) -> TrainedRun:
    course = _Course(run, on_step, settings, group, export)
    try:
        with course.stop_on_signals():
            return course.run()
    except Exception as error:
        told = error if isinstance(error, SdgenError) else _explained(error)
        with contextlib.suppress(OSError):  # the disk may be what failed
            course.tell(state="failed", error=str(told))
        if told is error:
            raise
        log.error("training failed", exc_info=error)
        raise told from error


def resume(
    run: RunFolder,
    steps: int | None = None,
    on_step: OnStep | None = None,
    settings: Settings | None = None,
    *,
    export: bool = True,
) -> TrainedRun:
    """Go on from the last whole checkpoint. steps: train to so many in all instead."""
    if steps is not None:
        recipe = run.read_recipe().with_fields(steps=steps)
        write_whole(run.recipe, recipe.to_json().encode())
    return train(run, on_step, settings, export=export)


def start_from_file(
    file: Path, run: RunFolder, photos: str, steps: int | None = None, base: str | None = None
) -> TrainingRecipe:
    """Set up a run that goes on from an exported adapter, with the recipe that it carries.

    photos, base: where they are now; a file names no folders. steps: of this run.
    Raises NoRecipe, ExportFailed or InvalidRecipe where the file or what it says cannot be used.
    """
    from lora.export import adapter_from_file, recipe_from_file

    recipe = recipe_from_file(file, photos, base)
    if steps is not None:
        recipe = recipe.with_fields(steps=steps, save_every=None)
    write_whole(run.start, tensor_bytes(adapter_from_file(file)))
    write_whole(run.recipe, recipe.to_json().encode())
    return recipe


class _Course:
    """One process's way through a run."""

    def __init__(
        self,
        run: RunFolder,
        on_step: OnStep | None,
        settings: Settings,
        group: Alone,
        export: bool,
    ) -> None:
        self._export = export
        self._run = run
        self._on_step = on_step
        self._settings = settings
        self._group = group
        self._stop = False
        self._status = run.read_status().changed(
            state="preparing", pid=os.getpid(), error="", message=""
        )
        self._told = 0.0
        self.tell()

    # The way

    def run(self) -> TrainedRun:
        base = load_base(self._run.read_recipe(), self._settings)
        if self._group.rank == 0:
            prepare(self._run.read_recipe(), self._run, base)
        self._group.wait()
        recipe = CompleteRecipe.read(self._run.recipe)
        dataset = load_dataset(self._run.photos)
        self.tell(steps=recipe.steps, message="The photos are being encoded.")
        photos = (*dataset.examples, *dataset.held_out)
        latents = encode_photos(base, photos, self._run.path / "cache")
        kept = [latents[example.id] for example in dataset.held_out]

        def trainer_of(recipe: CompleteRecipe) -> Trainer:
            return Trainer(base, recipe, dataset.examples, latents, self._group)

        last = latest_checkpoint(self._run)
        if last is None and self._group.world == 1:
            recipe = self._try_out(recipe, trainer_of)
        trainer = trainer_of(recipe)
        held_out = HeldOut(base, recipe, dataset.held_out, kept)
        base.rest(text_too=not recipe.text_encoder)
        if last is not None:
            trainer.restore(last)
            self._forget_after(last.step)
        elif self._run.start.exists():
            load_adapter_state(base, read_tensors(self._run.start))
        step = last.step if last is not None else 0
        if step == 0:
            self._look(base, recipe, trainer, held_out, 0)
        self.tell(state="training", step=step)
        step = self._steps(base, recipe, trainer, held_out, step, last)
        if step < recipe.steps:
            self.tell(state="stopped", step=step, message="Stopped; the checkpoint is kept.")
            return TrainedRun(self._run, "stopped", step, self._status)
        if not self._export:
            self.tell(state="done", step=step, message="Trained; nothing was exported.")
            return TrainedRun(self._run, "done", step, self._status)
        return self._finish(base, step)

    def _try_out(
        self, recipe: CompleteRecipe, trainer_of: Callable[[CompleteRecipe], Trainer]
    ) -> CompleteRecipe:
        """The recipe as it fits this machine's memory; tells how long it will take."""
        self.tell(state="preflight", message="Three steps are tried out.")
        measured = preflight(recipe, trainer_of, _peak_gb)
        if measured.recipe != recipe:
            write_whole(self._run.recipe, measured.recipe.to_json().encode())
        self.tell(
            seconds_per_step=measured.seconds_per_step,
            seconds_left=measured.seconds,
            peak_gb=measured.peak_gb,
            message=" ".join(measured.notes),
        )
        return measured.recipe

    def _steps(
        self,
        base: Base,
        recipe: CompleteRecipe,
        trainer: Trainer,
        held_out: HeldOut,
        step: int,
        last: Checkpoint | None,
    ) -> int:
        """All steps from `step` on; the step it ended at."""
        good = last or trainer.checkpoint(step)
        returns = 0
        while step < recipe.steps:
            began = time.perf_counter()
            done = trainer.step(step)
            seconds = time.perf_counter() - began
            if not done.finite:
                returns += 1
                good = self._return_to(good, trainer, returns)
                step = good.step
                continue
            step += 1
            self._note(step, recipe, done, seconds)
            if step == min(MOVES_WITHIN, recipe.steps) and not trainer.moved():
                raise TrainingFailed(
                    f"After {step} steps the adapter is still without effect. Please report this "
                    "with the run's recipe."
                )
            stop, save, sample = self._asked()
            if step % recipe.save_every == 0 or step == recipe.steps:
                good = self._save(recipe, trainer, step)
                self._look(base, recipe, trainer, held_out, step)
            else:
                if save or stop:
                    good = self._save(recipe, trainer, step)
                if sample:
                    self._look(base, recipe, trainer, held_out, step)
            if stop:
                break
        return step

    def _return_to(self, good: Checkpoint, trainer: Trainer, returns: int) -> Checkpoint:
        """Back to the last good state, with half the learning rate from there on."""
        if returns > MOST_RETURNS:
            raise TrainingFailed(
                f"The numbers broke {returns} times after step {good.step}. Lower the learning "
                "rate, or train in float32, and resume: everything up to there is kept."
            )
        trainer.restore(good)
        trainer.rate_factor /= 2
        self._forget_after(good.step)
        self.tell(
            step=good.step,
            message=f"The numbers broke; went back to step {good.step} with a learning rate "
            f"{1 / trainer.rate_factor:g} times smaller.",
        )
        return trainer.checkpoint(good.step)

    def _save(self, recipe: CompleteRecipe, trainer: Trainer, step: int) -> Checkpoint:
        checkpoint = trainer.checkpoint(step)
        if self._group.rank == 0:
            save_checkpoint(self._run, checkpoint, recipe.rank)
        return checkpoint

    def _look(
        self, base: Base, recipe: CompleteRecipe, trainer: Trainer, held_out: HeldOut, step: int
    ) -> None:
        """Samples and the held-out loss of this step."""
        if self._group.rank == 0:
            with trainer.averaged():
                loss = held_out.loss()
                if loss is not None:
                    self._write_line({"step": step, "held_out_loss": loss})
                draw_samples(base, recipe, self._run, step)
            base.rest(text_too=not recipe.text_encoder)
        self._group.wait()

    def _finish(self, base: Base, step: int) -> TrainedRun:
        """Measure the checkpoints, choose one, export and verify it."""
        from lora.evaluate import evaluate
        from lora.export import export

        if self._group.rank:
            return TrainedRun(self._run, "done", step, self._status)
        self.tell(state="evaluating", step=step, seconds_left=None)
        base.wake()
        pick = evaluate(self._run, base, on_progress=lambda sentence: self.tell(message=sentence))
        self.tell(
            state="exporting",
            best_step=pick.step,
            best_strength=pick.strength,
            reason=pick.reason,
        )
        exported = export(self._run, pick.step, pick.strength, self._settings.data_dir, base=base)
        files = [str(path) for path in exported.paths]
        self.tell(state="done", message=exported.sentence(), files=files)
        return TrainedRun(self._run, "done", step, self._status)

    # What others see

    def tell(self, **fields: object) -> None:
        """Change the status and write it."""
        self._status = self._status.changed(**fields)
        self._told = time.monotonic()
        if self._group.rank == 0:
            self._status.write(self._run.status)

    def _note(self, step: int, recipe: CompleteRecipe, done: Step, seconds: float) -> None:
        """One line of metrics; the status not more often than people read."""
        before = self._status.seconds_per_step
        smooth = seconds if before is None else 0.9 * before + 0.1 * seconds
        line: dict[str, float] = {"step": step, "loss": done.loss, "lr": done.learning_rate}
        if math.isfinite(done.gradient_norm):
            line["grad_norm"] = done.gradient_norm
        self._write_line({**line, "seconds": round(seconds, 5)})
        self._status = self._status.changed(
            step=step, seconds_per_step=smooth, seconds_left=smooth * (recipe.steps - step)
        )
        if time.monotonic() - self._told >= STATUS_SECONDS:
            self.tell(peak_gb=_peak_gb())
        if self._on_step is not None:
            self._on_step(self._status, done)

    def _write_line(self, line: dict[str, Any]) -> None:
        if self._group.rank == 0:
            with self._run.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _forget_after(self, step: int) -> None:
        """Drop the metrics of steps that will be done again."""
        if self._group.rank:
            return
        lines = [json.dumps(line) for line in self._run.read_metrics() if line["step"] <= step]
        write_whole(self._run.metrics, "".join(f"{line}\n" for line in lines).encode())

    def _asked(self) -> tuple[bool, bool, bool]:
        """Whether to stop, to save, to draw samples now; the same in all processes."""
        mine = (False, False, False)
        if self._group.rank == 0:
            take = self._run.take
            mine = (take("stop") or self._stop, take("save-now"), take("sample-now"))
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


def _checked_photos(recipe: TrainingRecipe, run: RunFolder, base: Base) -> Dataset:
    """The recipe's photos, checked and stored in the run's folder."""
    from lora.dataset import check, split
    from lora.dataset.buckets import default_step

    factor = 2 ** (len(base.vae.config.block_out_channels) - 1)
    tokenizer = base.tokenizers[0]

    def count_tokens(caption: str) -> int:
        return len(tokenizer(caption).input_ids) - 2  # without start and end

    resolution = completed(recipe, base.family, 1).resolution
    report = check(
        Path(recipe.photos).expanduser(),
        run.photos,
        recipe.trigger,
        recipe.class_word,
        resolution=resolution,
        count_tokens=count_tokens,
        aspect_buckets=recipe.buckets,
        step=default_step(resolution, factor),
    )
    return write_dataset(split(report.dataset, recipe.held_out, seed=recipe.seed), run.photos)


def _explained(error: Exception) -> TrainingFailed:
    """What a foreign error means, and what to do. What was saved before is kept in any case."""
    if is_out_of_memory(error):
        return TrainingFailed(
            "Memory ran out in the middle of the run. Close other programs, or lower batch_size in "
            "its recipe.json and raise accumulation as much, then resume."
        )
    if isinstance(error, OSError):
        return TrainingFailed(
            f"A file of the run could not be written: {error.strerror or type(error).__name__}. "
            "Free some space, then resume."
        )
    return TrainingFailed(
        f"Training ended with an error of the program ({type(error).__name__}); its log tells "
        "more. Please report it; resuming goes on from the last checkpoint."
    )


def _peak_gb() -> float:
    """The most memory that was in use, GB: of the GPU, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    memory = psutil.Process().memory_info()
    if sys.platform == "win32":
        return float(memory.peak_wset) / 1e9
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
