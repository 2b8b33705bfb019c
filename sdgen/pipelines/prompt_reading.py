"""What the text encoders read of a request, step by step, and what its user should know. No torch.

One text a step for each of both prompts, cut into chunks, all equally long; sentences on what is
read in parts, left out, or is no notation here. Every pipeline with CLIP asks here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sdgen.errors import InvalidRequest
from sdgen.pipelines.prompt_editing import EditedPrompt
from sdgen.pipelines.prompts import (
    WEIGHT_MAX,
    Chunk,
    Fragment,
    KnownIds,
    chunks_of,
    empty_chunk,
    fragments,
    tokens_of,
)
from sdgen.request import GenerateRequest

TEXTS_MAX = 64  # different texts of one prompt; each is encoded
CHUNKS_MAX = 1024  # of all texts of a request together, each as long as the longest
_SHOWN = 3  # of what is left out; with so many characters each
_SHOWN_CHARS = 60

_AND = re.compile(r"\bAND\b")
_PLAINLY_NOTATION = re.compile(
    r":\s*+[+-]?(?:\d++(?:\.\d*+)?|\.\d++)\s*+\)|\\[()\[\]]|\bBREAK\b|" + _AND.pattern
)


def has_notation(prompt: str) -> bool:
    """True for a prompt that means more than its words to a model with CLIP; brackets alone do
    not tell."""
    if _PLAINLY_NOTATION.search(prompt):
        return True
    edited = EditedPrompt(prompt)
    return edited.changes or bool(edited.networks or edited.embeddings)


@dataclass(frozen=True)
class PromptReading:
    """One prompt of a request: `field` is its name there."""

    field: str
    prompt: str
    steps: int

    @property
    def name(self) -> str:
        """As sentences call it."""
        return self.field.replace("_", " ")

    @cached_property
    def edited(self) -> EditedPrompt:
        """The prompt, read."""
        return EditedPrompt(self.prompt)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """What is read at each step. Raises InvalidRequest for too many different texts."""
        texts = self.edited.texts(self.steps)
        if len(different := set(texts)) > TEXTS_MAX:
            raise InvalidRequest(
                self.field,
                f"The {self.name} becomes {len(different)} different texts in {self.steps} steps; "
                f"at most {TEXTS_MAX} fit. Please take some alternatives out of its brackets.",
            )
        return texts

    @cached_property
    def cut(self) -> dict[str, list[Fragment]]:
        """The different texts, cut where weights change."""
        return {text: fragments(text) for text in dict.fromkeys(self.texts)}

    def remarks(self) -> list[str]:
        """Sentences on notation that is not understood or not followed."""
        sentences: list[str] = []
        if self.edited.networks:
            sentences.append(
                f"Left out of the {self.name}: {_listed(self.edited.networks)}; sdgen follows "
                "<lora:name:0.8> in the prompt, and no other such tag."
            )
        if self.edited.embeddings:
            sentences.append(
                f"Left out of the {self.name}: {_listed(self.edited.embeddings)}; sdgen loads no "
                "embeddings (textual inversion)."
            )
        if _AND.search(self.prompt):
            sentences.append(
                f"AND in the {self.name} is read as a word: sdgen does not compose several prompts."
            )
        if self.edited.unreadable:
            sentences.append(
                f"Read as words in the {self.name}: {_listed(self.edited.unreadable)}; prompt "
                "editing is [from:to:when] with a step or a share of the steps at its end, as in "
                "[cat:dog:0.5], alternation is [cat|dog]."
            )
        weights = (abs(part.weight) for parts in self.cut.values() for part in parts)
        if max(weights) >= WEIGHT_MAX:
            sentences.append(
                f"Weights in the {self.name} go up to {WEIGHT_MAX:,.0f}; larger ones count as that."
            )
        return sentences


@dataclass(frozen=True)
class RequestReading:
    """Both prompts of a request. negative None: it has no effect."""

    positive: PromptReading
    negative: PromptReading | None

    @classmethod
    def of(cls, request: GenerateRequest, guided: bool) -> "RequestReading":
        """guided: the negative prompt counts."""
        return cls(
            PromptReading("prompt", request.prompt, request.steps),
            PromptReading("negative_prompt", request.negative_prompt, request.steps)
            if guided
            else None,
        )

    @property
    def changes(self) -> bool:
        """True when some step reads something else than the first."""
        return any(len(set(prompt.texts)) > 1 for prompt in self.prompts)

    @property
    def prompts(self) -> tuple[PromptReading, ...]:
        """Those that count."""
        return (self.positive,) if self.negative is None else (self.positive, self.negative)

    def chunks(self, tokenizer: Any) -> dict[str, list[Chunk]]:
        """The chunks of every text, all equally many: empty ones fill up the shorter texts.

        Raises InvalidRequest where that is too much.
        """
        found = self._cut(tokenizer, {})
        longest = max(map(len, found.values()))
        filler = empty_chunk(tokenizer)
        return {text: part + [filler] * (longest - len(part)) for text, part in found.items()}

    def sentences(self, tokenizer: Any) -> list[str]:
        """What the user should know. Raises InvalidRequest as `chunks` and `PromptReading.texts`
        do."""
        known: KnownIds = {}
        found = self._cut(tokenizer, known)
        room = tokenizer.model_max_length - 2
        sentences: list[str] = []
        for prompt in self.prompts:
            cut = prompt.cut
            tokens = max(tokens_of(tokenizer, cut[text], known) for text in cut)
            if tokens > room:
                parts = max(len(found[text]) for text in cut)
                sentences.append(
                    f"The {prompt.name} has {tokens} tokens; the model reads {room} at a time, so "
                    f"it is read in {parts} parts. Nothing is cut off."
                )
            sentences += prompt.remarks()
        return sentences

    def _cut(self, tokenizer: Any, known: KnownIds) -> dict[str, list[Chunk]]:
        """The chunks of every text, as many as it has."""
        found: dict[str, list[Chunk]] = {}
        different = len({text for prompt in self.prompts for text in prompt.texts})
        for prompt in self.prompts:
            for text, cut in prompt.cut.items():
                if text not in found:
                    found[text] = chunks_of(tokenizer, cut, known)
                parts = len(found[text])
                if parts * different > CHUNKS_MAX:
                    change = f" and becomes {different} different texts" if different > 2 else ""
                    raise InvalidRequest(
                        prompt.field,
                        f"The {prompt.name} is read in {parts} parts{change}, which is too much "
                        f"for one picture: at most {CHUNKS_MAX // different} parts fit. Please "
                        "shorten it.",
                    )
        return found


def _listed(found: Iterable[str]) -> str:
    """A few of them in quotes, and how many more there are."""
    each = list(dict.fromkeys(found))
    shown = [
        f"“{one if len(one) <= _SHOWN_CHARS else one[: _SHOWN_CHARS - 1] + '…'}”"
        for one in each[:_SHOWN]
    ]
    more = [f"{len(each) - _SHOWN:,} more"] if len(each) > _SHOWN else []
    return ", ".join(shown + more)
