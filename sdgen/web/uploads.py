"""Uploads have a total: bytes of one payer and of all, and a reserve of the disk that they lie on.

Counted is what lies in the folder for temporary files, and what is on its way there. A file is
gone from there after a day; until then it is its payer's.

A call of an MCP tool may bring a file in its own text (`data:...;base64,...`), which Gradio writes
to that folder before anybody looks at it. Such a call is an upload as well.
"""

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdgen import scratch
from sdgen.config import Settings
from sdgen.errors import SdgenError, StorageFailed, TooMuch
from sdgen.web.paths import route_path
from sdgen.web.tool_calls import PATH as TOOLS

PATH = "/gradio_api/upload"
_FILE_IN_TEXT = "file"  # what Gradio calls one, before a dot and what it takes for its kind
MEGABYTE = 1_000_000
LOOK_BYTES = 8 * MEGABYTE  # of one upload between two looks at the disk
TOTAL_MB, TOTAL_MB_OF_STRANGERS = 8000, 1000
PAYER_MB, PAYER_MB_OF_STRANGERS = 4000, 200
_ANSWER_BYTES = 1_000_000  # of Gradio's list of paths


@dataclass
class Upload:
    """One on its way. declared: bytes that it said it has; 0: it did not."""

    payer: str
    declared: int
    received: int = 0
    looked_at: int = 0  # bytes received when the disk was looked at

    @property
    def coming(self) -> int:
        """Bytes that are not on the disk yet."""
        return max(0, self.declared - self.received)


