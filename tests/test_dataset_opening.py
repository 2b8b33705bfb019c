"""Every picture file becomes an upright RGB picture or one sentence; bombs are never decoded."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, features

from lora.dataset.opening import PIXELS_MAX, Opened, open_photo
from sdgen.errors import PictureUnreadable
from tests.photos import a_photo, encoded, png_header, sideways

PHOTO = a_photo(1, 96, 64)


def difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_in_bit_by_bit(format: str) -> None:
    opened = open_photo(encoded(PHOTO, format))
    assert opened.image.mode == "RGB"
    assert opened.image.tobytes() == PHOTO.tobytes()
    assert opened == Opened(opened.image)  # nothing was done to it


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "MPO"])
def test_lossy_formats_come_in(format: str) -> None:
    # AVIF is optional in Pillow: its wheels have it, a build from source may not.
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this build of Pillow has no AVIF")
    opened = open_photo(encoded(PHOTO, format, quality=95))
    assert difference(opened.image, PHOTO) < 12
    assert not opened.animated


def test_a_photo_on_its_side_is_turned_and_loses_its_exif() -> None:
    opened = open_photo(sideways(PHOTO))
    assert opened.turned
    assert difference(opened.image, PHOTO) < 12
    assert not opened.image.getexif()


def test_an_mpo_of_several_pictures_is_no_animation() -> None:
    data = encoded(PHOTO, "MPO", save_all=True, append_images=[a_photo(2, 96, 64)])
    assert not open_photo(data).animated


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_used(format: str) -> None:
    first = PHOTO.quantize(64) if format == "GIF" else PHOTO
    options = {"save_all": True, "append_images": [a_photo(2, 96, 64)], "duration": 100}
    opened = open_photo(encoded(first, format, **options, lossless=True))
    assert opened.animated
    assert difference(opened.image, first.convert("RGB")) < 1


def test_cmyk_is_converted() -> None:
    opened = open_photo(encoded(PHOTO.convert("CMYK"), "JPEG", quality=98))
    assert opened.converted == "CMYK"
    assert opened.image.mode == "RGB"
    assert difference(opened.image, PHOTO) < 12


def test_transparent_parts_become_white() -> None:
    layered = PHOTO.convert("RGBA")
    layered.paste((9, 9, 9, 0), (0, 0, 48, 64))
    opened = open_photo(encoded(layered))
    assert opened.transparent
    assert opened.image.getpixel((10, 10)) == (255, 255, 255)
    assert opened.image.getpixel((90, 10)) == PHOTO.getpixel((90, 10))
    assert not open_photo(encoded(PHOTO.convert("RGBA"))).transparent


def test_a_palette_with_a_transparent_colour() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.paste(1, (4, 0, 8, 8))
    opened = open_photo(encoded(image, "GIF", transparency=0))
    assert opened.transparent
    assert opened.image.getpixel((0, 0)) == (255, 255, 255)
    assert opened.image.getpixel((7, 7)) == (0, 0, 200)


def test_grey_of_sixteen_bits_keeps_its_middle_tones() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    opened = open_photo(encoded(Image.fromarray(ramp)))
    levels = np.asarray(opened.image)[..., 0].ravel()
    assert np.abs(levels.astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P"])
def test_other_modes_become_rgb(mode: str) -> None:
    opened = open_photo(encoded(PHOTO.convert(mode)))
    assert opened.image.mode == "RGB"
    assert difference(opened.image, PHOTO.convert(mode).convert("RGB")) < 1


def test_colours_of_a_profile_become_srgb() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    names = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}  # a space of which red and green are exchanged
    swapped = b"".join(
        names.get(srgb[at : at + 4], srgb[at : at + 4]) for at in range(0, len(srgb), 4)
    )
    image = open_photo(encoded(PHOTO, icc_profile=swapped)).image
    red, green, blue = PHOTO.split()
    assert difference(image, Image.merge("RGB", (green, red, blue))) < 1
    broken = open_photo(encoded(PHOTO, icc_profile=srgb[:200]))
    assert broken.image.tobytes() == PHOTO.tobytes()


def refusal(data: bytes) -> str:
    with pytest.raises(PictureUnreadable) as caught:
        open_photo(data)
    return str(caught.value)


def test_what_cannot_be_used_says_why() -> None:
    jpeg = encoded(PHOTO, "JPEG")
    assert "cut off" in refusal(jpeg[: len(jpeg) // 2])
    assert "cut off" in refusal(encoded(PHOTO)[:700])
    assert "empty" in refusal(b"")
    assert "no picture" in refusal(b"this is a text")
    assert "HEIC" in refusal(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    assert "no picture" in refusal(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    )  # no program
    flipped = bytearray(encoded(PHOTO))
    flipped[60] ^= 0xFF
    assert "damaged" in refusal(bytes(flipped)) or "cut off" in refusal(bytes(flipped))


@pytest.mark.parametrize("size", [(5000, 5000), (12000, 12000), (60000, 60000), (2**31 - 1, 2)])
def test_a_bomb_is_refused_from_its_header(size: tuple[int, int]) -> None:
    tracemalloc.start()
    try:
        assert "24 million" in refusal(png_header(*size))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_the_largest_photo_is_read() -> None:
    image = Image.new("L", (6000, PIXELS_MAX // 6000), 7)
    assert open_photo(encoded(image)).image.size == (6000, 4000)


FILES = [
    encoded(PHOTO),
    encoded(PHOTO, "JPEG"),
    encoded(PHOTO, "WEBP"),
    encoded(PHOTO.quantize(16), "GIF", save_all=True, append_images=[PHOTO.quantize(8)]),
    encoded(PHOTO, "TIFF"),
    encoded(PHOTO, "BMP"),
    sideways(PHOTO),
]


@given(st.sampled_from(FILES), st.data())
def test_damaged_files_give_a_picture_or_a_sentence(file: bytes, data: st.DataObject) -> None:
    damaged = bytearray(file)
    for _ in range(data.draw(st.integers(1, 12))):
        damaged[data.draw(st.integers(0, min(len(file) - 1, 400)))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(file)))
    try:
        opened = open_photo(bytes(damaged[:cut]))
    except PictureUnreadable:
        return
    assert opened.image.mode == "RGB"
    assert opened.image.width * opened.image.height <= PIXELS_MAX
