"""Which other machines this process looks up or connects to, as Python's audit hooks tell it."""

import ipaddress
import sys
from typing import Any

_asked: list[str] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else ""
    else:
        return
    name = host.decode() if isinstance(host, bytes) else str(host or "")
    if name not in ("", "localhost") and not _is_loopback(name):
        _asked.append(name)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


sys.addaudithook(_hook)  # for good: they cannot be taken away again


def outside_calls() -> list[str]:
    """The names and addresses since the last time, but for this machine's own."""
    asked = list(_asked)
    _asked.clear()
    return asked
