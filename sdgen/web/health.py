"""For whoever watches over the app: /healthz, /readyz and /metrics. No prompts, paths or names.

/healthz   200: the program answers and its queue is at work; 503: restart it
/readyz    200: it can draw now; 503: send nobody yet, and why, as JSON
/metrics   figures for Prometheus; to this machine, or with SDGEN_METRICS_TOKEN
"""

import hmac
import ipaddress
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sdgen import scratch
from sdgen.config import Settings
from sdgen.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from sdgen.studio import Studio

_FRESH = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
MEGABYTE = 1_000_000
FAILING_SECONDS = 300.0  # a failed run makes the app not ready for that long, or until a good one


class Health:
    """The routes for the operator."""

    def __init__(
        self,
        studio: "Studio",
        settings: Settings,
        on_space: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._studio = studio
        self._clock = clock
        self._failing_since: float | None = None
        self._settings = settings
        # A tunnel and a Space's proxies come from this machine or look like it.
        self._trusts_this_machine = not (on_space or settings.share)

    def routes(self) -> list[Route]:
        """Their addresses."""
        return [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
        ]

    async def healthz(self, request: Request) -> Response:
        """That this is answered shows that the event loop runs."""
        alive = self._studio.alive()
        return PlainTextResponse("ok" if alive else "the queue has stopped", _code(alive), _FRESH)

    async def readyz(self, request: Request) -> Response:
        """Whether the next visitor would get a picture."""
        return await run_in_threadpool(self._readyz)

    def _readyz(self) -> Response:
        loaded = self._studio.status().loaded
        disk, last = self._studio.disk(), self._studio.last_run_ok
        short = scratch.shortage(self._settings)
        able = bool(loaded) and not disk.full and not short and self._studio.alive()
        ready = able and not self._fails(last)
        free = disk.free_bytes
        told: dict[str, object] = {
            "ready": ready,
            "model": loaded[-1] if loaded else None,
            "last_run": {True: "good", False: "failed", None: None}[last],
            "disk_free_mb": None if free is None else free // MEGABYTE,
        }
        reason = (getattr(disk, "sentence", "") if disk.full else "") or short
        if reason:
            told["reason"] = reason
        return JSONResponse(told, _code(ready), _FRESH)

    def _fails(self, last: bool | None) -> bool:
        """True for a while after a failed run. Not for good: where nobody is sent to an app that
        is not ready, no run would ever show that it is again."""
        if last is not False:
            self._failing_since = None
            return False
        if self._failing_since is None:
            self._failing_since = self._clock()
        return self._clock() - self._failing_since < FAILING_SECONDS

    async def metrics(self, request: Request) -> Response:
        """All figures, to whoever may read them."""
        if not self._may_read(request):
            known = self._settings.metrics_token is not None
            return PlainTextResponse("Not for you.", 401 if known else 404, _FRESH)
        text = await run_in_threadpool(self._studio.metrics.text)
        return Response(text, headers=_FRESH, media_type=CONTENT_TYPE)

    def _may_read(self, request: Request) -> bool:
        token = self._settings.metrics_token
        if token is not None and token.get_secret_value():
            wanted = f"Bearer {token.get_secret_value()}".encode()
            if hmac.compare_digest(
                request.headers.get("authorization", "").encode("latin-1"), wanted
            ):
                return True
        if not self._trusts_this_machine or any(name in request.headers for name in _FORWARDED):
            return False
        try:
            return ipaddress.ip_address(request.client.host if request.client else "").is_loopback
        except ValueError:
            return False


def _code(good: bool) -> int:
    return 200 if good else 503
