"""What the page does to enhance a prompt, as functions of plain values, like page.py."""

import queue
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sdgen.enhance import (
    API,
    BUILT_IN,
    CHOICES,
    OWN_WORDS,
    Choice,
    Draft,
    GivenUp,
    difference,
    own_words,
)
from sdgen.errors import InvalidRequest, SdgenError
from sdgen.html import render
from sdgen.metadata import Enhancement, Recipe
from sdgen.request import PROMPT_CHARS
from sdgen.studio import Studio, enhancement_of
from sdgen.ui import TEMPLATES, messages
from sdgen.ui.api.wrong_events import MISFITS

TICK = 0.2  # seconds between two looks at a draft that grows
SKIPPED = "Skipped: your own words are used."
KEPT = "The key is kept in this app's memory for an hour, and nowhere else."
FORGOTTEN = "The key is forgotten."
Arrived = str | Draft | BaseException  # of a draft: how far it is, all of it, why there is none


@dataclass(frozen=True)
class Drafted:
    """A window's newest draft. used: the text that went into the prompt box, "" as long as none."""

    draft: Draft
    model: str
    again: int = 0
    used: str = ""


def drafted_from(recipe: Recipe) -> Drafted | None:
    """A recipe's prompt as a draft in use: drawn as it is, and what it was made of is kept."""
    engine = next((name for name in (API, BUILT_IN) if name == recipe.enhanced_by), OWN_WORDS)
    if len(recipe.original_prompt) > PROMPT_CHARS or not recipe.prompt:
        return None
    draft = Draft(
        recipe.prompt, (), (), engine, original=recipe.original_prompt, model=recipe.enhancer_model
    )
    return Drafted(draft, recipe.model, used=recipe.prompt)


class DraftView(NamedTuple):
    """What changes in the draft's panel; None leaves a part as it is."""

    shown: bool | None = None
    difference: str | None = None  # HTML
    text: str | None = None
    note: str | None = None  # HTML
    drafted: Drafted | None = None
    draft_id: str | None = None  # for skip(); "" when there is nothing to skip


class Asking(NamedTuple):
    """Who asks for drafts, and of whom: one window's values."""

    choice: str = "builtin"
    payer: str = ""  # whom limits count for
    key_name: str = ""
    adapters: tuple[str, ...] = ()  # chosen ones, whose trigger words must be in the draft


CLOSED = DraftView(shown=False, difference="", text="", note="", draft_id="")


class Plan(NamedTuple):
    """What Generate draws: the text, and where it came from."""

    prompt: str
    enhancement: Enhancement | None = None