@dataclass
class Ledger:
    """Who has uploaded what lies there. Thread-safe. total, payers: bytes; reserve: of the disk."""

    total: int
    payers: int
    reserve: int
    _running: list[Upload] = field(default_factory=list)
    _files: dict[Path, tuple[str, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, settings: Settings, *, strangers: bool) -> "Ledger":
        """The limits of the settings. strangers: anybody may come."""
        total = TOTAL_MB_OF_STRANGERS if strangers else TOTAL_MB
        payer = PAYER_MB_OF_STRANGERS if strangers else PAYER_MB
        return cls(
            (settings.max_uploads_mb or total) * MEGABYTE,
            (settings.max_uploads_mb_per_user or payer) * MEGABYTE,
            settings.temp_reserve_mb * MEGABYTE,
        )

    def begin(self, payer: str, declared: int) -> Upload:
        """One more. Raises TooMuch and StorageFailed, where there is no room for it."""
        upload = Upload(payer, declared)
        with self._lock:
            self._running.append(upload)
        try:
            self.look(upload)
        except SdgenError:
            self.end(upload)
            raise
        return upload

    def look(self, upload: Upload) -> None:
        """Is there room for what is coming? Raises TooMuch and StorageFailed."""
        upload.looked_at = upload.received
        folder = scratch.folder_in_use()
        used, free = scratch.used_bytes(folder), scratch.free_bytes(folder)
        with self._lock:
            self._files = {path: told for path, told in self._files.items() if path.exists()}
            mine = sum(size for payer, size in self._files.values() if payer == upload.payer)
            mine += sum(
                max(one.declared, one.received)
                for one in self._running
                if one.payer == upload.payer
            )
            coming = sum(one.coming for one in self._running)
        if mine > self.payers:
            raise TooMuch(
                f"Your uploads of the last day would come to {_mb(mine)} MB; at most "
                f"{_mb(self.payers)} MB of one person fit."
            )
        if used + coming > self.total:
            raise StorageFailed(
                f"All uploads together may have {_mb(self.total)} MB here, and that is used up. "
                "Try again later: they are removed after a day."
            )
        if free is not None and free - coming < self.reserve:
            raise StorageFailed(
                f"The folder for temporary files has only {_mb(free)} MB left, so nothing can be "
                "uploaded until some is freed."
            )

    def end(self, upload: Upload, files: Iterable[Path] = ()) -> None:
        """It has come, as these files; or it ended half-way. Idempotent.

        Gradio leaves the parts of one that ended half-way: they go as soon as nobody else's can be
        taken for them.
        """
        with self._lock:
            if upload not in self._running:
                return
            self._running = [one for one in self._running if one is not upload]
            for path in files:
                try:
                    self._files[path] = upload.payer, path.stat().st_size
                except OSError:
                    continue
            if not self._running:
                scratch.remove_parts(scratch.folder_in_use())

    def files_in_text(self) -> tuple[Path, ...]:
        """What lies there of calls of tools, and is nobody's yet."""
        files = [copy.path for copy in scratch.files_in(scratch.folder_in_use())]
        with self._lock:
            return tuple(
                path for path in files if path.stem == _FILE_IN_TEXT and path not in self._files
            )


class Uploads:
    """The middleware: lets an upload through as long as there is room for it."""

    def __init__(
        self, app: ASGIApp, *, ledger: Ledger, payer: Callable[[HTTPConnection], str]
    ) -> None:
        """payer: whom what a request brings counts for."""
        self.app = app
        self._ledger, self._payer = ledger, payer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        uploads = scope["type"] == "http" and scope["method"] == "POST"
        if uploads and route_path(scope).startswith(TOOLS):
            await self._called(scope, receive, send)
            return
        if not (uploads and scope["path"].rstrip("/").endswith(PATH)):
            await self.app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "")
        declared = int(told) if told.isascii() and told.isdigit() else 0
        try:
            upload = await to_thread.run_sync(
                self._ledger.begin, self._payer(HTTPConnection(scope)), declared
            )
        except SdgenError as error:
            await _refusal(error)(scope, receive, send)
            return
        await self._passed(upload, scope, receive, send)

    async def _called(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A call of a tool; its body comes whole, see bodies.py."""
        first = await receive()
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return first

        size = _bytes_in_text(first.get("body", b""))
        if not size:
            await self.app(scope, again, send)
            return
        payer = self._payer(HTTPConnection(scope))
        before = set(await to_thread.run_sync(self._ledger.files_in_text))
        try:
            upload = await to_thread.run_sync(self._ledger.begin, payer, size)
        except SdgenError as error:
            await _refusal(error)(scope, again, send)
            return
        try:
            await self.app(scope, again, send)
        finally:
            files = set(await to_thread.run_sync(self._ledger.files_in_text)) - before
            await to_thread.run_sync(self._ledger.end, upload, files)

    async def _passed(self, upload: Upload, scope: Scope, receive: Receive, send: Send) -> None:
        refused: SdgenError | None = None
        started, status, answer = False, 0, b""

        async def counted() -> Message:
            nonlocal refused
            message = await receive()
            upload.received += len(message.get("body", b""))
            if upload.received - upload.looked_at >= LOOK_BYTES:
                try:
                    await to_thread.run_sync(self._ledger.look, upload)
                except SdgenError as error:
                    refused = error
                    raise MultiPartException(str(error)) from error  # Gradio removes its parts then
            return message

        async def heard(message: Message) -> None:
            nonlocal started, status, answer
            if refused is not None and not started:
                return
            started = True
            status = message.get("status", status)
            if len(answer) < _ANSWER_BYTES:
                answer += message.get("body", b"")
            await send(message)

        try:
            await self.app(scope, counted, heard)
        finally:
            files = _paths(answer) if status == 200 else ()
            await to_thread.run_sync(self._ledger.end, upload, files)
        if refused is not None and not started:
            await _refusal(refused)(scope, receive, send)


def _refusal(error: SdgenError) -> PlainTextResponse:
    """Gradio's page shows a plain text as it is."""
    code = 413 if isinstance(error, TooMuch) else 507
    return PlainTextResponse(str(error), code, {"Connection": "close"})


def _bytes_in_text(body: bytes) -> int:
    """Characters of all files that a JSON holds as texts; no file has more bytes."""
    try:
        todo = [json.loads(body)]
    except ValueError:
        return 0
    size = 0
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo += value
        elif isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, str) and value.startswith("data:"):
            size += len(value)
    return size


def _paths(answer: bytes) -> tuple[Path, ...]:
    try:
        told = json.loads(answer)
    except ValueError:
        return ()
    return tuple(Path(path) for path in told if isinstance(path, str)) if told else ()


def _mb(count: int) -> str:
    return f"{count / MEGABYTE:,.0f}"
