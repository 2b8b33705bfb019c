"""Picture files with texts in them, as other programs put them there."""

import gzip
import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

USER_COMMENT, EXIF_IFD = 0x9286, 0x8769


def png_with(
    path: Path,
    texts: Mapping[str, str],
    *,
    exif: Image.Exif | None = None,
    size: tuple[int, int] = (8, 8),
    kind: str = "tEXt",
) -> Path:
    """A PNG with these texts as chunks of that kind, tEXt as UTF-8 like many programs do."""
    info = PngInfo()
    for name, value in texts.items():
        if kind == "iTXt":
            info.add_itxt(name, value, zip=True)
        elif kind == "zTXt":
            packed = name.encode("latin-1") + b"\0\0" + zlib.compress(value.encode())
            info.add(b"zTXt", packed)
        else:
            info.add(b"tEXt", name.encode("latin-1") + b"\0" + value.encode())
    options = {"exif": exif.tobytes()} if exif is not None else {}
    Image.new("RGB", size).save(path, "PNG", pnginfo=info, **options)
    return path


def exif_of(tags: Mapping[int, object], inner: Mapping[int, object] | None = None) -> Image.Exif:
    """An EXIF block. tags: of the first directory; inner: of the EXIF directory."""
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    for tag, value in (inner or {}).items():
        exif.get_ifd(EXIF_IFD)[tag] = value
    return exif


def comment(raw: bytes) -> Image.Exif:
    """An EXIF block with a user comment of these bytes."""
    return exif_of({}, {USER_COMMENT: raw})


def saved(path: Path, kind: str, **options: object) -> Path:
    """A small JPEG or WebP."""
    Image.new("RGB", (16, 16), (9, 9, 9)).save(path, kind, **options)
    return path


def hidden_in(
    path: Path, text: str, bands: str = "A", packed: bool = True, kind: str = "PNG"
) -> Path:
    """A picture with a text in its pixels' lowest bits: "A" in the alpha, "RGB" in the colours."""
    data = gzip.compress(text.encode()) if packed else text.encode()
    mark = f"stealth_{'png' if bands == 'A' else 'rgb'}{'comp' if packed else 'info'}".encode()
    stream = mark + struct.pack(">I", 8 * len(data)) + data
    bits = [byte >> (7 - place) & 1 for byte in stream for place in range(8)]
    image = Image.new("RGBA", (96, 80), (100, 150, 200, 254))
    pixels = image.load()
    assert pixels is not None
    channels = (3,) if bands == "A" else (0, 1, 2)
    for at, bit in enumerate(bits):
        place, channel = divmod(at, len(channels))
        x, y = divmod(place, image.height)
        pixel = list(pixels[x, y])
        pixel[channels[channel]] = pixel[channels[channel]] & 0xFE | bit
        pixels[x, y] = tuple(pixel)
    image = image if bands == "A" else image.convert("RGB")
    image.save(path, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    return path


def png_bytes(texts: Mapping[str, str]) -> bytes:
    """As png_with, in memory."""
    info = PngInfo()
    for name, value in texts.items():
        info.add(b"tEXt", name.encode("latin-1") + b"\0" + value.encode())
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()
