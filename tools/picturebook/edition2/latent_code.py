"""The latent code: 32 x 32 px become CHANNELS numbers.

`python -m tools.picturebook.edition2.latent_code` fits it.

As in the first edition the code is linear and fitted, not trained: five times, 2 x 2 neighbours are
joined and reduced to their principal components. Figures and backgrounds stand on a grid of the
same 32 px, so a patch comes out the same wherever its figure stands.

Scale: each component is divided by the square root of its deviation, halfway between whitened (all
equally loud) and natural, and all together by one number so that latents have a variance of 1.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.picturebook.edition2.run import WORK_DIR
from tools.picturebook.edition2.scene import Scene, sample_any_scene, sample_scene
from tools.picturebook.edition2.world import Box, draw
from tools.picturebook.latent_code import LatentCode, join, psnr

CELL = 32  # picture pixels of a latent, both ways
CHANNELS = 128
LEVELS = (12, 16, 32, 64, CHANNELS)  # components kept after each joining of 2 x 2
FIGURE_WEIGHT = 2.0  # how much more a patch inside a figure's box counts in the fit


def drawn(scenes: list[Scene]) -> tuple[Tensor, list[list[Box]]]:
    """RGB in [-1, 1], [n, 3, 512, 512], and the figures' boxes."""
    drawings = [draw(scene) for scene in scenes]
    pictures = np.stack([np.asarray(picture) for picture, _ in drawings])
    return as_tensor(pictures), [boxes for _, boxes in drawings]


def as_tensor(pictures: np.ndarray) -> Tensor:
    """uint8 [b, h, w, 3] -> float [b, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def box_masks(boxes: list[list[Box]], cell: int = CELL, side: int = 512) -> Tensor:
    """[n, side / cell, side / cell]: 1 in the cells that touch a box, else 0."""
    masks = torch.zeros(len(boxes), side // cell, side // cell)
    for mask, figures in zip(masks, boxes, strict=True):
        for left, top, right, bottom in figures:
            mask[top // cell : -(-bottom // cell), left // cell : -(-right // cell)] = 1
    return masks


def unseen_scenes(count: int, seed: str = "unseen") -> list[Scene]:
    rng = random.Random(seed)
    return [sample_any_scene(rng) for _ in range(count)]


def fit(count: int, batch: int = 50, levels: tuple[int, ...] = LEVELS) -> LatentCode:
    """Principal components level by level, of `count` fresh drawings for every level."""
    maps: list[Tensor] = []
    rng = random.Random("latent code")
    for level, kept in enumerate(levels):
        total, moments, outer = torch.zeros(()), torch.zeros(()), torch.zeros(())
        for _ in range(0, count, batch):
            x, boxes = drawn([sample_scene(rng) for _ in range(batch)])
            for matrix in maps:
                x = torch.einsum("kc,bchw->bkhw", matrix, join(x))
            x = join(x)
            weights = 1 + (FIGURE_WEIGHT - 1) * box_masks(boxes, 2 ** (level + 1)).flatten()
            rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
            weighted = rows * weights[:, None]
            total = total + weights.sum()
            moments = moments + weighted.sum(0)
            outer = outer + weighted.T @ rows
        mean = moments / total
        covariance = outer / total - mean[:, None] * mean[None]
        maps.append(torch.linalg.eigh(covariance.double())[1].flip(1)[:, :kept].T.float())
        print(f"level {level + 1}: {kept} of {len(covariance)} components", flush=True)
    one = torch.ones(levels[-1])
    code = LatentCode(maps, 0 * one, one)
    x = code.encode(drawn([sample_scene(rng) for _ in range(200)])[0])
    deviation = x.std((0, 2, 3))
    scale = deviation.sqrt()
    scale = scale * ((deviation / scale) ** 2).mean().sqrt()
    return LatentCode(maps, x.mean((0, 2, 3)), scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=WORK_DIR)
    parser.add_argument("--fit-on", type=int, default=1000, help="drawings for every level")
    args = parser.parse_args()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    code = fit(args.fit_on)
    code.save(args.work_dir / "latent_code.pt")
    unseen = drawn(unseen_scenes(64))[0]
    latents = code.encode(unseen)
    print(f"linear decoding: {psnr(code.decode(latents), unseen):.2f} dB")
    deviations = latents.std((0, 2, 3))
    print(f"deviation of the latents: {float(deviations[0]):.2f} to {float(deviations[-1]):.2f}")


if __name__ == "__main__":
    main()
