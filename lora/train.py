"""A training run from its recipe to the verified file; the same for command line, page, notebook.

    run = new_run_folder(data_dir, recipe.name)
    prepare(recipe, run)      # the recipe and the checked photos into the folder
    trained = train(run)      # to the end, or until it is stopped
    trained = resume(run)     # on from the last checkpoint, as if nothing had happened

course.py is the way there, trainer.py a step of it.
"""

import contextlib
import logging
from pathlib import Path

from lora.checkpoints import tensor_bytes
from lora.config import TrainingRecipe
from lora.course import Course, TrainedRun, TrainingFailed
from lora.prepare import prepare
from lora.processes import Alone, processes
from lora.runs import RunFolder, write_whole
from lora.witness import OnStep, Witness
from sdgen.config import Settings, read_settings
from sdgen.errors import SdgenError
from sdgen.pipelines.faults import is_out_of_memory

__all__ = ["TrainedRun", "TrainingFailed", "prepare", "resume", "start_from_file", "train"]
log = logging.getLogger(__name__)


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
    witness = Witness(run, group, on_step)
    try:
        with witness.stop_on_signals():
            return Course(run, witness, settings, group, export).run()
    except Exception as error:
        told = error if isinstance(error, SdgenError) else _explained(error)
        with contextlib.suppress(OSError):  # the disk may be what failed
            witness.tell(state="failed", error=str(told))
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
