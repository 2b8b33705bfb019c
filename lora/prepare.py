"""A run's photos and recipe, made ready in its folder."""

from pathlib import Path

from lora.base import Base, load_base
from lora.config import CompleteRecipe, InvalidRecipe, TrainingRecipe, completed
from lora.dataset import Dataset, check, load_dataset, split, write_dataset
from lora.dataset.buckets import default_step
from lora.runs import RunFolder, write_whole


def prepare(recipe: TrainingRecipe, run: RunFolder, base: Base | None = None) -> CompleteRecipe:
    """Check the recipe's photos into the run's folder, and complete the recipe there.

    Photos that lie there already, checked and captioned, are taken as they are. Raises
    InvalidRecipe, PhotosRefused, and what load_base raises.
    """
    base = base or load_base(recipe)
    if (run.photos / "metadata.jsonl").is_file():
        dataset = load_dataset(run.photos)
    else:
        dataset = _checked_photos(recipe, run, base)
    if not dataset.examples:
        raise InvalidRecipe("photos", "There is no photo to train on.")
    whole = completed(recipe, base.family, len(dataset.examples))
    factor = 2 ** (len(base.vae.config.block_out_channels) - 1)
    if any(side % factor for example in dataset.examples for side in example.bucket):
        raise InvalidRecipe(
            "resolution", f"'{base.spec.title}' needs a resolution that {factor * 4} divides."
        )
    if whole.precision == "auto":  # measured, so it is written down: a resumed run must not differ
        whole = whole.with_fields(precision=precision_of(base))
    write_whole(run.recipe, whole.to_json().encode())
    return whole


def precision_of(base: Base) -> str:
    """The precision of a loaded base, as a recipe names it."""
    return str(base.dtype).removeprefix("torch.")


def _checked_photos(recipe: TrainingRecipe, run: RunFolder, base: Base) -> Dataset:
    """The recipe's photos, checked and stored in the run's folder."""
    factor = 2 ** (len(base.vae.config.block_out_channels) - 1)
    tokenizer = base.tokenizers[0]

    def count_tokens(caption: str) -> int:
        return len(tokenizer(caption).input_ids) - 2  # without start and end

    resolution = completed(recipe, base.family, 1).resolution
    report = check(
        Path(recipe.photos).expanduser(),
        run.photos,
        recipe.trigger,
        recipe.class_word,
        resolution=resolution,
        count_tokens=count_tokens,
        aspect_buckets=recipe.buckets,
        step=default_step(resolution, factor),
    )
    return write_dataset(split(report.dataset, recipe.held_out, seed=recipe.seed), run.photos)
