"""Looking at a run while it goes: pictures at fixed seeds, and the loss on photos held out."""

import io
from collections.abc import Sequence

import torch

from lora import draws
from lora.base import Base
from lora.cache import Latents, TextCache
from lora.config import CompleteRecipe
from lora.dataset import Example
from lora.loss import Batch, denoising_loss, predict
from lora.loss import add_noise as noisy_latents
from lora.runs import RunFolder, write_json, write_whole

NOISE_LEVELS = 4  # timesteps at which each held-out photo is looked at


def draw_samples(base: Base, recipe: CompleteRecipe, run: RunFolder, step: int) -> None:
    """The recipe's sample prompts at their fixed seeds, into the run's folder of this step.

    Sample i has seed recipe.sample_seed + i at every step, so that pictures can be compared.
    """
    side = recipe.resolution
    folder = run.sample_folder(step)
    for index, prompt in enumerate(recipe.samples):
        image = base.draw(prompt, recipe.sample_seed + index, side, side)
        png = io.BytesIO()
        image.save(png, format="PNG")
        write_whole(folder / f"{index:02}.png", png.getvalue(), sync=False)
    seeds = [recipe.sample_seed + index for index in range(len(recipe.samples))]
    write_json(run.samples_index, {"prompts": list(recipe.samples), "seeds": seeds}, sync=False)


class HeldOut:
    """The loss on photos that are not trained on, with noise that is the same every time."""

    def __init__(
        self,
        base: Base,
        recipe: CompleteRecipe,
        examples: Sequence[Example],
        latents: Sequence[Latents],
    ) -> None:
        self._base = base
        self._recipe = recipe
        self._pairs = list(zip(examples, latents, strict=True))

    def loss(self) -> float | None:
        """The mean squared error over photos and noise levels; None without held-out photos."""
        if not self._pairs:
            return None
        text = TextCache(self._base)
        losses: list[float] = []
        with self._base.evaluating():
            for example, latents in self._pairs:
                batch = self._batch(example, latents, text)
                noisy = noisy_latents(self._base.alphas, batch.clean, batch.noise, batch.timesteps)
                found = predict(self._base, noisy, batch.timesteps, batch.text, batch.time_ids)
                losses += denoising_loss(self._base, batch, found).tolist()
        return sum(losses) / len(losses)

    def _batch(self, example: Example, latents: Latents, text: TextCache) -> Batch:
        """One photo at all noise levels."""
        count, device = len(self._base.alphas), self._base.device
        shape = tuple(latents.mean.shape)
        noise = [draws.noise(self._recipe.seed, 0, level, shape) for level in range(NOISE_LEVELS)]
        times = [int((level + 0.5) / NOISE_LEVELS * count) for level in range(NOISE_LEVELS)]
        time_ids = latents.time_ids.expand(NOISE_LEVELS, -1) if self._base.is_sdxl else None
        return Batch(
            clean=latents.mean.expand(NOISE_LEVELS, -1, -1, -1),
            noise=torch.stack(noise).to(device),
            timesteps=torch.tensor(times, device=device),
            text=text([example.caption] * NOISE_LEVELS),
            time_ids=time_ids,
        )
