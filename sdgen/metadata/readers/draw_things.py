"""Draw Things: JSON in XMP's exif:UserComment; `c` is the prompt and `uc` the negative one."""

from sdgen.metadata.readers import values
from sdgen.metadata.readers.found import Found
from sdgen.metadata.recipe import Recipe, RecipeAdapter

_READ = (
    *("c", "uc", "seed", "steps", "scale", "sampler", "size", "model", "lora"),
    *("seed_mode", "v2", "profile"),
)


def read(found: Found) -> Recipe | None:
    """The recipe, or None where there is no such JSON."""
    for told in found.objects.values():
        if isinstance(told.get("c"), str) and {"uc", "sampler", "steps"} & set(told):
            return values.foreign_recipe(
                "Draw Things",
                prompt=told["c"],
                negative=told.get("uc"),
                seed=told.get("seed"),
                steps=told.get("steps"),
                guidance=told.get("scale"),
                sampler=told.get("sampler"),
                pixels=values.size(told.get("size")),
                model=values.file_name(told.get("model")),
                adapters=_adapters(told.get("lora")),
                notes=values.unread(values.said(told, _READ)),
            )
    return None


def _adapters(listed: object) -> list[RecipeAdapter | None]:
    return [
        values.adapter(each.get("model") or each.get("file"), each.get("weight", 1.0))
        for each in (listed if isinstance(listed, list) else [])[:100]
        if isinstance(each, dict)
    ]
