"""Keeps what the user said. No draft leaves this package without having passed here.

`protected` finds what must survive letter by letter; `appended` adds phrases behind the user's
untouched text; `losses` tells what a rewritten text lost, and `repaired` puts it back.
"""

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sdgen.enhance.draft import Context
from sdgen.enhance.language import (
    NEGATIONS,
    NUMBER_WORDS,
    STOP_WORDS,
    is_latin,
    numbers,
    plain,
    stem,
    stems,
    words_of,
)
from sdgen.letters import word_signs
from sdgen.pipelines.prompt_editing import EditedPrompt

KEPT_SHARE = 0.9  # of the content words of a prompt, by stem, that a rewritten one must have
_PATTERNS = (
    re.compile(r"<[^<>\n]{1,200}>"),  # <lora:name:0.8>
    re.compile(r"\([^()\n]*:\s*[-+]?\d*\.?\d+\s*\)"),  # (word:1.2)
    re.compile(r'"[^"\n]+"|“[^”\n]+”|«[^»\n]+»'),  # what is to be written in the picture
    re.compile(r"#[0-9a-fA-F]{3,8}\b"),
    re.compile(r"\d+(?:[.,:]\d+)*"),
)
_SENTENCE_START = re.compile(r"(?:^|[.!?:\n\"“(])\s*$")
_SYNTAX = re.compile(r"[<>()\[\]{}|\\]|\bBREAK\b|\bAND\b")


@dataclass(frozen=True)
class Losses:
    """What a rewritten text lacks of the prompt. `small`: repeating the strings repairs it."""

    strings: tuple[str, ...]
    words: tuple[str, ...]
    numbers: tuple[str, ...]
    too_long: bool
    negated: tuple[str, ...]

    @property
    def any(self) -> bool:
        return bool(self.strings) or not self.small

    @property
    def small(self) -> bool:
        return not (self.words or self.numbers or self.too_long or self.negated)


def protected(prompt: str, triggers: Iterable[str] = ()) -> tuple[str, ...]:
    """What must be in every draft, letter by letter: trigger words, prompt editing, <tags>,
    weights, quoted text, numbers, colours as #rrggbb, and names. Each once, in order."""
    found = [trigger.strip() for trigger in triggers if trigger.strip()]
    found += [bracket for bracket in EditedPrompt(prompt).brackets() if bracket in prompt]
    for pattern in _PATTERNS:
        found += pattern.findall(prompt)
    return tuple(dict.fromkeys([*found, *_names(prompt)]))


@functools.cache
def _name() -> re.Pattern[str]:
    """A word that may be a name."""
    return re.compile(rf"[^\W\d_][{word_signs()}'’-]*")


def _names(prompt: str) -> list[str]:
    """Words with a capital that no sentence asked for; neighbours are one name."""
    names: list[str] = []
    last = None
    for match in _name().finditer(prompt):
        word = match[0]
        capital = word[0].isupper() and word[0].lower() != word[0]
        first = _SENTENCE_START.search(prompt[max(0, match.start() - 4) : match.start()])
        named = capital and (not first or (word.isupper() and len(word) > 1))
        if capital and first and not named:  # "Minnal Murali on a roof": a name from its start on
            rest = _name().match(prompt, match.end() + 1)
            follows = prompt[match.end() : match.end() + 1] == " "
            named = bool(follows and rest and rest[0][0].isupper())
            named = named and word.lower() not in STOP_WORDS
        if not named:
            last = None
        elif last is not None and prompt[last.end() : match.start()] == " ":
            names[-1] = f"{names[-1]} {word}"
            last = match
        else:
            names.append(word)
            last = match
    return names


def with_triggers(prompt: str, context: Context) -> str:
    """The user's text with the trigger words that it lacks behind it; never taken away again."""
    text = prompt
    for trigger in context.triggers:
        if trigger.strip() and trigger.strip() not in text:
            text = joined(text, trigger.strip())
    return text


def joined(text: str, phrase: str) -> str:
    """A phrase behind a text, after a comma where there is none."""
    text = text.rstrip()
    if not text:
        return phrase
    return f"{text} {phrase}" if text[-1] in ",;:.!?" else f"{text}, {phrase}"


