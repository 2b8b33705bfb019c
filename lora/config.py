"""The recipe of a training run: one frozen value for command line, page and notebook.

    recipe = TrainingRecipe.checked(name="my-cat", base="sd15", photos="photos/", trigger="my cat")

A recipe as JSON (`python -m lora train recipe.json`) holds the same fields. What is left out comes
from the base's family (FAMILY_DEFAULTS), filled in by `completed`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdgen.errors import SdgenError
from sdgen.model_files import local_folder
from sdgen.models import FileSource, ModelSpec

Optimizer = Literal["adamw", "adamw8bit", "prodigy"]
Precision = Literal["auto", "float32", "float16", "bfloat16"]
Target = Literal["attention", "feed_forward", "convolutions"]
BaseFamily = Literal["sd1", "sd2", "sdxl", "picturebook"]


class InvalidRecipe(SdgenError):
    """A recipe cannot be used. `field` names what is wrong in it; "" for the file as a whole."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True)
class FamilyDefaults:
    """What a recipe for this family of base models has where it says nothing."""

    rank: int
    targets: tuple[Target, ...]
    learning_rate: float  # AdamW
    text_learning_rate: float
    batch_size: int
    exposures: int  # how often each photo is seen
    most_steps: int  # bounds the steps that follow from the exposures
    min_snr_gamma: float  # arXiv 2303.09556; 0: off
    prior_weight: float  # only where there is a class word
    caption_dropout: float
    resolution: int  # pixels; side of a square of the photos' area


_STABLE_DIFFUSION = FamilyDefaults(
    rank=16,
    targets=("attention",),
    learning_rate=1e-4,
    text_learning_rate=2e-5,
    batch_size=4,
    exposures=80,
    most_steps=800,
    min_snr_gamma=5.0,
    prior_weight=0.0,
    caption_dropout=0.05,
    resolution=512,
)
FAMILY_DEFAULTS: Mapping[BaseFamily, FamilyDefaults] = {
    "sd1": _STABLE_DIFFUSION,
    "sd2": _STABLE_DIFFUSION,
    "sdxl": replace(_STABLE_DIFFUSION, batch_size=2, most_steps=1600, resolution=1024),
    "picturebook": FamilyDefaults(
        rank=8,
        targets=("attention", "feed_forward", "convolutions"),
        learning_rate=3e-3,
        text_learning_rate=5e-4,
        batch_size=4,
        exposures=40,
        most_steps=400,
        min_snr_gamma=0.0,
        prior_weight=2.0,
        caption_dropout=0.0,
        resolution=256,
    ),
}
DISTILLED_STEPS = 4  # models that draw in so few steps cannot be trained on as usual
PRODIGY_RATE = 1.0  # Prodigy finds the size of its steps itself; arXiv 2306.06101


