"""Tickets for downloads of many pictures: a list of ids is too long for an address.

ticket = issue(owner, ids)       # the page; then a link to sdgen/zip/<ticket>
ids = find(ticket, owner)        # the route; () for another owner's, old and unknown ones
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

LIFETIME = 600.0  # seconds: a browser may ask twice, and a download be begun again
TICKETS_MAX = 1000  # the oldest goes first
IDS_MAX = 10_000  # of one ticket


class Tickets:
    """What was asked for, by random names. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, str, tuple[str, ...]]] = OrderedDict()

    def issue(self, owner: str, ids: Sequence[str]) -> str:
        """A ticket of that owner for those pictures, good for ten minutes."""
        ticket = secrets.token_urlsafe(24)
        with self._lock:
            self._drop_old()
            self._kept[ticket] = (self._clock() + LIFETIME, owner, tuple(ids[:IDS_MAX]))
            while len(self._kept) > TICKETS_MAX:
                self._kept.popitem(last=False)
        return ticket

    def find(self, ticket: str, owner: str) -> tuple[str, ...]:
        """The pictures of a ticket of that owner; none where it is not his, too old or unknown."""
        with self._lock:
            self._drop_old()
            _, whose, ids = self._kept.get(ticket, (0.0, "", ()))
        return ids if whose == owner else ()

    def _drop_old(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values()))[0] <= now:
            self._kept.popitem(last=False)


# Of this process: who issues and who looks up share no other object. Tickets are random and name
# their owner, so several apps in one process do not get into each other's way.
_TICKETS = Tickets()
issue = _TICKETS.issue
find = _TICKETS.find
