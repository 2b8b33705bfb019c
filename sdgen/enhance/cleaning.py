"""The answer of a language model as plain text: one line, no thoughts, no wrapping, no orders."""

import re
import unicodedata

ANSWER_CHARS = 4000  # characters of an answer that are taken
NONE = "NONE"  # what a model says that finds nothing to add

_THOUGHT = re.compile(
    r"<think(?:ing)?\b[^>]*>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE
)
_THOUGHT_END = re.compile(
    r"\A.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE
)  # opened by a template
_FENCE = re.compile(r"```[\w-]*")
_TAG = re.compile(r"</?(?:text|prompt|answer|output)>", re.IGNORECASE)
_LABEL = re.compile(
    r"\A\s*(?:[*_#>\-\s]*)(?:(?:here (?:is|are)|sure|certainly|of course)\b[^:\n]{0,60}:|"
    r"(?:enhanced |rewritten |final |new )?(?:prompt|additions?|phrases|answer|output)\s*:)",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+", re.MULTILINE)
_REFUSAL = re.compile(
    r"\b(?:i can(?:no|'|’)t|i(?:'|’)?m (?:sorry|unable|not able)|i am (?:sorry|unable|not able)|"
    r"i won(?:'|’)t|i must decline|as an ai|as a language model|i apologi[sz]e|cannot assist|"
    r"can(?:'|’)?t assist|unable to assist|against (?:my|our) (?:policy|policies|guidelines))\b",
    re.IGNORECASE,
)
_QUOTES = ('""', "''", "“”", "‘’", "``", "**", "__")


def cleaned(answer: str) -> str:
    """The answer without thoughts, fences, labels, wrapping quotes, control and bidi characters,
    in one line, NFC, at most ANSWER_CHARS characters. "" when nothing is left."""
    text = _THOUGHT_END.sub("", _THOUGHT.sub(" ", answer[: 4 * ANSWER_CHARS]))
    text = _LABEL.sub("", _TAG.sub(" ", _FENCE.sub(" ", text)), count=1)
    text = _BULLET.sub("", text.strip()).strip()
    text = re.sub(r"\s*\n\s*", ", " if _looks_like_list(text) else " ", text)
    text = unicodedata.normalize("NFC", "".join(_visible(letter) for letter in text))
    text = " ".join(text.split())
    for pair in _QUOTES:
        if (
            len(text) > 2
            and text[0] == pair[0]
            and text[-1] == pair[1]
            and text.count(pair[0]) <= 2
        ):
            text = text[1:-1].strip()
    return text[:ANSWER_CHARS].strip()


def _looks_like_list(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return len(lines) > 1 and all(len(line) < 80 for line in lines)


def _visible(letter: str) -> str:
    """The letter; a space for one that steers (control, bidi); nothing for half a character."""
    kind = unicodedata.category(letter)
    if kind in ("Cc", "Zl", "Zp"):
        return " "
    if kind in ("Cs", "Co", "Cn"):
        return ""
    if kind == "Cf" and letter not in "\u200c\u200d":  # joiners that Malayalam and emoji need
        return ""
    return letter


def is_refusal(text: str) -> bool:
    """True for an answer that talks to the user and describes no picture."""
    return text.endswith("?") or bool(_REFUSAL.search(text[:300]))


def phrases_of(text: str) -> list[str]:
    """The comma list that an answer is, each phrase once; [] for NONE."""
    if text.strip(" .\"'").upper() == NONE:
        return []
    parts = (part.strip(" \t.;:*\"'“”") for part in re.split(r"[,;]|\.\s", text))
    return list(dict.fromkeys(part for part in parts if part))
