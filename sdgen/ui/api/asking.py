"""From what a program sent to the orders that it asks for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from sdgen import several
from sdgen.errors import InvalidRequest
from sdgen.grid import cells, grid_from_texts
from sdgen.metadata import Enhancement
from sdgen.request import ADAPTERS_MAX, PROMPT_CHARS
from sdgen.studio import Order, Studio, enhancement_of
from sdgen.ui.api.checks import helper, names_of, text_of

TAG_CHARS = 350  # of the tag of one adapter, which does not count as the prompt's
TEXT_CHARS = PROMPT_CHARS + ADAPTERS_MAX * TAG_CHARS
MODEL_CHARS = 500


@dataclass(frozen=True)
class Asked:
    """What a program asks for, by the endpoint's parameters; any value may be any JSON."""

    prompt: object
    negative_prompt: object = ""
    model: object = None
    seed: object = None
    steps: object = None
    guidance_scale: object = None
    width: object = None
    height: object = None
    num_images: object = 1
    sampler: object = None
    exact: object = False
    enhance: object = "off"
    adapters: object = None
    leave_out_prompt: object = False
    several: object = False
    grid_x: object = None
    grid_y: object = None

    @classmethod
    def of(cls, given: Mapping[str, object]) -> "Asked":
        """Of an endpoint's arguments; those that are none of these are left out."""
        return cls(
            **{field.name: given[field.name] for field in fields(cls) if field.name in given}
        )


def orders(studio: Studio, asked: Asked, limit: int, payer: str) -> Iterator[Order]:
    """What is asked for, checked. limit: how many orders at most. payer: whom the limits
    of enhancing count for.

    Raises InvalidRequest, ModelUnavailable and AdapterUnavailable.
    """
    grid = grid_from_texts(asked.grid_x, asked.grid_y)
    model = None if asked.model is None else text_of(asked.model, "model", MODEL_CHARS)
    negative = asked.negative_prompt
    if negative is not None:
        negative = text_of(negative, "negative_prompt", PROMPT_CHARS)
    for prompt in _prompts(asked, limit):
        text, enhancement = _enhanced(studio, asked, prompt, model, payer)
        request = studio.request(
            model=model,
            prompt=text,
            negative_prompt=negative,
            seed=asked.seed,
            steps=asked.steps,
            guidance_scale=asked.guidance_scale,
            width=asked.width,
            height=asked.height,
            num_images=asked.num_images,
            sampler=asked.sampler,
            exact=asked.exact,
            adapters=asked.adapters,
            leave_out_prompt=asked.leave_out_prompt,
        )
        if grid is not None:
            if request.num_images != 1:
                raise InvalidRequest(
                    "num_images", "Number of images must be 1 in a grid: each cell is one picture."
                )
            cells(request, grid)  # raises, if a value of an axis cannot be
        yield Order(request, enhancement, grid=grid)


def _prompts(asked: Asked, limit: int) -> tuple[str, ...]:
    if not isinstance(asked.several, bool):
        raise InvalidRequest("several", "Several must be true or false.")
    if not asked.several:
        return (text_of(asked.prompt, "prompt", TEXT_CHARS, PROMPT_CHARS),)
    if asked.enhance != "off":
        raise InvalidRequest("enhance", "Enhance is for one prompt; with several it must be off.")
    return several.expand(text_of(asked.prompt, "prompt", several.TEXT_CHARS), limit)


def _enhanced(
    studio: Studio, asked: Asked, prompt: str, model: str | None, payer: str
) -> tuple[str, Enhancement | None]:
    if asked.enhance == "off":
        return prompt, None
    draft = studio.enhance(
        prompt,
        model,
        helper(asked.enhance, "enhance", "off or "),
        adapters=names_of(asked.adapters),
        payer=payer,
    )
    return draft.text, enhancement_of(draft, draft.text)
