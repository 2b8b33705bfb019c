"""The recipe inside an exported adapter: enough to train it again, nothing about whose photos.

Of photos only hashes of their pixels are kept, of a local base only its name and hash; captions
only where the owner asked for it. `recipe_from_file` is what "train again from this file" and
`python -m lora resume FILE` read.
"""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open

from lora.config import TrainingRecipe
from lora.evaluate.scores import ScoreSheet
from sdgen.errors import SdgenError
from sdgen.metadata import public_model_name
from sdgen.version import VERSION

RECIPE_KEY, TRIGGER_KEY, STRENGTH_KEY = "sdgen.recipe", "sdgen.trigger", "sdgen.strength"
_LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate")


class NoRecipe(SdgenError):
    """A file carries no training recipe of ours, or one that cannot be read."""


class TrainedRecipe(BaseModel):
    """What an exported file says of its making."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    format: Literal[1] = 1
    app: str = f"sdgen {VERSION}"
    settings: dict[str, object]  # of TrainingRecipe; photos is "", base without folders
    base_hash: str  # SHA-256 of the base's weights
    versions: dict[str, str]  # of the libraries
    photos: tuple[str, ...]  # SHA-256 of each training photo's pixels
    held_out: tuple[str, ...] = ()
    captions: tuple[str, ...] | None = None  # in the order of `photos`
    step: int
    strength: float
    sample_seed: int
    scores: ScoreSheet | None = None
    run: str = ""  # the run folder's name, which is no path
    created: str = ""  # UTC, ISO 8601


def public_settings(recipe: TrainingRecipe) -> dict[str, object]:
    """A recipe's fields without this machine's folders."""
    return {
        **recipe.model_dump(mode="json"),
        "photos": "",
        "base": public_model_name(recipe.base),
    }


def library_versions() -> dict[str, str]:
    """The versions of what trained it."""
    found = {"sdgen": VERSION}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def read_trained_recipe(path: Path) -> TrainedRecipe:
    """What the file says of its making. Raises NoRecipe with a sentence."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(RECIPE_KEY)
    except (OSError, SafetensorError) as error:
        raise NoRecipe(f"{path.name} cannot be read as a safetensors file.") from error
    if text is None:
        raise NoRecipe(f"{path.name} carries no training recipe; it was not trained by sdgen.")
    try:
        return TrainedRecipe.model_validate_json(text)
    except ValidationError as error:
        raise NoRecipe(f"The training recipe inside {path.name} is damaged.") from error


def recipe_from_file(
    path: Path, photos: str | None = None, base: str | None = None
) -> TrainingRecipe:
    """The settings that an adapter was trained with, as a recipe for training it again.

    photos, base: where they are now, since a file names neither folders nor photos; without
    `photos` the recipe's are "" and must be given before it can run.
    Raises NoRecipe, or InvalidRecipe where the settings are of another version.
    """
    settings = dict(read_trained_recipe(path).settings)
    settings["photos"] = photos or ""
    if base is not None:
        settings["base"] = base
    known = {key: value for key, value in settings.items() if key in TrainingRecipe.model_fields}
    return TrainingRecipe.checked(**known)


def recipe_text(recipe: TrainedRecipe) -> str:
    """As it stands in the file's metadata."""
    return json.dumps(recipe.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))
