"""SwarmUI (StableSwarmUI): JSON with `sui_image_params`, whatever text it lies in.

Parameter names as in its src/Text2Image/T2IParamTypes.cs: words without spaces. Older versions
name the sampler by backend: `comfyuisampler`, `autowebuisampler`. `sui_models` has hashes of the
tensors alone, behind "0x".
"""

from collections.abc import Mapping

from sdgen.metadata.readers import values
from sdgen.metadata.readers.found import Found, made_by
from sdgen.metadata.recipe import Recipe, RecipeAdapter

_READ = (
    *("prompt", "negativeprompt", "model", "seed", "steps", "cfgscale", "width", "height"),
    *("sampler", "scheduler", "comfyuisampler", "comfyuischeduler", "autowebuisampler"),
    *("loras", "loraweights", "loratencweights", "clipstopatlayer", "swarm_version"),
    *("aspectratio", "images", "sidelength"),
)


def read(found: Found) -> Recipe | None:
    """The recipe, or None where there is no such JSON. Raises PictureUnreadable."""
    told = next((each for each in found.objects.values() if "sui_image_params" in each), None)
    if told is None:
        return None
    asked = told["sui_image_params"]
    if not isinstance(asked, dict):
        raise made_by("SwarmUI", "but its settings are not where that program writes them")
    stop = values.number(asked.get("clipstopatlayer"))
    version = values.text(asked.get("swarm_version"))
    return values.foreign_recipe(
        f"SwarmUI {version}".strip(),
        prompt=asked.get("prompt"),
        negative=asked.get("negativeprompt"),
        seed=asked.get("seed"),
        steps=asked.get("steps"),
        guidance=asked.get("cfgscale"),
        sampler=asked.get("sampler")
        or asked.get("comfyuisampler")
        or asked.get("autowebuisampler"),
        schedule=asked.get("scheduler") or asked.get("comfyuischeduler"),
        pixels=values.size([asked.get("width"), asked.get("height")]),
        clip_skip=int(-stop) - 1 if stop is not None and -13 < stop < 0 else 0,
        model=values.file_name(asked.get("model")),
        adapters=_adapters(asked, told),
        notes=values.unread(values.said(asked, _READ)),
    )


def _adapters(
    asked: Mapping[str, object], told: Mapping[str, object]
) -> list[RecipeAdapter | None]:
    names = _listed(asked.get("loras"))
    scales, of_text = _listed(asked.get("loraweights")), _listed(asked.get("loratencweights"))
    models = told.get("sui_models")
    hashes = {
        values.file_name(each.get("name")): each.get("hash")
        for each in (models if isinstance(models, list) else [])[:100]
        if isinstance(each, dict)
    }
    return [
        values.adapter(
            name,
            scales[index] if index < len(scales) else 1.0,
            of_text[index] if index < len(of_text) else None,
            hashes.get(values.file_name(name), ""),
        )
        for index, name in enumerate(names[:100])
    ]


def _listed(value: object) -> list[object]:
    """A list, also one that is written as text with commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value if isinstance(value, list) else []
