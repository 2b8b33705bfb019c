"""Prompts that change while a picture is drawn. No torch.

    [from:to:when]   `from` until the step `when`, then `to`; [to:when] adds, [from::when] removes
    [a|b|c]          each step another one, beginning with the first

The notation and its rules are AUTOMATIC1111's (its `get_learned_conditioning_prompt_schedules`): a
`when` with a point in it is a share of the steps, rounded down, one without counts steps, the
first being 1. They stand inside each other and inside weights. A bracket that does not fit the
rules is text: so is one that holds a bracket of either kind without its partner, or a second colon
in round brackets. A bar or a colon behind a backslash is text too.
What other programs would load files for, and sdgen does not, is left out of the text.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_TOKEN = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]+|\\", re.DOTALL)
_WHEN = re.compile(
    r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*\Z",
)
# AUTOMATIC1111's extra networks and ComfyUI's textual inversions.
_NETWORK = re.compile(r"<\s*+\w++\s*+:[^<>]+>")
_EMBEDDING = re.compile(r"(?<![\w:])embedding:[^\s,:;|<>()\[\]{}]+", re.IGNORECASE)
_PARTNER = {")": "(", "]": "["}


@dataclass(frozen=True)
class _Change:
    """A bracket whose text depends on the step; its parts and its end as places of tokens.

    starts, ends: of each part. when: of prompt editing, as it is written; "" for alternation.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    end: int  # of the closing bracket
    when: str

    def part(self, step: int, steps: int) -> int | None:
        """Which part is read at a step, counted from 1; None: nothing."""
        if not self.when:
            return (step - 1) % len(self.starts)
        early = step <= self.last_step(steps)
        if len(self.starts) == 1:
            return None if early else 0
        return 0 if early else 1

    def last_step(self, steps: int) -> int:
        """The last step of what comes before `when`; below 1: no step has it."""
        when = float(self.when)
        if "." in self.when:
            when *= steps
        return int(min(max(when, 0.0), steps))


Choice = Callable[[_Change], int | None]


class EditedPrompt:
    """One prompt, read once; what it says at each step. Costs as much as the text is long.

    unreadable: brackets that look like prompt editing and are none, as they are written.
    networks, embeddings: what is left out.
    """

    def __init__(self, prompt: str) -> None:
        self.unreadable: list[str] = []
        self.networks: list[str] = _NETWORK.findall(prompt)
        prompt = _NETWORK.sub("", prompt)
        self.embeddings: list[str] = _EMBEDDING.findall(prompt)
        self._prompt = _EMBEDDING.sub("", prompt)
        self._tokens: list[str] = _TOKEN.findall(self._prompt)
        self._changes: dict[int, _Change] = {}  # by the place of the opening bracket
        self._read()

    @property
    def changes(self) -> bool:
        """True when its text may depend on the step."""
        return bool(self._changes)

    def texts(self, steps: int) -> tuple[str, ...]:
        """What is read at each step; equal texts are the same object."""
        if not self._changes:
            return (self._prompt,) * steps
        known: dict[str, str] = {}
        texts = (self._text(step, steps) for step in range(1, steps + 1))
        return tuple(known.setdefault(text, text) for text in texts)

    def longest(self) -> str:
        """The text with the longest part of every bracket, by characters as they are written."""
        if not self._changes:
            return self._prompt
        places = [0]
        for token in self._tokens:
            places.append(places[-1] + len(token))

        def longest(change: _Change) -> int | None:
            spans = [
                places[end] - places[start]
                for start, end in zip(change.starts, change.ends, strict=True)
            ]
            return spans.index(max(spans))

        return "".join(self._chosen(longest))

    def brackets(self) -> list[str]:
        """The outermost brackets that change, as they are written but for what is left out."""
        found: list[str] = []
        reached = -1
        for start in sorted(self._changes):
            if start > reached:
                reached = self._changes[start].end
                found.append("".join(self._tokens[start : reached + 1]))
        return found

    def every_part(self) -> str:
        """The text with all parts of every bracket side by side, for whoever looks at words."""
        signs = {change.end for change in self._changes.values()}
        for start, change in self._changes.items():
            signs |= {start, *change.ends}
            if change.when:
                signs |= set(range(change.ends[-1], change.end))
        return "".join(" " if place in signs else token for place, token in enumerate(self._tokens))

    def _text(self, step: int, steps: int) -> str:
        return "".join(self._chosen(lambda change: change.part(step, steps)))

    def _chosen(self, choose: Choice) -> Iterator[str]:
        """The tokens that are read, when `choose` names the part of each bracket."""
        at, stop = 0, len(self._tokens)
        after: list[tuple[int, int]] = []  # where reading goes on behind a part, and up to where
        while True:
            while at < stop:
                change = self._changes.get(at)
                if change is None:
                    yield self._tokens[at]
                    at += 1
                    continue
                part = choose(change)
                if part is None:
                    at = change.end + 1
                    continue
                after.append((change.end + 1, stop))
                at, stop = change.starts[part], change.ends[part]
            if not after:
                return
            at, stop = after.pop()

    def _read(self) -> None:
        """Find the brackets that change. What cannot stand inside one ends all that are open."""
        opened: list[tuple[int, list[int]]] = []  # their places, and those of their : and |
        for place, token in enumerate(self._tokens):
            if token in ("(", "["):
                opened.append((place, []))
            elif token in (":", "|") and opened:
                if token == ":" or self._tokens[opened[-1][0]] == "[":
                    opened[-1][1].append(place)
            elif token in (")", "]") and opened:
                start, marks = opened.pop()
                fits = self._tokens[start] == _PARTNER[token]
                if token == ")":
                    fits = fits and len(marks) <= 1
                elif fits and marks:
                    fits = self._change(start, marks, place)
                if not fits:
                    opened.clear()

    def _change(self, start: int, marks: list[int], end: int) -> bool:
        """Keep square brackets that change; False where they do not fit the rules."""
        signs = {self._tokens[mark] for mark in marks}
        starts = (start + 1, *(mark + 1 for mark in marks))
        ends = (*marks, end)
        if signs == {"|"}:
            self._changes[start] = _Change(starts, ends, end, "")
            return True
        last = self._tokens[starts[-1] : end]
        when = _WHEN.match(last[0]) if len(last) == 1 else None
        if when is not None and len(marks) <= 2 and signs == {":"}:
            self._changes[start] = _Change(starts[:-1], ends[:-1], end, when[1])
            return True
        self.unreadable.append("".join(self._tokens[start : end + 1]))
        return False
