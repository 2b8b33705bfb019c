"""Fooocus: JSON in `parameters` or an EXIF comment; Fooocus-MRE and RuinedFooocus beside it.

Names as in its modules/meta_parser.py, and the labels ("Base Model") that older logs have in their
place. `prompt` is what the person wrote; the styles that were added to it are named. Its other
scheme is A1111's text (see a1111.py).
"""

import re
from collections.abc import Mapping

from sdgen.metadata.readers import values
from sdgen.metadata.readers.found import Found
from sdgen.metadata.recipe import Recipe, RecipeAdapter

_LABELS = {
    "prompt": ("prompt", "Prompt"),
    "negative_prompt": ("negative_prompt", "Negative Prompt", "Negative", "real_negative_prompt"),
    "seed": ("seed", "Seed"),
    "steps": ("steps", "Steps"),
    "guidance_scale": ("guidance_scale", "Guidance Scale", "cfg"),
    "sampler": ("sampler", "Sampler", "sampler_name"),
    "scheduler": ("scheduler", "Scheduler"),
    "resolution": ("resolution", "Resolution"),
    "base_model": ("base_model", "Base Model", "base_model_name"),
    "base_model_hash": ("base_model_hash",),
    "clip_skip": ("clip_skip", "CLIP Skip"),
    "version": ("version", "Version", "software"),
}
_READ = (
    *(label for labels in _LABELS.values() for label in labels),
    *("width", "height", "loras", "metadata_scheme", "full_prompt", "full_negative_prompt"),
    *("refiner_switch", "vae", "image_number"),
)
_COMBINED = re.compile(r"(?:lora_combined_|LoRA )\d{1,2}|LoRA \[.{1,200}\] weight")


def read(found: Found) -> Recipe | None:
    """The recipe, or None where there is no such JSON."""
    for told in found.objects.values():
        if _is_fooocus(told):
            return _recipe(told)
    return None


def _is_fooocus(told: Mapping[str, object]) -> bool:
    if told.get("metadata_scheme") == "fooocus":
        return True
    software = values.text(told.get("software")) + values.text(told.get("version"))
    if "fooocus" in software.lower():
        return True
    model = "base_model" in told or "Base Model" in told or "base_model_name" in told
    return model and ("prompt" in told or "Prompt" in told)


def _recipe(told: Mapping[str, object]) -> Recipe:
    def of(name: str) -> object:
        return next((told[label] for label in _LABELS[name] if label in told), None)

    version = values.text(of("version"))
    skip = values.whole(of("clip_skip")) or 1
    others = [name for name in values.said(told, _READ) if not _COMBINED.fullmatch(name)]
    return values.foreign_recipe(
        version if "fooocus" in version.lower() else f"Fooocus {version}".strip(),
        prompt=of("prompt"),
        negative=of("negative_prompt"),
        seed=of("seed"),
        steps=of("steps"),
        guidance=of("guidance_scale"),
        sampler=of("sampler"),
        schedule=of("scheduler"),
        pixels=values.size(of("resolution"))
        or values.size([told.get("width"), told.get("height")]),
        clip_skip=skip - 1,
        model=values.file_name(of("base_model")),
        model_hash=of("base_model_hash"),
        adapters=_adapters(told),
        notes=values.unread(others),
    )


def _adapters(told: Mapping[str, object]) -> list[RecipeAdapter | None]:
    """Of `loras`, lists of name, strength and hash (RuinedFooocus: strength first), else of the
    lines "name : strength"."""
    found: dict[str, RecipeAdapter | None] = {}
    listed = told.get("loras")
    for each in listed[:100] if isinstance(listed, list) else []:
        if not isinstance(each, list) or len(each) < 2:
            continue
        name, scale = each[0], each[1]
        if values.number(name) is not None and values.number(scale) is None:
            name, scale = scale, name
        made = values.adapter(name, scale, sha256=each[2] if len(each) > 2 else "")
        if made:
            found[made.name] = made
    for label, value in told.items():
        if _COMBINED.fullmatch(label) and isinstance(value, str) and " : " in value:
            enabled, _, rest = value.rpartition(" : ")[0].rpartition(" : ")
            if enabled.strip() == "False":
                continue
            made = values.adapter(rest, value.rpartition(" : ")[2])
            if made:
                found.setdefault(made.name, made)
    return list(found.values())
