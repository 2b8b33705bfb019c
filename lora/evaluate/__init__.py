"""Which checkpoint of a run is the one to keep: measured, chosen, and said why. No torch on import.

    pick = evaluate(run_folder)          # writes RUN/scores.json
    print(table(pick.scores))
    choose(run_folder, step=300, strength=0.8)      # the user knows better

pairs.py: the fixed questions. run.py: all checkpoints roughly, a few closely. samples.py: what the
sample pictures tell. models.py: judges that are models. scores.py: what was measured, and a table.
pick.py: the choice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora.evaluate.pick import DRIFT_LIMIT
from lora.evaluate.scores import (
    Choice,
    EvaluationFailed,
    Row,
    ScoreSheet,
    read_scores,
    table,
    write_scores,
)
from lora.runs import RunFolder

if TYPE_CHECKING:
    from lora.base import Base
    from lora.evaluate.samples import Judges

__all__ = [
    "Choice",
    "EvaluationFailed",
    "Pick",
    "Row",
    "ScoreSheet",
    "by_hand",
    "choose",
    "evaluate",
    "read_scores",
    "table",
]


@dataclass(frozen=True)
class Pick:
    """The checkpoint to keep, how strong to use it, why, and all that was measured."""

    step: int
    strength: float
    reason: str  # one sentence
    scores: ScoreSheet


def evaluate(
    run_folder: RunFolder | Path,
    base: "Base | None" = None,
    *,
    drift_limit: float = DRIFT_LIMIT,
    judges: "Judges | None" = None,
    on_progress: Callable[[str], None] | None = None,
) -> Pick:
    """Measure the run's checkpoints, choose one, and write RUN/scores.json.

    base: the loaded base, left without an adapter; None: loaded here. judges: who looks at the
    samples; None: those that are on this machine. on_progress: called with sentences.
    Raises EvaluationFailed without checkpoints, and what loading raises.
    """
    from lora.base import load_base
    from lora.dataset import load_dataset
    from lora.evaluate.models import find_judges
    from lora.evaluate.run import measure

    run = run_folder if isinstance(run_folder, RunFolder) else RunFolder(run_folder)
    base = base or load_base(run.read_recipe())
    sheet = measure(
        run,
        base,
        load_dataset(run.photos),
        drift_limit=drift_limit,
        judges=judges or find_judges(base),
        on_progress=on_progress,
    )
    write_scores(run.scores, sheet)
    return _pick(sheet)


def choose(run_folder: RunFolder | Path, step: int, strength: float) -> Pick:
    """Overrule the choice; scores.json then says so. Raises EvaluationFailed.

    Also of steps that were not measured, as long as their checkpoint is there.
    """
    run = run_folder if isinstance(run_folder, RunFolder) else RunFolder(run_folder)
    choice = by_hand(run, step, strength)
    sheet = read_scores(run)
    was = sheet.choice
    if was.by == "measured" and (was.step, was.strength) != (step, strength):
        reason = choice.reason.removesuffix(".")
        reason += f"; by measure it was step {was.step} at strength {was.strength:g}."
        choice = choice.model_copy(update={"reason": reason})
    sheet = sheet.model_copy(update={"choice": choice})
    write_scores(run.scores, sheet)
    return _pick(sheet)


def by_hand(run: RunFolder, step: int, strength: float) -> Choice:
    """A choice that needs no measuring; nothing is written. Raises EvaluationFailed."""
    if step not in run.saved_steps():
        known = ", ".join(map(str, run.saved_steps())) or "none"
        raise EvaluationFailed(f"There is no checkpoint of step {step}. Saved steps: {known}.")
    if not 0 < strength <= 2:
        raise EvaluationFailed(f"The strength must be more than 0 and at most 2, not {strength}.")
    reason = f"Step {step} at strength {strength:g} was chosen by hand."
    return Choice(step=step, strength=strength, reason=reason, by="user")


def _pick(sheet: ScoreSheet) -> Pick:
    choice = sheet.choice
    return Pick(choice.step, choice.strength, choice.reason, sheet)
