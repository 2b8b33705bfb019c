"""Several requests out of one text: a prompt a line, and every combination of `{red|blue} robot`.

    expand("a {red|blue} robot", 32) == ("a red robot", "a blue robot")

A brace without "|" in it is a brace; a backslash makes a plain one of any: `\\{`, `\\|`, `\\}`.
Choices stand side by side, not inside each other. What stands in square brackets is left to
sdgen.pipelines.prompt_editing: the bars of `{[cat|dog]|owl}` are one of each kind.
"""

import itertools
import re
from collections.abc import Iterator

from sdgen.errors import InvalidRequest

TEXT_CHARS = 64_000  # characters of the whole text
COUNT_MAX = 10**9  # where counting ends; nobody queues that many
_PIECE = re.compile(r"\\[{|}\[\]]|[{|}\[\]]|[^\\{|}\[\]]+|\\")
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
    groups, brackets = _groups(pieces)
    plain = _plain(pieces, brackets)
    parts: list[Part] = []
    at = 0
    while at < len(pieces):
        if at not in groups:
            parts.append((plain[at],))
            at += 1
            continue
        end, bars = groups[at]
        cuts = [at, *bars, end]
        options = (plain[a + 1 : b] for a, b in itertools.pairwise(cuts))
        parts.append(tuple("".join(option).strip() for option in options))
        at = end + 1
    return parts


def _groups(pieces: list[str]) -> tuple[dict[int, tuple[int, list[int]]], list[tuple[int, int]]]:
    """Where choices begin: their end and their bars, as places in `pieces`; and the square
    brackets that are closed, from and to."""
    groups: dict[int, tuple[int, list[int]]] = {}
    brackets: list[tuple[int, int]] = []
    opened: list[tuple[int, list[int]]] = []
    braces = 0  # of those that are open
    for place, piece in enumerate(pieces):
        if piece in ("{", "["):
            opened.append((place, []))
            braces += piece == "{"
        elif piece == "|" and opened:
            opened[-1][1].append(place)
        elif piece == "]" and opened and pieces[opened[-1][0]] == "[":
            brackets.append((opened.pop()[0], place))
        elif piece == "}" and braces:
            start, bars = opened.pop()
            found = [bars]
            while pieces[start] == "[":  # never closed, so it is text, and its bars are ours
                start, bars = opened.pop()
                found.append(bars)
            braces -= 1
            if any(found):
                groups[start] = place, list(itertools.chain(*reversed(found)))
    reached = -1
    for start in sorted(groups):
        if start < reached:
            raise InvalidRequest("prompt", _NESTED)
        reached = groups[start][0]
    return groups, brackets


def _plain(pieces: list[str], brackets: list[tuple[int, int]]) -> list[str]:
    """The pieces without the backslashes that were for us; in square brackets `\\|` is not."""
    depths = [0] * (len(pieces) + 1)
    for start, end in brackets:
        depths[start] += 1
        depths[end] -= 1
    inside = itertools.accumulate(depths)
    return [
        piece if piece == r"\|" and depth else _unescaped(piece)
        for piece, depth in zip(pieces, inside, strict=False)
    ]


def _unescaped(piece: str) -> str:
    return piece[1] if len(piece) == 2 and piece[0] == "\\" and piece[1] in "{|}" else piece
