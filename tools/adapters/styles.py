"""Pictures in two styles, to train adapters of: `python -m tools.adapters.styles build/styles`.

The scenes are those of the bundled model's world, held out of its training or not; a style is what
Pillow makes of them. Writes a folder of photos and a recipe for each, for

    python -m lora train build/styles/sepia/recipe.json
"""

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps

from tools.picturebook.captions import plain_caption
from tools.picturebook.scene import SUBJECTS, Scene, sample_figure, sample_scene
from tools.picturebook.world import draw

COUNT = 24


def sepia(image: Image.Image) -> Image.Image:
    """Brown like an old photo."""
    return ImageOps.colorize(image.convert("L"), (38, 20, 8), (255, 236, 200), (150, 100, 60))


def pencil(image: Image.Image) -> Image.Image:
    """Dark lines on white paper."""
    grey = image.convert("L")
    soft = ImageOps.invert(grey).filter(ImageFilter.GaussianBlur(4))
    lines = Image.blend(grey, soft, 0.5)
    return lines.point(lambda value: min(255, max(0, (value - 90) * 7))).convert("RGB")


STYLES: dict[str, Callable[[Image.Image], Image.Image]] = {"sepia": sepia, "pencil": pencil}


def scenes(style: str) -> list[Scene]:
    """One subject each, all kinds in turn."""
    rng = random.Random(style)
    made = []
    for number in range(COUNT):
        scene = sample_scene(rng)
        figure = sample_figure(rng, SUBJECTS[number % len(SUBJECTS)], "centre")
        made.append(Scene(scene.place, scene.time, (figure,), scene.jitter))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for style, change in STYLES.items():
        photos = folder / style / "photos"
        photos.mkdir(parents=True, exist_ok=True)
        for number, scene in enumerate(scenes(style)):
            change(draw(scene)[0]).save(photos / f"{number:02}.png")
            caption = f"{style} picture of {plain_caption(scene)}"
            (photos / f"{number:02}.txt").write_text(caption, encoding="utf-8")
        recipe = {
            "name": style,
            "base": "picturebook",
            "photos": "photos",
            "trigger": f"{style} picture",
        }
        (folder / style / "recipe.json").write_text(json.dumps(recipe, indent=1))


if __name__ == "__main__":
    main()
