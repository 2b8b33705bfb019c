"""Photos made by the tests: sharp and each different, in any format and in any bad shape."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw

EXIF_ORIENTATION = 0x0112


def a_photo(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A sharp RGB picture of coloured shapes; other seeds give other pictures."""
    draw = random.Random(seed)

    def colour() -> tuple[int, int, int]:
        return draw.randrange(256), draw.randrange(256), draw.randrange(256)

    image = Image.new("RGB", (width, height), colour())
    pen = ImageDraw.Draw(image)
    for _ in range(25):
        x, y = draw.randrange(width), draw.randrange(height)
        reach = draw.randrange(8, max(9, width // 3))
        shape = pen.rectangle if draw.random() < 0.5 else pen.ellipse
        shape((x - reach, y - reach // 2, x + reach, y + reach // 2), fill=colour())
    return image


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(seed: int, width: int = 320, height: int = 240) -> bytes:
    """A JPEG as a camera writes it."""
    return encoded(a_photo(seed, width, height), "JPEG", quality=92)


def sideways(image: Image.Image) -> bytes:
    """A JPEG lying on its side, as a phone writes one: EXIF orientation 6 says how to turn it."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    exif[0x8825] = {1: "N", 2: (9.0, 58.0, 0.0)}  # GPS, which must not survive
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


def a_zip(path: Path, files: Mapping[str, bytes], packed: bool = True) -> Path:
    """A zip with these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return path


def a_folder(path: Path, files: Mapping[str, bytes | str]) -> Path:
    """A folder with these files."""
    for name, data in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)
    return path
