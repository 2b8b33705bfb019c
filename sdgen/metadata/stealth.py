"""Texts hidden in the lowest bits of a picture's pixels: sd-webui-stealth-pnginfo, NovelAI.

Column by column from the top left, one bit of alpha a pixel, or three of red, green and blue; a
mark of 15 letters, how many bits follow (32 bits, big-endian), and the text, plain or by gzip.
"""

import math

from PIL import Image

from sdgen.errors import PictureUnreadable
from sdgen.metadata.texts import TEXT_BYTES_MAX, inflated

STEALTH_PIXELS_MAX = 8_500_000  # pixels of a picture that is looked into: 34 MB with alpha
_MARK_BYTES, _LENGTH_BYTES = 15, 4
_MARKS = {
    "A": (b"stealth_pnginfo", b"stealth_pngcomp"),
    "RGB": (b"stealth_rgbinfo", b"stealth_rgbcomp"),
}
_LOWEST = bytes(ord("0") + (value & 1) for value in range(256))
_GZIP = 31  # zlib's window for gzip's frame


def hidden_text(image: Image.Image) -> str:
    """The text in a picture's pixels, "" for none. Raises PictureUnreadable for a damaged one.

    image: RGB or RGBA, whole.
    """
    for bands, (plain, packed) in _MARKS.items():
        if bands == "A" and "A" not in image.getbands():
            continue
        head = _bytes(image, bands, 0, _MARK_BYTES + _LENGTH_BYTES)
        mark = head[:_MARK_BYTES]
        if mark not in (plain, packed):
            continue
        size = int.from_bytes(head[_MARK_BYTES:], "big") // 8
        room = image.width * image.height * len(bands) // 8 - len(head)
        if size > min(room, TEXT_BYTES_MAX):
            raise PictureUnreadable("The text hidden in this picture's pixels is damaged.")
        data = _bytes(image, bands, len(head), size)
        return (inflated(data, _GZIP) if mark == packed else data).decode("utf-8", "replace")
    return ""


def _bytes(image: Image.Image, bands: str, start: int, count: int) -> bytes:
    """`count` bytes of the lowest bits from byte `start` on."""
    if count == 0:
        return b""
    first, last = 8 * start, 8 * (start + count)  # bits
    a_column = image.height * len(bands)
    left, right = first // a_column, min(math.ceil(last / a_column), image.width)
    columns = image.crop((left, 0, right, image.height))
    columns = columns.getchannel("A") if bands == "A" else columns.convert("RGB")
    bits = columns.transpose(Image.Transpose.TRANSPOSE).tobytes().translate(_LOWEST)
    bits = bits[first - left * a_column : last - left * a_column]
    return int(bits or b"0", 2).to_bytes(len(bits) // 8 + 1, "big")[-count:]
