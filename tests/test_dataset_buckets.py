"""Buckets crop and never squash."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lora.dataset.buckets import WIDEST, buckets, crop_to, default_step, fit
from lora.dataset.example import Example
from lora.dataset.layout import content_hash
from lora.dataset.pixels import cropped

RESOLUTIONS = (64, 128, 256, 384, 512, 768, 1024)
sides = st.integers(1, 8000)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_buckets_have_the_area_and_whole_steps(resolution: int) -> None:
    step = default_step(resolution)
    found = buckets(resolution)
    assert (resolution, resolution) in found
    assert len(found) >= 3
    for width, height in found:
        assert width % step == height % step == 0
        assert (height, width) in found
        assert 0.8 * resolution**2 < width * height <= resolution**2
        assert 1 / WIDEST <= width / height <= WIDEST


def test_the_step_follows_the_resolution_and_the_models_factor() -> None:
    assert (default_step(512), default_step(1024), default_step(256)) == (64, 64, 32)
    assert default_step(256, factor=16) == 32
    assert default_step(64, factor=16) == 16
    assert all(side % 128 == 0 for size in buckets(1024, 128) for side in size)
    with pytest.raises(ValueError, match="smaller than the step"):
        buckets(64, 128)


@given(sides, sides, st.sampled_from(RESOLUTIONS))
def test_the_crop_lies_in_the_photo_and_has_the_buckets_ratio(
    width: int, height: int, resolution: int
) -> None:
    crop = fit(width, height, resolution)
    left, top, right, bottom = crop.box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    wanted = crop.bucket[0] / crop.bucket[1]
    assert (right - left) / (bottom - top) == pytest.approx(wanted, rel=1e-6)
    assert right - left == pytest.approx(width) or bottom - top == pytest.approx(height)
    assert left + right == pytest.approx(width)  # from the middle
    assert crop.enlarged == pytest.approx(crop.bucket[0] / (right - left), rel=1e-6)
    assert 0 <= crop.cut(width, height) < 1


@given(sides, sides)
def test_no_other_bucket_would_be_nearer_in_shape(width: int, height: int) -> None:
    ours = fit(width, height, 512).cut(width, height)
    others = [crop_to(width, height, bucket).cut(width, height) for bucket in buckets(512)]
    assert ours <= min(others) + 1e-6


def test_photos_of_usual_shapes_lose_little() -> None:
    for width, height in ((4000, 3000), (3000, 2000), (1080, 1920), (1000, 1000), (4, 5)):
        crop = fit(width, height, 512)
        assert crop.cut(width, height) <= 0.11, (width, height)


def test_a_circle_stays_a_circle() -> None:
    rows, columns = np.mgrid[:300, :500]
    disc = (rows - 150) ** 2 + (columns - 250) ** 2 < 100**2
    image = Image.fromarray(disc.astype(np.uint8) * 255).convert("RGB")
    crop = fit(500, 300, 256)
    small = image.resize(crop.bucket, Image.Resampling.LANCZOS, box=crop.box)
    seen = np.asarray(small.convert("L")) > 127
    wide, high = seen.any(axis=0).sum(), seen.any(axis=1).sum()
    assert abs(int(wide) - int(high)) <= 1


def test_what_is_trained_on_is_the_inside_of_the_box(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 100), "red")  # wider than any bucket: both ends are cut
    crop = fit(400, 100, 64)
    left, _, right, _ = (round(edge) for edge in crop.box)
    image.paste("blue", (left, 0, right, 100))
    image.save(tmp_path / "a.png")
    content = content_hash(400, 100, image.tobytes())
    example = Example(content, "a", tmp_path / "a.png", "", 400, 100, crop.bucket, crop.box)
    blue = np.asarray(cropped(example))[..., 2]
    assert (blue[:, 4:-4] == 255).all()  # the filter reaches 3 pixels beyond its own
    assert blue.min() > 200
