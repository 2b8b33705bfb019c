"""NovelAI: `Comment` with JSON beside `Description` and `Source`, in chunks or in hidden pixels.

Fields as its own pictures have them (NovelAI/novelai-image-metadata): `uc` is the negative prompt,
`scale` the guidance, `noise_schedule` the spacing. Its weights are {braces}, [brackets] and
1.2::words::, which mean nothing here.
"""

import re
from collections.abc import Mapping

from sdgen.metadata.readers import values
from sdgen.metadata.readers.found import Found, made_by
from sdgen.metadata.recipe import Recipe

_READ = (
    *("prompt", "uc", "seed", "steps", "scale", "sampler", "noise_schedule", "width", "height"),
    *("signed_hash", "request_type", "n_samples", "version", "v4_prompt", "v4_negative_prompt"),
)
_WEIGHTS = re.compile(r"[{\[][^{}\[\]]{1,500}[}\]]|\d::")


def read(found: Found) -> Recipe | None:
    """The recipe, or None where NovelAI wrote nothing. Raises PictureUnreadable."""
    ours = found.texts.get("Software", "").startswith("NovelAI")
    for name, told in found.objects.items():
        if _is_comment(told) and (ours or name.startswith("Comment") or "uc" in told):
            return _recipe(found, told, found.texts)
        inner = values.json_object(values.text(told.get("Comment")))
        if inner is not None and _is_comment(inner):
            return _recipe(found, inner, told)
    if ours:
        raise made_by("NovelAI", "but its settings cannot be read")
    return None


def _is_comment(told: Mapping[str, object]) -> bool:
    return "sampler" in told and "scale" in told and bool({"uc", "strength", "noise"} & set(told))


def _recipe(found: Found, told: Mapping[str, object], around: Mapping[str, object]) -> Recipe:
    prompt = values.text(told.get("prompt")) or values.text(around.get("Description"))
    negative = values.text(told.get("uc"))
    pixels = values.size([told.get("width"), told.get("height")])
    notes = values.unread(values.said(told, _READ))
    characters = _characters(told.get("v4_prompt"))
    if characters:
        notes.append(f"Not read: the prompts of {characters} characters of their own.")
    if _WEIGHTS.search(prompt) or _WEIGHTS.search(negative):
        notes.append("NovelAI's weights, as in {words}, [words] or 1.2::words::, are none here.")
    return values.foreign_recipe(
        "NovelAI",
        prompt=prompt,
        negative=negative,
        seed=told.get("seed"),
        steps=told.get("steps"),
        guidance=told.get("scale"),
        sampler=told.get("sampler"),
        schedule=told.get("noise_schedule"),
        pixels=pixels or values.size([found.width, found.height]),
        model=values.text(around.get("Source")),
        notes=notes,
    )


def _characters(told: object) -> int:
    """How many characters of a version 4 prompt have words of their own."""
    caption = told.get("caption") if isinstance(told, dict) else None
    listed = caption.get("char_captions") if isinstance(caption, dict) else None
    return len(listed) if isinstance(listed, list) else 0
