"""Prompts as a text encoder reads them: weights, chunks of 75 tokens, and a count. No torch.

The notation is AUTOMATIC1111's: `(word)` weighs 1.1, `((word))` 1.21, `[word]` 1/1.1,
`(word:1.3)` 1.3; a backslash makes a bracket plain text; BREAK starts a new chunk. A bracket that
is never closed weighs all the rest; one that was never opened is plain text. What changes from
step to step is in prompt_editing.py; here a prompt is what is read at one step.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdgen.pipelines.prompt_editing import EditedPrompt

ROUND, SQUARE = 1.1, 1 / 1.1  # what one pair of brackets does to a weight
WEIGHT_MAX = 1000.0  # either way; beyond it half precision breaks, and nobody means it
# For recipes: goes up when the same prompt is read otherwise. 1, which no recipe names: clip skip
# on the positive prompt alone, no prompt editing, notation in Stable Diffusion 1 and 2 only.
RULES_NAME, RULES = "prompt rules", "2"
COMMA_REACH = 20  # tokens; a full chunk rather ends at a comma this near to its end

_PIECE = re.compile(
    r"\\[\\()\[\]]"  # a bracket or backslash made plain
    r"|\(|\["
    r"|:\s*+([+-]?(?:\d++(?:\.\d*+)?|\.\d++))\s*+\)"  # the weight that ends a round bracket
    r"|\)|\]"
    r"|[^\\()\[\]:]+|.",
    re.DOTALL,
)
_BREAK = re.compile(r"\bBREAK\b")

_NEW_RULES = re.compile(r"[\\(\[<]|BREAK|embedding:", re.IGNORECASE)

KnownIds = dict[str, list[int]]  # the tokens of a fragment's text


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
    """The prompt cut where weights change. Without weights: one fragment with the text as it is.

    A backslash before anything else than a bracket is left out, as in AUTOMATIC1111. Weights are
    at most WEIGHT_MAX, either way.
    """
    texts: list[str | None] = []
    scales: list[tuple[int, int, float]] = []  # from and to which text, by how much; in order
    rounds: list[int] = []  # where the open brackets of either kind began
    squares: list[int] = []
    for match in _PIECE.finditer(prompt):
        piece = match.group()
        if piece.startswith("\\"):
            texts.append(piece[1:])
        elif piece == "(":
            rounds.append(len(texts))
        elif piece == "[":
            squares.append(len(texts))
        elif match[1] is not None and rounds:
            scales.append((rounds.pop(), len(texts), float(match[1])))
        elif piece == ")" and rounds:
            scales.append((rounds.pop(), len(texts), ROUND))
        elif piece == "]" and squares:
            scales.append((squares.pop(), len(texts), SQUARE))
        else:
            before, *others = _BREAK.split(piece)
            texts.append(before.rstrip() if others else before)
            for number, part in enumerate(others, 1):
                last = number == len(others)
                texts += [None, part.lstrip() if last else part.strip()]
    scales += [(start, len(texts), ROUND) for start in rounds]
    scales += [(start, len(texts), SQUARE) for start in squares]
    return _merged(texts, _weights(len(texts), scales))


def _weights(count: int, scales: Iterable[tuple[int, int, float]]) -> list[float]:
    """One weight a text: 1.0 times all factors that hold it, the inner ones first."""
    weights = np.ones(count)
    with np.errstate(over="ignore", invalid="ignore"):
        for start, end, factor in scales:
            weights[start:end] *= min(max(factor, -WEIGHT_MAX), WEIGHT_MAX)
    weights = np.nan_to_num(weights, nan=0.0)  # nothing, however often it was multiplied
    found: list[float] = np.clip(weights, -WEIGHT_MAX, WEIGHT_MAX).tolist()
    return found


def _merged(texts: list[str | None], weights: list[float]) -> list[Fragment]:
    """Neighbours of equal weight as one, so that the tokenizer sees words whole."""
    merged: list[Fragment] = []
    run: list[str] = []
    weight = 1.0

    def end_run() -> None:
        if run:
            merged.append(Fragment("".join(run), weight))
            run.clear()

    for text, its_weight in zip(texts, weights, strict=True):
        if text is None:
            end_run()
            merged.append(Fragment(None))
        elif text:
            if its_weight != weight:
                end_run()
            weight = its_weight
            run.append(text)
    end_run()
    return merged or [Fragment("")]


def plain_text(prompt: str) -> str:
    """The words of a prompt without the notation of weights and BREAK; of prompt editing, the
    longest part of each bracket."""
    return _words(EditedPrompt(prompt).longest())


def read_otherwise_before(prompt: str) -> bool:
    """True when the rules before RULES may have read it otherwise."""
    return _NEW_RULES.search(prompt) is not None or len(prompt) > 75  # perhaps so many tokens


def every_word(prompt: str) -> str:
    """All words that some step reads, without notation."""
    return _words(EditedPrompt(prompt).every_part())


def _words(text: str) -> str:
    return " ".join(part.text for part in fragments(text) if part.text is not None)


def count_tokens(tokenizer: Any, prompt: str) -> int:
    """Tokens of the prompt, without its weights' notation and without start and end."""
    return tokens_of(tokenizer, fragments(prompt), {})


