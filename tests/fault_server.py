"""A chat server on loopback that answers by script: well, or with one of the faults of services."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PHRASES = "soft evening light, seen from below, wide view"


@dataclass
class FaultServer:
    """Answers every request with `script`, a name of ANSWERS or the text of a good answer."""

    script: str = "good"
    requests: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    _closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            raw = b""
            while b"\r\n\r\n" not in raw:
                part = connection.recv(65536)
                if not part:
                    return
                raw += part
            head, _, body = raw.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
            while len(body) < int(headers.get("content-length", 0)):
                body += connection.recv(65536)
            self.requests.append((lines[0], headers, body.decode()))
            for part in answer(self.script, headers, json.loads(body or b"{}")):
                if self._closing.is_set():
                    return
                connection.sendall(part)

    def close(self) -> None:
        self._closing.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(5)


@contextmanager
def fault_server(script: str = "good") -> Iterator[FaultServer]:
    """A server that is stopped at the end."""
    server = FaultServer(script)
    try:
        yield server
    finally:
        server.close()


def refused_url() -> str:
    """An address of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


def event(text: str, field_name: str = "content") -> bytes:
    """One piece of a streamed answer."""
    delta = {"choices": [{"index": 0, "delta": {field_name: text}, "finish_reason": None}]}
    return f"data: {json.dumps(delta)}\n\n".encode()


def stream(*events: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    yield from events
    yield b"data: [DONE]\n\n"


def whole(status: str, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def error(text: str) -> bytes:
    return json.dumps({"error": {"message": text, "type": "x"}}).encode()


def answer(script: str, headers: dict[str, str], asked: dict[str, object]) -> Iterator[bytes]:
    key = headers.get("authorization", "")
    match script:
        case "good":
            yield from stream(*(event(word + " ") for word in PHRASES.split()))
        case "401":
            yield whole("401 Unauthorized", error(f"Bad key {key}"), more=f"X-Key: {key}\r\n")
        case "429":
            yield whole("429 Too Many", error(f"slow {key}"), more="Retry-After: 120\r\n")
        case "500":
            yield whole("500 Oops", error(f"trace {key}"))
        case "html":
            yield whole("200 OK", f"<html>{key}</html>".encode(), "text/html")
        case "null":
            yield whole("200 OK", b"null")
        case "no choices":
            yield whole("200 OK", json.dumps({"id": key}).encode())
        case "empty":
            yield from stream(event(""))
        case "thinking only":
            yield from stream(event("let me think", "reasoning"))
        case "trickle":
            yield from _trickle()
        case "huge":
            yield from _huge()
        case "huge json":
            yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n["
            for _ in range(30):
                yield b" " * 1_000_000
        case "redirect":
            yield whole("302 Found", b"", more="Location: http://127.0.0.1:1/v1\r\n")
        case "think":
            thought = f"<think>The key is {key}, the subject a dragon</think>"
            yield from stream(event(thought), event(PHRASES))
        case "silent":
            yield from _silence()
        case "plain json":
            message = {"choices": [{"message": {"content": PHRASES}}]}
            yield whole("200 OK", json.dumps(message).encode())
        case "picky" if "max_tokens" in asked:
            yield whole("400 Bad", error("Unsupported parameter: max_tokens"))
        case "picky":
            yield from stream(event(PHRASES))
        case "broken off":
            yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            yield b"Transfer-Encoding: chunked\r\n\r\n5\r\ndata:"
        case "zipped":
            yield whole("200 OK", b"\x1f\x8b", more="Content-Encoding: gzip\r\n")
        case _:
            yield from stream(event(script))


def _trickle() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    while True:
        yield b": still here\n\n"
        time.sleep(0.05)


def _silence() -> Iterator[bytes]:
    yield b""
    while True:
        time.sleep(0.05)
        yield b""


def _huge() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    for _ in range(30):
        yield b"data: " + b"x" * 1_000_000
