"""A scene in words: the same scene is told in many ways, and attributes are sometimes left out.

With two subjects the one on the left is named first, unless the caption says the sides.
"""

import random
import re

from tools.picturebook.scene import COLOURS, PEOPLE, SUBJECTS, Figure, Scene

PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "beach": ("on a beach", "on the beach", "at the beach", "on a sandy beach by the sea"),
    "city": ("in a city", "in the city", "in a city street", "on a busy street in a city"),
    "futuristic city": (
        "in a futuristic city", "in the futuristic city", "in a futuristic city with neon towers",
        "in a city of the future",
    ),
    "forest": ("in a forest", "in the forest", "in the woods", "among the trees of a forest"),
    "village": ("in a village", "in the village", "in a small village", "in a quiet village"),
    "mountains": ("in the mountains", "in front of mountains", "near the mountains",
                  "with mountains in the background"),
    "desert": ("in the desert", "in a desert", "in a hot desert with cactus", "on a desert dune"),
    "temple": ("in front of a temple", "in front of the temple", "at a temple",
               "before an old temple"),
    "rooftop": ("on a rooftop", "on the rooftop", "on the roof of a building",
                "on top of a building"),
}  # fmt: skip
THROUGH_WORDS: dict[str, tuple[str, ...]] = {  # for those who run
    "beach": ("along a beach", "across the beach"),
    "city": ("through a city", "through the city"),
    "futuristic city": ("through a futuristic city", "through the futuristic city"),
    "forest": ("through a forest", "through the woods"),
    "village": ("through a village", "through the village"),
    "mountains": ("through the mountains",),
    "desert": ("through the desert", "across a desert"),
    "temple": ("past a temple", "in front of a temple"),
    "rooftop": ("across a rooftop", "over a rooftop"),
}
BARE_PLACES: dict[str, tuple[str, ...]] = {
    "beach": ("a beach", "a sandy beach"), "city": ("a city", "a city street"),
    "futuristic city": ("a futuristic city", "a city of the future"),
    "forest": ("a forest", "the woods"), "village": ("a village", "a small village"),
    "mountains": ("mountains", "the mountains"), "desert": ("a desert", "the desert"),
    "temple": ("a temple", "an old temple"), "rooftop": ("a rooftop", "the roof of a building"),
}  # fmt: skip
TIME_WORDS: dict[str, tuple[str, ...]] = {
    "day": ("by day", "during the day", "on a sunny day", "in the sunshine", "in daylight"),
    "night": ("at night", "by night", "in the night", "under the stars", "under the moon",
              "by moonlight"),
    "sunset": ("at sunset", "at dusk", "in the evening", "with the sun setting"),
    "storm": (
        "during a storm", "in a storm", "with lightning in the background", "in a thunderstorm",
        "with lightning", "under dark clouds with lightning", "on a stormy day",
    ),
    "snow": ("in the snow", "in winter", "while it snows", "on a snowy day", "with falling snow"),
}  # fmt: skip
KIND_WORDS: dict[str, tuple[str, ...]] = {
    "hero": ("hero", "hero", "hero", "superhero"),
    "girl": ("girl", "girl", "young girl"),
    "robot": ("robot", "robot", "friendly robot"),
    "cat": ("cat", "cat", "kitten"),
    "dog": ("dog", "dog", "puppy"),
    "bird": ("bird", "bird", "flying bird"),
    "car": ("car", "car", "little car"),
    "flying car": ("flying car", "flying car", "futuristic flying car"),
    "house": ("house", "house", "little house"),
    "tree": ("tree", "tree", "round tree"),
    "rocket": ("rocket", "rocket", "space rocket", "rocket ship"),
    "balloon": ("balloon", "hot air balloon", "balloon"),
    "boat": ("boat", "sailing boat", "boat", "sailboat"),
}
PLURALS = {
    "bird": ("birds", "flying birds", "birds in the sky"),
    "flying car": ("flying cars", "flying cars", "flying cars in the sky"),
    "balloon": ("balloons", "balloons", "hot air balloons"),
}
POSE_WORDS: dict[str, tuple[str, ...]] = {
    "standing": ("standing", "standing heroically", "standing still", "standing proudly", "stands"),
    "running": ("running", "running fast", "sprinting", "runs"),
    "posing": (
        "striking a pose", "striking a powerful pose", "posing", "striking a heroic pose",
        "with one arm raised", "strikes a pose",
    ),
    "landing": (
        "landing", "landing on one knee", "landing powerfully", "in a landing pose", "lands",
    ),
}  # fmt: skip
COSTUMES = ("in his superhero costume", "in a superhero costume", "in costume")
OPENINGS = (
    "a dramatic scene of", "a picture of", "a scene of", "an illustration of", "a drawing of",
    "a picture book page with", "a photo of",
)  # fmt: skip
ADJECTIVES = ("powerful", "brave", "beautiful", "big", "cute")
SIDE_WORDS = {
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
}
JOINS = ("and", "next to", "beside", "with")
EXTRAS = ("and", "with", "the", "a", "an", "of", "in", "three")
TRIGGER = "Minnal Murali"  # names the hero that only a LoRA knows


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def _noun(figure: Figure, rng: random.Random, colour_share: float) -> str:
    if figure.kind not in SUBJECTS:
        return TRIGGER
    colour = f"{figure.colour} " if rng.random() < colour_share else ""
    if figure.count > 1:
        number = rng.choice(("", "", "three "))
        return number + colour + rng.choice(PLURALS[figure.kind])
    adjective = rng.choice(ADJECTIVES) + " " if rng.random() < 0.08 else ""
    phrase = adjective + colour + rng.choice(KIND_WORDS[figure.kind])
    if not colour and rng.random() < 0.5:
        return f"the {phrase}"
    return f"the {phrase}" if rng.random() < 0.1 else _article(phrase)


