"""Words of English, lightly: their stems, which of them carry meaning, and numbers in words."""

import re
import unicodedata

from sdgen.letters import plain_words


def word_set(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


STOP_WORDS = word_set(
    "a an the and or but of in on at by to from with without into onto over under as is are was "
    "were be been being am it its this that these those there here his her their my your our he "
    "she they we you i who which what while during for near not no nor so very some any each "
    "against around through across along up down out off then than too also just"
)
NEGATIONS = word_set("no not without never none nor neither lacking except minus")
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
_TEENS = "fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety hundred"
NUMBER_WORDS = {word: value for value, word in enumerate(f"{_UNITS} {_TEENS}".split())} | {
    word: 10 * (value + 2) for value, word in enumerate(_TENS.split())
}
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_ENDINGS = ("ingly", "edly", "ings", "ing", "ies", "ied", "ly", "ed", "es", "s", "e", "y")


def plain(text: str) -> str:
    """The text for comparisons: compatible forms made one, case folded."""
    return unicodedata.normalize("NFKC", text).casefold()


def words_of(text: str) -> list[str]:
    """The words, folded, in order; numbers and signs are none."""
    return plain_words().findall(plain(text))


def stem(word: str) -> str:
    """The word without its ending: "runs", "running" and "run" are one; so are "city", "cities"."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def stems(text: str) -> set[str]:
    """The stems of the words that carry meaning."""
    return {stem(word) for word in words_of(text) if word not in STOP_WORDS}


def numbers(text: str) -> set[str]:
    """Every number that is said, in digits or in words, as digits: "three" and "3" are one."""
    digits = {found.replace(",", "") for found in _NUMBER.findall(plain(text))}
    said = {str(NUMBER_WORDS[word]) for word in words_of(text) if word in NUMBER_WORDS}
    return digits | said - {"1"}  # "one" is as often no number


def is_latin(text: str) -> bool:
    """True when most letters are Latin, so that stems mean something."""
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum("LATIN" in unicodedata.name(letter, "") for letter in letters)
    return 2 * latin >= len(letters)
