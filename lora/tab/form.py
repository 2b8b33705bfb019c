"""What the training form holds, as plain values, and the recipe that they make."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lora.config import (
    FAMILY_DEFAULTS,
    BaseFamily,
    CompleteRecipe,
    InvalidRecipe,
    TrainingRecipe,
    completed,
    family_of,
)
from sdgen.config import Settings
from sdgen.errors import SdgenError
from sdgen.models import bundled_models, find_model
from sdgen.studio import ModelCard, Studio


class TrainForm(NamedTuple):
    """The form's values, in the order in which handlers take them. Settings are text; "" is left
    to the base's family."""

    name: str = ""
    trigger: str = ""
    class_word: str = ""
    base: str = ""
    steps: str = ""
    batch_size: str = ""
    learning_rate: str = ""
    rank: str = ""
    resolution: str = ""
    optimizer: str = "adamw"
    targets: tuple[str, ...] | list[str] = ()
    text_encoder: bool = False
    prior_weight: str = ""
    min_snr_gamma: str = ""
    caption_dropout: str = ""
    noise_offset: str = ""
    ema: str = ""
    accumulation: str = ""
    gradient_checkpointing: bool = False
    precision: str = "auto"
    save_every: str = ""
    held_out: str = ""
    samples: str = ""  # a prompt on each line
    seed: str = ""


FIELDS = TrainForm._fields
_WHOLE = ("steps", "batch_size", "rank", "resolution", "accumulation", "save_every", "held_out")
_NUMBERS: Mapping[str, Callable[[str], float | int]] = {
    **dict.fromkeys((*_WHOLE, "seed"), int),
    **dict.fromkeys(
        ("learning_rate", "prior_weight", "min_snr_gamma", "caption_dropout", "noise_offset"), float
    ),
    "ema": float,
}
TITLES: Mapping[str, str] = {
    "name": "Name",
    "trigger": "Trigger word",
    "class_word": "Class word",
    "base": "Base model",
    "photos": "Photos",
    "steps": "Steps",
    "batch_size": "Photos a step",
    "learning_rate": "Learning rate",
    "rank": "Rank",
    "resolution": "Resolution",
    "optimizer": "Optimizer",
    "targets": "Trained parts",
    "text_encoder": "Train the text encoder too",
    "prior_weight": "Prior preservation",
    "min_snr_gamma": "Min-SNR gamma",
    "caption_dropout": "Caption dropout",
    "noise_offset": "Noise offset",
    "ema": "Average of the weights (EMA)",
    "accumulation": "Gradient accumulation",
    "gradient_checkpointing": "Gradient checkpointing",
    "precision": "Precision",
    "save_every": "Checkpoint every",
    "held_out": "Photos held out",
    "samples": "Sample prompts",
    "seed": "Seed",
}


def recipe_of(form: TrainForm, photos: str) -> TrainingRecipe:
    """The recipe that a form asks for. Raises InvalidRecipe with a sentence that names the field
    as the form does."""
    fields: dict[str, object] = {"photos": photos}
    for field, value in form._asdict().items():
        if isinstance(value, str):
            value = value.strip()
        if value in (None, "", (), []):  # None: a box that was never touched
            continue
        fields[field] = _number(field, value) if field in _NUMBERS else value
    if "samples" in fields:
        lines = (line.strip() for line in form.samples.splitlines())
        fields["samples"] = [line for line in lines if line]
    for field in ("name", "trigger"):
        if field not in fields:
            raise InvalidRecipe(field, f"{TITLES[field]} is empty. {_WHY[field]}")
    try:
        return TrainingRecipe.checked(**fields)
    except InvalidRecipe as error:
        if error.field == "name":
            raise InvalidRecipe("name", f"{TITLES['name']}: {_WHY['name']}") from error
        title = TITLES.get(error.field, error.field)
        words = str(error).replace(f"The recipe's {error.field}", title)
        raise InvalidRecipe(error.field, words) from error


_WHY = {
    "name": "Give the adapter a name of letters, digits, spaces, dots and hyphens.",
    "trigger": "Choose a word or two that will stand for what is in the photos.",
}


def _number(field: str, value: object) -> float | int:
    try:
        return _NUMBERS[field](str(value).replace(",", "."))
    except ValueError:
        kind = "a whole number" if _NUMBERS[field] is int else "a number"
        raise InvalidRecipe(field, f"{TITLES[field]} must be {kind}, not “{value}”.") from None


class Bases:
    """The models of the studio that adapters can be trained on, under the names of recipes."""

    def __init__(self, studio: Studio, settings: Settings) -> None:
        self._studio = studio
        self._settings = settings

    def choices(self) -> list[tuple[str, str]]:
        """(what is shown, the recipe's base) of all that are on this machine."""
        found = []
        for card in self._studio.models():
            if not card.local:
                continue
            base = self._base(card)
            try:
                family_of(find_model(base))
            except SdgenError:
                continue
            found.append((card.title, base))
        return found

    def family(self, base: str) -> BaseFamily:
        """The family of a base. Raises ModelUnavailable and InvalidRecipe."""
        return family_of(find_model(base))

    def _base(self, card: ModelCard) -> str:
        """The configured model may be a path, which its public name does not tell."""
        return card.name if card.name in bundled_models() else self._settings.model


def effective(form: TrainForm, family: BaseFamily, photo_count: int) -> CompleteRecipe:
    """The whole recipe, with the family's defaults. Raises InvalidRecipe."""
    named = form._replace(name="adapter", trigger=form.trigger or "trigger")
    return completed(recipe_of(named, "photos"), family, photo_count)


def usual(family: BaseFamily) -> dict[str, str]:
    """What the family does where a setting is left open, for the boxes' placeholders."""
    defaults = FAMILY_DEFAULTS[family]
    return {
        "steps": f"each photo {defaults.exposures} times, at most {defaults.most_steps} steps",
        "batch_size": str(defaults.batch_size),
        "learning_rate": f"{defaults.learning_rate:g}",
        "rank": str(defaults.rank),
        "resolution": str(defaults.resolution),
        "prior_weight": f"{defaults.prior_weight:g}",
        "min_snr_gamma": f"{defaults.min_snr_gamma:g}",
        "caption_dropout": f"{defaults.caption_dropout:g}",
        "noise_offset": "0",
        "ema": "0",
        "accumulation": "1",
        "save_every": "a tenth of all steps",
        "held_out": "2 to 4 of 12 or more",
        "seed": "0",
    }
