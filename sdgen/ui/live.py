"""What is live on a page: its owner's jobs, queue and newest pictures, as HTML that changes.

One stream serves all tabs of a browser (live.js); it does not own the work, so closing it stops
nothing by itself. It is server-sent events and no event of Gradio's: browsers reconnect it by
themselves, an idle page costs neither a thread nor a place in Gradio's queue, and the server knows
at once when the last page is gone.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path

from anyio import CapacityLimiter, to_thread
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from sdgen.errors import SdgenError
from sdgen.gallery import Search
from sdgen.history import PictureRow
from sdgen.job import Job, Saved
from sdgen.owners import ANYONE, Visitor
from sdgen.studio import Studio
from sdgen.ui import messages, queue_panel, tiles
from sdgen.ui.forming import Forming, advance, begin, in_groups

SCRIPT = Path(__file__).parent / "live.js"
REDRAW = 0.1  # seconds between two looks, so that no page gets more than ten a second
SLOW_BYTES = 100_000  # characters of a message after which the next one waits longer than that
TICK = 0.5  # seconds; how soon changes in the gallery are seen, and a server's end
IDLE = 2.0  # seconds between two looks where nothing is told to have changed
PING = 5.0  # seconds between two messages, changed or not: live.js takes silence for a lost line
RETRY = 1000  # milliseconds until a browser asks again where the connection was lost
EARLIER = 12  # pictures below the stage
AT_ONCE = 8  # looks at the same time, each in a thread for some milliseconds

Parts = dict[str, str]  # HTML by the name of its place on the page


class Live:
    """Streams of what an owner's pages show. Nothing of one owner reaches another."""

    def __init__(self, studio: Studio, withhold_flagged: bool = False) -> None:
        """withhold_flagged: pictures to which the model's safety checker objects stay back."""
        self._studio = studio
        self._withhold = withhold_flagged
        self._limiter = CapacityLimiter(AT_ONCE)
        self.run_id = secrets.token_hex(4)  # another one after a restart: pages begin anew, then

    async def parts(
        self, owner: str, stopping: Callable[[], bool] = lambda: False
    ) -> AsyncGenerator[Parts]:
        """All parts, then those that change; an empty one at least every PING seconds.

        Closing it means that this watcher left. stopping: True once the server stops.
        """
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(changed.set)

        view, told = OwnersView(self._studio, owner, self._withhold), Parts()
        told_at, size = 0.0, 0
        with self._studio.watching(owner, wake):
            while not stopping():
                changed.clear()
                looked_at = time.monotonic()
                now = await to_thread.run_sync(view.look, limiter=self._limiter)
                fresh = {part: html for part, html in now.items() if told.get(part) != html}
                if fresh or looked_at - told_at >= PING:
                    told, told_at = told | fresh, looked_at
                    size = sum(map(len, fresh.values()))
                    yield fresh
                while not (changed.is_set() or stopping() or view.is_old):
                    if time.monotonic() - looked_at > IDLE:
                        break
                    with suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), TICK)
                pause = REDRAW * max(1.0, size / SLOW_BYTES)
                await asyncio.sleep(max(0.0, looked_at + pause - time.monotonic()))


