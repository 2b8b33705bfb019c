"""What the studio does to verify a picture: read its recipe, draw that again, exactly, compare.

Of the file only the recipe and the size are looked at before the drawing: a picture that waits for
its turn costs no memory, and one that could never be the recipe's costs no drawing.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sdgen.errors import (
    AdapterUnavailable,
    GenerationFailed,
    InvalidRequest,
    ModelUnavailable,
    PictureUnreadable,
)
from sdgen.job import Failed, GeneratedImage, ImageReady, Job, Stopped
from sdgen.metadata import (
    KnownAdapter,
    Recipe,
    find_adapter,
    missing_adapter,
    picture_size,
    read_picture,
    read_recipe,
)
from sdgen.request import PIXELS_MAX, GenerateRequest
from sdgen.verify import Verification, compare, differences

# What keeps a recipe from being drawn here; told as an answer.
NOT_HERE = (InvalidRequest, ModelUnavailable, AdapterUnavailable)
STOPPED = "Stopped before the picture was drawn again."
_NEEDED = ("prompt", "seed", "steps", "guidance_scale", "sampler", "width", "height", "model")
_OTHERS_NOISE = "another program drew it, whose noise comes from elsewhere"


@dataclass(frozen=True)
class Redrawing:
    """A picture whose recipe can be drawn here. differs: what is known to differ before that."""

    path: Path
    recipe: Recipe
    request: GenerateRequest
    differs: tuple[str, ...] = ()

    def compared(self, again: GeneratedImage) -> Verification:
        """How the file and the same recipe, drawn again, compare. Raises PictureUnreadable."""
        if picture_size(self.path) != again.image.size:
            raise PictureUnreadable("The picture was changed while it was being drawn again.")
        saved, recipe = read_picture(self.path)
        differs = (*self.differs, *differences(recipe, again.info))
        if not recipe.ours:
            differs = (*differs, _OTHERS_NOISE)
        return compare(saved, again.image, recipe, differs)


def redrawing(
    path: Path,
    here: Iterable[KnownAdapter],
    request: Callable[..., GenerateRequest],
    prepare: Callable[[GenerateRequest], object],
) -> Redrawing | Verification:
    """What has to be drawn to verify a picture file, or the answer, where nothing has to be.

    here: the adapters on this machine. request: makes a checked request of fields. prepare: raises
    what keeps it from being drawn. No pixel is decoded of a picture that is larger than any that
    is drawn. Raises PictureUnreadable.
    """
    size = picture_size(path)
    if size[0] * size[1] > PIXELS_MAX:
        return impossible(f"it has {_said(size)} pixels; at most {PIXELS_MAX:,} are drawn at once.")
    recipe = read_recipe(path)
    if recipe.prompt_left_out:
        return impossible("its prompt was left out of the file.")
    if recipe.grid:
        return impossible("it is a sheet, which is drawn as a grid and not as one picture.")
    silent = [name for name in _NEEDED if getattr(recipe, name) in (None, "")]
    if silent:
        named = silent[0].replace("_", " ")
        return impossible(f"its recipe does not say its {named}.")
    known = [(adapter, find_adapter(adapter, tuple(here))) for adapter in recipe.adapters]
    for adapter, found in known:
        if found is None:
            return impossible(missing_adapter(adapter))
    uses: list[dict[str, object]] = [
        {"name": found.name, "scale": adapter.scale, "text_scale": adapter.text_scale}
        for adapter, found in known
        if found
    ]
    differs = tuple(
        f"the adapter “{adapter.name}” is another file"
        for adapter, found in known
        if found and recipe.ours and adapter.sha256 not in ("", found.sha256)
    )
    try:
        asked = _request(recipe, uses, request)
        prepare(asked)
    except NOT_HERE as error:
        return impossible(str(error))
    drawn = asked.width, asked.height
    if size != drawn:
        sentence = f"Different: the file has {_said(size)} pixels, its recipe draws {_said(drawn)}."
        return Verification("different", sentence)
    return Redrawing(path, recipe, asked, differs)


def drawn_again(job: Job, heartbeat: float) -> Iterator[GeneratedImage | None]:
    """The job's picture at last; before it None, at least every `heartbeat` seconds.

    Closing the generator stops the job. Raises the job's error, and GenerationFailed where it was
    stopped.
    """
    made: GeneratedImage | None = None
    told_at = time.monotonic()
    try:
        for event in job.events(heartbeat):
            made = picture_of(event, made)
            if time.monotonic() - told_at >= heartbeat:
                told_at = time.monotonic()
                yield None
    finally:
        if job.end is None:
            job.cancel()
    yield made


def picture_of(event: object, made: GeneratedImage | None) -> GeneratedImage | None:
    """The job's picture as far as its events tell. Raises as drawn_again."""
    match event:
        case ImageReady(image):
            return image
        case Failed(error):
            raise error
        case Stopped() if made is None:
            raise GenerationFailed(STOPPED)
        case _:
            return made


def impossible(reason: str) -> Verification:
    """The answer where a recipe cannot be drawn here."""
    return Verification("impossible", f"Cannot be made here: {reason}")


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


def _said(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