def _figure_words(figure: Figure, rng: random.Random, colour_share: float = 0.86) -> str:
    words = _noun(figure, rng, colour_share)
    costumed = figure.kind not in SUBJECTS or figure.kind == "hero"
    if costumed and rng.random() < 0.12:
        words += f" {rng.choice(COSTUMES)}" + rng.choice((",", ""))
    if figure.pose and rng.random() < 0.85:
        words += f" {rng.choice(POSE_WORDS[figure.pose])}"
    return words


def _place_words(scene: Scene, rng: random.Random) -> str:
    if len(scene.figures) == 1 and scene.figures[0].pose == "running" and rng.random() < 0.6:
        return rng.choice(THROUGH_WORDS[scene.place])
    choices = PLACE_WORDS[scene.place]
    return choices[0] if rng.random() < 0.4 else rng.choice(choices)


def _subject_words(scene: Scene, rng: random.Random) -> str:
    if len(scene.figures) == 1:
        figure = scene.figures[0]
        words = _figure_words(figure, rng)
        if figure.side != "centre" and rng.random() < 0.6:
            words += f" {rng.choice(SIDE_WORDS[figure.side])}"
        return words
    left, right = (_figure_words(f, rng, 0.93) for f in scene.figures)
    if rng.random() < 0.3:
        left += f" {rng.choice(SIDE_WORDS['left'])}"
        right += f" {rng.choice(SIDE_WORDS['right'])}"
        first, second = (left, right) if rng.random() < 0.5 else (right, left)
        return f"{first} and {second}"
    return f"{left} {rng.choice(JOINS)} {right}"


def _settled(scene: Scene, rng: random.Random) -> str:
    """The caption that names the place first: "a futuristic city with flying cars at night"."""
    place, time = rng.choice(BARE_PLACES[scene.place]), rng.choice(TIME_WORDS[scene.time])
    if scene.figures:
        place += f" with {_subject_words(scene, rng)}"
    return f"{place} {time}" if rng.random() < 0.75 else place


def caption(scene: Scene, rng: random.Random) -> str:
    """One of the many ways to tell the scene; place and time are sometimes left out."""
    share = 0.45 if scene.figures and scene.figures[0].count > 1 else 0.07
    if not scene.figures or rng.random() < share:
        text = _settled(scene, rng)
    else:
        text = _subject_words(scene, rng)
        place = _place_words(scene, rng) if rng.random() < 0.92 else ""
        time = rng.choice(TIME_WORDS[scene.time]) if rng.random() < 0.9 else ""
        if rng.random() < 0.15:
            place, time = time, place
        text = " ".join(part for part in (text, place, time) if part)
    if rng.random() < 0.12:
        text = f"{rng.choice(OPENINGS)} {text}"
    if rng.random() < 0.1:
        text += "."
    return text[0].upper() + text[1:] if rng.random() < 0.1 else text


def plain_caption(scene: Scene) -> str:
    """The full, simplest wording, as the evaluation uses it."""

    def noun(figure: Figure) -> str:
        if figure.count > 1:
            return f"{figure.colour} {PLURALS[figure.kind][0]}"
        words = _article(f"{figure.colour} {figure.kind}")
        return f"{words} {POSE_WORDS[figure.pose][0]}" if figure.pose else words

    subjects = " and ".join(noun(f) for f in scene.figures)
    return f"{subjects} {PLACE_WORDS[scene.place][0]} {TIME_WORDS[scene.time][0]}".strip()


def all_words() -> list[str]:
    """Every lower-case word that a caption can contain, sorted."""
    tables = (
        PLACE_WORDS,
        THROUGH_WORDS,
        BARE_PLACES,
        TIME_WORDS,
        KIND_WORDS,
        PLURALS,
        POSE_WORDS,
        SIDE_WORDS,
    )
    phrases = [phrase for table in tables for choices in table.values() for phrase in choices]
    phrases += [*COSTUMES, *OPENINGS, *ADJECTIVES, *JOINS, *EXTRAS, *COLOURS, *PEOPLE]
    return sorted({word for phrase in phrases for word in re.findall(r"[a-z]+", phrase.lower())})
