"""The whole: API -> built-in -> the user's own words, each step told in one calm sentence."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from sdgen.enhance.api import DEADLINE, ApiEngine, OnText
from sdgen.enhance.built_in import BuiltIn
from sdgen.enhance.calls import Ask, Calls
from sdgen.enhance.draft import OWN_WORDS, Context, Draft
from sdgen.enhance.guard import with_triggers
from sdgen.enhance.instructions import VERSION
from sdgen.enhance.limits import Allowance, Breaker, Cache, cache_key
from sdgen.enhance.service import Service
from sdgen.enhance.trouble import ServiceTrouble

Choice = Literal["auto", "builtin", "api"]
CHOICES: tuple[Choice, ...] = ("auto", "builtin", "api")
NO_SERVICE = "No key is set for a language model."
BY_RULES = "The built-in helper wrote this draft."
OWN = "Your own words are used as they are."


class Enhancer:
    """Makes drafts for everybody who asks. Thread-safe; one for a process.

    service: the operator's, or None. per_day: drafts that the operator pays for. seconds: the
    total deadline of a service. ask, clock: seams for tests.
    """

    def __init__(
        self,
        service: Service | None = None,
        per_day: int = 1000,
        seconds: float = DEADLINE,
        ask: Ask | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self._seconds = seconds
        self._calls = Calls(ask)
        self._breaker = Breaker(clock)
        self._allowance = Allowance(per_day, clock=clock)
        self._cache = Cache()
        self._built_in = BuiltIn()
        self._lock = threading.Lock()
        self._asking: set[str] = set()

    def enhance(
        self,
        prompt: str,
        context: Context,
        choice: Choice = "auto",
        service: Service | None = None,
        session: str = "",
        on_text: OnText | None = None,
    ) -> Draft:
        """A draft; never fails for what a server does.

        service: the user's own, in place of the operator's. session: who asks, for the limits: a
        name that callers cannot choose, as is a Visitor's payer.
        on_text: is called with the draft as it grows; raises GivenUp to have none.
        """
        service = service or self.service
        why = ""
        if choice == "api" and service is None:
            why = NO_SERVICE
        elif choice != "builtin" and service is not None:
            try:
                return self._ask(prompt, context, service, session, on_text)
            except ServiceTrouble as trouble:
                why = trouble.sentence(service.host, self._seconds)
        return self._by_rules(prompt, context, why)

    def _by_rules(self, prompt: str, context: Context, why: str) -> Draft:
        draft = self._built_in.enhance(prompt, context)
        if not draft.added:
            text = with_triggers(prompt, context)
            note = _sentences(why, draft.note if not why else OWN)
            return Draft(text, (), (), OWN_WORDS, note, original=prompt)
        return replace(draft, note=_sentences(why, BY_RULES if why else "", draft.note))

    def _ask(
        self,
        prompt: str,
        context: Context,
        service: Service,
        session: str,
        on_text: OnText | None,
    ) -> Draft:
        """The service's draft, remembered from before or asked for. Raises ServiceTrouble."""
        words = sorted(context.words.words) if context.words else ()
        key = cache_key(
            service.url, service.model, VERSION, context.model, context.rewrites, context.budget,
            words, context.triggers, context.again, prompt,
        )  # fmt: skip
        known = self._cache.get(key)
        if known is not None:
            return known
        self._breaker.check(service.url)
        with self._one_each(session):
            if not service.users_own:
                self._allowance.take(session)
            try:
                engine = ApiEngine(self._calls, service, on_text, self._seconds)
                draft = engine.enhance(prompt, context)
            except ServiceTrouble as trouble:
                self._breaker.failed(service.url, trouble)
                raise
        self._breaker.succeeded(service.url)
        self._cache.put(key, draft)
        return draft

    @contextmanager
    def _one_each(self, session: str) -> Iterator[None]:
        """One question of whoever asks at a time. Raises ServiceTrouble."""
        with self._lock:
            if session and session in self._asking:
                raise ServiceTrouble("busy")
            self._asking.add(session)
        try:
            yield
        finally:
            with self._lock:
                self._asking.discard(session)

    def prepare(self) -> None:
        """Import what the operator's service needs, so that the first draft need not wait."""
        if self.service is not None:
            self._calls.prepare()

    def close(self) -> None:
        """Give up what still runs."""
        self._calls.close()


def own_words(prompt: str, note: str = "") -> Draft:
    """The user's prompt as a draft of its own."""
    return Draft(prompt, (), (), OWN_WORDS, note, original=prompt)


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)
