"""Bytes of a comment as text: every plausible way is tried, and the one that makes sense is kept.

EXIF 2.3 (section 4.6.5, UserComment) puts a character code of eight bytes before the text. Programs
write UTF-16 in either byte order and UTF-8 behind "UNICODE", or leave the code out.
"""

import re
import unicodedata

# Words that recipes of the field hold; where they are, the bytes were read rightly.
_KNOWN = re.compile(
    r"Negative prompt|Steps|Sampler|CFG scale|Seed|Size|Model|Version"
    r'|"(?:prompt|seed|steps|sampler|inputs|class_type|nodes|uc|version)"'
)
_CODE = re.compile(rb"(ASCII|UNICODE|JIS)(?:\0| ){1,5}", re.IGNORECASE)
_CODE_BYTES = 8
_NO_CODE = b"\0" * _CODE_BYTES  # "undefined", as the standard has it
_JAPANESE = ("iso2022_jp", "shift_jis", "euc_jp")
_LOOKED_AT = 500  # characters by whose letters ways are compared
_SEARCHED = 40_000  # characters at either end that are searched for known words
_RANGES = (  # code points of scripts that people write prompts in
    (0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0xE00, 0xEFF),
    (0x2010, 0x203A), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFF00, 0xFFEF),
    (0x1F300, 0x1FAFF),
)  # fmt: skip


def decoded_comment(raw: bytes) -> str:
    """An EXIF comment's text, with or without a character code before it."""
    code = _CODE.match(raw[:_CODE_BYTES])
    marked = code is not None or raw.startswith(_NO_CODE)
    mark = code[1].upper() if code else b""
    body = raw[_CODE_BYTES:] if marked else raw
    ways = ["utf-8", "utf-16-be", "utf-16-le"]
    if mark == b"UNICODE":  # piexif, which A1111 uses, writes big-endian whatever the file's order
        ways = ["utf-16-be", "utf-16-le", "utf-8"]
    if mark == b"JIS":
        ways = [*_JAPANESE, *ways]
    return best_decoding(body, (*ways, "cp1252"))


def best_decoding(body: bytes, ways: tuple[str, ...]) -> str:
    """The text of `body` by the likeliest of the ways; of equals the first."""
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        ways = ("utf-16", *ways)
    found = [_decoded(body, way) for way in dict.fromkeys(ways)]
    return max(found, key=_sense)[1]


def _decoded(body: bytes, way: str) -> tuple[int, str]:
    """How likely a way is by itself, and the text: 2 where it can be nothing else, 0 for cp1252,
    in which any bytes are letters."""
    if way.startswith("utf-16"):
        body = body[: len(body) // 2 * 2]
    text = body.decode(way, "replace").lstrip("\ufeff").rstrip("\0")
    # UTF-16 holds zero bytes at spaces and line ends, or bytes that UTF-8 cannot have; ISO 2022
    # switches by escapes.
    odd = any(letter in text for letter in "\ufffd\0\x1b")
    certain = way == "utf-8" and not odd
    return 2 if certain else int(way != "cp1252"), text


def _sense(found: tuple[int, str]) -> tuple[int, bool, float, int, float]:
    """How much sense a text makes: the known words in it, how many letters people write, and how
    many of them are Latin ("fox" in the other byte order is three Chinese letters)."""
    likely, text = found
    start = text[:_LOOKED_AT]
    searched = text if len(text) <= 2 * _SEARCHED else text[:_SEARCHED] + text[-_SEARCHED:]
    known = {match[0] for match in _KNOWN.finditer(searched)}
    good = sum(_is_plain(letter) for letter in start)
    latin = sum(letter.isascii() for letter in start)
    share = 1 / max(len(start), 1)
    return len(known), likely == 2, good * share, likely, latin * share


def _is_plain(letter: str) -> bool:
    if letter in "\n\r\t":
        return True
    point = ord(letter)
    written = any(low <= point <= high for low, high in _RANGES)
    return written and unicodedata.category(letter) not in ("Cn", "Cc", "Co", "Cs")
