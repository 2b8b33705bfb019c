"""Training runs on disk without training: photos, a recipe, and checkpoints made to measure."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from lora.base import Base
from lora.checkpoints import Checkpoint, save_checkpoint
from lora.config import CompleteRecipe, TrainingRecipe, completed
from lora.dataset import Dataset, Example, write_dataset
from lora.dataset.layout import content_hash
from lora.network import adapter_state, attach, detach
from lora.runs import RunFolder


def recipe_for(model: Base | None = None, **fields: object) -> CompleteRecipe:
    """A complete recipe for a small base; `fields` change it."""
    given: dict[str, object] = {
        "name": "My Cat",
        "base": "picturebook",
        "photos": "photos",
        "trigger": "zmicat",
        "class_word": "cat",
        "rank": 4,
        "resolution": 64,
        "steps": 40,
    }
    recipe = TrainingRecipe.checked(**(given | fields))
    return completed(recipe, model.family if model else "picturebook", photo_count=3)


def photo(number: int, folder: Path, side: int = 64, caption: str = "") -> Example:
    """A drawn photo: a disc on a coloured ground, each at another place."""
    image = Image.new("RGB", (side, side), (40 * number % 256, 90, 160 - 20 * number % 160))
    at = 4 + 7 * number % (side // 2)
    ImageDraw.Draw(image).ellipse((at, at, at + side // 3, at + side // 3), fill=(250, 220, 30))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"private-name-{number}.png"
    image.save(path)
    return Example(
        id=content_hash(side, side, image.tobytes()),
        name=path.name,
        path=path,
        caption=caption or f"zmicat, a cat at place {number}",
        width=side,
        height=side,
        bucket=(side, side),
        crop=(0.0, 0.0, float(side), float(side)),
    )


def make_run(
    folder: Path,
    recipe: CompleteRecipe,
    states: Mapping[int, Mapping[str, torch.Tensor]],
    trained: Iterable[int] = (0, 1, 2),
    held_out: Iterable[int] = (),
    side: int = 64,
) -> RunFolder:
    """A run folder with these checkpoints by step, and photos by number."""
    run = RunFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run.recipe.write_text(recipe.to_json(), encoding="utf-8")
    loose = folder.parent / "loose"
    photos = Dataset(
        tuple(photo(i, loose, side) for i in trained),
        tuple(photo(i, loose, side) for i in held_out),
    )
    write_dataset(photos, run.photos)
    for step, state in states.items():
        save_checkpoint(run, Checkpoint(step, dict(state), {}, {}), recipe.rank)
    return run


def random_state(
    base: Base, recipe: CompleteRecipe, size: float = 0.05, seed: int = 0
) -> dict[str, torch.Tensor]:
    """The tensors of an adapter with the recipe's targets whose B is random too."""
    attach(base, recipe)
    state = adapter_state(base)
    detach(base)
    rng = torch.Generator().manual_seed(seed)
    for name, tensor in state.items():
        if ".lora_B." in name:
            tensor.copy_(torch.randn(tensor.shape, generator=rng) * size)
    return state
