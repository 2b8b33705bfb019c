"""Gradio's `file=`: only files of the app's own temporary folder, and never as a page of the app.

Gradio would also fetch an address for whoever asks, and hand on what came as if it were the app's
own: a page there would act with the visitor's cookie. Here an absolute path inside the folder of
uploads and answers is let through, and all else is refused (403), however it is spelled.
"""

import re
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdgen.web.paths import means_a_file, route_path

PREFIX = "/gradio_api/file="
# Opened alone, a file has no origin, loads nothing and runs nothing.
SANDBOX = "sandbox; default-src 'none'"
# What a browser may show by itself; all else is saved. No SVG: it is a document with scripts.
SHOWN = frozenset(
    {"image/png", "image/jpeg", "image/webp", "image/gif", "text/plain", "application/json"}
)
# Gradio answers a part of a file with the headers of the question; no others than these go out.
_KEPT = (
    "accept-ranges", "cache-control", "content-disposition", "content-length", "content-range",
    "content-type", "etag", "last-modified", "vary",
)  # fmt: skip
_RANGE = re.compile(r"bytes=\d{1,15}-\d{0,15}", re.ASCII)  # others end in a traceback there


class GradioFiles:
    """The middleware: decides on every path that means a file, and dresses the answer."""

    def __init__(self, app: ASGIApp, *, folder: Path | None) -> None:
        """folder: of uploads and answers; None: no file is handed over."""
        self.app = app
        self.folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope) if scope["type"] == "http" else ""
        if not means_a_file(path):
            await self.app(scope, receive, send)
            return
        asks = scope["method"] in ("GET", "HEAD") and path.startswith(PREFIX)
        if not (asks and self.folder is not None and is_inside(path[len(PREFIX) :], self.folder)):
            await _refused()(scope, receive, _dressed(send))
            return
        if not _RANGE.fullmatch(Headers(scope=scope).get("range", "bytes=0-")):
            headers = [pair for pair in scope["headers"] if pair[0] != b"range"]
            scope = {**scope, "headers": headers}
        await self.app(scope, receive, _dressed(send))


def is_inside(path: str, folder: Path) -> bool:
    """True for the absolute path of a file that lies in the folder: as written, without a detour,
    and with all links followed."""
    if not path or "\0" in path or path.startswith(("//", "\\\\")):
        return False
    asked = Path(path)
    if not asked.is_absolute() or ".." in asked.parts or str(asked) != path:
        return False
    try:
        real = folder.resolve()
        if not (asked.is_relative_to(folder) or asked.is_relative_to(real)):
            return False
        found = asked.resolve(strict=True)
        return found.is_relative_to(real) and found.is_file()
    except (OSError, ValueError, RuntimeError):
        return False  # not there, too long for a path, half a character, a circle of links


def _dressed(send: Send) -> Send:
    """Sends with the headers of an answer that can do nothing."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = Headers(raw=message.get("headers", []))
            kept = [
                (name.encode(), given[name].encode("latin-1")) for name in _KEPT if name in given
            ]
            message = {**message, "headers": kept}
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Content-Security-Policy"] = SANDBOX
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind not in SHOWN:
                headers["Content-Type"] = "application/octet-stream"
                told = headers.get("content-disposition", "")
                _, semicolon, name = told.partition(";")
                headers["Content-Disposition"] = f"attachment{semicolon}{name}"
        await send(message)

    return sent


def _refused() -> JSONResponse:
    return JSONResponse({"detail": "Only files of this app are handed over."}, 403)
