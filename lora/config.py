"""The recipe of a training run: one frozen value for command line, page and notebook.

    recipe = TrainingRecipe.checked(name="my-cat", base="sd15", photos="photos/", trigger="my cat")

A recipe as JSON (`python -m lora train recipe.json`) holds the same fields. What is left out comes
from the base's family (FAMILY_DEFAULTS), filled in by `completed`.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Optimizer = Literal["adamw", "adamw8bit", "prodigy"]
Precision = Literal["auto", "float32", "float16", "bfloat16"]
Target = Literal["attention", "feed_forward", "convolutions"]
BaseFamily = Literal["sd1", "sd2", "sdxl", "picturebook"]


class TrainingRecipe(BaseModel):
    """What to train, on what, and how. alpha is always equal to the rank (training.md, 0.4)."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    # What
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")]  # of the adapter
    base: Annotated[str, Field(min_length=1)]  # a model of sdgen.models
    photos: str  # folder or zip
    trigger: Annotated[str, Field(min_length=1, max_length=80)]
    class_word: Annotated[str, Field(max_length=80)] = ""  # "man", "dog"; for drift and prior

    # The adapter
    rank: Annotated[int, Field(ge=1, le=256)] | None = None  # = alpha
    targets: tuple[Target, ...] | None = None
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


def default_runs_folder(data_dir: Path) -> Path:
    """Where runs are kept: data_dir/training."""
    return data_dir / "training"
