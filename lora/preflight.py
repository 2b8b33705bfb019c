"""Before a run: three real steps, which tell its speed, its memory, and when it will be done.

Where they run out of memory the recipe gives way, first with gradient checkpointing, then with
smaller batches of which more are accumulated: the same photos a step and the same result to the
last digits, only slower. The steps are undone afterwards.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lora.config import CompleteRecipe
from lora.trainer import Trainer
from sdgen.errors import SdgenError
from sdgen.pipelines.faults import free_memory, is_out_of_memory

TRIAL_STEPS = 3  # of which the first one also pays for set-up


class NotEnoughMemory(SdgenError):
    """Not even one photo at a time fits."""


@dataclass(frozen=True)
class Measured:
    """What the trial steps showed, and the recipe as it fits this machine."""

    recipe: CompleteRecipe
    seconds_per_step: float
    peak_gb: float  # at its highest, with everything that is loaded
    notes: tuple[str, ...]  # a sentence for each thing that was given up

    @property
    def seconds(self) -> float:
        """For all the steps, without samples and evaluation."""
        return self.seconds_per_step * self.recipe.steps


def preflight(
    recipe: CompleteRecipe, make: Callable[[CompleteRecipe], Trainer], peak: Callable[[], float]
) -> Measured:
    """Try steps with ever more modest recipes until three of them fit.

    make: a trainer for a recipe, at step 0. peak: the memory's high-water mark in GB.
    Raises NotEnoughMemory when one photo at a time with checkpointing does not fit.
    """
    notes: list[str] = []
    while True:
        try:
            seconds = _trial(make(recipe))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            error.__traceback__ = None  # its frames hold what filled the memory
        else:
            return Measured(recipe, seconds, peak(), tuple(notes))
        free_memory()
        recipe, note = more_modest(recipe)
        notes.append(note)


def more_modest(recipe: CompleteRecipe) -> tuple[CompleteRecipe, str]:
    """The next recipe to try after one that ran out of memory, and what it gives up.

    Raises NotEnoughMemory where nothing is left to give up.
    """
    if not recipe.gradient_checkpointing:
        return recipe.with_fields(gradient_checkpointing=True), (
            "Memory is short, so gradient checkpointing is on; steps take about a third longer."
        )
    if recipe.batch_size > 1:
        smaller = next(
            size for size in range(recipe.batch_size // 2, 0, -1) if recipe.batch_size % size == 0
        )
        times = recipe.accumulation * (recipe.batch_size // smaller)
        return recipe.with_fields(batch_size=smaller, accumulation=times), (
            f"Memory is short, so {smaller} photos at a time are learnt from, {times} times a step."
        )
    raise NotEnoughMemory(
        f"There is not enough memory to train at {recipe.resolution} pixels, not even on one photo "
        "at a time. Lower the resolution, or close other programs."
    )


def _trial(trainer: Trainer) -> float:
    """Seconds that a step takes, of the steps after the first."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    times = []
    for step in range(TRIAL_STEPS):
        began = time.perf_counter()
        trainer.step(step)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])
