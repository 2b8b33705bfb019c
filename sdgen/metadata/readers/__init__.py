"""Readers of recipes, one module a program, chosen by what the texts of a file hold.

Each answers with a recipe, with None where nothing is of its program, or raises PictureUnreadable
with a sentence that names the program. values.py: what they share; settings.py: A1111's line.
"""

import re
from collections.abc import Callable, Mapping

from sdgen.errors import PictureUnreadable
from sdgen.metadata.readers import (
    comfyui,
    draw_things,
    easy_diffusion,
    fooocus,
    invokeai,
    novelai,
    other_json,
    swarmui,
)
from sdgen.metadata.readers.a1111 import holds_settings, recipe_from_parameters
from sdgen.metadata.readers.found import JSON_CHARS_MAX, Found, made_by
from sdgen.metadata.readers.values import NAMED_MAX, json_object
from sdgen.metadata.readers.values import text as str_of
from sdgen.metadata.recipe import Recipe

PARAMETERS_KEY = "parameters"
PARAMETERS_CHARS_MAX = 200_000  # of one text of A1111's kind
_OBJECTS_MAX = 20
# Programs that sign their pictures and write nothing that could be drawn again: where, and words.
_WITHOUT_RECIPE = (
    ("A1111's Extras tab", "postprocessing", "Postprocess", "with no recipe beside it"),
    ("Midjourney", "Description", "Job ID:", "with settings that mean nothing here"),
)

__all__ = ["PARAMETERS_KEY", "recipe_from_parameters", "recipe_of_texts"]


def recipe_of_texts(texts: Mapping[str, str], width: int, height: int) -> Recipe | None:
    """The recipe that other programs' texts hold; None where there is none of any.

    width, height: of the picture. Raises PictureUnreadable for one that is named and not read.
    """
    found = Found(texts, _objects(texts), width, height)
    for name, text in found.plain():
        if name.startswith(PARAMETERS_KEY) and len(text) > PARAMETERS_CHARS_MAX:
            raise PictureUnreadable("This picture holds far more text than a recipe has.")
    named: PictureUnreadable | None = None
    for read in _READERS:
        try:
            recipe = read(found)
        except PictureUnreadable as error:  # another text of the file may say more
            named = named or error
            continue
        if recipe is not None:
            return recipe
    if named is not None:
        raise named
    for program, key, words, why in _WITHOUT_RECIPE:
        if words in texts.get(key, ""):
            raise made_by(program, why)
    fields = [str_of(name)[:40] for told in found.objects.values() for name in told]
    if fields:
        raise PictureUnreadable(
            "This picture holds settings of a program that is not known here; their names are "
            f"{', '.join(fields[:NAMED_MAX])}."
        )
    return None


def _objects(texts: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """The texts that look like JSON objects and are some."""
    found: dict[str, dict[str, object]] = {}
    left = JSON_CHARS_MAX
    for name, text in sorted(texts.items(), key=lambda each: len(each[1])):
        text = text.strip("\ufeff\0 \r\n\t")
        if text[:1] == "{" and len(text) <= left and len(found) < _OBJECTS_MAX:
            left -= len(text)
            told = json_object(text)
            if told is not None:
                found[name] = told
    return found


def _settings(found: Found) -> Recipe | None:
    """A1111's text, wherever it lies; whatever program wrote it."""
    for _, text in found.plain():
        if len(text) <= PARAMETERS_CHARS_MAX and holds_settings(text):
            return recipe_from_parameters(text)
    return None


def _words(found: Found) -> Recipe | None:
    """`parameters` without settings: all of it is the prompt."""
    for name, text in found.plain():
        if name == PARAMETERS_KEY and re.match(r'\s{0,50}\{\s{0,50}"', text):
            raise PictureUnreadable(
                "The settings inside this picture look like JSON, and cannot be read as such: they "
                "may be cut off."
            )
        if name == PARAMETERS_KEY and text.strip():
            return recipe_from_parameters(text)
    return None


_READERS: tuple[Callable[[Found], Recipe | None], ...] = (
    swarmui.read,
    fooocus.read,
    invokeai.read,
    draw_things.read,
    novelai.read,
    easy_diffusion.read,
    _settings,
    comfyui.read,
    other_json.read,
    _words,
)
