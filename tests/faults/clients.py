"""Clients of the HTTP API, many at a time, and so lean that the app is what is measured."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from sdgen.owners import new_token

CALL, EVENTS = "/gradio_api/call/v2/generate", "/gradio_api/call/generate"


class Connection:
    """One kept-alive HTTP/1.1 connection to this machine."""

    def __init__(self, port: int, token: str = "") -> None:
        """token: the personal one of whoever calls; "" for a new one."""
        self._port = port
        self.token = token or new_token()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Status and body of an answer, once it is complete."""
        if self._writer is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader is not None
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"X-Sdgen-Token: {self.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        self._writer.write(head.encode() + data)
        status = int((await self._reader.readline()).split()[1])
        headers = {}
        while (line := await self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            pieces = []
            while size := int(await self._reader.readline(), 16):
                pieces.append(await self._reader.readexactly(size))
                await self._reader.readline()
            await self._reader.readline()
            answer = b"".join(pieces)
        else:
            answer = await self._reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self._writer.close()
        return status, answer


@dataclass
class Drawn:
    """What came of one call of `generate`. refused: what was said instead of pictures."""

    seconds: float
    statuses: list[int] = field(default_factory=list)
    pictures: list[dict[str, Any]] = field(default_factory=list)
    refused: str = ""


async def draw(connection: Connection, **asked: object) -> Drawn:
    """Call `generate` and wait for its end."""
    begun = time.monotonic()
    drawn = Drawn(0.0)
    status, answer = await connection.ask("POST", CALL, asked)
    drawn.statuses.append(status)
    if status == 200:
        event = json.loads(answer)["event_id"]
        status, answer = await connection.ask("GET", f"{EVENTS}/{event}")
        drawn.statuses.append(status)
        for message in answer.decode().split("\n\n"):
            kind, _, data = message.partition("\ndata: ")
            if kind == "event: complete":
                (drawn.pictures,) = json.loads(data)
            elif kind == "event: error":
                drawn.refused = str(json.loads(data)) or "refused"
    else:
        drawn.refused = answer.decode()
    drawn.seconds = time.monotonic() - begun
    return drawn
