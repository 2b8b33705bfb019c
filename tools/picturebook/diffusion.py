"""The denoiser's two networks, its noise schedule, and the loss of one training step."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from tools.picturebook.latent_code import CHANNELS
from tools.picturebook.tokenizer import LENGTH, VOCABULARY

TEXT_WIDTH = 128
# 0.012, as in Stable Diffusion, leaves a trace of the picture in the last timestep: over 256 places
# its mean brightness shows through the noise, and the model would trust that more than the words.
BETA_END = 0.02
BOX_WEIGHT = 4.0  # how much more the loss counts inside the subjects' boxes
SNR_CAP = 5.0  # see loss_of
EMPTY_SHARE = 0.1  # captions left empty, for classifier-free guidance


def new_text_encoder() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=TEXT_WIDTH,
        bos_token_id=VOCABULARY - 2,
        eos_token_id=VOCABULARY - 1,
        pad_token_id=VOCABULARY - 1,
    )
    return CLIPTextModel(config)


def new_unet() -> UNet2DConditionModel:
    """No attention at 16 x 16: over 256 places it costs more on a CPU than all else together."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
    )


def new_noise_schedule() -> DDPMScheduler:
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
    )


@dataclass(frozen=True)
class Batch:
    """latents and noise: [b, c, 16, 16]; mask: [b, 16, 16], 1 in the subjects' boxes;
    timesteps: [b]; tokens: [b, LENGTH]."""

    latents: Tensor
    noise: Tensor
    mask: Tensor
    timesteps: Tensor
    tokens: Tensor


def loss_of(
    unet: UNet2DConditionModel, text_encoder: CLIPTextModel, schedule: DDPMScheduler, batch: Batch
) -> Tensor:
    """v-prediction error, weighted by place and by the signal-to-noise ratio.

    Where there is little noise the weight falls as in min-SNR (Hang et al. 2023, arXiv 2303.09556);
    where there is much it stays 1, unlike there, since that is where the words decide.
    """
    noisy = schedule.add_noise(batch.latents, batch.noise, batch.timesteps)
    target = schedule.get_velocity(batch.latents, batch.noise, batch.timesteps)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = text_encoder(batch.tokens)[0]
        guess = unet(noisy, batch.timesteps, hidden, return_dict=False)[0].float()
    kept = schedule.alphas_cumprod[batch.timesteps]
    snr = kept / (1 - kept)
    weight = (SNR_CAP / (snr + 1)).clamp(max=1)
    places = 1 + (BOX_WEIGHT - 1) * batch.mask[:, None]
    error = F.mse_loss(guess, target, reduction="none") * places
    return (error.mean((1, 2, 3)) / places.mean((1, 2, 3)) * weight).mean()
