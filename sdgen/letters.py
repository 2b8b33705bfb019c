"""What belongs to a word in any script, for regular expressions. No torch.

Python's `\\w` leaves out combining signs (the vowel signs and viramas of Malayalam, Hindi, Tamil or
Thai, the points of Arabic and Hebrew) and the joiners inside words, so it cuts such words apart;
see Unicode Standard Annex 29 on word boundaries.
"""

import functools
import re
import unicodedata

JOINERS = "\u200c\u200d"  # zero-width non-joiner and joiner: inside words and emoji
# No marks lie beyond, in any version of Unicode so far.
_PLANES = (range(0x0300, 0x20000), range(0xE0100, 0xE01F0))


@functools.cache
def marks() -> str:
    """Combining signs and joiners, for inside the [...] of a pattern: what may follow a letter."""
    ranges: list[list[int]] = []
    for plane in _PLANES:
        for code in plane:
            if unicodedata.category(chr(code))[0] == "M":
                if ranges and ranges[-1][1] == code - 1:
                    ranges[-1][1] = code
                else:
                    ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges) + JOINERS


def word_signs() -> str:
    """All that a word is made of, digits too, for inside the [...] of a pattern."""
    return rf"\w{marks()}"


@functools.cache
def plain_words() -> re.Pattern[str]:
    """Finds words, hyphened ones whole; numbers and signs are none."""
    letters = rf"(?:[^\W\d_][{marks()}]*)+"
    return re.compile(rf"{letters}(?:['’-]{letters})*")


def as_words(text: str) -> re.Pattern[str]:
    """Finds `text` where it stands as words of its own, in upper or lower case, however spaced."""
    words = r"\s+".join(map(re.escape, text.split()))
    signs = word_signs()
    return re.compile(rf"(?<![{signs}]){words}(?![{signs}])", re.IGNORECASE)
