"""Which checkpoint and strength are kept: the earliest that cannot be told from the best."""

import random

import pytest

from lora.evaluate.pick import (
    DRIFT_LIMIT,
    behind,
    final_choice,
    in_bounds,
    pick_step,
    pick_strength,
    within_one_error,
    worth_a_closer_look,
)
from lora.evaluate.scores import EvaluationFailed, Row

KNEE = 300


def row(step: int, subject: float, training: float, drift: float, pairs: list[float]) -> Row:
    """A checkpoint whose pairs differ much from each other, but hardly between checkpoints."""
    own = random.Random(step)
    return Row(
        step=step,
        strength=1.0,
        subject=tuple(subject + pair + own.gauss(0, 0.01) for pair in pairs),
        training=tuple(training + pair for pair in pairs),
        drift=tuple(drift * (1 + own.gauss(0, 0.05)) for _ in pairs),
    )


def overfitted(seed: int = 0, count: int = 24, spread: float = 0.1) -> list[Row]:
    """Ten checkpoints: better up to step 300, level up to 500, then worse on what was held out."""
    rng = random.Random(seed)
    pairs = [rng.gauss(0, spread) for _ in range(count)]
    rows = []
    for step in range(100, 1100, 100):
        held_out = {100: 0.05, 200: 0.14}.get(step, 0.20 - max(0, step - 500) / 5000)
        rows.append(row(step, held_out, 0.05 + step / 2000, step / 10_000, pairs))
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_the_picker_finds_the_knee_not_the_last_step(seed: int) -> None:
    rows = overfitted(seed)
    chosen, reason = pick_step(rows)
    assert chosen.step == KNEE
    assert "by heart" in reason
    random.Random(seed).shuffle(rows)
    assert pick_step(rows)[0].step == KNEE


def test_the_error_is_of_the_difference_not_of_the_score() -> None:
    """The scores' own errors overlap at every step; those of the differences do not."""
    rows = overfitted(spread=0.4)
    by_step = {one.step: one for one in rows}
    assert not within_one_error(by_step[200], by_step[KNEE])
    unpaired = [one.model_copy(update={"subject": one.subject[i:] + one.subject[:i]})
                for i, one in enumerate(rows)]  # fmt: skip
    assert pick_step(unpaired)[0].step < KNEE


def test_drift_out_of_bounds_is_not_chosen() -> None:
    rows = overfitted()
    chosen, _ = pick_step(rows, drift_limit=0.022)
    assert chosen.step == 200
    nowhere, reason = pick_step(rows, drift_limit=0.001)
    assert nowhere.step == KNEE  # the strength has to lower it
    assert "none stays in bounds" in reason
    last = [*rows[:3], rows[-1].model_copy(update={"drift": (0.9,) * 24, "subject": (1.0,) * 24})]
    assert pick_step(last)[0].step == KNEE


def test_a_run_that_learnt_nothing_is_told() -> None:
    rng = random.Random(3)
    rows = [row(step, 0.0, 0.0, 0.01, [rng.gauss(0, 0.1) for _ in range(16)]) for step in (1, 2)]
    rows = [
        one.model_copy(update={"subject": tuple(s - 0.05 for s in one.subject)}) for one in rows
    ]
    assert "hardly better than the base" in pick_step(rows)[1]
    with pytest.raises(EvaluationFailed, match="no checkpoints"):
        pick_step([])


def test_strength_is_that_of_training_unless_another_is_measurably_better() -> None:
    pairs = [random.Random(1).gauss(0, 0.1) for _ in range(24)]

    def at(strength: float, subject: float, drift: float) -> Row:
        return row(100, subject, 0.3, drift, pairs).model_copy(update={"strength": strength})

    rows = [at(0.6, 0.15, 0.05), at(0.8, 0.2, 0.1), at(1.0, 0.2, 0.2), at(1.2, 0.19, 0.3)]
    assert pick_strength(rows)[0].strength == 1.0
    chosen, why = pick_strength(rows, drift_limit=0.15)
    assert chosen.strength == 0.8
    assert "drifts too far" in why
    better = [*rows[:3], at(1.2, 0.3, 0.2)]
    assert pick_strength(better)[0].strength == 1.2
    assert pick_strength(rows, drift_limit=0.01)[0].strength == 0.6
    choice = final_choice(overfitted(), rows)
    assert choice.reason.count(".") >= 1
    assert choice.reason.endswith(".")
    assert "strength 1" in choice.reason


def test_halving_keeps_the_best_and_the_early_ones() -> None:
    close = worth_a_closer_look(overfitted(), 0.25, most=3)
    assert close[0].step == KNEE
    assert len(close) == 3


