"""The fixed questions that every checkpoint is asked: a photo, a caption, a timestep and a noise.

The first n of a longer list are the same as a list of n, so a rough measurement is refined by
adding to it. Timesteps follow the golden ratio: any number of them lies evenly over the schedule.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lora import draws
from lora.base import Base
from lora.cache import Latents, TextCache, encode_photos
from lora.config import CompleteRecipe
from lora.dataset import Dataset, Example, pixels
from lora.loss import Batch, add_noise, denoising_loss, predict
from lora.runs import RunFolder

_GOLDEN = 0.6180339887498949
_EDGE = 0.02  # of the schedule at both ends is left out: there nothing or all is known
# Up to here the noisy photo tells where things are, and the loss tells how well they look. Above it
# the loss is about the layout, which the caption leaves open: an adapter that knows the training
# photos' layouts loses there what it gains on the subject.
_LAYOUT_KNOWN = 0.6
ROWS = 4  # of one forward pass
DRAWN_STEPS = 8  # of the pictures that drift is measured on
MOST_CLASS_PICTURES = 4


@dataclass(frozen=True)
class Pair:
    """One question. Tensors on the base's device."""

    clean: Tensor  # latents [c, h, w]
    noise: Tensor  # [c, h, w]
    timestep: int
    caption: str
    time_ids: Tensor | None  # [6], SDXL


@dataclass(frozen=True)
class Questions:
    """All pairs of a run, each list in its fixed order."""

    subject: tuple[Pair, ...]
    training: tuple[Pair, ...]
    drift: tuple[Pair, ...]
    measured_on: str  # a sentence about `subject`
    forward_passes: int  # that making them took


def make_questions(
    base: Base, recipe: CompleteRecipe, photos: Dataset, run: RunFolder, count: int, drift: int
) -> Questions:
    """The pairs for a run's photos; the base must hold no adapter.

    count: pairs on photos that were held out, and as many on trained ones. drift: pairs on
    pictures that the base draws without the trigger.
    """
    latents = encode_photos(base, (*photos.examples, *photos.held_out), run.path / "cache")
    seen = [(latents[one.id], one.caption) for one in photos.examples]
    if photos.held_out:
        unseen = [(latents[one.id], one.caption) for one in photos.held_out]
        said = f"The subject's score is measured on {len(unseen)} held-out photos that no step saw."
    else:
        caption = f"{recipe.trigger} {recipe.class_word}".strip()
        unseen = [(_mirrored(base, one, latents[one.id]), caption) for one in photos.examples]
        said = (
            f"With {len(photos.examples)} photos none was held out: the subject's score is "
            "measured on the training photos mirrored, under a caption and noise that no step had. "
            "It may reward copying."
        )
    prompts = class_prompts(base, recipe)
    drawn = [_drawn(base, prompt, recipe, index) for index, prompt in enumerate(prompts)]
    passes = len(prompts) * DRAWN_STEPS * (2 if base.spec.guidance_scale > 1 else 1)
    return Questions(
        subject=_pairs(base, recipe, unseen, count, "subject"),
        training=_pairs(base, recipe, seen, count, "training"),
        drift=_pairs(base, recipe, drawn, drift, "drift"),
        measured_on=said,
        forward_passes=passes,
    )


def class_prompts(base: Base, recipe: CompleteRecipe) -> list[str]:
    """What is drawn without the trigger: the class, and what the model knows best."""
    word = recipe.class_word.strip()
    found = [word, f"a photo of a {word}", f"a {word} in a garden"] if word else []
    if base.spec.words is not None:
        found = found[:1] + list(base.spec.words.examples)
    found += ["a person in a street", "a dog on a meadow", "a landscape", "a city at night"]
    trigger = recipe.trigger.lower()
    return [text for text in found if trigger not in text.lower()][:MOST_CLASS_PICTURES]


@torch.no_grad()
def losses(base: Base, pairs: Sequence[Pair], text: TextCache) -> list[float]:
    """The denoising loss of each pair by the model with whatever is in it."""
    found: list[float] = []
    for batch, noisy in _batches(base, pairs, text):
        predicted = predict(base, noisy, batch.timesteps, batch.text, batch.time_ids)
        found += denoising_loss(base, batch, predicted).tolist()
    return found


