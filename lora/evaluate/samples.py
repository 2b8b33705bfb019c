"""What the sample pictures of a run tell: likeness, copying, and whether they show their prompts.

Only pictures that are there already are looked at; nothing is drawn for it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb
from statistics import fmean
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lora.config import CompleteRecipe
from lora.dataset import Dataset, cropped
from lora.evaluate.scores import Judged, standard_error
from lora.runs import RunFolder

Picture = Image.Image


class Embedder(Protocol):
    """Pictures as directions: the more alike two are, the nearer their cosine is to 1."""

    name: str  # in scores and tables
    sees_subjects: bool  # False: only near copies are alike

    def embed(self, pictures: Sequence[Picture]) -> Tensor:
        """[n, d], each of length 1, float32 on the CPU."""


class PromptJudge(Protocol):
    """How well pictures show what their prompts say."""

    name: str

    def scores(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[float | None]:
        """One a picture, higher is better; None where it cannot tell."""


class PixelEmbedder:
    """Small pictures without their mean: alike are only near copies. Needs no model."""

    name = "pixels at 32x32"
    sees_subjects = False

    def embed(self, pictures: Sequence[Picture]) -> Tensor:
        small = [np.asarray(one.convert("RGB").resize((32, 32)), np.float32) for one in pictures]
        rows = torch.from_numpy(np.stack(small)).flatten(1) / 255
        return torch.nn.functional.normalize(rows - rows.mean(dim=1, keepdim=True), dim=1)


@dataclass(frozen=True)
class Judges:
    """Who looks at the samples."""

    embedder: Embedder = field(default_factory=PixelEmbedder)
    prompts: PromptJudge | None = None


def judged_samples(
    run: RunFolder, recipe: CompleteRecipe, photos: Dataset, judges: Judges
) -> dict[int, dict[str, Judged]]:
    """By step, of the steps with samples: "likeness", "copying", "following" as far as known."""
    try:
        prompts = [str(text) for text in json.loads(run.samples_index.read_bytes())["prompts"]]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    trained = judges.embedder.embed([cropped(one) for one in photos.examples])
    unseen = None
    if photos.held_out:
        unseen = judges.embedder.embed([cropped(one) for one in photos.held_out])
    found: dict[int, dict[str, Judged]] = {}
    for step in run.sampled_steps():
        pictures = _read(run, step, len(prompts))
        shown = [prompt for prompt, one in zip(prompts, pictures, strict=True) if one is not None]
        kept = [one for one in pictures if one is not None]
        said: dict[str, Judged] = {}
        if unseen is not None:
            his = [one for one, prompt in zip(kept, shown, strict=True) if recipe.trigger in prompt]
            said |= _likeness(judges.embedder, his, trained, unseen)
        if judges.prompts is not None and kept:
            marks = [mark for mark in judges.prompts.scores(kept, shown) if mark is not None]
            said |= _judged("following", judges.prompts.name, marks)
        found[step] = said
    return found


def _read(run: RunFolder, step: int, count: int) -> list[Picture | None]:
    pictures: list[Picture | None] = []
    for index in range(count):
        try:
            with Image.open(run.sample_folder(step) / f"{index:02}.png", formats=("PNG",)) as file:
                pictures.append(file.convert("RGB"))
        except (OSError, SyntaxError, ValueError):
            pictures.append(None)  # of a run that was stopped while drawing
    return pictures


def _likeness(
    embedder: Embedder, pictures: list[Picture], trained: Tensor, unseen: Tensor
) -> dict[str, Judged]:
    """Against the photos: mean likeness to held-out ones, and how much nearer to trained ones."""
    if not pictures:
        return {}
    rows = embedder.embed(pictures)
    to_unseen, to_trained = rows @ unseen.T, rows @ trained.T
    copying = [
        nearest_of(own.tolist(), len(unseen)) - max(other.tolist())
        for own, other in zip(to_trained, to_unseen, strict=True)
    ]
    said = _judged("copying", embedder.name, copying)
    if embedder.sees_subjects:
        said |= _judged("likeness", embedder.name, to_unseen.mean(dim=1).tolist())
    return said


def nearest_of(likenesses: Sequence[float], count: int) -> float:
    """The likeness to the nearest of `count` photos drawn from these, on average.

    There are more training photos than held-out ones, so the nearest of all of them would be
    nearer by chance alone.
    """
    rising = sorted(likenesses)
    count = min(count, len(rising))
    draws = comb(len(rising), count)
    return sum(value * comb(place, count - 1) / draws for place, value in enumerate(rising))


def _judged(use: str, by: str, values: Sequence[float]) -> dict[str, Judged]:
    if len(values) < 2:
        return {}  # one picture has no error bar
    error = standard_error(list(values))
    return {use: Judged(by=by, mean=fmean(values), error=error, count=len(values))}
