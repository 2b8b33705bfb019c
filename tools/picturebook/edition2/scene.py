"""What a scene of the second edition is, how one is drawn by lot, and what training never sees."""

import hashlib
import random
from dataclasses import dataclass

PEOPLE = ("hero", "girl", "child", "astronaut", "king", "queen", "wizard", "pirate")
CREATURES = (  # they have a face too
    "robot", "cat", "dog", "rabbit", "bear", "lion", "frog", "mouse", "horse", "elephant", "turtle",
    "owl", "penguin", "duck", "bird", "butterfly", "fish", "whale", "dragon", "ghost", "snowman",
)  # fmt: skip
THINGS = (
    "car", "flying car", "bus", "train", "bicycle", "plane", "rocket", "balloon", "boat", "ship",
    "submarine", "house", "castle", "lighthouse", "windmill", "tree", "flower", "mushroom",
)  # fmt: skip
SUBJECTS = (*PEOPLE, *CREATURES, *THINGS)
FACES = (*PEOPLE, *CREATURES)
FLYERS = ("flying car", "balloon", "bird", "rocket", "plane", "butterfly", "ghost")
OVERHEAD = (*FLYERS, "dragon", "owl")  # can fly over something
SHELTERS = ("tree", "mushroom")  # something can be under them
CARRIERS = (  # something can stand on them
    "horse", "elephant", "turtle", "whale", "dragon", "car", "bus", "train", "house", "boat",
    "ship", "mushroom", "castle", "submarine", "bear",
)  # fmt: skip
RIDERS = (*PEOPLE, "cat", "dog", "rabbit", "bear", "frog", "mouse", "owl", "penguin", "duck",
          "robot", "ghost", "snowman")  # fmt: skip
COLOURS = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "black", "grey",
    "turquoise",
)  # fmt: skip
PLACES = (
    "beach", "city", "futuristic city", "forest", "village", "mountains", "desert", "temple",
    "rooftop", "sea", "under water", "space", "moon", "garden", "street", "farm", "cave",
)  # fmt: skip
TIMES = ("day", "night", "sunrise", "sunset", "storm", "rain", "snow", "fog")
POSES = ("standing", "running", "posing", "landing")
SIZES = ("small", "normal", "big")
MOODS = ("happy", "sad", "angry", "surprised")
ACCESSORIES = ("hat", "scarf", "umbrella", "crown", "glasses")
BARE_HEADED = tuple(k for k in FACES if k not in ("king", "queen", "wizard", "pirate", "astronaut"))
RELATIONS = ("beside", "on", "behind", "under", "over")
MOST = 4  # of one kind in a picture

HELD_OUT_SHARE = 0.125  # of all (subject, colour, place, time) combinations


@dataclass(frozen=True)
class Figure:
    """One subject of a scene, or `count` of it. pose: people; mood, accessory: who has a face."""

    kind: str
    colour: str
    size: str = "normal"
    pose: str | None = None
    mood: str | None = None
    accessory: str | None = None
    count: int = 1


@dataclass(frozen=True)
class Scene:
    """All that a picture shows. `figures` go from left to right, at most three.

    `relation` says how the first of two is to the second: "on", "behind", "under", "over" (flying);
    "beside" is one next to the other. `jitter` seeds what no caption tells: exact places.
    """

    place: str
    time: str
    figures: tuple[Figure, ...]
    relation: str = "beside"
    jitter: int = 0


def is_held_out(kind: str, colour: str, place: str, time: str) -> bool:
    """True for the fixed share of combinations that are kept for the evaluation."""
    key = f"2|{kind}|{colour}|{place}|{time}".encode()
    number = int.from_bytes(hashlib.sha256(key).digest()[:4], "big")
    return number / 2**32 < HELD_OUT_SHARE


