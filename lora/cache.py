"""What the training steps need of photos and captions, computed once and kept by content.

Latents are keyed by the photo's pixels, its crop and the VAE; text by the caption. Nothing is ever
keyed by a step or a place in a list, and what lies in the cache carries the hash of what it was
made from, so that every batch can be checked: the caption beside a latent is that photo's own.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

from lora import draws
from lora.base import Base
from lora.checkpoints import read_tensors, tensor_bytes
from lora.config import CompleteRecipe
from lora.dataset import Example, pixels
from lora.loss import Batch, Text
from lora.runs import write_whole
from sdgen.errors import SdgenError

EMPTY = hashlib.sha256(b"").hexdigest()  # the hash of a dropped caption


class WrongPair(SdgenError):
    """A batch held a caption that is not its photo's; nothing was learnt from it."""


@dataclass(frozen=True)
class Latents:
    """What the VAE makes of one photo: mean and spread of its latents [c, h, w], scaled."""

    photo: str  # hash of the pixels it was made from
    mean: torch.Tensor
    spread: torch.Tensor
    time_ids: torch.Tensor  # [6], for SDXL: original height and width, crop, height and width


def encode_photos(
    base: Base, examples: Sequence[Example], folder: Path | None = None
) -> dict[str, Latents]:
    """The latents of each photo by Example.id, encoded one by one in float32, on base.device.

    folder: where they are kept for the next time. Raises DatasetDamaged when a photo was changed.
    """
    found: dict[str, Latents] = {}
    encoder = _Encoder(base)
    for example in examples:
        key = _key(base, example)
        path = None if folder is None else folder / f"{key}.safetensors"
        pair = _kept(path) or encoder(example)
        if path is not None and not path.exists():
            tensors = {"mean": pair[0].cpu(), "spread": pair[1].cpu()}
            write_whole(path, tensor_bytes(tensors))
        mean, spread = (part.to(base.device) for part in pair)
        found[example.id] = Latents(example.id, mean, spread, _time_ids(example).to(base.device))
    encoder.close()
    return found


class TextCache:
    """Captions as the UNet reads them, each encoded once for as long as the encoders rest."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._known: dict[str, Text] = {}

    def forget(self) -> None:
        """Encode anew; needed when an adapter in the text encoders has changed."""
        self._known.clear()

    def __call__(self, captions: Sequence[str]) -> Text:
        """The captions' rows, without gradients."""
        missing = [text for text in dict.fromkeys(captions) if caption_key(text) not in self._known]
        if missing:
            with self._base.evaluating():
                for text in missing:
                    hidden, pooled = self._base.encode_text([text])
                    self._known[caption_key(text)] = Text(hidden, pooled)
        rows = [self._known[caption_key(text)] for text in captions]
        pooled_rows = [row.pooled for row in rows if row.pooled is not None]
        return Text(
            torch.cat([row.hidden for row in rows]), torch.cat(pooled_rows) if pooled_rows else None
        )


@dataclass(frozen=True)
class Row:
    """One place in a batch: which photo, under which caption, with which draws."""

    sample: int  # place in the whole batch of the step
    latents: Latents
    caption: str  # "" where it is dropped


