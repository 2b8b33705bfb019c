"""Pictures, thumbnails and zips: each only to its owner. Others' and unknown ones are not there.

Both get the same answer, so that nobody learns which names exist.
"""

import datetime
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from sdgen.config import Settings
from sdgen.errors import PictureUnreadable, StorageFailed
from sdgen.pictures import is_picture_name
from sdgen.web import tickets
from sdgen.web.visitors import visitor_of
from sdgen.web.wall import user_of

if TYPE_CHECKING:
    from sdgen.history import PictureRow
    from sdgen.studio import Studio

_CHUNK = 256 * 1024  # bytes
_AT_ONCE = 8  # files that are looked for, or thumbnails that are made
_SAFETY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",  # opened alone, a file can do nothing
    "Cross-Origin-Resource-Policy": "same-origin",  # no other site can show it
}
# A picture never changes. What a browser keeps counts only as long as it is the same visitor.
_KEEP = _SAFETY | {
    "Cache-Control": "private, max-age=86400",
    "Vary": "Cookie, X-Sdgen-Token",
}


class Files:
    """The routes of what is on disk."""

    def __init__(self, studio: "Studio", settings: Settings, on_space: bool) -> None:
        """on_space: flagged pictures are withheld."""
        self._studio = studio
        self._settings = settings
        self._on_space = on_space
        # Threads of our own: a gallery page asks for dozens of thumbnails, and Gradio's page comes
        # out of the same few threads that it would wait in else. Thumbnails, which may take long
        # to make, hold up no picture either.
        self._for_thumbs, self._for_others = CapacityLimiter(_AT_ONCE), CapacityLimiter(_AT_ONCE)

    def routes(self) -> list[Route]:
        """Their addresses."""
        return [
            Route("/sdgen/picture/{picture_id}", self.picture),
            Route("/sdgen/thumb/{picture_id}", self.thumb),
            Route("/sdgen/zip/{ticket}", self.zip),
        ]

    async def picture(self, request: Request) -> Response:
        """The PNG as it lies on disk; ?download=1: to be saved, not shown."""
        return await _answer(self._picture, request, self._for_others)

    async def thumb(self, request: Request) -> Response:
        """A small WebP of it."""
        return await _answer(self._thumb, request, self._for_thumbs)

    async def zip(self, request: Request) -> Response:
        """The PNGs of a ticket in one file, sent while it is being made."""
        return await _answer(self._zip, request, self._for_others)

    def _picture(self, request: Request) -> Response:
        row = self._find(request)
        if row is None:
            return _not_here()
        try:
            file = self._studio.gallery.path(row).open("rb")
        except OSError:
            return _not_here()
        told = os.fstat(file.fileno())
        tag = f'"{told.st_mtime_ns:x}-{told.st_size:x}"'
        if _has_it(request, tag):
            file.close()
            return Response(status_code=304, headers=_KEEP | {"ETag": tag})
        headers = _KEEP | {"ETag": tag, "Content-Length": str(told.st_size)}
        if request.query_params.get("download") == "1":
            headers["Content-Disposition"] = f'attachment; filename="{row.id}.png"'
        return StreamingResponse(_chunks(file), headers=headers, media_type="image/png")

    def _thumb(self, request: Request) -> Response:
        row = self._find(request)
        if row is None:
            return _not_here()
        try:
            small = self._studio.gallery.thumbnail(row).read_bytes()
        except (PictureUnreadable, OSError):
            return _not_here()  # damaged or gone; the page shows its place
        tag = f'"{row.id}-{len(small):x}"'
        if _has_it(request, tag):
            return Response(status_code=304, headers=_KEEP | {"ETag": tag})
        return Response(small, headers=_KEEP | {"ETag": tag}, media_type="image/webp")

    def _zip(self, request: Request) -> Response:
        owner = self._owner(request)
        ids = tickets.find(request.path_params["ticket"], owner)
        if self._on_space:
            rows = self._studio.gallery.rows(owner, ids)  # at once: there may be thousands
            ids = tuple(row.id for row in rows if is_picture_name(row.id) and not row.flagged)
        if not ids:
            return _not_here()
        name = f"sdgen-{datetime.date.today().isoformat()}-{len(ids)}.zip"
        headers = _SAFETY | {
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="{name}"',
        }
        body = iter(()) if request.method == "HEAD" else self._studio.gallery.zip_of(owner, ids)
        return StreamingResponse(body, headers=headers, media_type="application/zip")

    def _find(self, request: Request) -> "PictureRow | None":
        return self._visible(request.path_params["picture_id"], self._owner(request))

    def _visible(self, picture_id: str, owner: str) -> "PictureRow | None":
        """The row of a picture that its owner may see; None else."""
        if not is_picture_name(picture_id):
            return None
        row = self._studio.gallery.find(picture_id, owner)
        return None if row is not None and row.flagged and self._on_space else row

    def _owner(self, request: Request) -> str:
        return visitor_of(request, user_of(request), self._settings, self._on_space).owner


async def _answer(
    make: Callable[[Request], Response], request: Request, threads: CapacityLimiter
) -> Response:
    """The answer, made in a thread, as disks may be slow; 503 with the reason where one fails."""
    try:
        return await to_thread.run_sync(make, request, limiter=threads)
    except StorageFailed as error:
        return PlainTextResponse(str(error), 503, _SAFETY | {"Cache-Control": "no-store"})


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _has_it(request: Request, tag: str) -> bool:
    """True where the browser has this very content already."""
    told = request.headers.get("if-none-match", "")
    return tag in [part.strip().removeprefix("W/") for part in told.split(",")]


def _not_here() -> Response:
    return PlainTextResponse("Not here.", 404, _SAFETY | {"Cache-Control": "no-store"})
