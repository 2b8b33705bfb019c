"""A training run small enough for a test: photos of noise, a tiny base, a recipe for them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora.config import TrainingRecipe
from lora.dataset import Dataset, Example, fit, write_dataset
from lora.dataset.layout import content_hash
from lora.runs import RunFolder, write_whole
from tests.tiny_models import SIDE, saved, sd1

REPOSITORY = Path(__file__).parent.parent


def photos(folder: Path, count: int, held_out: int = 0, resolution: int = SIDE) -> Dataset:
    """Photos in `folder`, as lora.dataset leaves them: every third one is wider than high."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    examples = []
    for number in range(count):
        size = (resolution * 2, resolution) if number % 3 == 2 else (resolution, resolution)
        values = random.integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
        image = Image.fromarray(values).resize(size, Image.Resampling.NEAREST)
        path = folder / f"{number}.source.png"
        image.save(path)
        crop = fit(*size, resolution)
        examples.append(
            Example(
                id=content_hash(*size, image.tobytes()),
                name=f"{number}.png",
                path=path,
                caption=f"the red cat number {number}",
                width=size[0],
                height=size[1],
                bucket=crop.bucket,
                crop=crop.box,
            )
        )
    return write_dataset(Dataset(tuple(examples[held_out:]), tuple(examples[:held_out])), folder)


def recipe(base: Path, **fields: Any) -> TrainingRecipe:
    """A recipe for `photos`; what a test does not say is as small as it can be."""
    given: dict[str, Any] = {
        "name": "cat",
        "base": str(base),
        "photos": "photos",
        "trigger": "red cat",
        "rank": 2,
        "steps": 6,
        "batch_size": 2,
        "learning_rate": 1e-2,
        "resolution": SIDE,
        "save_every": 3,
        "samples": ["red cat"],
    }
    return TrainingRecipe.checked(**given | fields)


def run_folder(
    folder: Path, base: Any = None, count: int = 5, held_out: int = 0, **fields: Any
) -> RunFolder:
    """A run that is ready to be trained. base: a diffusers pipeline; None: a tiny SD 1.x."""
    home = folder.parent / f"{folder.name}-base"
    if not home.exists():
        saved(sd1() if base is None else base, home)
    run = RunFolder(folder)
    photos(run.photos, count, held_out)
    write_whole(run.recipe, recipe(home, **fields).to_json().encode())
    return run


def trained_in_child(run: RunFolder, *launcher: str) -> subprocess.CompletedProcess[str]:
    """Train in a process of its own, to the last step, without evaluation and export."""
    start = launcher or (sys.executable, "-m")
    return subprocess.run(
        [*start, "lora", "train", str(run.recipe), "--folder", str(run.path), "--no-export"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
