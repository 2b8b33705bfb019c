"""A scene in words, in the many ways in which people write.

`caption` words what is told (`slots.leave_out`), no more and no less: sentences with place and time
in any order, lists with commas, "there is", passive, places first. HELD_OUT forms are kept for the
evaluation. `misspelt` makes a typo of one letter.
"""

import random
import re
from collections.abc import Callable

from tools.picturebook.edition2 import words
from tools.picturebook.edition2.scene import Figure, Scene
from tools.picturebook.edition2.words import plural, with_article

TYPO_SHARE = 0.12
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _adjectives(figure: Figure, rng: random.Random) -> str:
    found = [rng.choice(words.MOODS[figure.mood])] if figure.mood else []
    if figure.size in words.SIZES:
        found.append(rng.choice(words.SIZES[figure.size]))
    if rng.random() < 0.25:
        found.reverse()
    if figure.colour:
        found.append(rng.choice(words.COLOURS[figure.colour]))
    return " ".join(found)


def noun_phrase(figure: Figure, rng: random.Random, bare: bool = False) -> str:
    """ "a happy little blue cat with a hat", "three red cars"; `bare` has no article."""
    plain = rng.random() < 0.6
    noun = words.KINDS[figure.kind][0] if plain else rng.choice(words.KINDS[figure.kind])
    many = figure.count != 1
    if many:
        noun = plural(noun)
    adjectives = _adjectives(figure, rng)
    if figure.colour and not figure.mood and not many and rng.random() < 0.06:
        phrase = f"{noun} that is {adjectives}"
    else:
        phrase = f"{adjectives} {noun}".strip()
    if figure.count > 1:
        phrase = f"{rng.choice(words.NUMBERS[figure.count])} {phrase}"
    elif not many and not bare:
        phrase = f"the {phrase}" if rng.random() < 0.12 else with_article(phrase)
    after = [rng.choice(words.ACCESSORIES[figure.accessory])] if figure.accessory else []
    if figure.pose:
        after.append(rng.choice(words.POSES[figure.pose]))
    rng.shuffle(after)
    return " ".join([phrase, *after])


def _joined(scene: Scene, rng: random.Random, bare: bool = False) -> str:
    """All figures and how they are to each other."""
    phrases = [noun_phrase(figure, rng, bare) for figure in scene.figures]
    if len(phrases) < 2:
        return phrases[0] if phrases else ""
    if len(phrases) == 3:
        return rng.choice(("{}, {} and {}", "{} and {} and {}", "{}, {}, {}")).format(*phrases)
    first, second = phrases
    lot = rng.random()
    if scene.relation == "beside":
        if lot < 0.1:
            return f"{first} on the left and {second} on the right"
        if lot < 0.18:
            return f"{second} to the right of {first}"
        if lot < 0.22:
            return f"on the left {first}, on the right {second}"
        return f"{first} {rng.choice(words.BESIDE)} {second}"
    if scene.relation == "on":
        if lot < 0.15:
            return rng.choice((f"{second} carrying {first}", f"{second} with {first} on top"))
        return f"{first} {rng.choice(words.ON)} {second}"
    if scene.relation == "behind":
        if lot < 0.3:
            return f"{second} in front of {first}"
        return f"{first} {rng.choice(words.BEHIND)} {second}"
    if scene.relation == "under":
        if lot < 0.15:
            return f"{second} above {first}"
        return f"{first} {rng.choice(words.UNDER)} {second}"
    if lot < 0.25:
        return f"{second} {rng.choice(words.UNDER)} {first}"
    if lot < 0.35:
        return f"{second} with {first} {rng.choice(('overhead', 'flying over it'))}"
    return f"{first} {rng.choice(words.OVER)} {second}"


def _place(scene: Scene, rng: random.Random) -> str:
    choices = words.PLACES[scene.place]
    return choices[0] if rng.random() < 0.4 else rng.choice(choices)


def _time(scene: Scene, rng: random.Random) -> str:
    choices = words.TIMES[scene.time]
    return choices[0] if rng.random() < 0.3 else rng.choice(choices)


def _around(scene: Scene, rng: random.Random) -> list[str]:
    """Place and time with their prepositions, those that are told, in either order."""
    parts = [_place(scene, rng)] if scene.place else []
    parts += [_time(scene, rng)] if scene.time else []
    if rng.random() < 0.2:
        parts.reverse()
    return parts


def _sentence(scene: Scene, rng: random.Random) -> str:
    return " ".join([_joined(scene, rng), *_around(scene, rng)]).strip()


def _around_first(scene: Scene, rng: random.Random) -> str:
    """ "at night on a beach, a blue cat"."""
    around = " ".join(_around(scene, rng))
    gap = rng.choice((", ", " ")) if around else ""
    return f"{around}{gap}{_joined(scene, rng)}"


def _place_first(scene: Scene, rng: random.Random) -> str:
    """ "a beach with a blue cat at night"."""
    if not scene.place:
        return _sentence(scene, rng)
    place = rng.choice(words.BARE_PLACES[scene.place])
    time = f" {_time(scene, rng)}" if scene.time else ""
    figures = f" with {_joined(scene, rng)}" if scene.figures else ""
    return place + figures + time if rng.random() < 0.5 else place + time + figures