class Enhancing:
    """The deeds. It holds no window's state but who may be skipped."""

    def __init__(self, studio: Studio, urls_allowed: bool) -> None:
        self._studio = studio
        self._urls_allowed = urls_allowed
        self._skips: dict[str, threading.Event] = {}

    def draft(self, prompt: str, model: str, again: int, asking: Asking) -> Iterator[DraftView]:
        """A draft as it grows; the last view has it whole. Yields at least every TICK seconds.

        Closing the generator, as Gradio does when the window is closed, ends the question.
        """
        draft_id, skip = secrets.token_urlsafe(8), threading.Event()
        arrived: queue.Queue[Arrived] = queue.Queue()

        def grow(text: str) -> None:
            if skip.is_set():
                raise GivenUp
            arrived.put(text)

        def work() -> None:
            try:
                draft = self._studio.enhance(
                    prompt, model, _choice(asking.choice), again=again, payer=asking.payer,
                    key_name=asking.key_name, adapters=asking.adapters, on_text=grow,
                )  # fmt: skip
                arrived.put(draft)
            except GivenUp:
                arrived.put(own_words(prompt, SKIPPED))
            except MISFITS as error:
                arrived.put(error)

        self._skips[draft_id] = skip
        thread = threading.Thread(target=work, name="draft", daemon=True)
        thread.start()
        try:
            text = ""
            while True:
                newest = _newest(arrived, TICK)
                if skip.is_set() and not isinstance(newest, Draft):
                    newest = own_words(prompt, SKIPPED)
                if isinstance(newest, SdgenError):
                    yield CLOSED._replace(shown=True, note=messages.alert(str(newest)))
                    return
                if isinstance(newest, BaseException):
                    raise newest
                if isinstance(newest, Draft):
                    yield self._done(Drafted(newest, model, again))
                    return
                text = newest or text
                yield DraftView(
                    shown=True,
                    difference=difference_html(prompt, text or prompt),
                    text=text or prompt,
                    note=messages.notes((self._asking_words(asking),)),
                    draft_id=draft_id,
                )
        finally:
            skip.set()
            self._skips.pop(draft_id, None)

    def skip(self, draft_id: str) -> None:
        """End the question; the user's own words are the draft."""
        found = self._skips.get(draft_id)
        if found is not None:
            found.set()

    def difference(self, text: str, drafted: Drafted) -> str:
        """How an edited draft differs from what the user wrote, as HTML."""
        return difference_html(drafted.draft.original, text)

    def _done(self, drafted: Drafted) -> DraftView:
        draft = drafted.draft
        return DraftView(
            shown=True,
            difference=difference_html(draft.original, draft.text),
            text=draft.text,
            note=messages.notes((draft.note,)) if draft.note else "",
            drafted=drafted,
            draft_id="",
        )

    def _asking_words(self, asking: Asking) -> str:
        service = self._studio.service(asking.key_name)
        asked = asking.choice == "api" and service is not None
        return f"Asking {service.host} …" if asked and service else "Writing …"

    # --- keys, and who is asked

    def keep_key(self, key: str, url: str, model: str) -> tuple[str, str]:
        """The name of a kept key, "" for one that cannot be used, and what to say about it."""
        try:
            name = self._studio.keep_key(key, url, model, urls_allowed=self._urls_allowed)
        except InvalidRequest as error:
            return "", messages.alert(str(error))
        return name, messages.notes((KEPT,))

    def forget_key(self, key_name: str) -> str:
        """Drop a key; what to say about it."""
        self._studio.forget_key(key_name)
        return messages.notes((FORGOTTEN,))

    def choices(self, key_name: str = "") -> list[tuple[str, str]]:
        """The helpers to pick from, as (what is shown, the value)."""
        service = self._studio.service(key_name)
        api = f"API · {service.host}" if service else "API · no key set, so built-in"
        return [("Built-in", "builtin"), (api, "api")]

    def default_choice(self) -> str:
        """The API where the operator set one up."""
        return "api" if self._studio.service() else "builtin"

    def privacy(self, choice: str, key_name: str) -> str:
        """Where a prompt goes, as HTML."""
        service = self._studio.service(key_name)
        if choice != "api":
            words = "Your prompt stays on this machine."
        elif service is None:
            words = "No key is set: the built-in helper is used, and nothing is sent."
        else:
            words = f"Your prompt is sent to {service.host}."
        return render(TEMPLATES, "enhance.html", "privacy", words=words)


def plan(prompt: str, model: str, text: str, drafted: Drafted | None, *, each: bool) -> Plan | None:
    """What Generate draws; None where a draft must be written first.

    text: the draft's box. each: the toggle. What a box shows is what runs: with the toggle on the
    draft's box, where its draft belongs to this prompt and model, else the prompt's.
    """
    if drafted is not None and drafted.used and drafted.used == prompt:
        return Plan(prompt, enhancement_of(drafted.draft, prompt))
    if not each or not prompt.strip():
        return Plan(prompt)
    if drafted is None or drafted.used or not text.strip():
        return None
    if drafted.draft.original != prompt or drafted.model != model:
        return None
    return Plan(text, enhancement_of(drafted.draft, text))


def _newest(arrived: "queue.Queue[Arrived]", seconds: float) -> Arrived | None:
    """The newest that has come; None when nothing has for that long."""
    newest: Arrived | None = None
    deadline = time.monotonic() + seconds
    while True:
        try:
            newest = arrived.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return newest
        if not isinstance(newest, str):
            return newest


def difference_html(before: str, after: str) -> str:
    """What a draft adds to a prompt and drops of it, marked."""
    pieces = [] if before == after else difference(before, after)
    return render(TEMPLATES, "enhance.html", "difference", pieces=pieces)


def _choice(value: object) -> Choice:
    return next((choice for choice in CHOICES if choice == value), "builtin")


def helper_words(engine: str, model: str) -> str:
    """Who enhanced a prompt, in words."""
    if engine == API:
        return f"a language model ({model})" if model else "a language model"
    return "" if engine in ("", OWN_WORDS) else "the built-in helper"