def is_held_out_pair(scene: Scene) -> bool:
    """True for the fixed share of (kind, relation, kind) that training never sees."""
    if len(scene.figures) != 2:
        return False
    key = f"2|{scene.figures[0].kind}|{scene.relation}|{scene.figures[1].kind}".encode()
    number = int.from_bytes(hashlib.sha256(key).digest()[:4], "big")
    return number / 2**32 < HELD_OUT_SHARE


def touches_held_out(scene: Scene) -> bool:
    """True if training must not see the scene."""
    combinations = ((f.kind, f.colour, scene.place, scene.time) for f in scene.figures)
    return is_held_out_pair(scene) or any(is_held_out(*c) for c in combinations)


def sample_figure(
    rng: random.Random, kind: str, *, plain: float = 0.5, count: int = 1, size: str = "normal"
) -> Figure:
    """A figure of the kind in any colour; `plain` is the chance of neither mood nor accessory."""
    mood = accessory = None
    if kind in FACES and rng.random() >= plain:
        if rng.random() < 0.6:
            mood = rng.choice(MOODS)
        if kind in BARE_HEADED and (mood is None or rng.random() < 0.3):
            accessory = rng.choice(ACCESSORIES)
    pose = rng.choice(POSES) if kind in PEOPLE else None
    return Figure(kind, rng.choice(COLOURS), size, pose, mood, accessory, count)


def sample_kind(rng: random.Random) -> str:
    """People come in four poses, so they are drawn more often."""
    return rng.choices(SUBJECTS, [1.8 if kind in PEOPLE else 1.0 for kind in SUBJECTS])[0]


def _pair(rng: random.Random, place: str, time: str, jitter: int) -> Scene:
    relation = rng.choices(RELATIONS, (0.5, 0.15, 0.12, 0.07, 0.16))[0]
    kinds = rng.sample(SUBJECTS, 2)
    if relation == "on":
        second = rng.choice(CARRIERS)
        kinds = [rng.choice([k for k in RIDERS if k != second]), second]
    elif relation == "under":
        second = rng.choice(SHELTERS)
        kinds = [rng.choice([k for k in SUBJECTS if k not in FLYERS and k != second]), second]
    elif relation == "over":
        first = rng.choice(OVERHEAD)
        kinds = [first, rng.choice([k for k in SUBJECTS if k not in FLYERS and k != first])]
    figures = tuple(sample_figure(rng, kind, plain=0.8) for kind in kinds)
    return Scene(place, time, figures, relation, jitter)


def sample_any_scene(rng: random.Random) -> Scene:
    """A scene by lot: mostly one subject, else several of it, two, three, or none."""
    place, time = rng.choice(PLACES), rng.choice(TIMES)
    jitter = rng.randrange(2**31)
    lot = rng.random()
    if lot < 0.02:
        return Scene(place, time, (), jitter=jitter)
    if lot < 0.17:
        kind = rng.choice(SUBJECTS)
        figure = sample_figure(rng, kind, plain=0.85, count=rng.randint(2, MOST))
        return Scene(place, time, (figure,), jitter=jitter)
    if lot < 0.42:
        return _pair(rng, place, time, jitter)
    if lot < 0.47:
        figures = tuple(sample_figure(rng, k, plain=0.95) for k in rng.sample(SUBJECTS, 3))
        return Scene(place, time, figures, jitter=jitter)
    size = rng.choices(SIZES, (0.15, 0.7, 0.15))[0]
    return Scene(place, time, (sample_figure(rng, sample_kind(rng), size=size),), jitter=jitter)


def sample_scene(rng: random.Random) -> Scene:
    """A scene that training may see."""
    while touches_held_out(scene := sample_any_scene(rng)):
        pass
    return scene


def sample_held_out_scene(rng: random.Random) -> Scene:
    """A scene with one subject whose combination training never saw."""
    while True:
        figure = sample_figure(rng, rng.choice(SUBJECTS), plain=1.0)
        place, time = rng.choice(PLACES), rng.choice(TIMES)
        if is_held_out(figure.kind, figure.colour, place, time):
            return Scene(place, time, (figure,), jitter=rng.randrange(2**31))
