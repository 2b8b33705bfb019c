"""What keeps a service from being asked too often, too long after it broke, or twice the same."""

import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sdgen.enhance.draft import Draft
from sdgen.enhance.trouble import SERVERS_FAULT, ServiceTrouble

FAILURES = 3  # in a row, then the service is left alone
PAUSE_SECONDS = 60.0
HOUR, DAY = 3600.0, 86400.0  # seconds
PER_HOUR = 30  # drafts of one payer that the operator pays for
PAYERS_MAX = 10_000  # remembered; the longest unused is forgotten
CACHED = 1000  # drafts

Clock = Callable[[], float]


class Breaker:
    """Leaves a service alone for a while after FAILURES failures in a row. Thread-safe."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, int] = {}
        self._open_until: dict[str, float] = {}

    def check(self, url: str) -> None:
        """Raises ServiceTrouble while the service is left alone."""
        with self._lock:
            if self._clock() < self._open_until.get(url, 0.0):
                raise ServiceTrouble("paused")

    def succeeded(self, url: str) -> None:
        with self._lock:
            self._failures.pop(url, None)
            self._open_until.pop(url, None)

    def failed(self, url: str, trouble: ServiceTrouble) -> None:
        """Count a failure that is the server's; one that asks to wait is left alone as long."""
        if trouble.reason not in SERVERS_FAULT:
            return
        with self._lock:
            if len(self._failures) > PAYERS_MAX:  # users give addresses too
                self._failures.clear()
                self._open_until.clear()
            self._failures[url] = self._failures.get(url, 0) + 1
            pause = trouble.wait_seconds
            if self._failures[url] >= FAILURES:
                pause = max(pause, PAUSE_SECONDS)
            if pause:
                self._open_until[url] = self._clock() + pause
                self._failures[url] = FAILURES - 1  # one try afterwards decides


class Allowance:
    """How many drafts the operator pays for: by payer and hour, and in all by day."""

    def __init__(
        self, per_day: int, per_hour: int = PER_HOUR, clock: Clock = time.monotonic
    ) -> None:
        self._per_day, self._per_hour = per_day, per_hour
        self._clock = clock
        self._lock = threading.Lock()
        self._payers: OrderedDict[str, deque[float]] = OrderedDict()
        self._today: deque[float] = deque()

    def take(self, payer: str) -> None:
        """Count one draft. Raises ServiceTrouble when there is none left."""
        now = self._clock()
        with self._lock:
            taken = self._payers.setdefault(payer, deque())
            self._payers.move_to_end(payer)
            while len(self._payers) > PAYERS_MAX:
                self._payers.popitem(last=False)
            _forget_before(taken, now - HOUR)
            _forget_before(self._today, now - DAY)
            if len(taken) >= self._per_hour:
                raise ServiceTrouble("hour limit")
            if len(self._today) >= self._per_day:
                raise ServiceTrouble("day limit")
            taken.append(now)
            self._today.append(now)


def _forget_before(times: deque[float], moment: float) -> None:
    while times and times[0] < moment:
        times.popleft()


@dataclass
class Cache:
    """The newest drafts of services, in memory alone: prompts are private. Thread-safe."""

    size: int = CACHED
    _drafts: OrderedDict[str, Draft] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def get(self, key: str) -> Draft | None:
        with self._lock:
            draft = self._drafts.get(key)
            if draft is not None:
                self._drafts.move_to_end(key)
            return draft

    def put(self, key: str, draft: Draft) -> None:
        with self._lock:
            self._drafts[key] = draft
            while len(self._drafts) > self.size:
                self._drafts.popitem(last=False)


def cache_key(*parts: object) -> str:
    """A name for a question that tells nothing about it."""
    said = "\0".join(f"{len(str(part))}:{part}" for part in parts)
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
