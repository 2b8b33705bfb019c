"""Jobs of the command line: straight to the engine, with no row; they end with their process."""

import threading
import time
from pathlib import Path

from sdgen.errors import GenerationFailed, StorageFailed
from sdgen.grid import Grid
from sdgen.job import Failed, Finished, Heartbeat, ImageReady, Job, Loading, Note, Stopped
from sdgen.keeping import Place
from sdgen.metadata import Enhancement
from sdgen.owners import LOCAL, Visitor
from sdgen.pictures import day_folder
from sdgen.queue import End, GridRun, Order, Prepared, Tools, rows_of
from sdgen.request import GenerateRequest


class DirectJobs:
    """Starts jobs and keeps their pictures, whether anybody watches or not. Thread-safe."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Job, threading.Thread]] = {}

    def start(
        self,
        request: GenerateRequest,
        folder: Path | None = None,
        enhancement: Enhancement | None = None,
    ) -> Job:
        """Submit a request. Raises what preparing and submitting it raise."""
        prepared = self._tools.prepare(request)
        with self._lock:
            inner = self._tools.submit(prepared.asked, "")
            outer = Job(request, on_cancel=inner.cancel, job_id=inner.id)
            for note in prepared.notes:
                outer.publish(Note(note))
            thread = threading.Thread(
                target=self._follow,
                args=(inner, outer, folder, enhancement, prepared),
                name=f"save-{outer.id[:8]}",
                daemon=True,  # close() waits for it; a process that is killed does not
            )
            self._running[outer.id] = outer, thread
            thread.start()
        return outer

    def start_grid(self, order: Order, grid: Grid, folder: Path | None = None) -> Job:
        """Submit the first cell of a grid; the others follow, and their sheet is kept.

        Raises what `start` raises, and InvalidRequest for a cell that cannot be.
        """
        (row,) = rows_of(
            [order], Visitor(LOCAL, LOCAL), after=0.0, leave="call", created=time.time(),
            side_by_side=False,
        )  # fmt: skip
        outer = Job(order.request, on_cancel=lambda: run.cancel(), job_id=row.id, grid=grid)
        run = GridRun(order, outer, row, self._tools, grid, folder)
        with self._lock:
            run.begin()
            thread = threading.Thread(
                target=self._follow_grid, args=(run, outer), name=f"save-{row.id[:8]}", daemon=True
            )
            self._running[row.id] = outer, thread
            thread.start()
        return outer

    def _follow_grid(self, run: GridRun, outer: Job) -> None:
        end = End("failed", _defect(outer))
        try:
            end = run.follow()
        finally:  # whatever happens, a job has its end
            self._forget(outer)
            outer.publish(end.event)

    def job(self, job_id: str) -> Job | None:
        """The job of that id while it runs."""
        with self._lock:
            found = self._running.get(job_id)
        return found[0] if found else None

    def close(self, grace: float) -> None:
        """Wait up to `grace` seconds for pictures on their way to disk."""
        deadline = time.monotonic() + grace
        with self._lock:
            threads = [thread for _, thread in self._running.values()]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _follow(
        self,
        inner: Job,
        outer: Job,
        folder: Path | None,
        enhancement: Enhancement | None,
        prepared: Prepared,
    ) -> None:
        """Pass the inner job's events on, writing pictures on the way. Ends with the outer job."""
        tools, request = self._tools, outer.request
        try:
            for event in inner.events():
                match event:
                    case ImageReady(image):
                        owner = "" if folder else LOCAL
                        place = Place(folder or day_folder(tools.data_dir), owner)
                        saved = tools.keeper.keep(
                            request, image, prepared.adapters, place,
                            lambda text: outer.publish(Note(text)), enhancement,
                        )  # fmt: skip
                        outer.publish(saved)
                    case Loading():
                        outer.publish(Loading(request.model))
                    case Heartbeat():
                        pass
                    case Finished() | Stopped() | Failed():
                        self._forget(outer)
                        outer.publish(event)
                    case _:
                        outer.publish(event)
        except StorageFailed as error:
            inner.cancel()
            self._forget(outer)
            outer.publish(Failed(error))
        finally:
            if outer.end is None:  # a defect of ours: it goes to the log, and nobody waits forever
                inner.cancel()
                self._forget(outer)
                outer.publish(Failed(_defect(outer)))

    def _forget(self, job: Job) -> None:
        with self._lock:
            self._running.pop(job.id, None)


def _defect(job: Job) -> GenerationFailed:
    return GenerationFailed(f"Something went wrong inside (job {job.id}).")
