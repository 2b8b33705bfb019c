"""How large the body of a request may be, how tangled, and how long it may take to come.

All but uploads: read here, counted while they are read, and handed on whole; so nobody behind waits
for a body that comes slowly, and none is believed what it says of its own length. Uploads are
counted on their way to Gradio, which then removes what it has written of a refused one.

What is refused gets a sentence: 413 too large, 400 too deep, 408 too slow, 503 too much at once.
"""

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import NoReturn

from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers, QueryParams
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdgen.web.paths import route_path

UPLOAD = "/gradio_api/upload"
BODY_BYTES_MAX = 2**20
VALUES_MAX = 20_000  # of a body in JSON; 10,000 pictures can be named in one
DEPTH_MAX = 64  # lists and objects inside each other
UPLOAD_ID_CHARS = 100  # of the name under which the progress of an upload is asked for
FREE_BYTES = 64 * 1024  # that every body may have in memory while it comes
SHARED_BYTES_MAX = 64 * 2**20  # of all bodies together, beyond that
WAIT_SECONDS = 30.0  # for the next piece of a body
PACE = 4096  # bytes a second that a body has to come with, after the first WAIT_SECONDS
LINGER_SECONDS = 5.0  # a refused body is still read so long, so that the answer is heard
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)  # of JSON, or to its end
_BRACKET = re.compile(rb"[\[\]{}]")


@dataclass(frozen=True)
class Refusal:
    """Why a body is not taken."""

    status: int
    sentence: str


TOO_LARGE = Refusal(413, f"This request is too large: at most {BODY_BYTES_MAX // 2**20} MB.")
TOO_MANY_VALUES = Refusal(413, f"This request holds more than {VALUES_MAX:,} values.")
TOO_DEEP = Refusal(400, f"Lists are nested more than {DEPTH_MAX} deep in this request.")
NOT_UTF8 = Refusal(400, "The body of this request must be UTF-8.")
TOO_SLOW = Refusal(408, "This request came too slowly.")
TOO_MUCH = Refusal(503, "Too many large requests at once; try again in a moment.")
NO_FILE = Refusal(400, "Each part of an upload must be a file with the name 'files'.")
BAD_BOUNDARY = Refusal(400, "The boundary of this upload is none; it is too long, perhaps.")
LONG_ID = Refusal(400, f"upload_id is too long: at most {UPLOAD_ID_CHARS} characters.")
BROKEN_OFF = Refusal(400, "The upload broke off.")


@dataclass
class UploadLimits:
    """What one upload may hold, and all uploads at a time."""

    bytes_max: int
    files_at_once: int  # that are being written, of all uploads: each holds a descriptor
    files_now: int = field(default=0, init=False)