@torch.no_grad()
def predictions(base: Base, pairs: Sequence[Pair], text: TextCache) -> list[Tensor]:
    """What the model predicts for each pair [c, h, w], float32 on the CPU."""
    found: list[Tensor] = []
    for batch, noisy in _batches(base, pairs, text):
        predicted = predict(base, noisy, batch.timesteps, batch.text, batch.time_ids)
        found += list(predicted.cpu())
    return found


def distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> list[float]:
    """The RMS difference of each two predictions."""
    return [float((a - b).square().mean().sqrt()) for a, b in zip(one, other, strict=False)]


def _batches(base: Base, pairs: Sequence[Pair], text: TextCache) -> list[tuple[Batch, Tensor]]:
    """Neighbours of one size together, in order; with the noisy latents."""
    groups: list[list[Pair]] = []
    for pair in pairs:
        full = not groups or len(groups[-1]) == ROWS
        if full or groups[-1][0].clean.shape != pair.clean.shape:
            groups.append([])
        groups[-1].append(pair)
    made = []
    for group in groups:
        ids = [pair.time_ids for pair in group if pair.time_ids is not None]
        batch = Batch(
            clean=torch.stack([pair.clean for pair in group]),
            noise=torch.stack([pair.noise for pair in group]),
            timesteps=torch.tensor([pair.timestep for pair in group], device=base.device),
            text=text([pair.caption for pair in group]),
            time_ids=torch.stack(ids) if ids else None,
        )
        made.append((batch, add_noise(base.alphas, batch.clean, batch.noise, batch.timesteps)))
    return made


def _pairs(
    base: Base,
    recipe: CompleteRecipe,
    pictures: Sequence[tuple[Latents, str]],
    count: int,
    use: str,
) -> tuple[Pair, ...]:
    """`count` pairs that go round the pictures."""
    last = 1 - _EDGE if use == "drift" else _LAYOUT_KNOWN
    made = []
    for index in range(count):
        latents, caption = pictures[index % len(pictures)]
        share = _EDGE + (last - _EDGE) * ((index + 0.5) * _GOLDEN % 1.0)
        rng = draws.generator(recipe.seed, "evaluate", use, index)
        made.append(
            Pair(
                clean=latents.mean,
                noise=torch.randn(latents.mean.shape, generator=rng).to(base.device),
                timestep=int(share * len(base.alphas)),
                caption=caption,
                time_ids=latents.time_ids if base.is_sdxl else None,
            )
        )
    return tuple(made)


def _mirrored(base: Base, example: Example, latents: Latents) -> Latents:
    mean = _encoded(base, pixels(example, mirror=True))
    return Latents(latents.photo, mean, torch.zeros_like(mean), latents.time_ids)


def _drawn(base: Base, prompt: str, recipe: CompleteRecipe, index: int) -> tuple[Latents, str]:
    """A picture by the base alone, as latents."""
    side = recipe.resolution
    image = base.draw(prompt, recipe.sample_seed + 1000 + index, side, side, DRAWN_STEPS)
    mean = _encoded(base, _tensor(image))
    ids = torch.tensor([side, side, 0, 0, side, side], dtype=torch.float32, device=base.device)
    return Latents("", mean, torch.zeros_like(mean), ids), prompt


def _tensor(image: Image.Image) -> Tensor:
    values = np.asarray(image.convert("RGB"), dtype=np.float32) / 127.5 - 1
    return torch.from_numpy(values.transpose(2, 0, 1).copy())


@torch.no_grad()
def _encoded(base: Base, picture: Tensor) -> Tensor:
    """Latents [c, h, w] of a picture [3, h, w] in [-1, 1]; the VAE in float32, as for training."""
    kept = base.vae.dtype
    base.vae.to(base.device)
    if kept != torch.float32:
        base.vae.to(torch.float32)
    try:
        mean: Tensor = base.vae.encode(picture[None].to(base.device)).latent_dist.mean[0]
    finally:
        if kept != torch.float32:
            base.vae.to(kept)
    config = base.vae.config
    shift, factor = getattr(config, "shift_factor", None) or 0.0, float(config.scaling_factor)
    return (mean - shift) * factor
