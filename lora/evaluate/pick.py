"""The choice of a checkpoint and a strength from their scores. Pure; no torch.

The rule of one standard error (Breiman et al. 1984, section 3.4.3): of all that cannot be told
from the best, the simplest, which here is the earliest. With a few photos the best score alone is
a matter of luck.
"""

from collections.abc import Sequence
from statistics import fmean

from lora.evaluate.scores import Choice, EvaluationFailed, Row, percent, standard_error

DRIFT_LIMIT = 0.8  # without the trigger, as a share of what a prompt changes, RMS
TRAINED_AT = 1.0  # the strength at which the adapter was trained


def behind(row: Row, best: Row) -> tuple[float, float]:
    """How much worse than `best` it is on the pairs that both have: mean and standard error."""
    differences = [b - a for a, b in zip(row.subject, best.subject, strict=False)]
    if not differences:
        raise EvaluationFailed("There are no scores to choose by.")
    return fmean(differences), standard_error(differences)


def within_one_error(row: Row, best: Row, errors: float = 1.0) -> bool:
    """Whether it cannot be told from the best: not worse by more than so many standard errors."""
    worse, error = behind(row, best)
    return worse <= errors * error


def in_bounds(row: Row, drift_limit: float) -> bool:
    """Whether it leaves the base alone where the trigger is not named."""
    return fmean(row.drift) <= drift_limit


def pick_step(
    rows: Sequence[Row], drift_limit: float = DRIFT_LIMIT, among: Sequence[Row] | None = None
) -> tuple[Row, str]:
    """The earliest checkpoint within one standard error of the best whose drift stays in bounds.

    among: those that were measured closely; None: all. Returns it and the reason, without the
    strength; where drift is out of bounds everywhere the strength has to lower it. Raises
    EvaluationFailed without any rows.
    """
    if not rows:
        raise EvaluationFailed("There are no checkpoints to choose from.")
    rows = sorted(rows, key=lambda row: row.step)
    closely = rows if among is None else sorted(among, key=lambda row: row.step)
    allowed = [row for row in closely if in_bounds(row, drift_limit)]
    among = allowed or closely
    best = max(among, key=lambda row: (fmean(row.subject), -row.step))
    chosen = next(row for row in among if within_one_error(row, best))
    reason = _reason(chosen, best, rows, drift_limit)
    return chosen, reason if allowed else f"{reason}; at full strength none stays in bounds"


def _reason(chosen: Row, best: Row, rows: Sequence[Row], drift_limit: float) -> str:
    drift = f"drift {fmean(chosen.drift):.2f} (limit {drift_limit:g})"
    if chosen is best:
        said = (
            f"Step {chosen.step} has the best score of {len(rows)} checkpoints "
            f"({percent(chosen.subject)} less loss than the base), with {drift}"
        )
    else:
        said = (
            f"Step {chosen.step} is the earliest of {len(rows)} checkpoints within one standard "
            f"error of the best (step {best.step}): {percent(chosen.subject)} less loss than the "
            f"base against {percent(best.subject)}, with {drift}"
        )
    if fmean(chosen.subject) <= standard_error(chosen.subject):
        return f"{said}; it is hardly better than the base, so train longer or check the photos"
    last = rows[-1]
    worse, error = behind(last, chosen)
    if worse > error and last.memorising > chosen.memorising:
        return f"{said}; later ones learn the training photos by heart"
    if last.step > chosen.step and not in_bounds(last, drift_limit):
        return f"{said}; later ones change pictures without the trigger too"
    return said


def pick_strength(rows: Sequence[Row], drift_limit: float = DRIFT_LIMIT) -> tuple[Row, str]:
    """Of one checkpoint at several strengths that nearest to 1.0 within one error of the best.

    Drift must stay in bounds; where it does nowhere, the weakest. Returns it and half a sentence.
    """
    if not rows:
        raise EvaluationFailed("There are no strengths to choose from.")
    allowed = [row for row in rows if in_bounds(row, drift_limit)]
    if not allowed:
        weakest = min(rows, key=lambda row: row.strength)
        return weakest, f"strength {weakest.strength:g}, the weakest tried, for the least drift"
    best = max(allowed, key=lambda row: fmean(row.subject))
    equal = [row for row in allowed if within_one_error(row, best)]
    chosen = min(equal, key=lambda row: (abs(row.strength - TRAINED_AT), row.strength))
    if abs(chosen.strength - TRAINED_AT) < 1e-6:
        return chosen, f"strength {chosen.strength:g}, at which no other is measurably better"
    if not any(abs(row.strength - TRAINED_AT) < 1e-6 for row in allowed):
        return chosen, f"strength {chosen.strength:g}, because 1.0 drifts too far"
    return chosen, f"strength {chosen.strength:g}, measurably better than 1.0"


def worth_a_closer_look(rows: Sequence[Row], drift_limit: float, most: int) -> list[Row]:
    """Of roughly measured checkpoints those that may still be chosen: the best, and the earliest
    within two standard errors of it, at most `most`."""
    allowed = [row for row in rows if in_bounds(row, drift_limit)] or list(rows)
    best = max(allowed, key=lambda row: (fmean(row.subject), -row.step))
    near = [row for row in allowed if row is not best and within_one_error(row, best, errors=2.0)]
    near.sort(key=lambda row: row.step)
    return sorted([best, *near[: most - 1]], key=lambda row: row.step)


def final_choice(
    rows: Sequence[Row],
    strengths: Sequence[Row],
    drift_limit: float = DRIFT_LIMIT,
    among: Sequence[Row] | None = None,
) -> Choice:
    """Step, strength and the one sentence. strengths: rows of the step that pick_step gives."""
    step, why = pick_step(rows, drift_limit, among)
    strength, and_strength = pick_strength(strengths or [step], drift_limit)
    return Choice(step=step.step, strength=strength.strength, reason=f"{why}; {and_strength}.")
