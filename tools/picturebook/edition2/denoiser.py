"""The denoiser, its noise schedule, and the loss of one training step."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor

from tools.picturebook.edition2.latent_code import CHANNELS
from tools.picturebook.edition2.slots import TEXT_WIDTH, SlotEncoder

SIDE = 16  # latents of a picture, both ways
# Of the last timestep a trace of the picture must not be left, or the model trusts it more than the
# words: the loudest latent (deviation 4.3), averaged over 256 cells, would stand above the noise by
# 1.1 deviations with the first edition's 0.02; with this by 0.2.
BETA_END = 0.03
BOX_WEIGHT = 2.0  # how much more the loss counts inside the figures' boxes
FLOOR = 0.05  # see loss_of


def new_unet() -> UNet2DConditionModel:
    """Wide at the finest grid, where detail lives; attention at 8 x 8 only. What is told also
    shifts and scales every layer (addition_embed_type), since a time of day tints everything."""
    return UNet2DConditionModel(
        sample_size=SIDE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(192, 192),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        time_embedding_dim=384,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def new_noise_schedule(prediction: str = "sample") -> DDPMScheduler:
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
    )


@dataclass(frozen=True)
class Batch:
    """latents and noise: [b, c, 16, 16]; mask: [b, 16, 16], 1 in the figures' boxes;
    timesteps: [b]; fields: [b, FIELDS]."""

    latents: Tensor
    noise: Tensor
    mask: Tensor
    timesteps: Tensor
    fields: Tensor


def clean_of(prediction: str, output: Tensor, noisy: Tensor, kept: Tensor) -> Tensor:
    """The clean latents that a network's output means; kept: alphas_cumprod [b, 1, 1, 1]."""
    if prediction == "sample":
        return output
    return kept.sqrt() * noisy - (1 - kept).sqrt() * output


def loss_of(
    unet: UNet2DConditionModel, slots: SlotEncoder, schedule: DDPMScheduler, batch: Batch
) -> Tensor:
    """The squared error of the clean latents over the noise's variance, which is the error of the
    velocity (Li & He 2025, arXiv 2511.13720, have the network predict the clean picture and weigh
    so); FLOOR keeps the least noise from counting without end."""
    kept = schedule.alphas_cumprod[batch.timesteps][:, None, None, None]
    noisy = kept.sqrt() * batch.latents + (1 - kept).sqrt() * batch.noise
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    output = unet(noisy, batch.timesteps, slots(batch.fields), return_dict=False)[0]
    clean = clean_of(schedule.config.prediction_type, output, noisy, kept)
    places = 1 + (BOX_WEIGHT - 1) * batch.mask[:, None]
    places = places / places.mean((1, 2, 3), keepdim=True)
    error = F.mse_loss(clean, batch.latents, reduction="none") * places
    return (error / (1 - kept + FLOOR)).mean()
