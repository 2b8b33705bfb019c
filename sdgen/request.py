"""What is asked: one frozen value, checked once for every door (page, command line, API)."""

import secrets
from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from sdgen.errors import InvalidRequest

Sampler = Literal["euler", "euler_a", "ddim", "dpmpp_2m", "dpmpp_2m_karras", "unipc", "lcm"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)

PROMPT_CHARS = 10_000  # characters, each prompt
SIDE_MIN, SIDE_MAX = 64, 2048  # pixels
SIDE_MULTIPLE = 8  # pixels
PIXELS_MAX = 1536 * 1536  # pixels of one picture
STEPS_MAX = 150
GUIDANCE_MAX = 30.0
IMAGES_MAX = 16
SEED_MAX = 2**64 - 1  # as ComfyUI and torch take them
NOISE_SEEDS = 2**32  # how many seeds torch's generator on the CPU (mt19937) tells apart
ADAPTERS_MAX = 8  # LoRA adapters of one request
SCALE_MAX = 10.0  # an adapter's strength lies between minus and plus that


class AdapterUse(BaseModel):
    """One LoRA adapter of a request.

    name: of the catalogue (sdgen.adapters), as the page and `sdgen adapters` list it.
    scale: strength in the denoiser; 0 is off. text_scale: in the text encoder; None: as scale.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, max_length=300)]
    scale: Annotated[float, Field(ge=-SCALE_MAX, le=SCALE_MAX)] = 1.0
    text_scale: Annotated[float, Field(ge=-SCALE_MAX, le=SCALE_MAX)] | None = None

    @property
    def text_strength(self) -> float:
        """Strength in the text encoder."""
        return self.scale if self.text_scale is None else self.text_scale


class GenerateRequest(BaseModel):
    """A request for pictures. Image i of it equals the one image of a request with seed + i.

    Build it with `GenerateRequest.checked(...)`, which raises InvalidRequest with one clear
    sentence; the plain constructor raises pydantic's own error.

    prompt, negative_prompt: text; notation as in sdgen.pipelines.prompts and prompt_editing.
    model: a name of the table in sdgen.models, a Hub id, a folder or a .safetensors file.
    width, height: pixels, multiples of 8. steps: denoising steps. guidance_scale: 1.0 is off.
    seed: 0 to 2**64 - 1; the noise takes its lower 32 bits (`noise_seed`). num_images: how many.
    sampler: see sdgen.pipelines.noise_schedulers.
    clip_skip: layers of the text encoder left out at its end (0 = none).
    exact: run alone with a fixed row count, so that it repeats bit for bit.
    adapters: LoRA adapters and their strengths, at most 8, each once.
    leave_out_prompt: the picture's file gets no prompt, only the rest of its recipe.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    prompt: Annotated[str, Field(max_length=PROMPT_CHARS)]
    negative_prompt: Annotated[str, Field(max_length=PROMPT_CHARS)] = ""
    model: Annotated[str, Field(min_length=1, max_length=500)]
    width: Annotated[int, Field(ge=SIDE_MIN, le=SIDE_MAX, multiple_of=SIDE_MULTIPLE)]
    height: Annotated[int, Field(ge=SIDE_MIN, le=SIDE_MAX, multiple_of=SIDE_MULTIPLE)]
    steps: Annotated[int, Field(ge=1, le=STEPS_MAX)]
    guidance_scale: Annotated[float, Field(ge=0.0, le=GUIDANCE_MAX)]
    seed: Annotated[int, Field(ge=0, le=SEED_MAX)]
    num_images: Annotated[int, Field(ge=1, le=IMAGES_MAX)] = 1
    sampler: Sampler
    clip_skip: Annotated[int, Field(ge=0, le=4)] = 0
    exact: bool = False
    adapters: Annotated[tuple[AdapterUse, ...], Field(max_length=ADAPTERS_MAX)] = ()
    leave_out_prompt: bool = False

    @field_validator("adapters", mode="before")
    @classmethod
    def _uses(cls, given: object) -> object:
        """Lists and mappings, as JSON has them, become uses."""
        if not isinstance(given, list | tuple):
            raise ValueError('must be a list like [{"name": "minnal-murali", "scale": 0.8}]')
        return tuple(_use(entry) for entry in given)

    @field_validator("adapters")
    @classmethod
    def _each_once(cls, adapters: tuple[AdapterUse, ...]) -> tuple[AdapterUse, ...]:
        names = [use.name for use in adapters]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"name '{name}' twice; give one strength")
        return adapters

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _plain_text(cls, text: str) -> str:
        if "\x00" in text:
            raise ValueError("holds a NUL character")
        return text

    @field_validator("prompt")
    @classmethod
    def _not_empty(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is empty; describe the picture you want")
        return text

    @model_validator(mode="after")
    def _bounds_together(self) -> Self:
        if self.width * self.height > PIXELS_MAX:
            raise ValueError(
                f"width x height is {self.width}x{self.height}; at most {PIXELS_MAX:,} pixels fit"
            )
        if self.seed + self.num_images - 1 > SEED_MAX:
            raise ValueError(f"seed + number of images passes {SEED_MAX}; image i uses seed + i")
        return self

    @classmethod
    def checked(cls, **fields: object) -> "GenerateRequest":
        """The request, or InvalidRequest naming the first wrong field and its limit."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise _sentence(error) from error


def noise_seed(seed: int) -> int:
    """The seed below 2**32 with the same noise: torch's generator on the CPU takes 32 bits."""
    return seed % NOISE_SEEDS


def folded_seed_note(seed: int, num_images: int = 1) -> str:
    """What is to be said of seeds beyond 32 bits; "" where there are none."""
    last = seed + num_images - 1
    if last < NOISE_SEEDS:
        return ""
    first = max(seed, NOISE_SEEDS)
    return (
        f"Seed {first} has more than 32 bits, of which the noise takes the lower ones: it draws "
        f"the same as seed {noise_seed(first)}."
    )


def random_seed() -> int:
    """A seed nobody chose. Kept below 2**31 so that every tool of the field accepts it."""
    return secrets.randbelow(2**31)


def _use(given: object) -> object:
    """One adapter of a list. Raises pydantic's custom error with a whole sentence."""
    if not isinstance(given, Mapping):
        return given  # an AdapterUse, or something that pydantic refuses
    try:
        return AdapterUse.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        label = _ADAPTER_LABELS.get(field, f"Adapter {field}")
        raise PydanticCustomError(
            "adapter", "{sentence}", {"sentence": f"{label} {_complaint(first)}."}
        ) from error


_ADAPTER_LABELS = {
    "name": "Adapter name",
    "scale": "Adapter strength",
    "text_scale": "Adapter strength in the text encoder",
}


def _sentence(error: ValidationError) -> InvalidRequest:
    """The first of pydantic's complaints as one sentence of ours."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = first["loc"]
    field = ".".join(str(part) for part in place) or "request"
    if first["type"] == "adapter":
        return InvalidRequest("adapters", str(first["ctx"]["sentence"]))
    if place[:1] == ("adapters",) and len(place) > 1:
        return InvalidRequest("adapters", "Each adapter must be an object with a name.")
    label = "Number of images" if field == "num_images" else field.replace("_", " ").capitalize()
    text = _complaint(first)
    if field == "request":
        return InvalidRequest(field, f"{text[:1].upper()}{text[1:]}.")
    return InvalidRequest(field, f"{label} {text}.")


def _plain(limit: float) -> str:
    """A limit as people write it, whole numbers to the last digit."""
    return f"{limit:.10g}" if isinstance(limit, float) else str(limit)


def _complaint(first: ErrorDetails) -> str:
    """What is wrong with a field, in words that follow its name."""
    context = first.get("ctx", {})
    match first["type"]:
        case "greater_than_equal":
            return f"must be at least {_plain(context['ge'])}"
        case "less_than_equal":
            return f"must be at most {_plain(context['le'])}"
        case "multiple_of":
            return f"must be a multiple of {context['multiple_of']}"
        case "string_too_long":
            return f"is too long: at most {context['max_length']:,} characters"
        case "string_too_short":
            return "is empty"
        case "too_long":
            return f"must be at most {context['max_length']}"
        case "literal_error":
            return f"must be one of {context['expected']}"
        case "finite_number":
            return "must be a finite number"
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a field of a request"
        case "int_type" | "int_from_float":
            return "must be a whole number"
        case "float_type":
            return "must be a number"
        case "bool_type":
            return "must be true or false"
        case "string_type" | "string_unicode":
            return "must be text"
        case _:
            return str(context.get("error", first["msg"]))
