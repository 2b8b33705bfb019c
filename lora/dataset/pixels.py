"""A photo as the tensor that a VAE encodes."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lora.dataset.errors import DatasetDamaged
from lora.dataset.example import Example
from lora.dataset.layout import content_hash

if TYPE_CHECKING:
    from torch import Tensor


def pixels(example: Example, *, mirror: bool = False) -> "Tensor":
    """[3, height, width] of the bucket, float32 in [-1, 1]: cropped and resized, never squashed.

    mirror: left and right exchanged. The same example gives the same bits. Raises DatasetDamaged
    when the file is gone or its pixels are not those of Example.id.
    """
    import torch

    image = cropped(example)
    values = np.asarray(image, dtype=np.float32) / 127.5 - 1  # [h, w, 3]
    if mirror:
        values = values[:, ::-1]
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def cropped(example: Example) -> Image.Image:
    """The photo as it is trained on: an RGB picture of the bucket's size. Raises DatasetDamaged."""
    image = photo(example)
    return image.resize(example.bucket, Image.Resampling.LANCZOS, box=example.crop)


def photo(example: Example) -> Image.Image:
    """The whole prepared photo, compared with its hash. Raises DatasetDamaged."""
    try:
        with Image.open(example.path, formats=("PNG",)) as file:
            image = file.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetDamaged(f"The prepared photo '{example.name}' cannot be read.") from error
    if content_hash(image.width, image.height, image.tobytes()) != example.id:
        raise DatasetDamaged(
            f"The prepared photo '{example.name}' was changed after it was checked."
        )
    return image