class TrainingRecipe(BaseModel):
    """What to train, on what, and how. alpha is always equal to the rank."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    # What
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")]  # of the adapter
    base: Annotated[str, Field(min_length=1)]  # a model of sdgen.models
    photos: str  # folder or zip
    trigger: Annotated[str, Field(min_length=1, max_length=80)]
    class_word: Annotated[str, Field(max_length=80)] = ""  # "man", "dog"; for drift and prior

    # The adapter
    rank: Annotated[int, Field(ge=1, le=256)] | None = None  # = alpha
    targets: Annotated[tuple[Target, ...], Field(min_length=1)] | None = None
    text_encoder: bool = False  # train a LoRA in the text encoder(s) too
    text_encoder_share: Annotated[float, Field(gt=0, le=1)] = 0.4  # of the steps, then it rests

    # The run
    steps: Annotated[int, Field(ge=1, le=100_000)] | None = None  # None: from `exposures`
    exposures: Annotated[int, Field(ge=1, le=10_000)] | None = None  # how often each photo is seen
    batch_size: Annotated[int, Field(ge=1, le=64)] | None = None  # on one device
    accumulation: Annotated[int, Field(ge=1, le=64)] = 1
    optimizer: Optimizer = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None  # prodigy: 1.0
    text_learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-2
    warm_up: Annotated[float, Field(ge=0, le=0.5)] = 0.05  # share of the steps; then a cosine
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # decay of the weights' average; 0: none
    precision: Precision = "auto"
    gradient_checkpointing: bool = False  # the pre-flight may switch it on
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    # The loss
    min_snr_gamma: Annotated[float, Field(ge=0, le=100)] | None = None  # 0: off
    noise_offset: Annotated[float, Field(ge=0, le=1)] = 0.0
    prior_weight: Annotated[float, Field(ge=0, le=10)] | None = None  # 0: off
    caption_dropout: Annotated[float, Field(ge=0, le=1)] | None = None

    # The photos
    resolution: Annotated[int, Field(ge=64, le=2048, multiple_of=8)] | None = None  # of the area
    buckets: bool = True  # sides may differ, the area stays; False: squares
    held_out: Annotated[int, Field(ge=0, le=8)] | None = None  # None: 2 to 4 of 12 or more

    # Looking at it
    save_every: Annotated[int, Field(ge=1)] | None = None  # steps; None: a tenth of all
    samples: tuple[str, ...] | None = None  # prompts; None: made from trigger and class word
    sample_seed: Annotated[int, Field(ge=0, lt=2**31)] = 1234

    @classmethod
    def checked(cls, **fields: object) -> Self:
        """A recipe from fields. Raises InvalidRecipe with a sentence on the first wrong one."""
        return cls._checked(json.dumps({k: v for k, v in fields.items() if v is not None}))

    @classmethod
    def read(cls, path: Path) -> Self:
        """A recipe from a JSON file; photos named relative to the file's folder are found there.

        Raises InvalidRecipe: no such file, no JSON, a wrong field.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRecipe("", f"The recipe {path.name} cannot be read.") from error
        recipe = cls._checked(text)
        photos = Path(recipe.photos).expanduser()
        if not photos.is_absolute() and (path.parent / photos).exists():
            return recipe.with_fields(photos=str((path.parent / photos).resolve()))
        return recipe

    @classmethod
    def _checked(cls, text: str) -> Self:
        try:
            recipe = cls.model_validate_json(text)
        except ValidationError as error:
            raise _explained(error) from error
        rates = {recipe.learning_rate or PRODIGY_RATE, recipe.text_learning_rate or PRODIGY_RATE}
        if recipe.optimizer == "prodigy" and recipe.text_encoder and len(rates) > 1:
            raise InvalidRecipe(
                "text_learning_rate",
                "Prodigy finds the rate for all parts itself: leave text_learning_rate out, or "
                "make it equal to learning_rate.",
            )
        if recipe.prior_weight and not recipe.class_word.strip():
            raise InvalidRecipe(
                "class_word",
                "prior_weight needs a class_word: the prior is what the base draws for it.",
            )
        return recipe

    def with_fields(self, **fields: object) -> Self:
        """The same with other values, checked again. Raises InvalidRecipe."""
        return type(self).checked(**{**self.model_dump(mode="json"), **fields})

    def to_json(self) -> str:
        """The recipe as a file holds it."""
        return self.model_dump_json(indent=1) + "\n"


class CompleteRecipe(TrainingRecipe):
    """A recipe without open places. Only `held_out` may stay open: the photos decide."""

    rank: Annotated[int, Field(ge=1, le=256)]
    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    steps: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=64)]
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    text_learning_rate: Annotated[float, Field(gt=0, le=10)]
    min_snr_gamma: Annotated[float, Field(ge=0, le=100)]
    prior_weight: Annotated[float, Field(ge=0, le=10)]
    caption_dropout: Annotated[float, Field(ge=0, le=1)]
    resolution: Annotated[int, Field(ge=64, le=2048, multiple_of=8)]
    save_every: Annotated[int, Field(ge=1)]
    samples: tuple[str, ...]


