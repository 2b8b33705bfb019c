"""Several requests out of one text: a prompt a line, and every combination of `{red|blue} robot`.

    expand("a {red|blue} robot", 32) == ("a red robot", "a blue robot")

A brace without "|" in it is a brace; a backslash makes a plain one of any: `\\{`, `\\|`, `\\}`.
Choices stand side by side, not inside each other.
"""

import itertools
import re
from collections.abc import Iterator

from sdgen.errors import InvalidRequest

TEXT_CHARS = 64_000  # characters of the whole text
COUNT_MAX = 10**9  # where counting ends; nobody queues that many
_PIECE = re.compile(r"\\[{|}]|[{|}]|[^\\{|}]+|\\")
_SPACES = re.compile(r"[ \t]{2,}")
_NESTED = (
    "Choices like {red|blue} cannot stand inside each other; write them side by side, or on "
    "lines of their own."
)

Part = tuple[str, ...]  # one text: plain; more: a choice of them


def expand(text: str, limit: int) -> tuple[str, ...]:
    """The prompts that a text asks for, in its order; the last choice changes first.

    Raises InvalidRequest: no words at all, too many of them, choices inside each other, more than
    `limit` prompts.
    """
    asked = count(text)
    if asked == 0:
        raise InvalidRequest("prompt", "Prompt is empty; describe the picture you want.")
    if asked > limit:
        many = f"{asked:,}" if asked < COUNT_MAX else f"more than {COUNT_MAX:,}"
        raise InvalidRequest(
            "prompt", f"The prompt asks for {many} requests; at most {limit:,} fit at once."
        )
    return tuple(prompt for line in _lines(text) for prompt in _combined(_parts(line)))


def count(text: str) -> int:
    """How many prompts a text asks for, COUNT_MAX at most; builds none of them.

    Raises InvalidRequest for too long a text, and for choices inside each other.
    """
    if len(text) > TEXT_CHARS:
        raise InvalidRequest(
            "prompt", f"Prompt is too long: at most {TEXT_CHARS:,} characters with all its lines."
        )
    total = 0
    for line in _lines(text):
        product = 1
        for part in _parts(line):
            product = min(product * len(part), COUNT_MAX)
        total += product
    return min(total, COUNT_MAX)


def looks_several(text: str) -> bool:
    """True for more than one line of words, and for choices, also wrong ones. Never raises."""
    try:
        return count(text) > 1
    except InvalidRequest:
        return True


def _lines(text: str) -> list[str]:
    return [line for line in (line.strip() for line in text.split("\n")) if line]


def _combined(parts: list[Part]) -> Iterator[str]:
    for chosen in itertools.product(*parts):
        prompt = "".join(chosen)
        # Choosing nothing, as in "a {|very} red robot", leaves the spaces around it.
        yield _SPACES.sub(" ", prompt).strip() if "" in chosen else prompt


def _parts(line: str) -> list[Part]:
    """The line in pieces. Raises InvalidRequest for choices inside each other."""
    pieces = _PIECE.findall(line)
    groups = _groups(pieces)
    parts: list[Part] = []
    at = 0
    while at < len(pieces):
        if at not in groups:
            parts.append((_unescaped(pieces[at]),))
            at += 1
            continue
        end, bars = groups[at]
        cuts = [at, *bars, end]
        options = (pieces[a + 1 : b] for a, b in itertools.pairwise(cuts))
        parts.append(tuple("".join(map(_unescaped, option)).strip() for option in options))
        at = end + 1
    return parts


def _groups(pieces: list[str]) -> dict[int, tuple[int, list[int]]]:
    """Where choices begin: their end and their bars, as places in `pieces`."""
    groups: dict[int, tuple[int, list[int]]] = {}
    open_braces: list[tuple[int, list[int]]] = []
    for place, piece in enumerate(pieces):
        if piece == "{":
            open_braces.append((place, []))
        elif piece == "|" and open_braces:
            open_braces[-1][1].append(place)
        elif piece == "}" and open_braces:
            start, bars = open_braces.pop()
            if bars:
                groups[start] = place, bars
    reached = -1
    for start in sorted(groups):
        if start < reached:
            raise InvalidRequest("prompt", _NESTED)
        reached = groups[start][0]
    return groups


def _unescaped(piece: str) -> str:
    return piece[1] if len(piece) == 2 and piece[0] == "\\" and piece[1] in "{|}" else piece
