"""The AutoencoderKL: its encoder is written down from the latent code, its decoder is trained."""

import torch
from diffusers import AutoencoderKL
from torch import nn

from tools.picturebook.latent_code import CHANNELS, LatentCode

BLOCKS = (16, 24, 64, 96, 128)  # channels at 256, 128, 64, 32, 16 px
GROUPS = 8
ANCHOR = 256.0  # see encoder_from_code
LOG_VARIANCE = -18.0  # of every latent: a deviation of about 1e-4


def new_vae() -> AutoencoderKL:
    levels = len(BLOCKS)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=BLOCKS,
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=GROUPS,
        sample_size=256,
        scaling_factor=1.0,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
    )


@torch.no_grad()
def encoder_from_code(vae: AutoencoderKL, code: LatentCode) -> None:
    """Writes the latent code into the encoder, exactly.

    Residual branches are zero, so only shortcuts and down-sampling convolutions act, and these are
    the code's matrices. Two layers at the end are not linear, and are made so:

    - SiLU: each latent z travels as the pair (z, -z), and silu(z) - silu(-z) = z.
    - GroupNorm: the pairs have a mean of 0, and constant pairs (ANCHOR, -ANCHOR) in every group
      dominate its variance; its weight undoes the division.
    """
    for parameter in vae.encoder.parameters():
        parameter.zero_()
    encoder = vae.encoder
    encoder.conv_in.weight[:3, :3, 1, 1] = torch.eye(3)
    width = 3
    for block, matrix in zip(encoder.down_blocks, code.maps, strict=False):
        _keep(block.resnets[0].conv_shortcut, width)
        kept = matrix.shape[0]
        taps = matrix.reshape(kept, 2, 2, width).permute(0, 3, 1, 2)
        block.downsamplers[0].conv.weight[:kept, :width, :2, :2] = taps
        width = kept
    _spread_pairs(encoder.down_blocks[-1].resnets[0].conv_shortcut, code)
    channels = BLOCKS[-1]
    anchors_share = 1 - 2 * CHANNELS / channels
    encoder.conv_norm_out.weight.fill_(ANCHOR * anchors_share**0.5)
    for latent, (plus, minus) in enumerate(_pairs()):
        encoder.conv_out.weight[latent, plus, 1, 1] = 1
        encoder.conv_out.weight[latent, minus, 1, 1] = -1
    encoder.conv_out.bias[CHANNELS:] = LOG_VARIANCE


def _keep(shortcut: nn.Conv2d | None, width: int) -> None:
    """A block that widens has a 1 x 1 shortcut: pass the first `width` channels through it."""
    if shortcut is not None:
        shortcut.weight[:width, :width, 0, 0] = torch.eye(width)


def _pairs() -> list[tuple[int, int]]:
    """The two channels of every latent; the latents are dealt out evenly to the groups."""
    size = BLOCKS[-1] // GROUPS
    starts = [i % GROUPS * size + i // GROUPS * 2 for i in range(CHANNELS)]
    return [(start, start + 1) for start in starts]


def _spread_pairs(shortcut: nn.Conv2d, code: LatentCode) -> None:
    """Latents as (z, -z), every other channel of the group as a constant."""
    constants = torch.tensor([ANCHOR, -ANCHOR]).repeat(BLOCKS[-1] // 2)
    shortcut.bias.copy_(constants)
    for latent, pair in enumerate(_pairs()):
        for channel, sign in zip(pair, (1.0, -1.0), strict=True):
            shortcut.weight[channel, latent, 0, 0] = sign / code.scale[latent]
            shortcut.bias[channel] = -sign * code.mean[latent] / code.scale[latent]