def tokens_of(tokenizer: Any, parts: Sequence[Fragment], known: KnownIds) -> int:
    """Tokens of a prompt that is cut where weights change. known: as in `chunks_of`."""
    ids = _ids_of(tokenizer, parts, known)
    return sum(len(ids[part.text]) for part in parts if part.text is not None)


def chunks(tokenizer: Any, prompt: str) -> list[Chunk]:
    """The whole prompt in chunks of the encoder's length (77 with start and end for CLIP).

    tokenizer: a CLIPTokenizer. Never cuts anything off; the empty prompt is one empty chunk. A
    chunk that is full when a token other than a comma comes ends behind its last comma where one
    is near, so that a phrase stays together (AUTOMATIC1111's comma padding).
    """
    return chunks_of(tokenizer, fragments(prompt), {})


def chunks_of(tokenizer: Any, parts: Sequence[Fragment], known: KnownIds) -> list[Chunk]:
    """The same of a prompt that is cut where weights change.

    known: what the tokenizer said before, kept by a caller whose prompts are mostly alike.
    """
    room = tokenizer.model_max_length - 2
    ids = _ids_of(tokenizer, [*parts, Fragment(",")], known)
    comma = ids[","][0] if len(ids[","]) == 1 else None
    done: list[list[tuple[int, float]]] = []
    current: list[tuple[int, float]] = []
    no_comma = -COMMA_REACH - 1  # out of reach
    last_comma = no_comma  # its place in the current chunk
    for part in parts:
        if part.text is None:
            done.append(current)
            current, last_comma = [], no_comma
            continue
        for token in ids[part.text]:
            if len(current) == room:
                near = token != comma and room - last_comma <= COMMA_REACH
                cut = last_comma + 1 if near else room
                done.append(current[:cut])
                current, last_comma = current[cut:], no_comma
            elif token == comma:
                last_comma = len(current)
            current.append((token, part.weight))
    if current or not done:
        done.append(current)
    return [_chunk(tokenizer, tokens) for tokens in done]


def empty_chunk(tokenizer: Any) -> Chunk:
    """The chunk of the empty prompt, which fills up the shorter of two prompts."""
    return _chunk(tokenizer, [])


def _chunk(tokenizer: Any, tokens: Sequence[tuple[int, float]]) -> Chunk:
    length: int = tokenizer.model_max_length
    padding = length - 2 - len(tokens)
    ids = [tokenizer.bos_token_id, *(token for token, _ in tokens), tokenizer.eos_token_id]
    weights = [1.0, *(weight for _, weight in tokens), 1.0]
    return Chunk(tuple(ids + [tokenizer.pad_token_id] * padding), tuple(weights + [1.0] * padding))


def _ids_of(tokenizer: Any, parts: Iterable[Fragment], known: KnownIds) -> KnownIds:
    """`known` with the tokens of all these parts, asked for in one call."""
    new = [text for text in dict.fromkeys(part.text for part in parts) if text is not None]
    new = [text for text in new if text not in known]
    if new:
        # verbose=False: "longer than the maximum" is no news to one who cuts chunks.
        found = tokenizer(new, add_special_tokens=False, verbose=False)["input_ids"]
        known.update(zip(new, found, strict=True))
    return known
