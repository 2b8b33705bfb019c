"""Draws a scene, 512 x 512 px. `python -m tools.picturebook.edition2.world sheet.png` shows some.

Figures are cut-outs: a dark line, and around it a rim of paper. Everything moves in steps of GRID
pixels and comes in four sizes only, so that a drawing has few degrees of freedom, which a small
model can learn exactly: where a figure could stand anywhere, a model that is not sure draws the
mean of many places, and that is a blur.
"""

import argparse
import random
from dataclasses import dataclass

from PIL import Image

from tools.picturebook.edition2.animals import ANIMALS
from tools.picturebook.edition2.faces import ACCESSORIES as ACCESSORY_PROGRAMS
from tools.picturebook.edition2.faces import Head
from tools.picturebook.edition2.pen import GRID, INK, OVERSAMPLE, PAGE, PAINT, RIM, SIZE, Pen
from tools.picturebook.edition2.people import MINNAL_MURALI, PEOPLE, SKELETONS, head_of
from tools.picturebook.edition2.places import draw_background
from tools.picturebook.edition2.scene import (
    ACCESSORIES,
    COLOURS,
    FLYERS,
    MOODS,
    PLACES,
    POSES,
    SIZES,
    SUBJECTS,
    TIMES,
    Figure,
    Scene,
    sample_scene,
)
from tools.picturebook.edition2.things import THINGS

Box = tuple[int, int, int, int]  # left, top, right, bottom in picture pixels

UNIT = 256  # picture pixels of one local unit at the size of 1
SCALES = {"tiny": 0.44, "small": 0.62, "normal": 1.0, "big": 1.3}
HEIGHT = {  # of a kind, beside a person's 1
    "cat": 0.92, "dog": 0.98, "rabbit": 0.96, "frog": 0.86, "mouse": 0.88, "horse": 1.0,
    "elephant": 0.98, "turtle": 0.92, "owl": 0.88, "penguin": 0.94, "duck": 0.86, "bird": 0.82,
    "butterfly": 0.86, "fish": 0.82, "whale": 0.82, "dragon": 1.0, "ghost": 0.92, "car": 0.84,
    "flying car": 0.66, "bus": 0.74, "train": 0.74, "bicycle": 0.96, "plane": 0.76, "ship": 0.68,
    "submarine": 0.8, "boat": 0.94, "castle": 1.06, "tree": 1.1, "lighthouse": 1.14,
    "windmill": 1.06, "house": 0.96, "rocket": 1.0, "balloon": 1.04,
}  # fmt: skip
REACH = {  # local units left, right, below, above the foot point
    "person": (0.62, 0.48, 0.02, 1.14), "wizard": (0.62, 0.5, 0.02, 1.36),
    "robot": (0.5, 0.5, 0.02, 1.08), "cat": (0.4, 0.56, 0.02, 1.1), "dog": (0.68, 0.66, 0.02, 0.98),
    "rabbit": (0.32, 0.36, 0.02, 1.14), "bear": (0.48, 0.48, 0.04, 1.04),
    "lion": (0.46, 0.62, 0.02, 1.1), "frog": (0.62, 0.62, 0.02, 1.04),
    "mouse": (0.48, 0.66, 0.02, 1.04), "horse": (0.66, 0.68, 0.02, 1.1),
    "elephant": (0.64, 0.86, 0.02, 1.0), "turtle": (0.74, 0.92, 0.04, 0.86),
    "owl": (0.48, 0.48, 0.02, 1.08), "penguin": (0.52, 0.52, 0.02, 1.04),
    "duck": (0.68, 0.72, 0.02, 1.0), "bird": (0.76, 0.82, -0.1, 1.02),
    "butterfly": (0.66, 0.66, -0.04, 1.12), "fish": (0.82, 0.58, 0.02, 1.04),
    "whale": (0.88, 0.76, 0.04, 1.04), "dragon": (0.76, 0.74, 0.02, 1.12),
    "ghost": (0.6, 0.6, 0.02, 1.0), "snowman": (0.5, 0.5, 0.04, 1.04),
    "car": (0.88, 0.88, 0.04, 0.92), "flying car": (1.16, 1.0, -0.02, 0.94),
    "bus": (0.96, 0.98, 0.04, 0.98), "train": (0.96, 1.02, 0.02, 1.26),
    "bicycle": (0.86, 0.86, 0.02, 1.02), "plane": (0.96, 0.86, 0.02, 0.96),
    "rocket": (0.42, 0.42, 0.14, 1.06), "balloon": (0.4, 0.4, 0.02, 1.08),
    "boat": (0.78, 0.8, 0.04, 1.12), "ship": (1.12, 1.12, 0.04, 1.18),
    "submarine": (0.96, 0.82, -0.06, 1.04), "house": (0.62, 0.62, 0.02, 1.04),
    "castle": (0.7, 0.7, 0.02, 1.24), "lighthouse": (0.54, 0.54, 0.02, 1.12),
    "windmill": (0.52, 0.52, 0.02, 1.2), "tree": (0.5, 0.5, 0.02, 1.06),
    "flower": (0.38, 0.38, 0.02, 1.12), "mushroom": (0.52, 0.52, 0.02, 1.02),
}  # fmt: skip
SEAT = {  # local (u, v) where a rider stands
    "horse": (-0.12, 0.66), "elephant": (-0.14, 0.78), "turtle": (-0.06, 0.68),
    "whale": (-0.1, 0.6),
    "dragon": (0.0, 0.98), "car": (0.0, 0.88), "bus": (0.0, 0.96), "train": (-0.52, 0.96),
    "house": (-0.02, 0.92), "boat": (0.3, 0.26), "ship": (0.0, 0.6), "mushroom": (0.0, 0.98),
    "castle": (0.0, 0.48), "submarine": (-0.42, 0.68), "bear": (0.0, 0.96),
}  # fmt: skip
GROUND = {  # picture pixels from the lower edge to where figures stand; multiples of GRID
    "beach": 96, "city": 64, "futuristic city": 64, "forest": 64, "village": 64, "mountains": 64,
    "desert": 96, "temple": 64, "rooftop": 96, "sea": 96, "under water": 96, "space": 128,
    "moon": 64, "garden": 64, "street": 64, "farm": 64, "cave": 64,
}  # fmt: skip
LIFT = 96  # picture pixels that a flyer is higher
OUTLINE, PAPER = 4.0, 8.0  # picture pixels: how far line and rim reach around a figure