# --- by numbers that can be checked by hand ---------------------------------------------------


def scored(
    step: int, *subject: float, training: float = 0.0, drift: float = 0.125, strength: float = 1.0
) -> Row:
    """A checkpoint with these scores."""
    return Row(
        step=step,
        strength=strength,
        subject=subject,
        training=(training,) * len(subject),
        drift=(drift, drift),
    )


def pair(errors: float, step: int = 100, best_step: int = 200) -> tuple[Row, Row]:
    """A checkpoint and the best one, from which it is so many standard errors away."""
    spread = 1 / errors  # of two differences 1 - x and 1 + x the mean is 1, its error is x
    return scored(step, 1.0, 1.0), scored(best_step, 2.0 - spread, 2.0 + spread)


def test_how_far_behind_it_is_with_the_error_of_that() -> None:
    assert behind(scored(1, 1.0, 1.0), scored(2, 1.5, 2.5)) == (1.0, 0.5)
    assert behind(scored(1, 1.5, 2.5), scored(2, 1.0, 1.0)) == (-1.0, 0.5)
    longer = scored(2, 1.5, 2.5, 9.0)
    assert behind(scored(1, 1.0, 1.0), longer) == (1.0, 0.5), "only pairs that both have"
    with pytest.raises(EvaluationFailed, match=r"^There are no scores to choose by\.$"):
        behind(scored(1), longer)


def test_one_standard_error_is_the_limit() -> None:
    for errors, equal in ((0.5, True), (1.0, True), (1.05, False), (1.5, False)):
        early, best = pair(errors)
        assert within_one_error(early, best) is equal, errors
        assert within_one_error(best, early), "better is never too far away"
        assert pick_step([early, best])[0] is (early if equal else best), errors


def test_two_standard_errors_are_the_limit_of_a_closer_look() -> None:
    for errors, near in ((1.5, True), (2.0, True), (2.1, False), (3.0, False)):
        early, best = pair(errors)
        looked_at = worth_a_closer_look([best, early], 0.5, most=3)
        assert looked_at == ([early, best] if near else [best]), errors


def test_drift_may_reach_its_limit() -> None:
    assert DRIFT_LIMIT == 0.8
    assert in_bounds(scored(1, 0.5, drift=0.75), 0.75)
    assert not in_bounds(scored(1, 0.5, drift=0.8125), 0.75)
    best, later = scored(100, 0.5, 0.5), scored(200, 0.75, 0.75, drift=0.75)
    beyond = scored(300, 0.875, 0.875, drift=0.8125)
    assert pick_step([best, later, beyond])[0] is later
    assert pick_strength([best, later])[0] is later
    assert pick_strength([best, beyond])[0] is best
    assert pick_step([best, later], 0.5)[0] is best


def test_what_is_said_of_the_best() -> None:
    said = (
        "Step 200 has the best score of 3 checkpoints (50.0 ± 0.0 % less loss than the base), "
        "with drift 0.12 (limit 0.8)"
    )
    first, best = scored(100, 0.25, 0.25), scored(200, 0.5, 0.5, training=0.5)
    level = scored(300, 0.5, 0.5, training=0.75)
    assert pick_step([level, best, first]) == (best, said)
    worse = scored(300, 0.25, 0.25, training=0.75)
    assert pick_step([first, best, worse]) == (
        best, f"{said}; later ones learn the training photos by heart"
    )  # fmt: skip
    as_well = scored(300, 0.25, 0.25, training=0.25)  # worse, and no nearer to its own photos
    assert pick_step([first, best, as_well]) == (best, said)
    unsure = scored(300, 0.0, 0.5, training=0.75)  # worse by just one error
    assert behind(unsure, best) == (0.25, 0.25)
    assert pick_step([first, best, unsure]) == (best, said)
    adrift = scored(300, 0.75, 0.75, training=0.5, drift=0.875)
    assert pick_step([first, best, adrift]) == (
        best, f"{said}; later ones change pictures without the trigger too"
    )  # fmt: skip


def test_what_is_said_of_an_earlier_one() -> None:
    early, best = pair(1.0)
    assert pick_step([best, early]) == (
        early,
        "Step 100 is the earliest of 2 checkpoints within one standard error of the best "
        "(step 200): 100.0 ± 0.0 % less loss than the base against 200.0 ± 100.0 %, with drift "
        "0.12 (limit 0.8)",
    )