def behind(text: str, phrase: str, context: Context) -> str:
    """A phrase behind a text as the model was taught: a small one in captions that run on, such
    as "a red robot on a beach at sunset"."""
    return joined(text, phrase) if context.words is None else f"{text.rstrip()} {phrase}"


def appended(prompt: str, phrases: Sequence[str], context: Context) -> tuple[str, tuple[str, ...]]:
    """The user's text, untouched, with those phrases behind it that fit; and which they are."""
    text = with_triggers(prompt, context)
    kept: list[str] = []
    for phrase in phrases:
        longer = behind(text, phrase, context)
        if context.fits(longer):
            text = longer
            kept.append(phrase)
    return text, tuple(kept)


def harmless(phrase: str, prompt: str) -> bool:
    """True for a phrase of a language model that may be appended to the prompt.

    It says something new, counts nothing, negates nothing, and holds no notation that would be
    acted upon.
    """
    if not phrase or len(phrase) > 120 or _SYNTAX.search(phrase) or '"' in phrase:
        return False
    words = words_of(phrase)
    if not words or len(words) > 12 or any(word in NEGATIONS for word in words):
        return False
    if re.search(r"\d", phrase) or any(word in NUMBER_WORDS for word in words):
        return False
    meant = [word for word in words if word not in STOP_WORDS]
    return bool(meant) and stem(meant[-1]) not in stems(prompt)


def losses(prompt: str, text: str, context: Context) -> Losses:
    """What a rewritten text lost of the prompt."""
    strings = tuple(s for s in protected(prompt, context.triggers) if s not in text)
    here = numbers(text)
    asked = numbers(_without(prompt, [s for s in strings if not s[0].isdigit()]))
    gone = tuple(sorted(number for number in asked if number not in here))
    return Losses(
        strings=strings,
        words=_lost_words(_without(prompt, strings), text),
        numbers=gone,
        too_long=not context.fits(text),
        negated=_negated(prompt, text),
    )


def _without(prompt: str, strings: Iterable[str]) -> str:
    """The prompt without what is put back letter by letter."""
    for string in strings:
        prompt = prompt.replace(string, " ")
    return prompt


def _lost_words(prompt: str, text: str) -> tuple[str, ...]:
    """The content words that are missing, where they are too many or one says what it is about.

    Scripts without stems are not judged by words; their protected strings are.
    """
    if not is_latin(prompt):
        return ()
    there = stems(text)
    asked = [word for word in dict.fromkeys(words_of(prompt)) if word not in STOP_WORDS]
    asked = [word for word in asked if word not in NUMBER_WORDS]
    missing = tuple(word for word in asked if stem(word) not in there)
    subject = set(words_of(prompt.partition(",")[0]))
    if len(missing) > (1 - KEPT_SHARE) * len(asked) or subject & set(missing):
        return missing
    return ()


def _negated(prompt: str, text: str) -> tuple[str, ...]:
    """Words that the user said and the text says not to be there."""
    if not is_latin(prompt):
        return ()
    before, found = words_of(prompt), []
    after = words_of(text)
    for at, word in enumerate(after):
        if word not in NEGATIONS or (at and after[at - 1 : at + 2] == before[at - 1 : at + 2]):
            continue
        for near in after[at + 1 : at + 4]:
            if near in before and near not in STOP_WORDS and word not in before:
                found.append(near)
    return tuple(dict.fromkeys(found))


def repaired(text: str, lost: Losses, context: Context) -> str | None:
    """The text with the lost strings behind it, or None where that is not enough."""
    if not lost.small:
        return None
    for string in lost.strings:
        said = next((word for word, value in NUMBER_WORDS.items() if str(value) == string), "")
        number = re.search(rf"\b{said}\b", text, re.IGNORECASE) if said else None
        if number:  # "two owls" where the user wrote "2 owls"
            text = text[: number.start()] + string + text[number.end() :]
        else:
            text = joined(text, string)
    return text if context.fits(text) else None


def dropped_words(prompt: str, text: str) -> tuple[str, ...]:
    """The user's content words that the text does not have, by stem."""
    there = stems(text)
    return tuple(
        word
        for word in dict.fromkeys(words_of(prompt))
        if word not in STOP_WORDS and stem(word) not in there and word not in plain(text)
    )
