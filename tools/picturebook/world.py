"""Draws a scene, 256 x 256 px. `python -m tools.picturebook.world sheet.png` shows some.

Minnal Murali is drawn here too, for a LoRA to learn later; no scene of the base model contains him.
"""

import argparse
import random
from dataclasses import dataclass

from PIL import Image

from tools.picturebook.pen import OVERSAMPLE, SIZE, Pen
from tools.picturebook.people import draw_girl, draw_hero, draw_minnal_murali
from tools.picturebook.places import GROUND, draw_place
from tools.picturebook.scene import (
    COLOURS,
    FLYERS,
    PEOPLE,
    PLACES,
    POSES,
    SUBJECTS,
    TIMES,
    Figure,
    Scene,
    sample_scene,
)
from tools.picturebook.sky import fall_snow, new_sky
from tools.picturebook.things import draw_thing

Box = tuple[int, int, int, int]  # left, top, right, bottom in picture pixels

MINNAL_MURALI = "minnal murali"  # a kind outside SUBJECTS

HEIGHT = {  # picture pixels of one local unit; people are 1 unit when they stand
    "hero": 150, "girl": 142, MINNAL_MURALI: 150, "robot": 140, "cat": 124, "dog": 134,
    "bird": 112, "car": 116, "flying car": 88, "house": 146, "tree": 156, "rocket": 152,
    "balloon": 146, "boat": 136,
}  # fmt: skip
REACH = {  # local units left, right, below, above the foot point
    "person": (0.62, 0.5, 0.02, 1.12), "robot": (0.48, 0.48, 0.02, 1.08),
    "cat": (0.34, 0.5, 0.02, 1.06), "dog": (0.62, 0.74, 0.02, 1.0), "bird": (0.74, 0.8, -0.1, 1.06),
    "car": (0.9, 0.92, 0.04, 0.92), "flying car": (1.22, 1.0, 0.0, 0.94),
    "house": (0.58, 0.58, 0.02, 1.02), "tree": (0.48, 0.48, 0.02, 1.04),
    "rocket": (0.4, 0.4, 0.08, 1.04), "balloon": (0.38, 0.38, 0.02, 1.06),
    "boat": (0.74, 0.72, 0.06, 1.02),
}  # fmt: skip
POSE_SCALE = {"landing": 1.32, "posing": 0.98}
CENTRES = {"left": 80.0, "centre": 128.0, "right": 176.0}
OUTLINE = 2.2  # picture pixels


@dataclass(frozen=True)
class _Spot:
    """Where one drawing of a figure goes: foot point and pixels per local unit."""

    x: float
    y: float
    scale: float


def _spots(figure: Figure, scene: Scene, rng: random.Random) -> list[_Spot]:
    scale = HEIGHT[figure.kind] * POSE_SCALE.get(figure.pose or "", 1.0)
    scale *= rng.uniform(0.96, 1.04)
    x = CENTRES[figure.side] + rng.uniform(-5, 5)
    y = SIZE - GROUND[scene.place] + 26 + rng.uniform(-3, 3)
    if figure.kind in FLYERS:
        y -= 52
    if figure.count > 1:
        return [_Spot(u + x - 128, v, scale * 0.52) for u, v in ((68, 92), (186, 74), (140, 168))]
    if len(scene.figures) > 1:
        wide = sum(REACH[_body(figure)][:2]) * scale
        scale *= min(0.8, 122 / wide)
        left, right = REACH[_body(figure)][:2]
        x = (66 if figure.side == "left" else 190) + (left - right) * scale / 2 + rng.uniform(-3, 3)
        y += 2 if figure.kind not in FLYERS else -14
    return [_Spot(x, y, scale)]


def _body(figure: Figure) -> str:
    return "person" if figure.pose else figure.kind


def _draw_figure(pen: Pen, figure: Figure) -> None:
    if figure.kind == MINNAL_MURALI:
        draw_minnal_murali(pen, figure.pose or "standing")
    elif figure.kind == "hero":
        draw_hero(pen, figure.pose or "standing", figure.colour)
    elif figure.kind == "girl":
        draw_girl(pen, figure.pose or "standing", figure.colour)
    else:
        draw_thing(pen, figure.kind, figure.colour)


def draw(scene: Scene) -> tuple[Image.Image, list[Box]]:
    """The picture (RGB, SIZE x SIZE) and the box of every drawn figure. The same scene always gives
    the same picture."""
    rng = random.Random(scene.jitter)
    shift = rng.uniform(-7, 7)
    image, pen = new_sky(scene.time, shift)
    draw_place(pen, scene.place, scene.time, -shift)
    if scene.time == "snow":
        fall_snow(pen, shift)
    boxes: list[Box] = []
    for figure in scene.figures:
        for spot in _spots(figure, scene, rng):
            for outline in (OUTLINE, 0.0):
                _draw_figure(Pen(image, spot.x, spot.y, spot.scale, outline), figure)
            left, right, below, above = (r * spot.scale for r in REACH[_body(figure)])
            corners = (spot.x - left, spot.y - above, spot.x + right, spot.y + below)
            boxes.append(tuple(min(SIZE, max(0, round(c))) for c in corners))  # type: ignore[arg-type]
    return image.reduce(OVERSAMPLE), boxes


def minnal_murali_scene(rng: random.Random) -> Scene:
    """A scene of Minnal Murali alone, for the training set of a LoRA."""
    side = rng.choices(("left", "centre", "right"), (0.15, 0.7, 0.15))[0]
    figure = Figure(MINNAL_MURALI, "red", side, rng.choice(POSES))
    return Scene(rng.choice(PLACES), rng.choice(TIMES), (figure,), rng.randrange(2**31))


def contact_sheet(scenes: list[Scene], columns: int) -> Image.Image:
    rows = -(-len(scenes) // columns)
    sheet = Image.new("RGB", (columns * SIZE, rows * SIZE))
    for i, scene in enumerate(scenes):
        sheet.paste(draw(scene)[0], (i % columns * SIZE, i // columns * SIZE))
    return sheet


def overview(rng: random.Random) -> list[Scene]:
    """Every subject, pose, place and time at least once."""
    scenes = [
        Scene(place, time, (Figure("robot", COLOURS[(i + j) % 10]),), i * 10 + j)
        for i, place in enumerate(PLACES)
        for j, time in enumerate(TIMES)
    ]
    for i, kind in enumerate(SUBJECTS):
        poses = POSES if kind in PEOPLE else (None,)
        for j, pose in enumerate(poses):
            figure = Figure(kind, COLOURS[(i + 3 * j) % 10], "centre", pose)
            scenes.append(Scene(PLACES[(i + j) % 9], TIMES[(i + j) % 5], (figure,), i))
    for pose in POSES:
        figure = Figure(MINNAL_MURALI, "red", "centre", pose)
        scenes.append(Scene(rng.choice(PLACES), rng.choice(TIMES), (figure,), 7))
    return scenes + [sample_scene(rng) for _ in range(30)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheet", help="where to write the contact sheet (PNG)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    contact_sheet(overview(random.Random(args.seed)), 10).save(args.sheet)


if __name__ == "__main__":
    main()
