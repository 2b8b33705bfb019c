"""Measuring a run's checkpoints: all of them roughly, those that may be chosen closely."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import torch

from lora.base import Base
from lora.cache import TextCache
from lora.checkpoints import read_adapter
from lora.config import CompleteRecipe
from lora.dataset import Dataset
from lora.evaluate.pairs import Pair, Questions, distance, losses, make_questions, predictions
from lora.evaluate.pick import DRIFT_LIMIT, final_choice, pick_step, worth_a_closer_look
from lora.evaluate.samples import Judges, judged_samples
from lora.evaluate.scores import Cost, EvaluationFailed, Row, ScoreSheet
from lora.network import detach, load_adapter_state
from lora.runs import RunFolder

ROUGH, CLOSE = 16, 48  # pairs of photo and noise for each checkpoint
ROUGH_DRIFT, CLOSE_DRIFT = 8, 16
FINALISTS = 4  # checkpoints that are measured closely
STRENGTHS = (0.6, 0.8, 1.2)  # tried besides 1.0
STEP_PASSES = 2.1  # forward passes that a training step of one picture is worth

OnProgress = Callable[[str], None]


@dataclass
class _Measurer:
    """Asks a checkpoint the fixed questions and remembers what the base answered."""

    base: Base
    questions: Questions
    passes: int = 0
    _plain: dict[str, list[float]] = field(default_factory=dict)
    _kept: dict[tuple[int, float], Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._text = TextCache(self.base)  # by the base's own text encoders
        text = self._text
        with self.base.evaluating():
            for use in ("subject", "training"):
                self._plain[use] = losses(self.base, self._pairs(use, None), text)
            self._drawn = predictions(self.base, self.questions.drift, text)
            unprompted = [replace(pair, caption="") for pair in self.questions.drift]
            effects = distance(predictions(self.base, unprompted, text), self._drawn)
        # What the prompts themselves change, RMS over all pairs: the unit of drift.
        self._effect = max(fmean(effect**2 for effect in effects) ** 0.5, 1e-6)
        self.passes = self.questions.forward_passes + 2 * len(self.questions.subject)
        self.passes += 2 * len(self.questions.drift)

    def row(
        self, state: Mapping[str, torch.Tensor], step: int, strength: float, count: int, drift: int
    ) -> Row:
        """A checkpoint's scores on the first `count` pairs; what is known is not asked again."""
        known = self._kept.get((step, strength))
        subject, training, drifts = (
            (list(known.subject), list(known.training), list(known.drift))
            if known is not None
            else ([], [], [])
        )
        load_adapter_state(self.base, state, strength)
        changed = any(name.startswith("text_encoder") for name in state)
        text = TextCache(self.base) if changed else self._text
        with self.base.evaluating():
            for use, found in (("subject", subject), ("training", training)):
                start = len(found)
                asked = self._pairs(use, count)[start:]
                plain = self._plain[use][start:]
                got = losses(self.base, asked, text)
                found += [1 - a / max(b, 1e-12) for a, b in zip(got, plain, strict=False)]
                self.passes += len(asked)
            start = len(drifts)
            points = self.questions.drift[start:drift]
            told = predictions(self.base, points, text)
            drifts += [one / self._effect for one in distance(told, self._drawn[start:])]
            self.passes += len(points)
        row = Row(
            step=step,
            strength=strength,
            subject=tuple(subject),
            training=tuple(training),
            drift=tuple(drifts),
        )
        self._kept[step, strength] = row
        return row

    def _pairs(self, use: str, count: int | None) -> tuple[Pair, ...]:
        pairs = self.questions.subject if use == "subject" else self.questions.training
        return pairs[:count]


def measure(
    run: RunFolder,
    base: Base,
    photos: Dataset,
    *,
    drift_limit: float = DRIFT_LIMIT,
    judges: Judges | None = None,
    on_progress: OnProgress | None = None,
) -> ScoreSheet:
    """Every checkpoint of the run, the choice among them, and what it took.

    The base is left without an adapter. Raises EvaluationFailed without checkpoints or photos.
    """
    began = time.monotonic()
    tell = on_progress or (lambda _text: None)
    recipe = CompleteRecipe.read(run.recipe)
    steps = [step for step in run.saved_steps() if step > 0]
    if not steps or not photos.examples:
        raise EvaluationFailed("There are no checkpoints to choose from.")
    detach(base)
    try:
        questions = make_questions(base, recipe, photos, run, CLOSE, CLOSE_DRIFT)
        measurer = _Measurer(base, questions)
        rows: dict[int, Row] = {}
        for number, step in enumerate(steps, start=1):
            tell(f"Measuring checkpoint {number} of {len(steps)}.")
            rows[step] = measurer.row(read_adapter(run, step), step, 1.0, ROUGH, ROUGH_DRIFT)
        finalists = worth_a_closer_look(list(rows.values()), drift_limit, FINALISTS)
        for number, row in enumerate(finalists, start=1):
            tell(f"A closer look at {number} of {len(finalists)}.")
            state = read_adapter(run, row.step)
            rows[row.step] = measurer.row(state, row.step, 1.0, CLOSE, CLOSE_DRIFT)
        close = [rows[row.step] for row in finalists]
        chosen, _ = pick_step(close, drift_limit)
        tell("Trying other strengths.")
        strengths = _strengths(measurer, run, chosen)
        choice = final_choice(list(rows.values()), [chosen, *strengths], drift_limit, close)
        tell("Looking at the samples.")
        judged = judged_samples(run, recipe, photos, judges or Judges())
    finally:
        detach(base)
    seconds = time.monotonic() - began
    cost = Cost(
        seconds=round(seconds, 2),
        forward_passes=measurer.passes,
        training_steps=round(measurer.passes / STEP_PASSES, 1),
    )
    return ScoreSheet(
        measured_on=questions.measured_on,
        drift_limit=drift_limit,
        rows=tuple(row.model_copy(update=judged.get(row.step, {})) for row in rows.values()),
        strengths=tuple(strengths),
        cost=cost,
        choice=choice,
    )


def _strengths(measurer: _Measurer, run: RunFolder, chosen: Row) -> Sequence[Row]:
    state = read_adapter(run, chosen.step)
    return [
        measurer.row(state, chosen.step, strength, CLOSE, CLOSE_DRIFT) for strength in STRENGTHS
    ]
