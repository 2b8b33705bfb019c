"""`<lora:name:0.8>` in a prompt, as AUTOMATIC1111's web UI knows it.

Its order is `<lora:name:text encoder's strength:UNet's strength>`; one number counts for both.
It also takes names for them: `<lora:name:te=0.5:unet=0.8>`. Recipes of others hold more: `<lyco:`,
which it reads as `<lora:`, `<hypernet:`, a dynamic rank, and the block weights of the extension
sd-webui-lora-block-weight, by preset or by numbers: `:lbw=OUTALL`, `:1,0,0,1`, `:start=4`.
"""

import math
import re
from typing import NamedTuple

from sdgen.errors import InvalidRequest
from sdgen.request import SCALE_MAX

Tag = tuple[str, float, float | None]  # name, scale, text_scale (None: as scale)

_TAG = re.compile(r"<\s*lora\s*:(?P<inner>[^<>]*)>", re.IGNORECASE)
_OPEN = re.compile(r"<\s*lora\s*:", re.IGNORECASE)
_FOREIGN = re.compile(r"<\s*(?P<kind>lora|lyco|hypernet)\s*:(?P<inner>[^<>]*)>", re.IGNORECASE)
_STRENGTHS = ("te", "unet")
_TAGS_MAX = 200  # tags of a prompt that are looked at
_NOTES_MAX = 10  # tags that are spoken of


class ReadTags(NamedTuple):
    """A recipe's prompt, what its tags ask for, and sentences on what of them is not done."""

    prompt: str
    tags: tuple[Tag, ...]
    notes: tuple[str, ...]


def read_tags(prompt: str) -> ReadTags:
    """As take_tags, for the prompt of a recipe: each tag by itself, and never an error.

    A tag that cannot be read stays in the prompt; of one that asks for more than strengths, the
    strengths count. Both are said.
    """
    found: dict[str, Tag] = {}
    notes: dict[str, None] = {}

    def take(match: re.Match[str]) -> str:
        try:
            name, tag, more = _foreign_tag(match["inner"], match[0])
        except InvalidRequest as error:
            notes[str(error)] = None
            return match[0]
        if match["kind"].lower() == "hypernet":
            notes[f"Left out, as hypernetworks are not drawn here: {name[:80]}."] = None
            return ""
        if more:
            notes[
                f"The tag '{match[0][:80]}' asks for {' and '.join(more)}, which is not done here: "
                "the adapter counts at its whole strength."
            ] = None
        if found.setdefault(name, tag) != tag:
            notes[
                f"'{name[:80]}' is asked for twice; the first strength, {found[name][1]:g}, counts."
            ] = None
        return ""

    rest = _FOREIGN.sub(take, prompt, count=_TAGS_MAX)
    plain = _tidy(rest) if rest != prompt else prompt
    if _OPEN.search(_FOREIGN.sub("", rest)):
        notes["A tag in it, <lora:...>, is not closed; it stays in the prompt."] = None
    return ReadTags(plain, tuple(found.values()), tuple(notes)[:_NOTES_MAX])


def _foreign_tag(inner: str, whole: str) -> tuple[str, Tag, list[str]]:
    """Its name, itself with plain strengths alone, and in words what else it asks for.

    Raises InvalidRequest where a strength is no number or beyond the limits.
    """
    name, *parts = (part.strip() for part in inner.split(":"))
    strengths: list[str] = []
    more: dict[str, None] = {}
    for place, part in enumerate(parts):
        key, equals, _ = part.partition("=")
        known = key.strip().lower() if equals else ""
        if equals and known not in _STRENGTHS:
            more["block weights or steps of its own"] = None
        elif equals:
            strengths.append(part)
        elif "," in part or not _is_number(part):
            more["block weights or steps of its own"] = None
        elif place < len(_STRENGTHS) and not more:
            strengths.append(part)
        else:
            more["a rank or a step"] = None
    return name, _tag(":".join([name, *strengths]), whole), list(more)


def _is_number(part: str) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


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
