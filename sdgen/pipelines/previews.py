"""How latents look, without the VAE: one linear map from latent channels to red, green, blue."""

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image

PREVIEW_SIDE = 256  # pixels of a preview's longer side, about

# For the autoencoder that SD 1.x and 2.x share, on scaled latents, towards [-1, 1]; the figures
# that ComfyUI uses (comfy/latent_formats.py, class SD15).
_SD_SCALING = 0.18215
_SD_FACTORS = (
    (0.3512, 0.2297, 0.3227),
    (0.3250, 0.4974, 0.2350),
    (-0.2829, 0.1762, 0.2721),
    (-0.2120, -0.2616, -0.7177),
)


class LatentPreview:
    """A linear map: rgb = latents @ factors + bias, in [-1, 1].

    factors: [c, 3]; bias: [3]; both float32 on the CPU. Latents are as the denoiser sees them.
    """

    def __init__(self, factors: torch.Tensor, bias: torch.Tensor) -> None:
        self.factors = factors
        self.bias = bias

    def images(self, latents: torch.Tensor) -> list[Image.Image]:
        """Latents [b, c, h, w] as b images, enlarged to about PREVIEW_SIDE; numbers that are not
        finite look grey."""
        flat = latents.detach().to("cpu", torch.float32).movedim(1, -1)  # [b, h, w, c]
        rgb = torch.nan_to_num(flat @ self.factors + self.bias, 0.0, 0.0, 0.0)
        pixels = ((rgb + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
        height, width = pixels.shape[1:3]
        scale = max(PREVIEW_SIDE / max(height, width), 1.0)
        size = (round(width * scale), round(height * scale))
        return [
            Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC) for picture in pixels
        ]


def known_preview(vae: Any, folder: Path | None) -> LatentPreview | None:
    """The map that comes with the model (preview.json) or is known for its family, else None.

    preview.json: {"latent_rgb_factors": [c][3], "latent_rgb_bias": [3]}. One that does not fit
    the model counts as none.
    """
    channels = int(vae.config.latent_channels)
    if folder is not None and (folder / "preview.json").is_file():
        try:
            raw = json.loads((folder / "preview.json").read_text(encoding="utf-8"))
            factors = torch.tensor(raw["latent_rgb_factors"], dtype=torch.float32)
            bias = torch.tensor(raw.get("latent_rgb_bias", [0.0] * 3), dtype=torch.float32)
        except (ValueError, TypeError, KeyError):
            return None
        fits = factors.shape == (channels, 3) and bias.shape == (3,)
        return LatentPreview(factors, bias) if fits else None
    full_size = tuple(vae.config.block_out_channels) == (128, 256, 512, 512)
    if channels == 4 and full_size and abs(vae.config.scaling_factor - _SD_SCALING) < 1e-4:
        return LatentPreview(torch.tensor(_SD_FACTORS), torch.zeros(3))
    return None


def fitted_preview(latents: torch.Tensor, images: torch.Tensor) -> LatentPreview:
    """The least squares map from latents [b, c, h, w] to what they decode to.

    images: [b, 3, H, W] in about [-1, 1]; averaged down to the latent grid first.
    """
    size = (latents.shape[2], latents.shape[3])
    small = torch.nn.functional.adaptive_avg_pool2d(images.float().cpu(), size)
    x = latents.float().cpu().movedim(1, -1).reshape(-1, latents.shape[1])
    y = small.movedim(1, -1).reshape(-1, 3)
    ones = torch.ones(len(x), 1)
    solution = torch.linalg.lstsq(torch.cat([x, ones], dim=1), y).solution  # [c + 1, 3]
    return LatentPreview(solution[:-1].contiguous(), solution[-1].contiguous())
