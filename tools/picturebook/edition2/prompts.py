"""What the evaluation asks: scenes that training never saw, in known and in new wordings."""

import random
from collections.abc import Callable
from dataclasses import replace

from tools.picturebook.edition2.captions import caption, plain_caption
from tools.picturebook.edition2.scene import (
    FACES,
    MOODS,
    MOST,
    PEOPLE,
    PLACES,
    POSES,
    SUBJECTS,
    TIMES,
    Scene,
    is_held_out,
    is_held_out_pair,
    sample_any_scene,
    sample_figure,
    sample_held_out_scene,
)

Prompt = tuple[str, Scene]  # what is asked, and what must be seen


def _until(count: int, sample: Callable[[], Scene | None]) -> list[Scene]:
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = sample()
        if scene is not None:
            scenes.append(scene)
    return scenes


def plainly(scenes: list[Scene]) -> list[Prompt]:
    return [(plain_caption(scene), scene) for scene in scenes]


def one_subject(count: int) -> list[Prompt]:
    rng = random.Random("one subject")
    return plainly(_until(count, lambda: sample_held_out_scene(rng)))


def in_new_words(count: int) -> list[Prompt]:
    """The same kind of scenes, in forms of sentences that no training caption has."""
    rng = random.Random("new words")
    scenes = _until(count, lambda: sample_held_out_scene(rng))
    return [(caption(scene, rng, held_out=True), scene) for scene in scenes]


def in_many_words(count: int) -> list[Prompt]:
    """And as training words them: lists, typos of one letter, upper case, any order."""
    rng = random.Random("many words")
    scenes = _until(count, lambda: sample_held_out_scene(rng))
    return [(caption(scene, rng), scene) for scene in scenes]


def _single(rng: random.Random, kinds: tuple[str, ...], **changes: object) -> Scene | None:
    figure = replace(sample_figure(rng, rng.choice(kinds), plain=1.0), **changes)  # type: ignore[arg-type]
    place, time = rng.choice(PLACES), rng.choice(TIMES)
    if not is_held_out(figure.kind, figure.colour, place, time):
        return None
    return Scene(place, time, (figure,), jitter=rng.randrange(2**31))


def poses(count: int) -> list[Prompt]:
    rng = random.Random("poses")
    return plainly(_until(count, lambda: _single(rng, PEOPLE, pose=rng.choice(POSES))))


def moods(count: int) -> list[Prompt]:
    rng = random.Random("moods")
    return plainly(_until(count, lambda: _single(rng, FACES, mood=rng.choice(MOODS))))


def counts(count: int) -> list[Prompt]:
    rng = random.Random("counts")
    return plainly(_until(count, lambda: _single(rng, SUBJECTS, count=rng.randint(1, MOST))))


def pairs(count: int) -> list[Prompt]:
    """Two subjects; who is how to whom was held out."""
    rng = random.Random("pairs")

    def sample() -> Scene | None:
        scene = sample_any_scene(rng)
        return scene if is_held_out_pair(scene) else None

    return plainly(_until(count, sample))


ASKED: dict[str, tuple[Callable[[int], list[Prompt]], float, tuple[str, ...]]] = {
    # prompts, how many of them beside those with one subject, which fields must be right
    "one subject": (one_subject, 1.0, ("kind", "colour", "place", "time", "all four")),
    "many wordings": (in_many_words, 0.5, ("kind", "colour", "place", "time", "all four")),
    "held-out wordings": (in_new_words, 0.5, ("kind", "colour", "place", "time", "all four")),
    "poses": (poses, 0.25, ("kind", "pose")),
    "moods": (moods, 0.25, ("kind", "mood")),
    "counts 1 to 4": (counts, 0.25, ("kind", "count")),
    "two subjects": (pairs, 0.25, ("kind", "colour", "relation")),
}
