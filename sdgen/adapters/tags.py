"""`<lora:name:0.8>` in a prompt, as AUTOMATIC1111's web UI knows it.

Its order is `<lora:name:text encoder's strength:UNet's strength>`; one number counts for both.
It also takes names for them: `<lora:name:te=0.5:unet=0.8>`.
"""

import math
import re

from sdgen.errors import InvalidRequest
from sdgen.request import SCALE_MAX

Tag = tuple[str, float, float | None]  # name, scale, text_scale (None: as scale)

_TAG = re.compile(r"<\s*lora\s*:(?P<inner>[^<>]*)>", re.IGNORECASE)
_OPEN = re.compile(r"<\s*lora\s*:", re.IGNORECASE)


def take_tags(prompt: str) -> tuple[str, tuple[Tag, ...]]:
    """The prompt without its tags, and what they ask for, in order, each name once.

    Raises InvalidRequest: a tag that is not closed, has no name, a strength that is no number or
    beyond the limits, or a name with two different strengths.
    """
    found: dict[str, Tag] = {}
    for match in _TAG.finditer(prompt):
        tag = _tag(match["inner"], match[0])
        if found.setdefault(tag[0], tag) != tag:
            raise _wrong(f"asks for '{tag[0][:80]}' twice with different strengths", match[0])
    if not found and not _OPEN.search(prompt):
        return prompt, ()
    rest = _TAG.sub("", prompt)
    if _OPEN.search(rest):
        raise _wrong("is not closed; write <lora:name:0.8>", rest[_OPEN.search(rest).start() :])  # type: ignore[union-attr]
    return _tidy(rest), tuple(found.values())


def _tag(inner: str, whole: str) -> Tag:
    name, *numbers = (part.strip() for part in inner.split(":"))
    if not name:
        raise _wrong("has no name; write <lora:name:0.8>", whole)
    if len(numbers) > 2:
        raise _wrong("has more than two strengths", whole)
    text: float | None = None
    unet: float | None = None
    for place, part in enumerate(numbers):
        which, equals, number = part.rpartition("=")
        which = which.strip().lower() if equals else ("te", "unet")[place]
        if which not in ("te", "unet"):
            raise _wrong(f"has a setting '{which[:20]}' that is not known", whole)
        value = _number(number, whole)
        if which == "te":
            text = value
        else:
            unet = value
    if unet is None:
        return (name, 1.0 if text is None else text, None)
    return (name, unet, None if text in (None, unet) else text)


def _number(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _wrong(f"has a strength '{text.strip()[:20]}' that is no number", whole) from None
    if not math.isfinite(value) or abs(value) > SCALE_MAX:
        raise _wrong(f"has a strength beyond {SCALE_MAX:g}", whole)
    return value


def _wrong(what: str, tag: str) -> InvalidRequest:
    return InvalidRequest("prompt", f"The tag '{tag[:80]}' {what}.")


def _tidy(text: str) -> str:
    """The text without the doubled spaces and commas that taking tags out leaves."""
    text = re.sub(r"[ \t]{2,}", " ", text)
    text = re.sub(r"[ \t]+([,.;])", r"\1", text)
    text = re.sub(r",(?:[ \t]*,)+", ",", text)
    return text.strip().removeprefix(",").removesuffix(",").strip()
