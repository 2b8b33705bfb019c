"""The way of one process through a run: try out, step, save, look, measure, export."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from lora.base import Base, load_base
from lora.cache import encode_photos
from lora.checkpoints import Checkpoint, latest_checkpoint, read_tensors, save_checkpoint
from lora.config import CompleteRecipe
from lora.dataset import load_dataset
from lora.network import load_adapter_state
from lora.preflight import preflight
from lora.prepare import precision_of, prepare
from lora.processes import Alone
from lora.runs import RunFolder, State, Status, write_whole
from lora.samples import HeldOut, draw_samples
from lora.trainer import Trainer
from lora.witness import Witness, peak_gb
from sdgen.config import Settings
from sdgen.errors import SdgenError

MOVES_WITHIN = 20  # steps; an adapter that still is zero by then never will move
MOST_RETURNS = 3  # to the last good state, before a run is given up


class _StopAsked(Exception):
    """Ends the measuring, which has no step of its own to stop after."""


class TrainingFailed(SdgenError):
    """A run cannot go on; what was saved is kept."""


@dataclass(frozen=True)
class TrainedRun:
    """How a run ended: done with files, or stopped with a checkpoint."""

    folder: RunFolder
    state: State
    step: int
    status: Status


class Course:
    """One process's way through a run."""

    def __init__(
        self, run: RunFolder, witness: Witness, settings: Settings, group: Alone, export: bool
    ) -> None:
        self._run = run
        self._witness = witness
        self._settings = settings
        self._group = group
        self._export = export

    def run(self) -> TrainedRun:
        """From wherever the run stands to its end, or until it is asked to stop."""
        base = load_base(self._run.read_recipe(), self._settings)
        if self._group.rank == 0:
            prepare(self._run.read_recipe(), self._run, base)
        self._group.wait()
        recipe = CompleteRecipe.read(self._run.recipe)
        if recipe.precision != precision_of(base):  # another process's self-test decided
            base = load_base(recipe, self._settings)
        dataset = load_dataset(self._run.photos)
        self._witness.tell(steps=recipe.steps, message="The photos are being encoded.")
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
        elif self._run.start.exists():
            load_adapter_state(base, read_tensors(self._run.start))
        self._witness.forget_after(last.step if last is not None else -1)
        step = last.step if last is not None else 0
        if step == 0:
            self._look(base, recipe, trainer, held_out, 0)
        self._witness.tell(state="training", step=step)
        step = self._steps(base, recipe, trainer, held_out, step, last)
        if step < recipe.steps:
            self._witness.tell(
                state="stopped", step=step, message="Stopped; the checkpoint is kept."
            )
            return TrainedRun(self._run, "stopped", step, self._witness.status)
        if not self._export:
            self._witness.tell(state="done", step=step, message="Trained; nothing was exported.")
            return TrainedRun(self._run, "done", step, self._witness.status)
        return self._finish(base, step)

    def _try_out(
        self, recipe: CompleteRecipe, trainer_of: Callable[[CompleteRecipe], Trainer]
    ) -> CompleteRecipe:
        """The recipe as it fits this machine's memory; tells how long it will take."""
        self._witness.tell(state="preflight", message="Three steps are tried out.")
        measured = preflight(recipe, trainer_of, peak_gb)
        if measured.recipe != recipe:
            write_whole(self._run.recipe, measured.recipe.to_json().encode())
        self._witness.tell(
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
            self._witness.note(step, recipe.steps, done, seconds)
            if step == min(MOVES_WITHIN, recipe.steps) and not trainer.moved():
                raise TrainingFailed(
                    f"After {step} steps the adapter is still without effect. Please report this "
                    "with the run's recipe."
                )
            stop, save, sample = self._witness.asked()
            if step % recipe.save_every == 0 or step == recipe.steps:
                # In this order: killed in between, a resumed run looks again. The other way round
                # it would go on from a checkpoint that nobody has looked at.
                self._look(base, recipe, trainer, held_out, step)
                good = self._save(recipe, trainer, step)
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
        self._witness.forget_after(good.step)
        self._witness.tell(
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
                    self._witness.write_line({"step": step, "held_out_loss": loss})
                draw_samples(base, recipe, self._run, step)
            base.rest(text_too=not recipe.text_encoder)
        self._group.wait()

    def _finish(self, base: Base, step: int) -> TrainedRun:
        """Measure the checkpoints, choose one, export and verify it."""
        from lora.evaluate import evaluate
        from lora.export import export

        if self._group.rank:
            return TrainedRun(self._run, "done", step, self._witness.status)
        self._witness.tell(state="evaluating", step=step, seconds_left=None)
        base.wake()

        def progress(sentence: str) -> None:
            self._witness.tell(message=sentence)
            if self._witness.stop_asked():
                raise _StopAsked

        try:
            pick = evaluate(self._run, base, on_progress=progress)
        except _StopAsked:
            self._witness.tell(state="stopped", message="Trained to the end, but not measured.")
            return TrainedRun(self._run, "stopped", step, self._witness.status)
        self._witness.tell(
            state="exporting",
            best_step=pick.step,
            best_strength=pick.strength,
            reason=pick.reason,
        )
        exported = export(self._run, pick.step, pick.strength, self._settings.data_dir, base=base)
        files = [str(path) for path in exported.paths]
        self._witness.tell(state="done", message=exported.sentence(), files=files)
        return TrainedRun(self._run, "done", step, self._witness.status)
