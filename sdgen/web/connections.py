"""How many connections there may be, and how long one may take to say what it wants.

uvicorn has no time-out for a request's head: connections that send half of one, or nothing, would
stay for good, until the process may open no more files. Here each has a deadline, and where there
is no more room the one that has waited longest without a request goes. How many files there may be
open is the system's to say (`ulimit -n`); a part of them is for connections, a part for uploads.
"""

import contextlib
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

    from uvicorn import Config
    from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol
else:
    Protocol = object

# From the connection, or the first byte of a further request, to the end of its head.
HEAD_SECONDS = 10.0
WANTED = 65_536  # descriptors; more are not asked for
MAC_OS = 10_240  # there no more can be had, whatever it says
OWN = 128  # descriptors for all else: database, models, pictures, pipes
CONNECTIONS_MAX, OF_ONE_ADDRESS_MAX = 2000, 200
CONNECTIONS_MIN = 16
WITHOUT_LIMIT = 4096  # where the system tells none
TOO_MANY = b"Too many connections; try again in a moment.\n"


@dataclass(frozen=True)
class Room:
    """How many descriptors of the process are for what."""

    connections: int
    upload_files: int
    of_one_address: int = OF_ONE_ADDRESS_MAX

    @classmethod
    def of(cls, descriptors: int) -> "Room":
        """The half of what is left for connections, the other for uploads."""
        half = max(CONNECTIONS_MIN, (descriptors - OWN) // 2)
        return cls(min(CONNECTIONS_MAX, half), min(CONNECTIONS_MAX, half))


def descriptors() -> int:
    """How many files this process may have open; raised as far as it may raise it itself."""
    try:
        import resource
    except ImportError:  # Windows
        return WITHOUT_LIMIT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return WANTED if soft == resource.RLIM_INFINITY else soft
    for limit in (wanted, MAC_OS):
        with contextlib.suppress(OSError, ValueError):
            if limit > soft:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                return limit
    return soft


def guard(config: "Config", room: Room) -> None:
    """Have every further connection of a server watched."""
    kind = config.http_protocol_class
    assert isinstance(kind, type)  # a name is replaced by its class when a server starts
    config.http_protocol_class = type("Watched", (Watched, kind), {"room": room})


class Watched(Protocol):
    """A connection of uvicorn's, of any of its kinds, with a deadline for each request's head."""

    room: Room
    waits_since: float | None = None  # the loop's time; None while a request is answered
    _deadline: "TimerHandle | None" = None

    def connection_made(self, transport: "Transport") -> None:  # type: ignore[override]
        """Take it, if there is room or room can be made."""
        super().connection_made(transport)
        self.waits_since = self.loop.time()
        self._set_deadline()
        if self._has_too_many():
            self._refuse()
        elif len(self.connections) > self.room.connections:
            idle = [other for other in self.connections if other is not self and _waits(other)]
            if idle:
                min(idle, key=_waits).transport.abort()
            else:
                self._refuse()

    def data_received(self, data: bytes) -> None:
        """What came; the deadline ends with the head of the request."""
        super().data_received(data)
        if self._is_answering():
            self.waits_since = None
            self._unset_deadline()
        elif self._deadline is None and not self.transport.is_closing():
            self._set_deadline()

    def on_response_complete(self) -> None:
        """The next request may come."""
        super().on_response_complete()
        if not self._is_answering():
            self.waits_since = self.loop.time()

    def handle_websocket_upgrade(self, *given: Any) -> None:
        """It is another protocol's from now on."""
        self._unset_deadline()
        super().handle_websocket_upgrade(*given)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._unset_deadline()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _has_too_many(self) -> bool:
        """Whether its address has. Not those of a proxy, a tunnel or a local network: many people
        come from one of them."""
        host = self.client[0] if self.client else ""
        try:
            if not ipaddress.ip_address(host).is_global:
                return False
        except ValueError:
            return False
        clients = [getattr(other, "client", None) for other in self.connections]
        same = [client for client in clients if client is not None and client[0] == host]
        return len(same) > self.room.of_one_address

    def _refuse(self) -> None:
        head = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 5\r\n"
        length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(TOO_MANY)
        self.transport.write(head + length + TOO_MANY)
        self.transport.close()

    def _set_deadline(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._late)

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if not self._is_answering():
            self.transport.close()


def _waits(connection: Any) -> float:
    """Since when a connection waits for a request; 0.0 for one that does not, or is no such."""
    return getattr(connection, "waits_since", None) or 0.0