class Bodies:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, uploads: UploadLimits) -> None:
        self.app = app
        self.uploads = uploads
        self._shared = 0  # bytes of SHARED_BYTES_MAX in use

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _has_long_id(scope):
            await refuse(LONG_ID, None, send)
        elif scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self.app(scope, receive, send)
        elif route_path(scope) == UPLOAD:
            await self._upload(scope, receive, send)
        else:
            await self._whole(scope, receive, send)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, shared = bytearray(), 0
        clock = _Clock(receive)
        refusal: Refusal | None = None
        try:
            more = True
            while more and refusal is None:
                message = await clock.next(len(body))
                if message is None:
                    refusal = TOO_SLOW
                    break
                if message["type"] == "http.disconnect":
                    return
                body += message.get("body", b"")
                more = message.get("more_body", False)
                needed = max(0, len(body) - FREE_BYTES)
                if len(body) > BODY_BYTES_MAX:
                    refusal = TOO_LARGE
                elif self._shared + needed - shared > SHARED_BYTES_MAX:
                    refusal = TOO_MUCH
                else:
                    self._shared += needed - shared
                    shared = needed
            refusal = refusal or tangled(body)
            if refusal is None:
                await self.app(scope, _replay(bytes(body), receive), send)
        finally:
            self._shared -= shared
        if refusal is not None:
            body.clear()
            await refuse(refusal, receive if more else None, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits, clock = self.uploads, _Clock(receive)
        parts = _Parts(Headers(scope=scope).get("content-type", ""), limits)
        unreadable = parts.read(b"")
        if unreadable is not None:  # Gradio makes its parser before it asks for the first piece
            await refuse(unreadable, receive, send)
            return
        refusal: Refusal | None = None
        started, more, size = False, True, 0

        def stop(why: Refusal) -> NoReturn:
            nonlocal refusal
            refusal = refusal or why
            raise MultiPartException(refusal.sentence)  # Gradio then removes what it has written

        async def counted() -> Message:
            nonlocal more, size
            if started or refusal is not None:
                return await receive()  # whether the client is still there
            message = await clock.next(size)
            if message is None:
                stop(TOO_SLOW)
            if message["type"] == "http.disconnect":
                more = False
                stop(BROKEN_OFF)
            piece = message.get("body", b"")
            more, size = message.get("more_body", False), size + len(piece)
            if size > limits.bytes_max:
                stop(_upload_too_large(limits.bytes_max))
            if (why := parts.read(piece)) is not None:
                stop(why)
            return message

        async def sent(message: Message) -> None:
            nonlocal started
            if refusal is None:
                started = True
                await send(message)

        try:
            await self.app(scope, counted, sent)
        except MultiPartException:
            if refusal is None:
                raise
        finally:
            parts.done()
        if refusal is not None and not started:
            await refuse(refusal, receive if more else None, send)


def tangled(body: bytes | bytearray) -> Refusal | None:
    """Why a body in JSON would take long to read, though it is not large; None where it would not.

    Texts do not count, whatever they hold.
    """
    if b"\0" in body:
        return NOT_UTF8  # json reads UTF-16 too, where these bytes would mean something else
    bare = _TEXT.sub(b"", body)
    if sum(bare.count(sign) for sign in (b",", b"[", b"{")) > VALUES_MAX:
        return TOO_MANY_VALUES
    if bare.count(b"]") + bare.count(b"}") > VALUES_MAX:
        return TOO_MANY_VALUES
    depth = 0
    for bracket in _BRACKET.findall(bare):
        depth += 1 if bracket in (b"[", b"{") else -1
        if depth > DEPTH_MAX:
            return TOO_DEEP
    return None


async def refuse(refusal: Refusal, receive: Receive | None, send: Send) -> None:
    """Answer, and end the connection. receive: where more of the body is on its way; it is read for
    a while and thrown away, as most clients hear an answer only when they have sent all."""
    text = json.dumps({"detail": refusal.sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(text)).encode()),
        (b"connection", b"close"),
    ]
    if refusal.status == TOO_MUCH.status:
        headers.append((b"retry-after", b"5"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": text, "more_body": True})
    if receive is not None and refusal is not TOO_SLOW:
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        except TimeoutError:
            pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Clock:
    """Receives the pieces of one body as long as they come fast enough."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._waited = 0.0  # seconds; what happens to the pieces here does not count

    async def next(self, size: int) -> Message | None:
        """The next piece; None where it was too long in coming. size: what came so far."""
        patience = min(WAIT_SECONDS, WAIT_SECONDS + size / PACE - self._waited)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(max(0.0, patience)):
                return await self._receive()
        except TimeoutError:
            return None
        finally:
            self._waited += loop.time() - began


class _Parts:
    """Looks into an upload with the parser that Gradio uses: how many files, and nothing else.

    Gradio keeps other fields in memory, and files of another name for good, though nobody asks.
    """

    def __init__(self, content_type: str, limits: UploadLimits) -> None:
        self._limits = limits
        self._files = 0
        self._name, self._value, self._disposition = b"", b"", b""
        self._refusal: Refusal | None = None
        self._parser: MultipartParser | None = None
        kind, options = parse_options_header(content_type)
        if kind == b"multipart/form-data" and b"boundary" in options:
            try:
                self._parser = MultipartParser(
                    options[b"boundary"],
                    {
                        "on_part_begin": self._begin,
                        "on_header_field": self._header_name,
                        "on_header_value": self._header_value,
                        "on_header_end": self._header_end,
                        "on_headers_finished": self._headers_finished,
                    },
                )
            except ValueError:  # FormParserError, in which Gradio's own parser would end, too
                self._refusal = BAD_BOUNDARY

    def read(self, piece: bytes) -> Refusal | None:
        """Look at the next piece; why it cannot be taken, or None."""
        if self._parser is not None and piece:
            try:
                self._parser.write(piece)
            except ValueError:  # MultipartParseError; Gradio says it in its own words
                self._parser = None
        return self._refusal

    def done(self) -> None:
        """Its files are closed."""
        self._limits.files_now -= self._files

    def _begin(self) -> None:
        self._disposition = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        told = parse_options_header(self._disposition)[1]
        if told.get(b"name") != b"files" or b"filename" not in told:
            self._refusal = NO_FILE
            return
        if self._limits.files_now >= self._limits.files_at_once:
            said = f"More than {self._limits.files_at_once} files are being uploaded at once here"
            self._refusal = Refusal(503, f"{said}; send fewer at a time, or try again soon.")
            return
        self._files += 1
        self._limits.files_now += 1


def _has_long_id(scope: Scope) -> bool:
    """True where an upload has a name that would fill the memory: Gradio keeps those it hears."""
    if not route_path(scope).startswith(UPLOAD):  # also of its progress
        return False
    return len(QueryParams(scope["query_string"]).get("upload_id", "")) > UPLOAD_ID_CHARS


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receives a body that came, then what comes after it."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _upload_too_large(limit: int) -> Refusal:
    return Refusal(413, f"This upload is too large: at most {limit // 2**20} MB.")
