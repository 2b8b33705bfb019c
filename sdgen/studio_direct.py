"""Jobs of the command line: straight to the engine, with no row; they end with their process."""

import threading
import time
from pathlib import Path

from sdgen.data_folder import make_data_folder
from sdgen.errors import GenerationFailed, StorageFailed
from sdgen.job import Job
from sdgen.keeping import Place
from sdgen.owners import LOCAL, Visitor
from sdgen.pictures import day_folder
from sdgen.queue import End, Order, PicturesRun, Tools, rows_of, run_of


class DirectJobs:
    """Starts jobs and keeps their pictures, whether anybody watches or not. Thread-safe."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Job, threading.Thread]] = {}

    def start(self, order: Order, folder: Path | None = None) -> Job:
        """Submit an order. folder: where its pictures go, which lists them nowhere.

        Raises what preparing and submitting it raise, and InvalidRequest for a cell of its grid.
        """
        (row,) = rows_of(
            [order], Visitor(LOCAL, LOCAL), after=0.0, leave="call", created=time.time(),
            side_by_side=False,
        )  # fmt: skip
        job = Job(order.request, on_cancel=lambda: run.cancel(), job_id=row.id, grid=order.grid)
        # Pictures of no job: this one has no row.
        place = Place(folder) if folder else Place(day_folder(self._tools.data_dir), LOCAL)
        run = run_of(order, job, row, self._tools, place)
        try:
            make_data_folder(self._tools.data_dir)
        except OSError as error:
            raise StorageFailed(
                f"The data folder cannot be made: {error.strerror or 'the disk does not answer'}."
            ) from error
        with self._lock:
            run.begin()
            thread = threading.Thread(
                target=self._follow,
                args=(run, job),
                name=f"save-{row.id[:8]}",
                daemon=True,  # close() waits for it; a process that is killed does not
            )
            self._running[row.id] = job, thread
            thread.start()
        return job

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

    def _follow(self, run: PicturesRun, job: Job) -> None:
        end = End("failed", GenerationFailed(f"Something went wrong inside (job {job.id})."))
        try:
            end = run.follow()
        finally:  # whatever happens, a job has its end
            with self._lock:
                self._running.pop(job.id, None)
            job.publish(end.event)