def _list(scene: Scene, rng: random.Random) -> str:
    """ "blue cat, beach, night"."""
    parts = [_joined(scene, rng, bare=rng.random() < 0.7)] if scene.figures else []
    if scene.place:
        lot = rng.random() < 0.6
        place = rng.choice(words.BARE_PLACES[scene.place]) if lot else _place(scene, rng)
        parts.append(re.sub(r"^(a|an|the) ", "", place) if rng.random() < 0.7 else place)
    if scene.time:
        lot = rng.random() < 0.7
        parts.append(rng.choice(words.BARE_TIMES[scene.time]) if lot else _time(scene, rng))
    if rng.random() < 0.3:
        rng.shuffle(parts)
    if rng.random() < 0.25:
        parts.append(rng.choice(words.STYLES))
    return rng.choice((", ", ", ", ",")).join(parts)


def _there_is(scene: Scene, rng: random.Random) -> str:
    many = len(scene.figures) > 1 or (scene.figures and scene.figures[0].count != 1)
    return f"there {'are' if many else 'is'} {_sentence(scene, rng)}"


def _passive(scene: Scene, rng: random.Random) -> str:
    many = len(scene.figures) > 1 or (scene.figures and scene.figures[0].count != 1)
    verb = rng.choice(("seen", "shown", "drawn"))
    around = " ".join(_around(scene, rng))
    return f"{_joined(scene, rng)} {'are' if many else 'is'} {verb} {around}".strip()


FORMS: tuple[tuple[Callable[[Scene, random.Random], str], float], ...] = (
    (_sentence, 5.0),
    (_around_first, 1.0),
    (_place_first, 1.5),
    (_list, 2.0),
    (_there_is, 0.4),
    (_passive, 0.4),
)


def _wish(scene: Scene, rng: random.Random) -> str:
    return f"please draw {_sentence(scene, rng)}"


def _found(scene: Scene, rng: random.Random) -> str:
    around = " ".join(_around(scene, rng))
    return f"{around} there is {_joined(scene, rng)}" if around else _sentence(scene, rng)


def _place_is_shown(scene: Scene, rng: random.Random) -> str:
    if not scene.place:
        return _passive(scene, rng)
    place = rng.choice(words.BARE_PLACES[scene.place])
    time = f" {_time(scene, rng)}" if scene.time else ""
    return f"{place} is shown{time}, with {_joined(scene, rng)}"


HELD_OUT: tuple[Callable[[Scene, random.Random], str], ...] = (_wish, _found, _place_is_shown)


def misspelt(text: str, rng: random.Random) -> str:
    """One letter of one word of four or more left out, doubled, swapped or replaced."""
    long = list(re.finditer(r"[a-zA-Z]{4,}", text))
    if not long:
        return text
    at = rng.choice(long)
    word, i = at.group(), rng.randrange(1, len(at.group()) - 1)
    wrong = rng.choice((
        word[:i] + word[i + 1 :],
        word[:i] + word[i] + word[i:],
        word[:i] + word[i + 1] + word[i] + word[i + 2 :],
        word[:i] + rng.choice(LETTERS) + word[i + 1 :],
    ))  # fmt: skip
    return text[: at.start()] + wrong + text[at.end() :]


def caption(told: Scene | None, rng: random.Random, held_out: bool = False) -> str:
    """One of the many ways to say what is told; nothing told is an empty text."""
    if told is None:
        return ""
    if held_out:
        return rng.choice(HELD_OUT)(told, rng) if told.figures else _place_first(told, rng)
    if not told.figures:
        text = rng.choice((_place_first, _list))(told, rng)
    else:
        text = rng.choices([f for f, _ in FORMS], [w for _, w in FORMS])[0](told, rng)
    if rng.random() < 0.14:
        text = f"{rng.choice(words.OPENINGS)} {text}"
    if rng.random() < TYPO_SHARE:
        text = misspelt(text, rng)
    if rng.random() < 0.1:
        text += "."
    lot = rng.random()
    return text.upper() if lot < 0.03 else text[:1].upper() + text[1:] if lot < 0.12 else text


def plain_caption(scene: Scene) -> str:
    """The full, simplest wording, as the evaluation uses it."""
    rng = _First()
    return " ".join(
        part
        for part in (_joined(scene, rng), words.PLACES[scene.place][0], words.TIMES[scene.time][0])
        if part
    )


class _First(random.Random):
    """Always the first choice, and no variation."""

    def random(self) -> float:
        return 0.5

    def choice(self, seq):  # type: ignore[no-untyped-def]
        return seq[0]

    def shuffle(self, x) -> None:  # type: ignore[no-untyped-def]
        return None


def all_words() -> list[str]:
    """Every lower-case word that a caption can contain, sorted."""
    found: set[str] = set()
    tables = (words.KINDS, words.COLOURS, words.SIZES, words.MOODS, words.ACCESSORIES, words.POSES,
              words.PLACES, words.BARE_PLACES, words.TIMES, words.BARE_TIMES)  # fmt: skip
    phrases = [p for table in tables for choices in table.values() for p in choices]
    phrases += [plural(noun) for choices in words.KINDS.values() for noun in choices]
    phrases += [*words.OPENINGS, *words.BESIDE, *words.ON, *words.BEHIND, *words.UNDER, *words.OVER,
                *words.STYLES, *(n for ns in words.NUMBERS.values() for n in ns)]  # fmt: skip
    phrases += ["a an the and with that is are there seen shown drawn please draw left right on of",
                "carrying top in front overhead flying over it to above"]  # fmt: skip
    for phrase in phrases:
        found |= set(re.findall(r"[a-z]+", phrase.lower()))
    return sorted(found)
