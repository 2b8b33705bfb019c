"""Any picture file as an upright RGB picture, with what had to be done to it. No torch.

Files come from strangers: the number of pixels is read from the header before anything is decoded,
and only formats that photos come in are tried.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from sdgen.errors import PictureUnreadable

PIXELS_MAX = 24_000_000  # pixels of a photo that is decoded
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_ONE_PICTURE = ("JPEG", "MPO")  # an MPO's other frames are a depth map or a preview
_ORIENTATION = 0x0112  # EXIF 2.3, table 4
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
# What Pillow raises on files that are not what they say (its decoders have no common base class).
_BROKEN = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    OverflowError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    NotImplementedError,  # what Pillow raises for kinds of a format that it cannot decode
    RuntimeError,
    struct.error,
    zlib.error,
    MemoryError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True)
class Opened:
    """A decoded photo. `image` is RGB and upright; the flags say what was done to it."""

    image: Image.Image
    turned: bool = False  # as its EXIF says
    animated: bool = False  # and this is its first frame
    transparent: bool = False  # and lies on white now
    converted: str = ""  # from another colour space, e.g. "CMYK"


def open_photo(data: bytes) -> Opened:
    """Decode a picture file. Raises PictureUnreadable with the reason as a sentence."""
    if not data:
        raise PictureUnreadable("The file is empty.")
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        raise PictureUnreadable("It is a HEIC photo, which cannot be read; save it as JPEG.")
    Image.init()  # else it knows five formats only, and stumbles over the names of others
    formats = [name for name in FORMATS if name in Image.OPEN]  # AVIF may be left out of a build
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about harmless oddities; too many pixels: see below
            with Image.open(io.BytesIO(data), formats=formats) as file:
                if file.width * file.height > PIXELS_MAX:
                    raise PictureUnreadable(_too_big(file.width, file.height))
                return _opened(file)
    except UnidentifiedImageError as error:
        raise PictureUnreadable("It is no picture that can be read.") from error
    except Image.DecompressionBombError as error:
        raise PictureUnreadable(_too_big(0, 0)) from error
    except _BROKEN as error:
        if "truncated" in str(error).lower():
            raise PictureUnreadable("It is cut off: the end of the file is missing.") from error
        raise PictureUnreadable("The file is damaged.") from error


def _opened(file: Image.Image) -> Opened:
    animated = file.format not in _ONE_PICTURE and bool(getattr(file, "is_animated", False))
    kind = file.mode
    profile = file.info.get("icc_profile")
    file.load()
    turned = int(file.getexif().get(_ORIENTATION, 1)) in range(2, 9)
    image = ImageOps.exif_transpose(file) if turned else file
    image, transparent = _on_white(image)
    converted = "CMYK" if kind == "CMYK" else ""
    rgb = _in_srgb(image, profile) if profile and image.mode in ("RGB", "CMYK") else None
    if rgb is None:
        rgb = _eight_bits(image).convert("RGB")
    bare = Image.frombytes("RGB", rgb.size, rgb.tobytes())  # without EXIF, texts and profile
    return Opened(bare, turned, animated, transparent, converted)


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """The picture without transparency, and whether any of it was to be seen."""
    if not image.has_transparency_data:
        return image, False
    layered = image.convert("RGBA")
    lowest, _ = layered.getchannel("A").getextrema()
    if lowest == 255:
        return layered.convert("RGB"), False
    white = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(white, layered).convert("RGB"), True


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The picture in sRGB as its colour profile says; None where the profile is broken."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (*_BROKEN, ImageCms.PyCMSError):
        return None


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits in 8; Pillow's own conversion would cut off all that is bright."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    top = 65535.0 if image.mode.startswith("I") else float(max(values.max(), 1e-9))
    return Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8))


def _too_big(width: int, height: int) -> str:
    size = f"{width}x{height} pixels" if width else "far too many pixels"
    return f"It has {size}; at most {PIXELS_MAX // 1_000_000} million are read."
