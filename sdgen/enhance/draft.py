"""What an enhancement is: the draft, what it is made for, and how it differs from what was said."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from sdgen.models import ModelWords
from sdgen.request import PROMPT_CHARS

EngineName = Literal["built-in", "api", "own words"]
BUILT_IN: EngineName = "built-in"
API: EngineName = "api"
OWN_WORDS: EngineName = "own words"


@dataclass(frozen=True)
class Draft:
    """A prompt to look at, change, use or throw away.

    text: the whole prompt. added: what was added, phrase by phrase (of a rewritten prompt, its new
    words). dropped: words of the user that are not in it. engine: who wrote it; "own words" is the
    user's prompt as it was. note: a sentence on how it came to be, "" where all went as asked.
    original: what the user wrote. model: the language model's name, "" without one.
    """

    text: str
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    engine: EngineName
    note: str = ""
    original: str = ""
    model: str = ""


@dataclass(frozen=True)
class Context:
    """What a draft is made for.

    rewrites: the model reads whole sentences (a T5 or language model encodes them), so a prompt
    may be worded anew; other models read phrases, which are only ever appended.
    budget: tokens. count: tokens of a text, by the model's own tokenizer.
    words: the words of a small model, or None where it knows many. triggers: words that adapters
    listen to. seed, again: which of the possible drafts; `again` counts the wishes for another.
    """

    model: str
    budget: int
    count: Callable[[str], int] = field(repr=False)
    rewrites: bool = False
    words: ModelWords | None = field(default=None, repr=False)
    triggers: tuple[str, ...] = ()
    seed: int = 0
    again: int = 0

    def fits(self, text: str) -> bool:
        """True when the model reads all of the text."""
        return len(text) <= PROMPT_CHARS and self.count(text) <= self.budget


Change = Literal["same", "added", "dropped"]
_WORD_OR_SPACE = re.compile(r"\s+|[^\s,.;]+|[,.;]")


def difference(before: str, after: str) -> list[tuple[Change, str]]:
    """The two texts as one row of pieces: what stayed, what is new, what is gone, word by word."""
    old, new = _WORD_OR_SPACE.findall(before), _WORD_OR_SPACE.findall(after)
    pieces: list[tuple[Change, str]] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            pieces.append(("same", "".join(old[a:b])))
            continue
        if b > a:
            pieces.append(("dropped", "".join(old[a:b])))
        if d > c:
            pieces.append(("added", "".join(new[c:d])))
    return pieces
