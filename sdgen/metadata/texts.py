"""The texts inside a picture file, without decoding its pixels: PNG, JPEG and WebP.

PNG: tEXt, zTXt, iTXt (PNG 3, section 11.3.3), eXIf. JPEG: the segments APP1 (EXIF, XMP) and COM.
WebP: the RIFF chunks EXIF and XMP. Everything is bounded: bytes read, chunks looked at, bytes that
a compressed text may become.
"""

import html
import itertools
import os
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from sdgen.errors import PictureUnreadable
from sdgen.metadata.encoding import best_decoding, decoded_comment

TEXT_BYTES_MAX = 2_000_000  # of one text; ComfyUI's graphs come to several hundred thousand
TEXTS_BYTES_MAX = 6_000_000  # of all
XMP_KEY = "XML:com.adobe.xmp"
_PARTS_MAX = 20_000  # chunks or segments of a file
_TEXTS_MAX = 200
_PNG, _WEBP = b"\x89PNG\r\n\x1a\n", b"WEBP"
_EXIF_MARK, _XMP_MARK = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG's SOF markers: the size
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a segment
_TIFF_ENTRIES_MAX = 1_000
_EXIF_IFD = 0x8769
_GRAPH = re.compile(r"\s{0,10}(prompt|workflow)\s{0,3}:\s{0,3}(?=\{)", re.IGNORECASE)
_XMP_ELEMENT = re.compile(r">\s{0,100}([^<>\s][^<>]{1,200000})<")
_XMP_ATTRIBUTE = re.compile(
    r"[:\s](?:UserComment|[dD]escription|[pP]arameters)=\"([^\"<>]{2,200000})\""
)
# EXIF 2.3, TIFF 6 and Microsoft's XP tags; ComfyUI writes its JSON into the maker and the model.
_TAGS = {
    0x9286: "UserComment", 0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model",
    0x0131: "Software", 0x9C9C: "XPComment", 0x9C9B: "XPTitle", 0x927C: "MakerNote",
}  # fmt: skip
_TYPE_BYTES = {1: 1, 2: 1, 6: 1, 7: 1}  # BYTE, ASCII, SBYTE, UNDEFINED
_DAMAGED = "This picture file is damaged or cut off."
_TOO_MUCH = "This picture holds far more text than a recipe has."


@dataclass
class FoundTexts:
    """What a file's head says. texts: by PNG keyword or EXIF tag; "+" for the next of a name."""

    width: int  # pixels
    height: int  # pixels
    kind: str  # "PNG", "JPEG" or "WEBP"
    has_alpha: bool
    texts: dict[str, str] = field(default_factory=dict)
    _bytes: int = 0

    def add(self, name: str, value: str) -> None:
        """Keep a text. Raises PictureUnreadable when it becomes too much."""
        self._bytes += len(value)
        if self._bytes > TEXTS_BYTES_MAX or len(self.texts) >= _TEXTS_MAX:
            raise PictureUnreadable(_TOO_MUCH)
        while self.texts.get(name, value) != value:
            name += "+"
        if value.strip("\0 \r\n\t"):
            self.texts[name] = value

    def add_exif(self, exif: bytes) -> None:
        """Keep the comments of an EXIF block (a TIFF, perhaps behind "Exif")."""
        for name, raw in _exif_comments(exif.removeprefix(_EXIF_MARK)):
            if name.startswith("XP"):
                self.add(name, best_decoding(raw, ("utf-16-le", "utf-8")))
            elif name == "UserComment":
                self.add(name, decoded_comment(raw))
            else:
                self.add(name, best_decoding(raw, ("utf-8", "utf-16-le", "utf-16-be", "cp1252")))


def find_texts(file: BinaryIO) -> FoundTexts:
    """The texts and the size of a picture file. Raises PictureUnreadable, and OSError."""
    head = file.read(12)
    file.seek(0)
    try:
        if head.startswith(_PNG):
            return _of_png(file)
        if head.startswith(b"\xff\xd8\xff"):
            return _of_jpeg(file)
        if head.startswith(b"RIFF") and head[8:12] == _WEBP:
            return _of_webp(file)
    except struct.error as error:
        raise PictureUnreadable(_DAMAGED) from error
    raise PictureUnreadable("This file is no PNG, JPEG or WebP picture.")


# --- PNG


