"""The built-in engine: rules of our own. No key, no download, no network; appends, never changes.

Which words it appends is drawn by lot from SHA-256 of a version, the seed and the prompt, so the
same question has the same answer on every machine, and `context.again` asks for another one.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sdgen.enhance import banks
from sdgen.enhance.draft import BUILT_IN, Context, Draft
from sdgen.enhance.guard import appended, with_triggers
from sdgen.enhance.language import STOP_WORDS, is_latin, words_of
from sdgen.models import ModelWords

VERSION = "1"  # of the banks and rules: a change of either is a change of drafts
PHRASES = 4  # at most
FULL = 24  # words of meaning; a prompt of so many needs no help
DETAILED = "Your prompt is already detailed; nothing was added."
NO_ROOM = "Your prompt fills what the model reads; nothing was added."
NOT_ITS_WORDS = "This model knows none of your words; only what surrounds them was added."
NOT_ENGLISH = "This model knows mostly English words; only neutral phrases were added."


@dataclass(frozen=True)
class BuiltIn:
    """Appends what a prompt leaves open: framing, light, background and detail; for a model that
    knows few words, the place, the time and the pose."""

    def enhance(self, prompt: str, context: Context) -> Draft:
        rng = _lot(prompt, context)
        if context.words is not None:
            text, added, note = _scene(prompt, context, context.words, rng)
        else:
            text, added, note = _phrases(prompt, context, rng)
        return Draft(text, added, (), BUILT_IN, note, original=prompt)


def _lot(prompt: str, context: Context) -> random.Random:
    said = "\0".join((VERSION, str(context.seed), str(context.again), prompt))
    digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def _phrases(prompt: str, context: Context, rng: random.Random) -> tuple[str, tuple[str, ...], str]:
    """For models that know most words of English."""
    said = words_of(prompt)
    if not is_latin(prompt):
        text, added = appended(prompt, banks.NEUTRAL, context)
        return text, added, NOT_ENGLISH if added else NO_ROOM
    meant = [word for word in said if word not in STOP_WORDS]
    open_facets = [facet for facet in banks.FACETS if not facet.hints & set(said)]
    if len(meant) >= FULL or not open_facets:
        return with_triggers(prompt, context), (), DETAILED
    medium = next((name for name, words in banks.MEDIA.items() if words & set(said)), "")
    chosen = [rng.choice(_offered(facet, medium)) for facet in open_facets][:PHRASES]
    text, added = appended(prompt, chosen, context)
    return text, added, "" if added else NO_ROOM


def _offered(facet: banks.Facet, medium: str) -> tuple[str, ...]:
    special = {banks.PHOTO: facet.photo, banks.DRAWN: facet.drawn}.get(medium, ())
    return facet.phrases + special


def _scene(
    prompt: str, context: Context, words: ModelWords, rng: random.Random
) -> tuple[str, tuple[str, ...], str]:
    """For a small model: a scene that it can draw, in the words and the order it was taught."""
    open_parts = [phrase for phrase in _open_parts(prompt, words, rng) if phrase]
    text, added = appended(prompt, open_parts, context)
    note = "" if added else DETAILED if context.fits(text) else NO_ROOM
    if added and len(words.unknown(prompt)) == len(set(words_of(prompt))):
        note = NOT_ITS_WORDS
    return text, added, note


def _open_parts(prompt: str, words: ModelWords, rng: random.Random) -> Iterator[str]:
    """The pose, place and time that the prompt leaves open, "" where the model has no words."""
    said = set(words_of(prompt))
    place_open = not said & (banks.PLACE_HINTS | _names(words.places))
    time_open = not said & (banks.TIME_HINTS | _names(words.times))
    pose_open = not said & (banks.POSE_HINTS | _names(words.poses))
    if place_open and time_open and pose_open and said & banks.PEOPLE:
        yield _drawn(words.poses, banks.POSE_PHRASES, "{}", words, rng)
    if place_open:
        places = _fitting(words.places, said)
        yield _drawn(places, banks.PLACE_PHRASES, "in a {}", words, rng)
    if time_open:
        yield _drawn(words.times, banks.TIME_PHRASES, "at {}", words, rng)


def _fitting(places: tuple[str, ...], said: set[str]) -> tuple[str, ...]:
    """The places where the things that the prompt names are rather found."""
    for thing, found in banks.PLACES_FOR.items():
        if thing in said and "flying" not in said and set(found) & set(places):
            return tuple(place for place in places if place in found)
    return places


def _names(names: tuple[str, ...]) -> set[str]:
    return {word for name in names for word in words_of(name)}


def _drawn(
    names: tuple[str, ...],
    bank: Mapping[str, tuple[str, ...]],
    otherwise: str,
    words: ModelWords,
    rng: random.Random,
) -> str:
    """A phrase for one of the names, of which the model knows every word; "" for none."""
    offered: list[str] = []
    for name in names:
        phrases = bank.get(name, (otherwise.format(name),))
        offered += [phrase for phrase in phrases if not words.unknown(phrase)][:2]
    return rng.choice(offered) if offered else ""
