"""How blurred a photo is, and which photos are nearly the same. No torch.

Both look at a small copy of the photo: a blur that is gone at the size the model is trained at
does no harm.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Of 20 sharp photographs none has a blur above 0.32 at 256 or 512 px; blurred by a Gaussian of 3
# pixels of 512 they have 0.5 to 0.75, by 2 pixels 0.43 to 0.65.
BLURRED = 0.5
# Of 64 bits. Smaller, brighter or re-compressed copies differ in 0 to 4 bits (rarely 12), copies
# turned by 3 degrees or shifted by 3 % mostly in 4 to 8; photographs of different things in 20 and
# more, drawings of one figure in different places in 10 and more.
ALIKE = 8
_WINDOW = 11  # pixels; as in the paper


def blur(image: Image.Image, bucket: tuple[int, int]) -> float:
    """How blurred a photo is at the size it is trained at, from 0 (sharp) to 1.

    Crete et al. 2007, "The blur effect": what is blurred already changes little when it is blurred
    again. Unlike the variance of the Laplacian it asks neither contrast nor light: a sharp photo of
    fog and a dark one keep their marks.
    """
    width, height = bucket
    small = image.convert("L")
    scale = max(width / image.width, height / image.height)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = small.resize(size, Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.float64)
    return max(_blur_along(grey), _blur_along(grey.T))


def _blur_along(grey: NDArray[np.float64]) -> float:
    """The share of the differences between neighbours in a row that blurring leaves."""
    half = _WINDOW // 2
    sums = np.cumsum(np.pad(grey, ((0, 0), (half + 1, half)), mode="edge"), axis=1)
    blurred = (sums[:, _WINDOW:] - sums[:, :-_WINDOW]) / _WINDOW
    before, after = np.abs(np.diff(grey)), np.abs(np.diff(blurred))
    lost = np.maximum(before - after, 0)
    whole = float(before.sum())
    return 1.0 if whole == 0 else (whole - float(lost.sum())) / whole


def fingerprint(image: Image.Image) -> str:
    """A perceptual hash of 64 bits in hex: nearly the same pictures differ in few bits."""
    import imagehash

    return str(imagehash.phash(image))


def distance(one: str, other: str) -> int:
    """The bits in which two fingerprints differ; 64 where one is missing."""
    return (int(one, 16) ^ int(other, 16)).bit_count() if one and other else 64


def alike(prints: Sequence[str]) -> list[tuple[int, ...]]:
    """Groups of places whose fingerprints are nearly the same, each with two or more."""
    groups: list[list[int]] = []
    for place, mark in enumerate(prints):
        near = [g for g in groups if any(distance(mark, prints[p]) <= ALIKE for p in g)]
        merged = sorted([place, *(p for group in near for p in group)])
        groups = [group for group in groups if group not in near] + [merged]
    return [tuple(group) for group in groups if len(group) > 1]
