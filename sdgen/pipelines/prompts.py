"""Prompts as a text encoder reads them: weights, chunks of 75 tokens, and a count. No torch.

The notation is AUTOMATIC1111's: `(word)` weighs 1.1, `((word))` 1.21, `[word]` 1/1.1,
`(word:1.3)` 1.3; a backslash makes a bracket plain text; BREAK starts a new chunk. A bracket that
is never closed weighs all the rest; one that was never opened is plain text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ROUND, SQUARE = 1.1, 1 / 1.1  # what one pair of brackets does to a weight
COMMA_REACH = 20  # tokens; a full chunk rather ends at a comma this near to its end

_PIECE = re.compile(
    r"\\[\\()\[\]]"  # a bracket or backslash made plain
    r"|\(|\["
    r"|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)"  # the weight that ends a round bracket
    r"|\)|\]"
    r"|[^\\()\[\]:]+|.",
    re.DOTALL | re.ASCII,
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")


@dataclass(frozen=True)
class Fragment:
    """A stretch of text of one weight. `text` None: a chunk ends here (BREAK)."""

    text: str | None
    weight: float = 1.0


@dataclass(frozen=True)
class Chunk:
    """What one run of the text encoder reads."""

    ids: tuple[int, ...]  # start, tokens, end, padding: always the encoder's full length
    weights: tuple[float, ...]  # one a position; 1.0 where nobody said otherwise


def fragments(prompt: str) -> list[Fragment]:
    """The prompt cut where weights change. Without weights: one fragment with the text as it is."""
    texts: list[str | None] = []
    weights: list[float] = []
    rounds: list[int] = []  # where the open brackets of either kind began
    squares: list[int] = []

    def scale(start: int, factor: float) -> None:
        for index in range(start, len(weights)):
            weights[index] *= factor

    for match in _PIECE.finditer(prompt):
        piece = match.group()
        if piece.startswith("\\") and len(piece) == 2:
            texts.append(piece[1])
            weights.append(1.0)
        elif piece == "(":
            rounds.append(len(texts))
        elif piece == "[":
            squares.append(len(texts))
        elif match[1] is not None and rounds:
            scale(rounds.pop(), float(match[1]))
        elif piece == ")" and rounds:
            scale(rounds.pop(), ROUND)
        elif piece == "]" and squares:
            scale(squares.pop(), SQUARE)
        else:
            for number, part in enumerate(_BREAK.split(piece)):
                if number:
                    texts.append(None)
                    weights.append(1.0)
                texts.append(part)
                weights.append(1.0)
    for start in rounds:
        scale(start, ROUND)
    for start in squares:
        scale(start, SQUARE)
    return _merged(texts, weights)


def _merged(texts: list[str | None], weights: list[float]) -> list[Fragment]:
    """Neighbours of equal weight as one, so that the tokenizer sees words whole."""
    merged: list[Fragment] = []
    for text, weight in zip(texts, weights, strict=True):
        if text == "":
            continue
        last = merged[-1] if merged else None
        if text is None:
            merged.append(Fragment(None))
        elif last is not None and last.text is not None and last.weight == weight:
            merged[-1] = Fragment(last.text + text, weight)
        else:
            merged.append(Fragment(text, weight))
    return merged or [Fragment("")]


def plain_text(prompt: str) -> str:
    """The words of a prompt without the notation of weights and BREAK."""
    return " ".join(part.text for part in fragments(prompt) if part.text is not None)


def count_tokens(tokenizer: Any, prompt: str) -> int:
    """Tokens of the prompt, without its weights' notation and without start and end."""
    return sum(
        len(_token_ids(tokenizer, part.text)) for part in fragments(prompt) if part.text is not None
    )


def chunks(tokenizer: Any, prompt: str) -> list[Chunk]:
    """The whole prompt in chunks of the encoder's length (77 with start and end for CLIP).

    tokenizer: a CLIPTokenizer. Never cuts anything off; the empty prompt is one empty chunk. A full
    chunk ends behind its last comma where one is near, so that a phrase stays together.
    """
    room = tokenizer.model_max_length - 2
    comma = _token_ids(tokenizer, ",")
    done: list[list[tuple[int, float]]] = []
    current: list[tuple[int, float]] = []
    for part in fragments(prompt):
        if part.text is None:
            done.append(current)
            current = []
            continue
        for token in _token_ids(tokenizer, part.text):
            if len(current) == room:
                cut = _cut(current, comma)
                done.append(current[:cut])
                current = current[cut:]
            current.append((token, part.weight))
    done.append(current)
    return [_chunk(tokenizer, tokens) for tokens in done]


def empty_chunk(tokenizer: Any) -> Chunk:
    """The chunk of the empty prompt, which fills up the shorter of two prompts."""
    return _chunk(tokenizer, [])


def _cut(tokens: Sequence[tuple[int, float]], comma: Sequence[int]) -> int:
    """How many of a full chunk's tokens stay in it."""
    if len(comma) == 1:
        for kept in range(len(tokens), max(len(tokens) - COMMA_REACH, 0), -1):
            if tokens[kept - 1][0] == comma[0]:
                return kept
    return len(tokens)


def _chunk(tokenizer: Any, tokens: Sequence[tuple[int, float]]) -> Chunk:
    length: int = tokenizer.model_max_length
    padding = length - 2 - len(tokens)
    ids = [tokenizer.bos_token_id, *(token for token, _ in tokens), tokenizer.eos_token_id]
    weights = [1.0, *(weight for _, weight in tokens), 1.0]
    return Chunk(tuple(ids + [tokenizer.pad_token_id] * padding), tuple(weights + [1.0] * padding))


def _token_ids(tokenizer: Any, text: str) -> list[int]:
    # verbose=False: "longer than the maximum" is no news to one who cuts chunks.
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids
