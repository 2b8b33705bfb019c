"""The AutoencoderKL: its encoder is written down from the latent code, its decoder is trained."""

import torch
from diffusers import AutoencoderKL
from torch import nn

from tools.picturebook.edition2.latent_code import CHANNELS
from tools.picturebook.latent_code import LatentCode

BLOCKS = (16, 16, 32, 64, 128, 144)  # channels at 512, 256, 128, 64, 32, 16 px
GROUPS = 4
ANCHOR = 256.0  # see encoder_from_code
LIFT = 24.0
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
        sample_size=512,
        scaling_factor=1.0,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
    )


@torch.no_grad()
def encoder_from_code(vae: AutoencoderKL, code: LatentCode) -> None:
    """Writes the latent code into the encoder, to about a thousandth.

    Residual branches are zero, so only shortcuts and down-sampling convolutions act, and these are
    the code's matrices. Two layers at the end are not linear, and are made nearly so:

    - GroupNorm: every group has two constant channels (ANCHOR, -ANCHOR) that dominate its variance,
      so that it divides by what its weight multiplies with; and a channel of zeros, which comes out
      as the mean that was taken off, to be added again.
    - SiLU: a bias of LIFT keeps what goes in far above zero, where silu(x) = x. (At 24, float16
      still tells apart steps of 0.016.)
    """
    for parameter in vae.encoder.parameters():
        parameter.zero_()
    encoder = vae.encoder
    encoder.conv_in.weight[:3, :3, 1, 1] = torch.eye(3)
    width = 3
    for block, matrix in zip(encoder.down_blocks, code.maps, strict=False):
        shortcut = block.resnets[0].conv_shortcut
        if shortcut is not None:
            shortcut.weight[:width, :width, 0, 0] = torch.eye(width)
        kept = matrix.shape[0]
        taps = matrix.reshape(kept, 2, 2, width).permute(0, 3, 1, 2)
        block.downsamplers[0].conv.weight[:kept, :width, :2, :2] = taps
        width = kept
    _spread(encoder.down_blocks[-1].resnets[0].conv_shortcut, code)
    size = BLOCKS[-1] // GROUPS
    encoder.conv_norm_out.weight.fill_(ANCHOR * (2 / size) ** 0.5)
    encoder.conv_norm_out.bias.fill_(LIFT)
    for latent in range(CHANNELS):
        place, zero = _place(latent)
        encoder.conv_out.weight[latent, place, 1, 1] = 1
        encoder.conv_out.weight[latent, zero, 1, 1] = -1
    encoder.conv_out.bias[CHANNELS:] = LOG_VARIANCE


def _place(latent: int) -> tuple[int, int]:
    """The latent's channel, and the channel of zeros in its group. A group has two anchors, then
    the zeros, then its share of the latents."""
    size = BLOCKS[-1] // GROUPS
    start = latent % GROUPS * size
    return start + 3 + latent // GROUPS, start + 2


def _spread(shortcut: nn.Conv2d, code: LatentCode) -> None:
    size = BLOCKS[-1] // GROUPS
    for group in range(GROUPS):
        shortcut.bias[group * size] = ANCHOR
        shortcut.bias[group * size + 1] = -ANCHOR
    for latent in range(CHANNELS):
        place, _ = _place(latent)
        shortcut.weight[place, latent, 0, 0] = 1 / code.scale[latent]
        shortcut.bias[place] = -code.mean[latent] / code.scale[latent]
