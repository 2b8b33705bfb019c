"""Aspect buckets: which size a photo is trained at, and what of it is cropped away. No torch.

All buckets of a resolution have about the same area, resolution x resolution pixels and never more,
so that a step costs the same whatever the shape. A photo is scaled until it covers its bucket and
what stands over on one side is cropped: nothing is ever squashed (huggingface/diffusers#14158).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

WIDEST = 2.5  # sides' ratio; a panorama beyond it is cropped to it
Size = tuple[int, int]  # width, height in pixels
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the photo


@dataclass(frozen=True)
class Crop:
    """How a photo fits its bucket."""

    bucket: Size
    box: Box  # what is kept, in pixels of the photo; has the bucket's ratio
    enlarged: float  # how often a side of the photo fits in that of the bucket; above 1: upscaled

    def cut(self, width: int, height: int) -> float:
        """The share of a photo of width x height that is cropped away; 0.0: nothing."""
        left, top, right, bottom = self.box
        return max(0.0, 1 - (right - left) * (bottom - top) / (width * height))


def default_step(resolution: int, factor: int = 8) -> int:
    """What sides are multiples of: 64, or an eighth of a small resolution (256 px: 32).

    64 is what a VAE of factor 8 and a UNet of four levels divide evenly; below 512 px steps of 64
    would be so coarse that a photo of 3:2 loses a fifth. factor: the VAE's, which always divides
    the step.
    """
    wanted = 64 if resolution >= 512 else resolution // 8
    return max(1, wanted // factor) * factor


@lru_cache
def buckets(resolution: int, step: int | None = None) -> tuple[Size, ...]:
    """The sizes of a resolution, narrow to wide; sides are multiples of `step` (see default_step).

    Raises ValueError for a resolution smaller than the step.
    """
    step = step or default_step(resolution)
    if resolution < step:
        raise ValueError(f"a resolution of {resolution} px is smaller than the step of {step}")
    sizes = set()
    for width in range(step, resolution + 1, step):
        height = resolution * resolution // width // step * step
        if height / width <= WIDEST:
            sizes |= {(width, height), (height, width)}
    return tuple(sorted(sizes))


def fit(width: int, height: int, resolution: int, step: int | None = None) -> Crop:
    """The bucket nearest in shape to a photo of width x height, with the crop from its middle."""
    wanted = math.log(width / height)
    sizes = buckets(resolution, step)
    bucket = min(sizes, key=lambda size: abs(math.log(size[0] / size[1]) - wanted))
    return crop_to(width, height, bucket)


def crop_to(width: int, height: int, bucket: Size) -> Crop:
    """The largest box in the middle of width x height that has the bucket's ratio."""
    scale = max(bucket[0] / width, bucket[1] / height)
    wide, high = min(bucket[0] / scale, width), min(bucket[1] / scale, height)
    left, top = (width - wide) / 2, (height - high) / 2
    return Crop(bucket, (left, top, left + wide, top + high), scale)