def _of_png(file: BinaryIO) -> FoundTexts:
    file.seek(len(_PNG))
    found: FoundTexts | None = None
    pixels = False
    for kind, size in _png_chunks(file):
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack(">IIBB", _checked(file, kind, size)[:10])
            found = found or FoundTexts(width, height, "PNG", has_alpha=colour in (4, 6))
        elif found is None:
            break
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            if size > TEXT_BYTES_MAX:
                raise PictureUnreadable(_TOO_MUCH)
            named = _png_text(kind, _checked(file, kind, size))
            if named:
                found.add(*named)
        elif kind == b"eXIf" and size <= TEXT_BYTES_MAX:
            found.add_exif(_checked(file, kind, size))
        elif kind == b"IEND" and pixels:
            return found
        else:
            pixels = pixels or kind == b"IDAT"
            file.seek(size + 4, os.SEEK_CUR)
    raise PictureUnreadable(_DAMAGED)


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    for _ in range(_PARTS_MAX):
        head = file.read(8)
        if len(head) < 8 or not head[4:].isalpha():
            return
        yield head[4:], int.from_bytes(head[:4], "big")


def _checked(file: BinaryIO, kind: bytes, size: int) -> bytes:
    """A chunk's bytes. Raises PictureUnreadable where their sum is wrong."""
    if size > TEXT_BYTES_MAX:
        raise PictureUnreadable(_DAMAGED)
    data, summed = file.read(size), file.read(4)
    if len(summed) < 4 or zlib.crc32(kind + data) != int.from_bytes(summed, "big"):
        raise PictureUnreadable(_DAMAGED)
    return data


def _png_text(kind: bytes, data: bytes) -> tuple[str, str] | None:
    keyword, _, rest = data.partition(b"\0")
    name = keyword.decode("latin-1")
    if kind == b"tEXt":  # latin-1 by the standard; many programs write UTF-8
        return name, _utf8_or_latin(rest)
    if kind == b"zTXt":
        return (name, _utf8_or_latin(inflated(rest[1:], 15))) if rest[:1] == b"\0" else None
    packed, rest = rest[:1] == b"\1", rest[2:]
    _, _, rest = rest.partition(b"\0")  # language
    _, _, rest = rest.partition(b"\0")  # keyword in it
    return name, (inflated(rest, 15) if packed else rest).decode("utf-8", "replace")


def inflated(packed: bytes, window: int) -> bytes:
    """What zlib (window 15) or gzip (31) packed. Raises PictureUnreadable: damaged, or a bomb."""
    unpacker = zlib.decompressobj(window)
    try:
        data = unpacker.decompress(packed, TEXT_BYTES_MAX)
    except zlib.error as error:
        raise PictureUnreadable(_DAMAGED) from error
    if unpacker.unconsumed_tail:
        raise PictureUnreadable(_TOO_MUCH)
    return data