def test_what_is_said_where_nothing_was_learnt_or_nothing_stays_in_bounds() -> None:
    hardly = scored(100, 0.0, 1.0)  # 0.5 with an error of 0.5
    chosen, said = pick_step([hardly])
    assert chosen is hardly
    assert said == (
        "Step 100 has the best score of 1 checkpoints (50.0 ± 50.0 % less loss than the base), "
        "with drift 0.12 (limit 0.8); it is hardly better than the base, so train longer or check "
        "the photos"
    )
    adrift = scored(100, 0.5, 0.5, drift=1.0)
    assert pick_step([adrift]) == (
        adrift,
        "Step 100 has the best score of 1 checkpoints (50.0 ± 0.0 % less loss than the base), "
        "with drift 1.00 (limit 0.8); at full strength none stays in bounds",
    )
    with pytest.raises(EvaluationFailed, match=r"^There are no checkpoints to choose from\.$"):
        pick_step([])


def test_only_those_measured_closely_are_chosen_and_all_are_counted() -> None:
    rows = [scored(step, 0.5, 0.5) for step in (100, 200, 300)]
    closely = [scored(300, 0.75, 0.75), scored(200, 0.75, 0.75)]
    chosen, said = pick_step(rows, among=closely)
    assert chosen is closely[1], "of equal ones the earliest"
    assert said.startswith("Step 200 has the best score of 3 checkpoints")


def at(strength: float, subject: float = 0.5, drift: float = 0.125) -> Row:
    return scored(100, subject, subject, drift=drift, strength=strength)


@pytest.mark.parametrize(
    ("rows", "strength", "said"),
    [
        ([at(0.8), at(1.0), at(1.2)], 1.0, "strength 1, at which no other is measurably better"),
        ([at(0.8), at(1.0000001, 0.25)], 0.8, "strength 0.8, measurably better than 1.0"),
        ([at(1.0000001), at(0.8)], 1.0000001, "strength 1, at which no other is measurably better"),
        ([at(0.6), at(1.0, 0.25), at(0.9)], 0.9, "strength 0.9, measurably better than 1.0"),
        ([at(1.25), at(0.75), at(0.5)], 0.75, "strength 0.75, because 1.0 drifts too far"),
        ([at(0.75), at(1.0, drift=1)], 0.75, "strength 0.75, because 1.0 drifts too far"),
        ([at(2.0), at(1.5)], 1.5, "strength 1.5, because 1.0 drifts too far"),
        (
            [at(0.75, drift=1), at(0.5, 0.25, drift=1), at(1.0, drift=1)],
            0.5,
            "strength 0.5, the weakest tried, for the least drift",
        ),
    ],
)
def test_what_is_said_of_a_strength(rows: list[Row], strength: float, said: str) -> None:
    chosen, told = pick_strength(rows)
    assert (chosen.strength, told) == (strength, said)


def test_without_strengths_there_is_none_to_choose() -> None:
    with pytest.raises(EvaluationFailed, match=r"^There are no strengths to choose from\.$"):
        pick_strength([])


def test_a_closer_look_is_at_the_best_and_the_earliest_near_it() -> None:
    near = [scored(step, 0.5, 0.5) for step in (400, 300, 200)]
    best, far = scored(500, 0.5, 0.75), scored(100, 0.0, 0.0)
    rows = [*near, best, far]
    assert [row.step for row in worth_a_closer_look(rows, 0.5, most=3)] == [200, 300, 500]
    assert [row.step for row in worth_a_closer_look(rows, 0.5, most=1)] == [500]
    everywhere_out = worth_a_closer_look(rows, 0.0625, most=2)
    assert [row.step for row in everywhere_out] == [200, 500]
    adrift = scored(50, 0.5, 0.75, drift=0.875)
    assert adrift not in worth_a_closer_look([*rows, adrift], 0.5, most=9)
    level = [scored(step, 0.5, 0.5) for step in (300, 200, 100)]
    assert [row.step for row in worth_a_closer_look(level, 0.5, most=1)] == [100]


def test_the_final_choice_is_one_sentence() -> None:
    first, best = scored(100, 0.25, 0.25), scored(200, 0.5, 0.5)
    choice = final_choice([first, best], [])
    assert (choice.step, choice.strength, choice.by) == (200, 1.0, "measured")
    assert choice.reason == (
        "Step 200 has the best score of 2 checkpoints (50.0 ± 0.0 % less loss than the base), "
        "with drift 0.12 (limit 0.8); strength 1, at which no other is measurably better."
    )
    strengths = [at(0.5, 0.5, drift=0.25), at(1.0, 0.5, drift=0.5)]
    limited = final_choice([first, best], strengths, 0.25, among=[first])
    assert (limited.step, limited.strength) == (100, 0.5)
    assert "(limit 0.25)" in limited.reason
    assert limited.reason.endswith("; strength 0.5, because 1.0 drifts too far.")