@dataclass(frozen=True)
class Spot:
    """Where one drawing of a figure goes: foot point in picture pixels, and its size."""

    x: float
    y: float
    size: str


def _unit(kind: str, size: str) -> float:
    return UNIT * SCALES[size] * HEIGHT.get(kind, 1.0)


def _reach(figure: Figure) -> tuple[float, float, float, float]:
    if figure.kind in PEOPLE:
        return REACH.get(figure.kind, REACH["person"])
    return REACH[figure.kind]


def _steps(rng: random.Random, most: int) -> int:
    """A shift by lot, in whole steps of the grid."""
    return GRID * rng.randint(-most, most)


def _on_grid(x: float) -> int:
    return GRID * round(x / GRID)


def _row(scene: Scene, xs: tuple[int, ...], size: str) -> list[Spot]:
    ground = SIZE - GROUND[scene.place]
    spots = []
    for x, figure in zip(xs, _in_row(scene), strict=True):
        left, right = _reach(figure)[:2]
        unit = _unit(figure.kind, size)
        lift = LIFT if figure.kind in FLYERS else 0
        foot = _on_grid(x + (left - right) * unit / 2)
        while foot > GRID and foot + right * unit > SIZE - PAPER:
            foot -= GRID
        while foot < SIZE - GRID and foot - left * unit < PAPER:
            foot += GRID
        spots.append(Spot(foot, ground - lift, size))
    return spots


def _in_row(scene: Scene) -> list[Figure]:
    """Every single drawing of the scene, from left to right."""
    return [figure for figure in scene.figures for _ in range(figure.count)]


def _spots(scene: Scene, rng: random.Random) -> list[Spot]:
    """One spot for every drawing of `_in_row`."""
    drawings = _in_row(scene)
    middle, ground = SIZE // 2, SIZE - GROUND[scene.place]
    if len(drawings) == 1:
        figure = drawings[0]
        left, right, _, above = _reach(figure)
        unit = _unit(figure.kind, figure.size)
        lift = _on_grid(min(LIFT, (ground - above * unit) / 2)) if figure.kind in FLYERS else 0
        room = max(0, SIZE / 2 - (left + right) * unit / 2 - PAPER)  # to either side
        x = _on_grid(middle + (left - right) * unit / 2) + _steps(rng, min(2, int(room / GRID)))
        return [Spot(x, ground - lift, figure.size)]
    if len(drawings) == 2 and scene.relation != "beside":
        return _related(scene, rng)
    if len(drawings) == 2:
        return _row(scene, (128 + _steps(rng, 1), 384 + _steps(rng, 1)), "small")
    if len(drawings) == 3:
        back = _row(scene, (88, 256, 424), "tiny")
        shift = _steps(rng, 1)
        down = (0, GRID, 0)
        return [Spot(s.x + shift, s.y + v, s.size) for s, v in zip(back, down, strict=True)]
    four = _row(scene, (112, 376, 144, 400), "tiny")
    return [Spot(s.x, s.y - (96 if i < 2 else -32), s.size) for i, s in enumerate(four)]


def _related(scene: Scene, rng: random.Random) -> list[Spot]:
    """Spots of two figures of which the first is on, behind, under or over the second."""
    second = scene.figures[1]
    middle, ground = SIZE // 2 + _steps(rng, 1), SIZE - GROUND[scene.place]
    if scene.relation == "on":
        unit = _unit(second.kind, "small")
        u, v = SEAT[second.kind]
        x, y = middle, ground + GRID
        return [Spot(x + u * unit, y - v * unit, "tiny"), Spot(x, y, "small")]
    if scene.relation == "behind":
        return [Spot(middle - 64, ground - 64, "small"), Spot(middle + 64, ground + 32, "small")]
    if scene.relation == "under":
        return [Spot(middle, ground + 32, "tiny"), Spot(middle, ground, "big")]
    return [Spot(middle, ground - 224, "small"), Spot(middle, ground + GRID, "small")]


