"""What was measured of a run's checkpoints: what scores.json holds, and a table. No torch.

Every score is a list of values, one for each fixed pair of photo and noise (or prompt and noise),
the same pairs for every checkpoint: so differences between checkpoints are paired, and their
standard error is far smaller than that of the scores.
"""

from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lora.runs import RunFolder, write_whole
from sdgen.errors import SdgenError


class EvaluationFailed(SdgenError):
    """The checkpoints of a run could not be measured, or there is nothing to choose from."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Judged(_Frozen):
    """A mean over pictures or photos with its standard error, and what measured it."""

    by: str
    mean: float
    error: float
    count: int


class Row(_Frozen):
    """One checkpoint at one strength."""

    step: int
    strength: float
    subject: tuple[float, ...]  # 1 - loss / base's loss on photos it never saw, one a pair
    training: tuple[float, ...]  # the same on photos it was trained on
    drift: tuple[float, ...]  # RMS of what it changes without the trigger, of what a prompt does
    likeness: Judged | None = None  # samples with the trigger against the held-out photos
    copying: Judged | None = None  # nearest training photo less nearest held-out one
    following: Judged | None = None  # whether the samples show their prompts

    @property
    def memorising(self) -> float:
        """How much more its training photos gained than those it never saw."""
        return fmean(self.training) - fmean(self.subject)


class Cost(_Frozen):
    """What measuring took."""

    seconds: float
    forward_passes: int  # of single pictures through the denoiser
    training_steps: float  # that would have cost as much


class Choice(_Frozen):
    """Step and strength, and why, in one sentence."""

    step: int
    strength: float
    reason: str
    by: Literal["measured", "user"] = "measured"


class ScoreSheet(_Frozen):
    """All that scores.json holds."""

    format: Literal[1] = 1
    measured_on: str  # a sentence: which photos the subject's score is of
    drift_limit: float
    rows: tuple[Row, ...]  # every checkpoint at strength 1, rising steps
    strengths: tuple[Row, ...] = ()  # the chosen checkpoint at other strengths
    cost: Cost
    choice: Choice

    def row(self, step: int, strength: float = 1.0) -> Row | None:
        """What was measured of a step at a strength, or None."""
        found = (r for r in (*self.rows, *self.strengths) if r.step == step)
        return next((r for r in found if abs(r.strength - strength) < 1e-6), None)


def standard_error(values: tuple[float, ...] | list[float]) -> float:
    """Of the mean of these values; infinite for fewer than two."""
    return stdev(values) / sqrt(len(values)) if len(values) > 1 else float("inf")


def read_scores(run_folder: RunFolder) -> ScoreSheet:
    """The run's scores. Raises EvaluationFailed: not measured, or the file is damaged."""
    try:
        return ScoreSheet.model_validate_json(run_folder.scores.read_bytes())
    except OSError as error:
        raise EvaluationFailed("The checkpoints of this run were not measured yet.") from error
    except ValidationError as error:
        raise EvaluationFailed("The scores of this run are damaged; measure them again.") from error


def write_scores(path: Path, sheet: ScoreSheet) -> None:
    """Put them on disk, whole."""
    write_whole(path, sheet.model_dump_json(indent=1).encode())


def percent(values: tuple[float, ...]) -> str:
    """Mean and standard error in percent: "12.3 ± 0.8 %"."""
    return f"{fmean(values) * 100:.1f} ± {standard_error(values) * 100:.1f} %"


def table(sheet: ScoreSheet) -> str:
    """The scores as text, a checkpoint a line, the chosen one marked; and what they are."""
    heads = ["step", "strength", "subject", "training", "gap", "drift"]
    extras = [
        name
        for name in ("likeness", "copying", "following")
        if any(getattr(row, name) is not None for row in sheet.rows)
    ]
    lines = [heads + extras]
    for row in (*sheet.rows, *sheet.strengths):
        chosen = row.step == sheet.choice.step
        mark = "*" if chosen and abs(row.strength - sheet.choice.strength) < 1e-6 else ""
        cells = [
            f"{row.step}{mark}",
            f"{row.strength:.1f}",
            percent(row.subject),
            percent(row.training),
            f"{row.memorising * 100:.1f}",
            f"{fmean(row.drift):.3f} ± {standard_error(row.drift):.3f}",
        ]
        for name in extras:
            judged: Judged | None = getattr(row, name)
            cells.append("" if judged is None else f"{judged.mean:.2f} ± {judged.error:.2f}")
        lines.append(cells)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([*text, "", *_legend(sheet, extras), sheet.choice.reason])


def _legend(sheet: ScoreSheet, extras: list[str]) -> list[str]:
    """What the columns mean, and what they cost."""
    cost = sheet.cost
    said = [
        sheet.measured_on,
        "subject, training: how much lower the denoising loss is than the base's; "
        "gap: training less subject, in points; ± is one standard error.",
        "drift: how far predictions without the trigger move, as a share of what the prompt moves "
        f"them; the limit is {sheet.drift_limit:g}.",
    ]
    for name in extras:
        by = next(j.by for row in sheet.rows if (j := getattr(row, name)) is not None)
        said.append(f"{name}: of the samples, by {by}.")
    said.append(
        f"Measuring took {cost.seconds:.0f} s, {cost.forward_passes} forward passes: as much as "
        f"{cost.training_steps:.0f} training steps of one picture."
    )
    return said
