"""The latent code: what a 16 x 16 px patch becomes. `python -m tools.picturebook.latent_code`.

The code is linear and fitted in seconds: four times, 2 x 2 neighbours are joined and reduced to
their principal components (12, 24, 64, then CHANNELS numbers for 16 x 16 px). `encoder_of` writes
the same map into the weights of a diffusers `AutoencoderKL` encoder, so nothing needs training and
the denoiser and the decoder can be trained at the same time.

Scale: each component is divided by the square root of its deviation, halfway between whitened (all
equally loud) and natural, and all together by one number so that latents have a variance of 1.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.picturebook.data import load_pictures, load_scenes

CHANNELS = 32
LEVELS = (12, 24, 64, CHANNELS)  # components kept after each joining of 2 x 2
BOX_WEIGHT = 3.0  # how much more a patch inside a subject's box counts in the fit


def join(x: Tensor) -> Tensor:
    """[b, c, h, w] -> [b, 4c, h/2, w/2]: order is (dy, dx, c)."""
    b, c, h, w = x.shape
    x = x.reshape(b, c, h // 2, 2, w // 2, 2)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


def split(x: Tensor) -> Tensor:
    """The inverse of `join`."""
    b, c, h, w = x.shape
    x = x.reshape(b, 2, 2, c // 4, h, w)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(b, c // 4, 2 * h, 2 * w)


class LatentCode:
    """maps: one [kept, 4 * before] matrix a level, rows orthonormal; mean and scale: [CHANNELS]."""

    def __init__(self, maps: list[Tensor], mean: Tensor, scale: Tensor) -> None:
        self.maps, self.mean, self.scale = maps, mean, scale

    def encode(self, pictures: Tensor) -> Tensor:
        """RGB in [-1, 1], [b, 3, 256, 256] -> latents [b, CHANNELS, 16, 16]."""
        x = pictures
        for matrix in self.maps:
            x = torch.einsum("kc,bchw->bkhw", matrix, join(x))
        return (x - self.mean[:, None, None]) / self.scale[:, None, None]

    def decode(self, latents: Tensor) -> Tensor:
        """The best linear guess at the pictures; shows the blocks that the decoder removes."""
        x = latents * self.scale[:, None, None] + self.mean[:, None, None]
        for matrix in reversed(self.maps):
            x = split(torch.einsum("kc,bkhw->bchw", matrix, x))
        return x

    def rgb_factors(self) -> tuple[Tensor, Tensor]:
        """Latents to a 16 x 16 preview: factors [CHANNELS, 3] and bias [3], RGB in [-1, 1]."""
        with torch.no_grad():
            basis = torch.cat([torch.zeros(1, len(self.mean)), torch.eye(len(self.mean))])
            colours = self.decode(basis[:, :, None, None]).mean((2, 3))
        return colours[1:] - colours[:1], colours[0]

    def save(self, path: Path) -> None:
        torch.save({"maps": self.maps, "mean": self.mean, "scale": self.scale}, path)

    @classmethod
    def load(cls, work_dir: Path) -> "LatentCode":
        return cls(**torch.load(work_dir / "latent_code.pt", weights_only=True))


def as_tensor(pictures: np.ndarray) -> Tensor:
    """uint8 [b, h, w, 3] -> float [b, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def box_masks(boxes: list[list], cell: int) -> Tensor:
    """[n, 256 / cell, 256 / cell]: 1 in the cells that touch a box, else 0."""
    side = 256 // cell
    masks = torch.zeros(len(boxes), side, side)
    for mask, figures in zip(masks, boxes, strict=True):
        for left, top, right, bottom in figures:
            mask[top // cell : -(-bottom // cell), left // cell : -(-right // cell)] = 1
    return masks


def fit(pictures: np.ndarray, boxes: list[list], levels: tuple[int, ...] = LEVELS) -> LatentCode:
    """Principal components level by level, subjects' boxes counted BOX_WEIGHT times."""
    x, maps, mean = as_tensor(pictures), [], torch.zeros(1)
    for level, kept in enumerate(levels):
        x = join(x)
        weights = 1 + (BOX_WEIGHT - 1) * box_masks(boxes, 2 ** (level + 1)).flatten()
        rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        mean = (rows * weights[:, None]).sum(0) / weights.sum()
        centred = rows - mean
        covariance = (centred * weights[:, None]).T @ centred / weights.sum()
        matrix = torch.linalg.eigh(covariance.double())[1].flip(1)[:, :kept].T.float()
        maps.append(matrix)
        x = torch.einsum("kc,bchw->bkhw", matrix, x)
    deviation = x.std((0, 2, 3))
    scale = deviation.sqrt()
    scale = scale * ((deviation / scale) ** 2).mean().sqrt()
    return LatentCode(maps, x.mean((0, 2, 3)), scale)


def psnr(a: Tensor, b: Tensor) -> float:
    """Mean peak signal-to-noise ratio of pictures in [-1, 1], decibels."""
    error = ((a.clamp(-1, 1) - b) ** 2).mean((1, 2, 3)) / 4
    return float((-10 * error.log10()).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build/picturebook"))
    parser.add_argument("--fit-on", type=int, default=2000, help="pictures")
    args = parser.parse_args()
    pictures, (_, boxes) = load_pictures(args.work_dir), load_scenes(args.work_dir)
    code = fit(pictures[: args.fit_on], boxes[: args.fit_on])
    code.save(args.work_dir / "latent_code.pt")
    unseen = as_tensor(pictures[-200:])
    print(f"linear decoding: {psnr(code.decode(code.encode(unseen)), unseen):.2f} dB")
    latents = np.lib.format.open_memmap(
        args.work_dir / "latents.npy", mode="w+", dtype=np.float16,
        shape=(len(pictures), CHANNELS, 16, 16),
    )  # fmt: skip
    for start in range(0, len(pictures), 500):
        latents[start : start + 500] = code.encode(as_tensor(pictures[start : start + 500])).numpy()
    latents.flush()
    whole = torch.from_numpy(np.asarray(latents[:4000])).float()
    print("deviation of each channel:", [round(float(s), 2) for s in whole.std((0, 2, 3))])


if __name__ == "__main__":
    main()
