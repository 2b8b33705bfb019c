"""Gradio's queue of events, with bounds: how many are open, how fast they come, how long nobody
listens.

Gradio keeps the answers of each session until they are read, of 2000 sessions; the next one throws
out the oldest, though it may belong to somebody who waits. And it carries out an event whose answer
nobody ever asks for. Here nothing is thrown out that somebody waits for; whoever has too many open
is told to wait (429), and what nobody listens to is stopped and forgotten.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fastapi import HTTPException

from sdgen.ui.gradio_parts import Queue, adopt, forget_uploads, queue_of, run_beside

SESSION_CHARS = 100  # of the name that a client gives its session
UPLOADS_TOLD = 1000  # whose progress can be asked for
SOON, VERY_SOON = 5, 1  # seconds after which it is worth trying again
Payer = Callable[[Any, str | None], str]  # of a request and its login: whom limits count for


@dataclass(frozen=True)
class Bounds:
    """How many events may be open: begun, and the answer not yet read to its end."""

    of_one: int = 100  # payer
    in_all: int = 1000
    unheard_seconds: float = 60.0  # so long nobody listens, then it is stopped and forgotten
    per_second: float | None = None  # that one payer begins, in the long run; None: no limit
    burst: int = 200  # at once


class Answers(asyncio.Queue[Any]):
    """The unread messages of one session, and when somebody listened last."""

    def __init__(self) -> None:
        super().__init__()
        self._listening = 0
        self.heard = time.monotonic()

    @property
    def unheard_seconds(self) -> float:
        """Since somebody listened last; 0 while somebody does."""
        return 0.0 if self._listening else time.monotonic() - self.heard

    async def get(self) -> Any:
        """The next one. A stream that is open asks for it at least every ten seconds."""
        self._listening += 1
        try:
            return await super().get()
        finally:
            self._listening -= 1
            self.heard = time.monotonic()


class OpenEvents:
    """Counts open events by payer, and how fast they come. In the server's event loop."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self.bounds = bounds
        self._clock = clock
        self._of: dict[object, str] = {}  # event -> payer
        self._allowances: dict[str, tuple[float, float]] = {}  # payer -> (events, as of when)

    def begin(self, payer: str, unread: Callable[[], Set[str]]) -> object:
        """A place for one more event, to be renamed once it has a name.

        unread: the events that are still open. Raises HTTPException 429 where there are too many.
        """
        if self._full(payer):
            known = unread()
            self._of = {
                event: whose
                for event, whose in self._of.items()
                if event in known or not isinstance(event, str)  # a place of one that comes
            }
        full = self._full(payer)
        if full:
            raise HTTPException(429, full, {"Retry-After": str(SOON)})
        if not self._has_allowance(payer):
            said = "Too many calls in a short time; try again in a moment."
            raise HTTPException(429, said, {"Retry-After": str(VERY_SOON)})
        place = object()
        self._of[place] = payer
        return place

    def rename(self, place: object, event_id: str | None) -> None:
        """The event has that name from now on; None: it did not come to be."""
        payer = self._of.pop(place)
        if event_id is not None:
            self._of[event_id] = payer

    def forget_allowances(self) -> None:
        """Of payers who may begin as many as anybody else again."""
        self._allowances = {
            payer: (left, at)
            for payer, (left, at) in self._allowances.items()
            if self._grown(left, at) < self.bounds.burst
        }

    def _full(self, payer: str) -> str:
        """Why there is no place; "" where there is one."""
        counted = Counter(self._of.values())
        if counted[payer] >= self.bounds.of_one:
            return f"You have {self.bounds.of_one} open calls; read their answers first."
        if counted.total() >= self.bounds.in_all:
            return f"There are {self.bounds.in_all} open calls here; try again soon."
        return ""

    def _has_allowance(self, payer: str) -> bool:
        """Whether one more is not too fast; it counts, then."""
        if self.bounds.per_second is None:
            return True
        now = self._clock()
        left = self._grown(*self._allowances.get(payer, (float(self.bounds.burst), now)))
        if left < 1:
            return False
        self._allowances[payer] = left - 1, now
        return True

    def _grown(self, left: float, at: float) -> float:
        pace = self.bounds.per_second or 0.0
        return min(float(self.bounds.burst), left + (self._clock() - at) * pace)


class EventQueue(Queue):  # type: ignore[misc]  # Gradio has no types here
    """The queue of one app, made by bound()."""

    open_events: OpenEvents
    payer: Payer

    async def push(self, body: Any, request: Any, username: str | None) -> tuple[bool, Any, str]:
        """Take an event in. Raises HTTPException 429 where there are too many."""
        session = body.session_hash or uuid4().hex
        if len(session) > SESSION_CHARS:
            said = f"session_hash is too long: at most {SESSION_CHARS} characters."
            raise HTTPException(422, said)
        place = self.open_events.begin(self.payer(request, username), self._unread)
        event_id = None
        try:
            body.session_hash = session
            answers = self.pending_messages_per_session.setdefault(session, Answers())
            answers.heard = time.monotonic()
            taken, told, state = await super().push(body, request, username)
            event_id = told if taken else None
        finally:
            self.open_events.rename(place, event_id)
        return taken, told, state

    def start(self) -> None:
        """Begin to carry out events, and to look which of them nobody listens to."""
        super().start()
        run_beside(self._watch)

    async def forget_unheard(self) -> None:
        """Stop what runs for nobody, and drop what nobody came for."""
        longest = self.open_events.bounds.unheard_seconds
        for session, answers in list(self.pending_messages_per_session.items()):
            if answers.unheard_seconds >= longest:
                await self.clean_events(session_hash=session)
                self.pending_messages_per_session.pop(session, None)
                self.pending_event_ids_session.pop(session, None)

    async def _watch(self) -> None:
        while not self.stopped:
            await asyncio.sleep(min(1.0, self.open_events.bounds.unheard_seconds / 4))
            await self.forget_unheard()
            self.open_events.forget_allowances()
            forget_uploads(UPLOADS_TOLD)

    def _unread(self) -> Set[str]:
        """The events whose answers were not read to the end."""
        return set().union(*self.pending_event_ids_session.values())


def bound(blocks: Any, bounds: Bounds, payer: Payer) -> EventQueue:
    """Give a Blocks such a queue, before it is launched."""
    queue = adopt(queue_of(blocks), EventQueue)
    queue.open_events, queue.payer = OpenEvents(bounds), payer
    queue.pending_messages_per_session = {}  # not Gradio's, which throws out the oldest
    return queue
