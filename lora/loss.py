"""One training step's loss as a function of a batch: no state, no draws, no files.

Denoising score matching as in Ho et al. 2020, arXiv 2006.11239; v-prediction: Salimans and Ho 2022,
arXiv 2202.00512; min-SNR weights: Hang et al. 2023, arXiv 2303.09556. Letters of shapes as in
sdgen.pipelines.base: b rows, c channels, h and w of latents, n tokens, d their width.
"""

from dataclasses import dataclass

import torch

from lora.base import Base
from lora.network import disabled


@dataclass(frozen=True)
class Text:
    """What the UNet is told of rows. SDXL has a pooled vector besides."""

    hidden: torch.Tensor  # [b, n, d]
    pooled: torch.Tensor | None = None  # [b, p]


@dataclass(frozen=True)
class Batch:
    """Rows of one size, ready for the UNet, on its device. All but the text is float32."""

    clean: torch.Tensor  # latents of photos [b, c, h, w], scaled
    noise: torch.Tensor  # [b, c, h, w]
    timesteps: torch.Tensor  # [b], whole numbers
    text: Text
    time_ids: torch.Tensor | None = None  # [b, 6], SDXL: original size, crop, size
    prior: Text | None = None  # the class prompt as the adapter's text encoders read it
    base_prior: Text | None = None  # and as the base alone reads it


def step_loss(
    base: Base, batch: Batch, min_snr_gamma: float = 0.0, prior_weight: float = 0.0
) -> torch.Tensor:
    """The loss of each row [b], float32, with gradients for the adapter.

    min_snr_gamma: 0 for plain mean squared error. prior_weight: how much it counts when the
    adapter changes what the base predicts for the class prompt; needs the batch's priors.
    """
    noisy = add_noise(base.alphas, batch.clean, batch.noise, batch.timesteps)
    if prior_weight and batch.prior is not None and batch.base_prior is not None:
        rows = len(noisy)
        both = predict(
            base,
            torch.cat([noisy, noisy]),
            torch.cat([batch.timesteps, batch.timesteps]),
            _joined(batch.text, batch.prior),
            None if batch.time_ids is None else torch.cat([batch.time_ids, batch.time_ids]),
        )
        with torch.no_grad(), disabled(base):
            kept = predict(base, noisy, batch.timesteps, batch.base_prior, batch.time_ids)
        return denoising_loss(base, batch, both[:rows], min_snr_gamma) + (
            prior_weight * mean_square(both[rows:], kept)
        )
    prediction = predict(base, noisy, batch.timesteps, batch.text, batch.time_ids)
    return denoising_loss(base, batch, prediction, min_snr_gamma)


def denoising_loss(
    base: Base, batch: Batch, prediction: torch.Tensor, min_snr_gamma: float = 0.0
) -> torch.Tensor:
    """The weighted mean squared error of each row's prediction [b], against noise or velocity."""
    if base.velocity:
        goal = velocity(base.alphas, batch.clean, batch.noise, batch.timesteps)
    else:
        goal = batch.noise
    losses = mean_square(prediction, goal)
    if min_snr_gamma:
        weights = min_snr_weights(base.alphas, batch.timesteps, min_snr_gamma, base.velocity)
        losses = losses * weights
    return losses


def predict(
    base: Base,
    noisy: torch.Tensor,
    timesteps: torch.Tensor,
    text: Text,
    time_ids: torch.Tensor | None = None,
) -> torch.Tensor:
    """The UNet's prediction [b, c, h, w], float32."""
    added = None
    if text.pooled is not None:
        added = {"text_embeds": text.pooled.to(base.dtype), "time_ids": time_ids}
    with base.autocast():
        predicted: torch.Tensor = base.unet(
            noisy.to(base.dtype),
            timesteps,
            encoder_hidden_states=text.hidden.to(base.dtype),
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
    return predicted.float()


def add_noise(
    alphas: torch.Tensor, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """x_t = sqrt(alpha-bar) x_0 + sqrt(1 - alpha-bar) noise. alphas: alpha-bar by timestep [T]."""
    share = alphas[timesteps].view(-1, 1, 1, 1)
    return share.sqrt() * clean + (1 - share).sqrt() * noise


def velocity(
    alphas: torch.Tensor, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """v = sqrt(alpha-bar) noise - sqrt(1 - alpha-bar) x_0."""
    share = alphas[timesteps].view(-1, 1, 1, 1)
    return share.sqrt() * noise - (1 - share).sqrt() * clean


def min_snr_weights(
    alphas: torch.Tensor, timesteps: torch.Tensor, gamma: float, velocity: bool
) -> torch.Tensor:
    """The weight of each row [b]: min(SNR, gamma) / SNR, for v over SNR + 1."""
    share = alphas[timesteps].double()
    ratio = share / (1 - share)
    weights = ratio.clamp(max=gamma) / (ratio + 1 if velocity else ratio)
    # Schedules that end in pure noise have SNR 0 there: 0/0 for the noise, whose limit is 1.
    return torch.nan_to_num(weights, nan=1.0).float()


def mean_square(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The mean squared difference of each row [b]."""
    return (one - other).square().mean(dim=(1, 2, 3))


def _joined(one: Text, other: Text) -> Text:
    pooled = None
    if one.pooled is not None and other.pooled is not None:
        pooled = torch.cat([one.pooled, other.pooled])
    return Text(torch.cat([one.hidden, other.hidden]), pooled)
