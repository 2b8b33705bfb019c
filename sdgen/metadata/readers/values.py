"""Values out of other programs' texts, and a recipe of them. Nothing here raises.

A program's own writes are not the only ones: numbers come as text, sizes as "832x1216",
"(832, 1216)" or a list, and a stranger's file holds whatever it likes.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath

from sdgen.adapters.tags import read_tags
from sdgen.metadata.recipe import Recipe, RecipeAdapter
from sdgen.request import SEED_MAX
from sdgen.samplers import sampler_from_names

NAMED_MAX = 20  # settings that a note names
ADAPTERS_READ_MAX = 40
_NAME_CHARS = 300  # of one adapter or model
_DIGITS = 20  # 2**64 has as many
_SIZE = re.compile(r"\W{0,3}(\d{1,6})\s{0,3}[x×*,]\s{0,3}(\d{1,6})\W{0,3}", re.ASCII)
_HEX = re.compile(r"(?:0x)?([0-9a-f]{4,64})", re.IGNORECASE)
_FOREIGN_TAG = re.compile(r"<[a-z_]{2,20}(?:\[[^<>\]]{0,80}\])?:")  # SwarmUI's <segment:face>
_WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


def json_object(text: str) -> dict[str, object] | None:
    """The JSON object that a text is, or None for anything else.

    NaN and endless numbers are None: ComfyUI writes the first (`is_changed`), no recipe the others.
    """
    for parse_int in (None, _int):  # the second for numbers that Python takes for too long
        try:
            found = json.loads(text, parse_int=parse_int, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, dict) else None
    return None


def text(value: object) -> str:
    """A text as it can be kept and drawn: without NUL and half characters; "" for anything else."""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def whole(value: object) -> int | None:
    """A whole number, also as text or as 7.0."""
    if isinstance(value, str):
        value = value.strip()
        if re.fullmatch(rf"\d{{1,{_DIGITS}}}", value, re.ASCII):
            return int(value)
        value = number(value)
    if isinstance(value, float) and value.is_integer() and 0 <= value < 10**15:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**_DIGITS:
        return value
    return None


def number(value: object) -> float | None:
    """A finite number of an everyday size, also as text."""
    if isinstance(value, str):
        if not re.fullmatch(r"\s*-?\d{0,20}(\.\d{0,30})?(e-?\d{1,3})?\s*", value, re.ASCII | re.I):
            return None
        try:
            value = float(value)
        except ValueError:  # "", "-", "."
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and abs(value) < 10**9 else None


def size(value: object) -> tuple[int, int] | None:
    """Width and height in pixels."""
    if isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        value = [found[1], found[2]] if found else None
    if isinstance(value, list | tuple) and len(value) == 2:
        width, height = whole(value[0]), whole(value[1])
        return (width, height) if width and height else None
    return None


def hash_digits(value: object) -> str:
    """The digits of a SHA-256, whole or its beginning; "" for any other hash ("blake3:...")."""
    found = _HEX.fullmatch(value.strip()) if isinstance(value, str) else None
    return found[1].lower() if found else ""


def file_name(value: object) -> str:
    """A model or adapter as another program names it, without its ending.

    Folders below that program's own stay ("styles/inkwash"); of a whole path only the end does.
    """
    name = text(value).strip()[:_NAME_CHARS]
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive:
        name = PureWindowsPath(name).name
    ending = next((end for end in _WEIGHTS if name.lower().endswith(end)), "")
    return name[: len(name) - len(ending)].replace("\\", "/").strip()


def adapter(
    name: object, scale: object = 1.0, text_scale: object = None, sha256: object = ""
) -> RecipeAdapter | None:
    """One adapter, or None for what has no name, as "None" and "" are none."""
    found = file_name(name)
    if found in ("", "None"):
        return None
    strength, of_text = number(scale), number(text_scale)
    strength = 1.0 if strength is None else strength
    return RecipeAdapter(
        name=found,
        sha256=hash_digits(sha256),
        scale=strength,
        text_scale=None if of_text == strength else of_text,
    )


def unread(settings: Iterable[str], what: str = "Not read, as it is not known here") -> list[str]:
    """A note that names settings; none of them: no note."""
    names = list(dict.fromkeys(text(name).strip()[:60] for name in settings))
    if not names:
        return []
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return [f"{what}: {', '.join(names[:NAMED_MAX])}{more}."]


def said(values: Mapping[str, object], known: Iterable[str]) -> list[str]:
    """The names of settings that say something and are not among the known ones."""
    taken = set(known)
    nothing: tuple[object, ...] = (None, "", False, 0, "None", "none", [], {})
    return [
        name
        for name, value in values.items()
        if name not in taken and not any(value is none or value == none for none in nothing)
    ]


def foreign_recipe(
    app: str,
    *,
    prompt: object,
    negative: object = "",
    seed: object = None,
    steps: object = None,
    guidance: object = None,
    sampler: object = "",
    schedule: object = "",
    pixels: tuple[int, int] | None = None,
    clip_skip: int = 0,
    model: object = "",
    model_hash: object = "",
    adapters: Iterable[RecipeAdapter | None] = (),
    notes: Iterable[str] = (),
) -> Recipe:
    """The recipe of another program's values. clip_skip: layers left out, as in Recipe.

    Tags of adapters leave the prompt. What a prompt still holds of another notation is said.
    """
    told = list(notes)
    read = read_tags(text(prompt).strip())
    read_negative = read_tags(text(negative).strip())
    told += read.notes
    if read_negative.tags:
        names = ", ".join(f"“{name}”" for name, _, _ in read_negative.tags[:NAMED_MAX])
        told.append(f"Left out, as an adapter has no effect in the negative prompt: {names}.")
    known = {each.name: each for each in adapters if each is not None}
    for name, scale, text_scale in read.tags:
        tagged = adapter(name, scale, text_scale)
        if tagged is not None and tagged.name not in known:
            known[tagged.name] = tagged
    found = list(known.values())
    if len(found) > ADAPTERS_READ_MAX:
        told.append(f"It names {len(found)} adapters; {ADAPTERS_READ_MAX} of them were read.")
    named = sampler_from_names(text(sampler), text(schedule)) if text(sampler) else None
    if named and named.note:
        told.append(named.note)
    said_seed = whole(seed)
    if said_seed is not None and said_seed > SEED_MAX:
        told.append(f"Seed {said_seed} is beyond 64 bits, so it was left out.")
        said_seed = None
    if (number(seed) or 0) < 0:
        told.append("Its seed is not a number of its own but a wish for a new one.")
    told += _leftovers(read.prompt, read_negative.prompt)
    width, height = pixels or (None, None)
    return Recipe(
        app=text(app).strip()[:_NAME_CHARS],
        prompt=read.prompt,
        negative_prompt=read_negative.prompt,
        seed=said_seed,
        steps=whole(steps),
        guidance_scale=number(guidance),
        sampler=text(named.name) if named else None,
        width=width,
        height=height,
        clip_skip=max(clip_skip, 0),
        model=text(model).strip()[:_NAME_CHARS],
        model_hash=hash_digits(model_hash),
        adapters=tuple(found[:ADAPTERS_READ_MAX]),
        notes=tuple(text(note) for note in told),
    )


def _leftovers(prompt: str, negative: str) -> list[str]:
    """Notes on what a prompt holds that looks like no words."""
    notes = []
    for where, words in (("prompt", prompt), ("negative prompt", negative)):
        if re.search(r"\bSteps:\s{0,5}\d", words):
            notes.append(
                f"The {where} holds “Steps:”; what stands behind it may be settings that were not "
                "read."
            )
        if foreign := _FOREIGN_TAG.search(words):
            notes.append(
                f"The {where} holds “{foreign[0][:40]}”, a notation that is not known here; it is "
                "drawn as words."
            )
        if "{" in words:
            notes.append(
                f"The {where} holds “{{”, which is another notation or settings that were not "
                "read; it is drawn as it stands there."
            )
    return notes


def _int(digits: str) -> int | None:
    return int(digits) if len(digits) <= _DIGITS + 1 else None