class Rows:
    """Which photo stands where in which step, and the batches made of that."""

    def __init__(
        self,
        base: Base,
        recipe: CompleteRecipe,
        examples: Sequence[Example],
        latents: Mapping[str, Latents],
    ) -> None:
        self._base = base
        self._recipe = recipe
        self._examples = tuple(examples)
        self._latents = latents
        self._captions = {example.id: caption_key(example.caption) for example in examples}
        self._buckets: dict[tuple[int, int], list[int]] = {}
        for index, example in enumerate(examples):
            self._buckets.setdefault(example.bucket, []).append(index)

    def of_step(self, step: int, batch: int, samples: Sequence[int]) -> list[list[Row]]:
        """The rows at these places of a step's whole batch, in groups of one size."""
        photos = draws.photos_of_step(self._recipe.seed, step, batch, self._buckets)
        groups: dict[tuple[int, int], list[Row]] = {}
        for sample in samples:
            example = self._examples[photos[sample]]
            dropped = draws.caption_dropped(
                self._recipe.seed, step, sample, self._recipe.caption_dropout
            )
            caption = "" if dropped else example.caption
            row = Row(sample, self._latents[example.id], caption)
            groups.setdefault(example.bucket, []).append(row)
        return list(groups.values())

    def batch(
        self,
        step: int,
        batch: int,
        rows: Sequence[Row],
        text: Text,
        priors: tuple[Text, Text] | None = None,
    ) -> Batch:
        """The rows as tensors. Raises WrongPair when a caption is not its photo's."""
        self._check_pairs(rows)
        seed, device = self._recipe.seed, self._base.device
        shape = tuple(rows[0].latents.mean.shape)
        mean = torch.stack([row.latents.mean for row in rows])
        spread = torch.stack([row.latents.spread for row in rows])
        picks = [draws.posterior_noise(seed, step, row.sample, shape) for row in rows]
        offset = self._recipe.noise_offset
        noise = [draws.noise(seed, step, row.sample, shape, offset) for row in rows]
        count = len(self._base.alphas)
        times = [draws.timestep(seed, step, row.sample, batch, count) for row in rows]
        time_ids = torch.stack([row.latents.time_ids for row in rows])
        return Batch(
            clean=mean + spread * torch.stack(picks).to(device),
            noise=torch.stack(noise).to(device),
            timesteps=torch.tensor(times, device=device),
            text=text,
            time_ids=time_ids if self._base.is_sdxl else None,
            prior=None if priors is None else priors[0],
            base_prior=None if priors is None else priors[1],
        )

    def _check_pairs(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if caption_key(row.caption) not in (self._captions[row.latents.photo], EMPTY):
                raise WrongPair(
                    "A caption stood beside a photo that it does not belong to, so the run was "
                    "ended before it learnt that. Please report this."
                )


def caption_key(caption: str) -> str:
    """SHA-256 of a caption."""
    return hashlib.sha256(caption.encode()).hexdigest()


class _Encoder:
    """The VAE in float32 for as long as photos are encoded; some break in half precision."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._dtype = base.vae.dtype
        self._ready = False

    @torch.no_grad()
    def __call__(self, example: Example) -> tuple[torch.Tensor, torch.Tensor]:
        base = self._base
        if not self._ready:
            base.vae.to(base.device)
            if self._dtype != torch.float32:
                base.vae.to(torch.float32)
            self._ready = True
        image = pixels(example)[None].to(base.device)
        found = base.vae.encode(image).latent_dist
        config = base.vae.config
        mean = (found.mean[0] - (getattr(config, "shift_factor", None) or 0)) * (
            config.scaling_factor
        )
        return mean, found.std[0] * config.scaling_factor

    def close(self) -> None:
        if self._dtype != torch.float32:
            self._base.vae.to(self._dtype)


def _key(base: Base, example: Example) -> str:
    parts = (example.id, example.bucket, example.crop, base.digest, base.spec.name)
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def _kept(path: Path | None) -> tuple[torch.Tensor, torch.Tensor] | None:
    """What an earlier run of the same photos left; None where there is nothing of use."""
    if path is None or not path.exists():
        return None
    try:
        tensors = read_tensors(path)
        return tensors["mean"], tensors["spread"]
    except (OSError, KeyError, SafetensorError):
        path.unlink(missing_ok=True)
        return None


def _time_ids(example: Example) -> torch.Tensor:
    """SDXL's six numbers, as it was trained: the crop is told in pixels of the resized photo."""
    left, top, right, _ = example.crop
    width, height = example.bucket
    scale = width / (right - left)
    numbers = (example.height, example.width, top * scale, left * scale, height, width)
    return torch.tensor([round(float(number)) for number in numbers], dtype=torch.float32)
