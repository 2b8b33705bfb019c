"""Keys of users: in this process's memory for an hour, under a random name; nowhere else."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from sdgen.enhance.service import Service

LIFETIME = 3600.0  # seconds
KEYS_MAX = 1000  # the oldest goes first


class KeyRing:
    """Services with users' own keys, by the name that `keep` gives them. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Service]] = OrderedDict()

    def keep(self, service: Service) -> str:
        """A name for the service that tells nothing about it."""
        name = secrets.token_urlsafe(24)
        with self._lock:
            self._drop_old()
            self._kept[name] = (self._clock() + LIFETIME, service)
            while len(self._kept) > KEYS_MAX:
                self._kept.popitem(last=False)
        return name

    def find(self, name: str) -> Service | None:
        """The service of that name, until its hour is over."""
        with self._lock:
            self._drop_old()
            found = self._kept.get(name)
        return found[1] if found else None

    def forget(self, name: str) -> None:
        """Drop a key; unknown names are none."""
        with self._lock:
            self._kept.pop(name, None)

    def _drop_old(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values()))[0] <= now:
            self._kept.popitem(last=False)
