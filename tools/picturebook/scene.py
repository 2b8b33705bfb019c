"""What a picture-book scene is, how one is drawn by lot, and which ones training never sees."""

import hashlib
import random
from dataclasses import dataclass

SUBJECTS = (
    "hero", "girl", "robot", "cat", "dog", "bird", "car",
    "flying car", "house", "tree", "rocket", "balloon", "boat",
)  # fmt: skip
PEOPLE = ("hero", "girl")
FLYERS = ("flying car", "balloon", "bird", "rocket")
MANY = ("flying car", "balloon", "bird")  # may come as a group: "flying cars"
COLOURS = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "black",
)  # fmt: skip
PLACES = (
    "beach", "city", "futuristic city", "forest", "village",
    "mountains", "desert", "temple", "rooftop",
)  # fmt: skip
TIMES = ("day", "night", "sunset", "storm", "snow")
POSES = ("standing", "running", "posing", "landing")
SIDES = ("left", "centre", "right")

HELD_OUT_SHARE = 0.125  # of all (subject, colour, place, time) combinations

# How often each subject is drawn: people come in four poses, so they need more pictures.
WEIGHTS = {"hero": 3.2, "girl": 2.0, "flying car": 1.4, "robot": 1.2}


@dataclass(frozen=True)
class Figure:
    """One subject of a scene. `count` is more than 1 for a group such as "flying cars"."""

    kind: str
    colour: str
    side: str = "centre"
    pose: str | None = None  # people only
    count: int = 1


@dataclass(frozen=True)
class Scene:
    """All that a picture shows; `jitter` seeds the small differences between drawings of it."""

    place: str
    time: str
    figures: tuple[Figure, ...]
    jitter: int = 0


def is_held_out(kind: str, colour: str, place: str, time: str) -> bool:
    """True for the fixed share of combinations that are kept for the evaluation."""
    key = f"{kind}|{colour}|{place}|{time}".encode()
    number = int.from_bytes(hashlib.sha256(key).digest()[:4], "big")
    return number / 2**32 < HELD_OUT_SHARE


def touches_held_out(scene: Scene) -> bool:
    """True if any figure of the scene completes a held-out combination."""
    return any(is_held_out(f.kind, f.colour, scene.place, scene.time) for f in scene.figures)


def sample_kind(rng: random.Random) -> str:
    return rng.choices(SUBJECTS, [WEIGHTS.get(kind, 1.0) for kind in SUBJECTS])[0]


def sample_figure(rng: random.Random, kind: str, side: str, count: int = 1) -> Figure:
    pose = rng.choice(POSES) if kind in PEOPLE else None
    return Figure(kind, rng.choice(COLOURS), side, pose, count)


def sample_any_scene(rng: random.Random) -> Scene:
    """A scene by lot: mostly one subject, sometimes two, a group of flyers, or none."""
    place, time = rng.choice(PLACES), rng.choice(TIMES)
    jitter = rng.randrange(2**31)
    lot = rng.random()
    if lot < 0.02:
        return Scene(place, time, (), jitter)
    if lot < 0.06:
        return Scene(place, time, (sample_figure(rng, rng.choice(MANY), "centre", 3),), jitter)
    if lot < 0.22:
        left, right = rng.sample(SUBJECTS, 2)
        figures = (sample_figure(rng, left, "left"), sample_figure(rng, right, "right"))
        return Scene(place, time, figures, jitter)
    side = rng.choices(SIDES, (0.15, 0.7, 0.15))[0]
    return Scene(place, time, (sample_figure(rng, sample_kind(rng), side),), jitter)


def sample_scene(rng: random.Random) -> Scene:
    """A scene that training may see."""
    while touches_held_out(scene := sample_any_scene(rng)):
        pass
    return scene


def sample_held_out_scene(rng: random.Random) -> Scene:
    """A scene with one centred subject whose combination training never saw."""
    while True:
        figure = sample_figure(rng, rng.choice(SUBJECTS), "centre")
        place, time = rng.choice(PLACES), rng.choice(TIMES)
        if is_held_out(figure.kind, figure.colour, place, time):
            return Scene(place, time, (figure,), rng.randrange(2**31))