def completed(recipe: TrainingRecipe, family: BaseFamily, photo_count: int) -> CompleteRecipe:
    """The recipe with the family's defaults in all places left open.

    photo_count: photos to train on, without those held out. Completing twice changes nothing.
    """
    defaults = FAMILY_DEFAULTS[family]
    fields: dict[str, Any] = recipe.model_dump(mode="json")
    for name, value in asdict(defaults).items():
        if name in fields and fields[name] is None:
            fields[name] = list(value) if isinstance(value, tuple) else value
    if recipe.optimizer == "prodigy":
        fields["learning_rate"] = recipe.learning_rate or PRODIGY_RATE
        fields["text_learning_rate"] = fields["learning_rate"]  # it has one rate for all
    if recipe.prior_weight is None and not recipe.class_word.strip():
        fields["prior_weight"] = 0.0
    if recipe.steps is None:
        a_step = fields["batch_size"] * recipe.accumulation
        fields["steps"] = min(
            math.ceil(fields["exposures"] * max(photo_count, 1) / a_step), defaults.most_steps
        )
    if recipe.save_every is None:
        fields["save_every"] = max(1, math.ceil(fields["steps"] / 10))
    if recipe.samples is None:
        fields["samples"] = list(sample_prompts(recipe.trigger, recipe.class_word))
    return CompleteRecipe.checked(**fields)


def sample_prompts(trigger: str, class_word: str) -> tuple[str, ...]:
    """What is drawn to look at a run: with the trigger twice, and the class alone."""
    prompts = (trigger, f"{trigger} in a garden")
    return (*prompts, class_word) if class_word.strip() else prompts


def family_of(spec: ModelSpec, hub_cache: Path | None = None) -> BaseFamily:
    """The family of a base model, from its settings on this machine.

    Raises DownloadNeeded or ModelUnavailable where it is not here, InvalidRecipe where it is of a
    kind that cannot be trained.
    """
    folder = local_folder(replace(spec, safety_checker=False), hub_cache)
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        unet = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        index, unet = {}, {}
    pipeline = str(index.get("_class_name", ""))
    if pipeline.startswith("StableDiffusionXL"):
        return "sdxl"
    if not pipeline.startswith("StableDiffusionPipeline"):
        raise InvalidRecipe(
            "base",
            f"Adapters are trained on Stable Diffusion 1.x, 2.x and XL; '{spec.title}' is another "
            "kind of model.",
        )
    if spec.steps <= DISTILLED_STEPS:
        raise InvalidRecipe(
            "base",
            f"'{spec.title}' is distilled for few steps; an adapter trained on it comes out "
            "blurred. Train on the model it was made from: the adapter fits both.",
        )
    if spec.words is not None and not isinstance(spec.source, FileSource):
        return "picturebook"
    return "sd2" if unet.get("cross_attention_dim") == 1024 else "sd1"


def default_runs_folder(data_dir: Path) -> Path:
    """Where runs are kept: data_dir/training."""
    return data_dir / "training"


_NOT_EMPTY = "must not be empty"
_KINDS = {
    "missing": "is missing",
    "extra_forbidden": "is no field of a recipe",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "finite_number": "must be a finite number",
}


def _explained(error: ValidationError) -> InvalidRecipe:
    """The first of pydantic's findings as a sentence that names the field and its limit."""
    first = error.errors(include_url=False)[0]
    kind, about = first["type"], first.get("ctx", {})
    if kind == "json_invalid":
        return InvalidRecipe("", f"The recipe is no JSON: {about.get('error', 'unreadable')}.")
    place = [part for part in first["loc"] if isinstance(part, str)]
    field = place[0] if place else ""
    if kind in _KINDS:
        says = _KINDS[kind]
    elif kind == "greater_than_equal":
        says = f"must be at least {about['ge']}, not {first['input']}"
    elif kind == "greater_than":
        says = f"must be more than {about['gt']}, not {first['input']}"
    elif kind == "less_than_equal":
        says = f"must be at most {about['le']}, not {first['input']}"
    elif kind == "less_than":
        says = f"must be less than {about['lt']}, not {first['input']}"
    elif kind == "multiple_of":
        says = f"must be a multiple of {about['multiple_of']}, not {first['input']}"
    elif kind == "string_too_long":
        says = f"must have at most {about['max_length']} characters"
    elif kind in ("string_too_short", "too_short"):
        says = _NOT_EMPTY
    elif kind == "literal_error":
        says = f"must be {about['expected']}, not {first['input']!r}"
    elif kind == "string_pattern_mismatch":
        says = (
            "must begin with a letter or digit and have only letters, digits, spaces, '.', '_' "
            "and '-', at most 80 characters"
        )
    else:
        says = f"cannot be used ({first['msg']})"
    return InvalidRecipe(field, f"The recipe's {field or 'content'} {says}.")
