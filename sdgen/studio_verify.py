"""What the studio does to verify a picture: draw its recipe again, exactly, and compare."""

from collections.abc import Callable, Iterable
from pathlib import Path

from sdgen.errors import AdapterUnavailable, InvalidRequest, ModelUnavailable
from sdgen.job import GeneratedImage
from sdgen.metadata import KnownAdapter, Recipe, find_adapter, missing_adapter, read_picture
from sdgen.request import GenerateRequest
from sdgen.verify import Verification, compare, differences

_NEEDED = ("prompt", "seed", "steps", "guidance_scale", "sampler", "width", "height", "model")
_OTHERS_NOISE = "another program drew it, whose noise comes from elsewhere"


def verify_picture(
    path: Path,
    here: Iterable[KnownAdapter],
    request: Callable[..., GenerateRequest],
    draw: Callable[[GenerateRequest], GeneratedImage],
) -> Verification:
    """Draw the recipe inside a picture again and say how the two compare.

    here: the adapters on this machine. request: makes a checked request of fields. draw: draws its
    one picture. What keeps it from being drawn is an answer, "impossible". Raises
    PictureUnreadable, and what stops `draw` besides missing models and adapters.
    """
    saved, recipe = read_picture(path)
    if recipe.prompt_left_out:
        return _impossible("its prompt was left out of the file.")
    if recipe.grid:
        return _impossible("it is a sheet, which is drawn as a grid and not as one picture.")
    silent = [name for name in _NEEDED if getattr(recipe, name) in (None, "")]
    if silent:
        named = silent[0].replace("_", " ")
        return _impossible(f"its recipe does not say its {named}.")
    known = [(adapter, find_adapter(adapter, tuple(here))) for adapter in recipe.adapters]
    for adapter, found in known:
        if found is None:
            return _impossible(missing_adapter(adapter))
    uses: list[dict[str, object]] = [
        {"name": found.name, "scale": adapter.scale, "text_scale": adapter.text_scale}
        for adapter, found in known
        if found
    ]
    try:
        again = draw(_request(recipe, uses, request))
    except (InvalidRequest, ModelUnavailable, AdapterUnavailable) as error:
        return _impossible(str(error))
    differs = [
        f"the adapter “{adapter.name}” is another file"
        for adapter, found in known
        if found and recipe.ours and adapter.sha256 not in ("", found.sha256)
    ]
    differs += differences(recipe, again.info)
    if not recipe.ours:
        differs.append(_OTHERS_NOISE)
    return compare(saved, again.image, recipe, tuple(differs))


def _request(
    recipe: Recipe, uses: list[dict[str, object]], request: Callable[..., GenerateRequest]
) -> GenerateRequest:
    """The request of this one picture, alone. Raises InvalidRequest, ModelUnavailable."""
    return request(
        model=recipe.model,
        prompt=recipe.prompt,
        negative_prompt=recipe.negative_prompt,
        width=recipe.width,
        height=recipe.height,
        steps=recipe.steps,
        guidance_scale=recipe.guidance_scale,
        seed=recipe.seed,
        sampler=recipe.sampler,
        clip_skip=recipe.clip_skip,
        adapters=uses,
        exact=True,
    )


def _impossible(reason: str) -> Verification:
    return Verification("impossible", f"Cannot be made here: {reason}")