class OwnersView:
    """One watcher's view: what it knows of the jobs so far, and the HTML that follows from it."""

    def __init__(self, studio: Studio, owner: str, withhold: bool) -> None:
        self._studio, self._owner, self._withhold = studio, owner, withhold
        self._known: dict[str, tuple[Forming, int]] = {}  # job id -> how far, events seen
        self._read_at: tuple[int, frozenset[str]] | None = None
        self._earlier: list[PictureRow] = []
        self._gone: set[str] = set()

    @property
    def is_old(self) -> bool:
        """True where the gallery may say something else by now. Takes no time."""
        return self._read_at is not None and self._read_at[0] != self._studio.history.changes

    def look(self) -> Parts:
        """The parts as they are now."""
        if self._owner == ANYONE:
            return {"told": messages.notes((messages.NO_COOKIE,))}
        try:
            jobs = on_stage(self._follow(self._studio.shown_jobs(self._owner)))
            self._read(frozenset(row.id for job in jobs for row in job.pictures))
            shown = [job.without(self._gone) for job in jobs]
            return {
                "stage": tiles.stage(shown, withhold=self._withhold),
                "told": told(shown),
                "queue": queue_panel.panel(self._studio.queue(self._owner)),
                "earlier": tiles.earlier(self._earlier, withhold=self._withhold),
                "disk": messages.notes(tuple(filter(None, (self._studio.disk().sentence,)))),
            }
        except SdgenError as error:
            return {"told": messages.alert(str(error))}

    def _read(self, on_show: frozenset[str]) -> None:
        """What the gallery says: earlier pictures, and which of the shown ones are gone."""
        known = self._studio.history.changes, on_show
        if known == self._read_at:
            return
        gallery = self._studio.gallery
        found = gallery.search(self._owner, Search(), limit=EARLIER + len(on_show)).rows
        self._earlier = [row for row in found if row.id not in on_show][:EARLIER]
        rows = {name: gallery.find(name, self._owner) for name in on_show}
        self._gone = {name for name, row in rows.items() if row is None or row.deleted is not None}
        self._read_at = known

    def _follow(self, jobs: Sequence[Job]) -> list[Forming]:
        """The jobs as far as they are; jobs that are not shown any more are forgotten."""
        known: dict[str, tuple[Forming, int]] = {}
        for job in sorted(jobs, key=lambda job: job.created):
            forming, seen = self._known.get(job.id, (begin(job), 0))
            if job.end is None:
                forming = replace(forming, was_seen_running=True)
            events, seen = job.after(seen)
            for event in events:
                forming = advance(forming, event, self._find)
            known[job.id] = forming, seen
        self._known = known
        return [forming for forming, _ in known.values()]

    def _find(self, saved: Saved) -> PictureRow | None:
        return self._studio.gallery.find(saved.picture_id, self._owner)


def on_stage(jobs: Sequence[Forming]) -> list[Forming]:
    """Of jobs, oldest first: the groups that run, else the group that ended last."""
    groups = in_groups(jobs)
    running = [group for group in groups if any(not job.ended for job in group)]
    ended = [group for group in groups if any(job.is_worth_showing for job in group)]
    return [job for group in running or ended[-1:] for job in group]


def told(jobs: Iterable[Forming]) -> str:
    """What is to be said of the jobs on the stage: why one failed, and remarks."""
    shown = list(jobs)
    several = len(shown) > 1

    def named(job: Forming, text: str) -> str:
        return f"“{job.prompt[:60]}”: {text}" if several else text

    problems = [named(job, job.problem) for job in shown if job.problem]
    remarks = dict.fromkeys(note for job in shown for note in job.notes)
    return "".join(map(messages.alert, problems)) + messages.notes(tuple(remarks))


def live_routes(live: Live, visitor: Callable[[HTTPConnection], Visitor]) -> list[Route]:
    """The stream and the script that follows it. visitor: who asks."""

    async def stream(request: Request) -> Response:
        stop = getattr(request.app, "stop_event", None)  # Gradio's, set when its server stops
        owner = visitor(request).owner

        async def texts() -> AsyncIterator[str]:
            yield f"retry: {RETRY}\n{_message(run=live.run_id)}"
            try:
                async with aclosing(live.parts(owner, stop.is_set if stop else bool)) as parts:
                    async for fresh in parts:
                        yield _message(parts=fresh)
            except SdgenError as error:  # no queue to watch; browsers ask again by themselves
                yield _message(parts={"told": messages.alert(str(error))})

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(texts(), media_type="text/event-stream", headers=headers)

    async def script(request: Request) -> Response:
        return FileResponse(SCRIPT, headers={"Cache-Control": "no-cache"})

    return [Route("/sdgen/live", stream), Route("/sdgen/live.js", script)]


def _message(**said: object) -> str:
    """One message of a stream, as EventSource reads it."""
    return f"data: {json.dumps(said)}\n\n"