def _draw_figure(pen: Pen, figure: Figure) -> None:
    paint = PAINT[figure.colour]
    if figure.kind in PEOPLE:
        bones, head = SKELETONS[figure.pose or "standing"], head_of(figure.pose or "standing")
        PEOPLE[figure.kind](pen, bones, paint, figure.mood)
    elif figure.kind in ANIMALS:
        program, head = ANIMALS[figure.kind]
        program(pen, paint, figure.mood)
    else:
        THINGS[figure.kind](pen, paint)
        head = Head(0, 1, 0.2)
    if figure.accessory:
        ACCESSORY_PROGRAMS[figure.accessory](pen, head)


def _drawing_order(scene: Scene, count: int) -> list[int]:
    """From the back to the front: what is behind or under comes first and last."""
    order = list(range(count))
    if count == 2 and scene.relation in ("on", "under"):
        order.reverse()
    return order


def draw(scene: Scene) -> tuple[Image.Image, list[Box]]:
    """The picture (RGB, SIZE x SIZE) and the box of every drawn figure, in the order of the scene's
    figures. The same scene always gives the same picture."""
    rng = random.Random(scene.jitter)
    shift = rng.choice((0, GRID)) * PAGE / SIZE
    image = draw_background(scene.place, scene.time, shift)
    drawings, spots = _in_row(scene), _spots(scene, rng) if scene.figures else []
    boxes: dict[int, Box] = {}
    for i in _drawing_order(scene, len(drawings)):
        figure, spot = drawings[i], spots[i]
        unit = _unit(figure.kind, spot.size)
        for grow, ink in ((PAPER, RIM), (OUTLINE, INK), (0.0, INK)):
            _draw_figure(Pen(image, spot.x, spot.y, unit, grow, ink), figure)
        left, right, below, above = (r * unit for r in _reach(figure))
        corners = (spot.x - left, spot.y - above, spot.x + right, spot.y + below)
        boxes[i] = tuple(min(SIZE, max(0, round(c))) for c in corners)  # type: ignore[assignment]
    return image.reduce(OVERSAMPLE), [boxes[i] for i in range(len(drawings))]


def minnal_murali_scene(rng: random.Random) -> Scene:
    """A scene of Minnal Murali alone, for a LoRA and for the judge; no scene of the base model's
    training contains him."""
    size = rng.choices(SIZES, (0.15, 0.7, 0.15))[0]
    figure = Figure(MINNAL_MURALI, "red", size, rng.choice(POSES))
    return Scene(rng.choice(PLACES), rng.choice(TIMES), (figure,), jitter=rng.randrange(2**31))


def contact_sheet(scenes: list[Scene], columns: int, side: int = SIZE // 2) -> Image.Image:
    """All pictures, each `side` pixels wide."""
    rows = -(-len(scenes) // columns)
    sheet = Image.new("RGB", (columns * side, rows * side))
    for i, scene in enumerate(scenes):
        picture = draw(scene)[0].resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(picture, (i % columns * side, i // columns * side))
    return sheet


def overview(rng: random.Random) -> dict[str, list[Scene]]:
    """What there is to look at: subjects, places, people's poses, heads, and any scenes."""
    heads = [Figure("cat", COLOURS[i], mood=mood) for i, mood in enumerate(MOODS)]
    heads += [Figure("bear", COLOURS[i + 4], accessory=a) for i, a in enumerate(ACCESSORIES)]
    heads += [
        Figure("girl", COLOURS[i], "normal", "standing", mood) for i, mood in enumerate(MOODS)
    ]
    heads += [Figure("dog", COLOURS[i], size) for i, size in enumerate(SIZES)]
    return {
        "subjects": [
            Scene(PLACES[i % 17], TIMES[i * 3 % 8],
                  (Figure(kind, COLOURS[i * 5 % 12], pose="standing" if kind in PEOPLE else None),))
            for i, kind in enumerate(SUBJECTS)
        ],
        "places": [Scene(place, time, (), jitter=i)
                   for place in PLACES for i, time in enumerate(TIMES)],
        "poses": [Scene(PLACES[i], TIMES[i % 8], (Figure(kind, COLOURS[(i + j) % 12], pose=pose),))
                  for i, kind in enumerate(PEOPLE) for j, pose in enumerate(POSES)],
        "heads": [Scene(PLACES[i], TIMES[i % 8], (f,)) for i, f in enumerate(heads)],
        "scenes": [sample_scene(rng) for _ in range(64)],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheet", help="where to write the contact sheet (PNG)")
    parser.add_argument("--what", default="scenes", help="subjects, places, poses, heads or scenes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    contact_sheet(overview(random.Random(args.seed))[args.what], 8).save(args.sheet)


if __name__ == "__main__":
    main()
