"""JSON of a program that is not known, under the names that programs of the field share.

An API's request kept with the picture: A1111's (`cfg_scale`, `sampler_name`), diffusers' own
(`guidance_scale`, `num_inference_steps`), CivitAI's (`cfgScale`, `negativePrompt`).
"""

import re
from collections.abc import Mapping

from sdgen.metadata.readers import values
from sdgen.metadata.readers.found import Found
from sdgen.metadata.recipe import Recipe

_NAMES = {  # squeezed: lower case, letters only
    "prompt": ("prompt", "positiveprompt", "positive", "fullprompt"),
    "negative": ("negativeprompt", "negative", "uc"),
    "seed": ("seed", "noiseseed"),
    "steps": ("steps", "numinferencesteps", "samplingsteps"),
    "guidance": ("cfgscale", "guidancescale", "cfg", "scale", "guidance"),
    "sampler": ("sampler", "samplername", "samplingmethod"),
    "schedule": ("scheduler", "scheduletype", "noiseschedule"),
    "width": ("width",),
    "height": ("height",),
    "size": ("size", "resolution"),
    "model": ("model", "modelname", "basemodel", "sdmodelname", "sdmodelcheckpoint", "checkpoint"),
    "clip_skip": ("clipskip",),
}


def read(found: Found) -> Recipe | None:
    """The recipe, or None where no JSON has a prompt and numbers beside it."""
    for told in found.objects.values():
        recipe = recipe_of(told, "another program")
        if recipe is not None:
            return recipe
    return None


def recipe_of(told: Mapping[str, object], app: str) -> Recipe | None:
    """The recipe of one JSON object, or None where it holds none."""
    squeezed = {re.sub(r"[^a-z]", "", name.lower()): name for name in reversed(list(told)[:500])}

    def of(name: str) -> object:
        known = (squeezed[each] for each in _NAMES[name] if each in squeezed)
        return next((told[each] for each in known if told[each] is not None), None)

    if not isinstance(of("prompt"), str) or (of("seed") is None and of("steps") is None):
        return None
    taken = [squeezed[each] for names in _NAMES.values() for each in names if each in squeezed]
    return values.foreign_recipe(
        app,
        prompt=of("prompt"),
        negative=of("negative"),
        seed=of("seed"),
        steps=of("steps"),
        guidance=of("guidance"),
        sampler=of("sampler"),
        schedule=of("schedule"),
        pixels=values.size([of("width"), of("height")]) or values.size(of("size")),
        clip_skip=(values.whole(of("clip_skip")) or 1) - 1,
        model=values.file_name(of("model")),
        notes=values.unread(values.said(told, taken)),
    )