def _utf8_or_latin(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


# --- JPEG


def _of_jpeg(file: BinaryIO) -> FoundTexts:
    file.seek(2)
    found = FoundTexts(0, 0, "JPEG", has_alpha=False)
    for marker, size in _jpeg_segments(file):
        if marker in _FRAMES:
            _, found.height, found.width = struct.unpack(">BHH", file.read(5))
            file.seek(size - 5, os.SEEK_CUR)
        elif marker == 0xE1:
            data = file.read(size)
            if data.startswith(_EXIF_MARK):
                found.add_exif(data)
            elif data.startswith(_XMP_MARK):
                found.add(XMP_KEY, data.removeprefix(_XMP_MARK).decode("utf-8", "replace"))
        elif marker == 0xFE:
            found.add("comment", best_decoding(file.read(size), ("utf-8", "utf-16-le", "cp1252")))
        else:
            file.seek(size, os.SEEK_CUR)
    if not found.width or not found.height:
        raise PictureUnreadable(_DAMAGED)
    return found


def _jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Each segment's marker and bytes, up to the pixels. Raises PictureUnreadable, struct.error."""
    for _ in range(_PARTS_MAX):
        lead, marker = struct.unpack(">BB", file.read(2))
        while marker == 0xFF:  # any number of them may fill the space before a marker
            marker = struct.unpack(">B", file.read(1))[0]
        if lead != 0xFF:
            raise PictureUnreadable(_DAMAGED)
        if marker in (0xDA, 0xD9):  # pixels, or the end
            return
        if marker not in _ALONE:
            size = struct.unpack(">H", file.read(2))[0] - 2
            if size < 0:
                raise PictureUnreadable(_DAMAGED)
            yield marker, size


# --- WebP


def _of_webp(file: BinaryIO) -> FoundTexts:
    file.seek(12)
    found = FoundTexts(0, 0, "WEBP", has_alpha=False)
    for _ in range(_PARTS_MAX):
        head = file.read(8)
        if len(head) < 8:
            break
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        padded = size + size % 2
        if kind in (b"VP8X", b"VP8 ", b"VP8L"):
            _webp_size(found, kind, start := file.read(min(10, padded)))
            file.seek(padded - len(start), os.SEEK_CUR)
        elif kind in (b"EXIF", b"XMP ") and size <= TEXT_BYTES_MAX:
            data = file.read(padded)[:size]
            if kind == b"EXIF":
                found.add_exif(data)
            else:
                found.add(XMP_KEY, data.decode("utf-8", "replace"))
        else:
            file.seek(padded, os.SEEK_CUR)
    if not found.width or not found.height:
        raise PictureUnreadable(_DAMAGED)
    return found


def _webp_size(found: FoundTexts, kind: bytes, start: bytes) -> None:
    """The size from a chunk's first ten bytes (RFC 9649, sections 2.5 to 2.7). struct.error."""
    if kind == b"VP8X":
        found.has_alpha = bool(struct.unpack("10s", start)[0][0] & 0x10)
        found.width = int.from_bytes(start[4:7], "little") + 1
        found.height = int.from_bytes(start[7:10], "little") + 1
    elif not found.width and kind == b"VP8 ":
        width, height = struct.unpack("<6xHH", start)
        found.width, found.height = width & 0x3FFF, height & 0x3FFF
    elif not found.width:
        bits = struct.unpack("<xI", start[:5])[0]
        found.width, found.height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        found.has_alpha = bool(bits >> 28 & 1)


# --- EXIF


def _exif_comments(tiff: bytes) -> Iterator[tuple[str, bytes]]:
    """The comments of a TIFF's first directory and of its EXIF directory. A damaged one: fewer."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
    if not order or len(tiff) < 8:
        return
    first = struct.unpack_from(f"{order}I", tiff, 4)[0]
    inner: list[int] = []
    for place in itertools.chain([first], inner):
        for tag, kind, count, value in _tiff_entries(tiff, order, place):
            if tag == _EXIF_IFD and not inner:
                inner.append(struct.unpack(f"{order}I", value)[0])
            if tag in _TAGS and kind in _TYPE_BYTES and count <= TEXT_BYTES_MAX:
                start = struct.unpack(f"{order}I", value)[0]
                raw = value[:count] if count <= 4 else tiff[start : start + count]
                yield _TAGS[tag], raw


def _tiff_entries(tiff: bytes, order: str, place: int) -> Iterator[tuple[int, int, int, bytes]]:
    if place + 2 > len(tiff):
        return
    count = struct.unpack_from(f"{order}H", tiff, place)[0]
    for index in range(min(count, _TIFF_ENTRIES_MAX)):
        at = place + 2 + 12 * index
        if at + 12 > len(tiff):
            return
        tag, kind, amount = struct.unpack_from(f"{order}HHI", tiff, at)
        yield tag, kind, amount, tiff[at + 8 : at + 12]


# --- texts inside texts


def unwrapped(texts: Mapping[str, str]) -> dict[str, str]:
    """The texts by what they hold: ComfyUI's in EXIF under its own names, as in a PNG, and those
    inside XMP under names of their own."""
    found: dict[str, str] = {}
    for name, value in texts.items():
        graph = _GRAPH.match(value)
        if graph:  # ComfyUI writes `prompt:{...}` and `workflow:{...}` into EXIF
            found.setdefault(graph[1].lower(), value[graph.end() :])
        elif name.startswith(XMP_KEY):
            inner = itertools.chain(_XMP_ELEMENT.finditer(value), _XMP_ATTRIBUTE.finditer(value))
            for place, match in enumerate(itertools.islice(inner, _TEXTS_MAX)):
                found[f"XMP {place}"] = html.unescape(match[1])
        else:
            found[name] = value
    return found
