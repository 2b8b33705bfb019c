"""How near a model's pictures come to drawings: edges, blocks, and a classifier that tries to tell.

All take uint8 pictures [n, 512, 512, 3].
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.picturebook.edition2.latent_code import CELL

STRONGEST = 0.03  # share of a picture's pixels that count as edges
CROP = 256  # pixels of what the classifier sees


def _grey(pictures: np.ndarray) -> np.ndarray:
    return pictures.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def edge_sharpness(pictures: np.ndarray) -> float:
    """Mean gradient (grey levels a pixel) on the strongest edges of each picture."""
    grey = _grey(pictures)
    across = np.abs(np.diff(grey, axis=2))[:, :-1]
    down = np.abs(np.diff(grey, axis=1))[:, :, :-1]
    steps = np.hypot(across, down).reshape(len(grey), -1)
    kept = int(steps.shape[1] * STRONGEST)
    return float(np.partition(steps, -kept, axis=1)[:, -kept:].mean())


def blockiness(pictures: np.ndarray, cell: int = CELL) -> float:
    """Mean step across the borders of the code's cells over the mean step elsewhere; 1 is none."""
    grey = _grey(pictures)
    found = []
    for axis in (1, 2):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=(0, 3 - axis))
        at_border = (np.arange(len(steps)) + 1) % cell == 0
        found.append(steps[at_border].mean() / steps[~at_border].mean())
    return float(np.mean(found))


class Teller(nn.Module):
    """RGB in [-1, 1], [b, 3, 256, 256] -> [b]: above 0 for a drawing.

    It is given the finest detail as channels of their own, and every stage has a say, so that a few
    hundred pictures are enough to learn what softness looks like.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (6, 16, 32, 64, 64)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.ReLU(),
                nn.Conv2d(after, after, 3, padding=1), nn.ReLU(),
            )
            for before, after in pairwise(widths)
        )  # fmt: skip
        self.head = nn.Linear(2 * sum(widths), 1)

    def forward(self, x: Tensor) -> Tensor:
        detail = (x - F.avg_pool2d(x, 3, stride=1, padding=1)).abs()
        x, pooled = torch.cat([x, 4 * detail], 1), []
        for stage in (nn.Identity(), *self.stages):
            x = stage(x)
            pooled += [x.mean((2, 3)), x.amax((2, 3))]
        scores: Tensor = self.head(torch.cat(pooled, 1))[:, 0]
        return scores


def _views(pictures: np.ndarray, crops: bool, chance: torch.Generator) -> Tensor:
    """One 256 px crop by lot of each, or the whole picture reduced to that."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    if not crops:
        return F.avg_pool2d(x, x.shape[-1] // CROP)
    most = x.shape[-1] - CROP + 1
    corners = torch.randint(most, (len(x), 2), generator=chance).tolist()
    return torch.stack(
        [u[:, i : i + CROP, j : j + CROP] for u, (i, j) in zip(x, corners, strict=True)]
    )


def told_apart(
    made: np.ndarray, drawings: np.ndarray, crops: bool, passes: int = 12, batch: int = 16
) -> float:
    """C2ST (Lopez-Paz & Oquab 2017, arXiv 1610.06545): the share of unseen pictures that a
    classifier, taught on one half of each, puts on the right side. 0.5 is perfect."""
    half = len(made) // 2
    chance = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    teller = Teller()
    optimizer = torch.optim.AdamW(teller.parameters(), 2e-3)
    pictures = np.concatenate([made[:half], drawings[:half]])
    truth = torch.cat([torch.zeros(half), torch.ones(half)])
    for _ in range(passes):
        teller.train()
        for rows in torch.split(torch.randperm(2 * half, generator=chance), batch):
            scores = teller(_views(pictures[rows.numpy()], crops, chance))
            loss = F.binary_cross_entropy_with_logits(scores, truth[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
    teller.eval()
    right = 0
    with torch.no_grad():
        for unseen, wanted in ((made[half : 2 * half], False), (drawings[half : 2 * half], True)):
            for start in range(0, half, batch):
                views = _views(unseen[start : start + batch], crops, chance)
                right += int(((teller(views) > 0) == wanted).sum())
    return right / (2 * half)
