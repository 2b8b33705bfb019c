"""Who watches whose queue, and what each of them is shown of jobs that ended lately."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sdgen.job import Job

REMEMBERED = 600.0  # seconds that a person's last jobs stay in memory to be shown
REMEMBERED_JOBS = 8  # of one person
REMEMBERED_PEOPLE = 500


class Watchers:
    """Thread-safe. A watcher is a function, called in any thread when something changed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._watchers: dict[str, list[Callable[[], None]]] = {}
        self._left: dict[str, float] = {}  # owner -> since when nobody watches
        self._ended: dict[str, deque[tuple[float, Job]]] = {}  # with when that was

    @contextmanager
    def watching(self, owner: str, wake: Callable[[], None]) -> Iterator[None]:
        """Be a watcher of an owner's queue."""
        with self._lock:
            self._watchers.setdefault(owner, []).append(wake)
            self._left.pop(owner, None)
        try:
            yield
        finally:
            with self._lock:
                self._watchers[owner].remove(wake)
                if not self._watchers[owner]:
                    del self._watchers[owner]
                    self._left[owner] = self._clock()

    def wake(self, owner: str) -> None:
        """Something of that owner's changed."""
        with self._lock:
            watchers = tuple(self._watchers.get(owner, ()))
        for wake in watchers:
            wake()

    def wake_all(self) -> None:
        """Places in the queue changed."""
        with self._lock:
            watchers = [wake for wakes in self._watchers.values() for wake in wakes]
        for wake in watchers:
            wake()

    def expect(self, owner: str) -> None:
        """From now on somebody should watch, as there is a job."""
        with self._lock:
            if owner not in self._watchers:
                self._left[owner] = self._clock()

    def left(self, seconds: float) -> set[str]:
        """The owners whom nobody has watched for that long."""
        before = self._clock() - seconds
        with self._lock:
            return {owner for owner, since in self._left.items() if since <= before}

    def forget(self, owner: str) -> None:
        """There is nothing to watch any more."""
        with self._lock:
            self._left.pop(owner, None)

    def ended(self, owner: str, job: Job) -> None:
        """Keep a job for a while, to be shown."""
        with self._lock:
            jobs = self._ended.pop(owner, None) or deque(maxlen=REMEMBERED_JOBS)
            jobs.append((self._clock(), job))
            self._ended[owner] = jobs  # last: who was served longest ago comes first
            self._drop_old()

    def ended_lately(self, owner: str) -> tuple[Job, ...]:
        """An owner's jobs that ended a while ago at most, oldest first."""
        before = self._clock() - REMEMBERED
        with self._lock:
            self._drop_old()
            return tuple(job for when, job in self._ended.get(owner, ()) if when >= before)

    def _drop_old(self) -> None:
        before = self._clock() - REMEMBERED
        while self._ended:
            owner, jobs = next(iter(self._ended.items()))
            newest, _ = jobs[-1]
            if newest >= before and len(self._ended) <= REMEMBERED_PEOPLE:
                return
            del self._ended[owner]
