"""Ends of jobs on their way to the history: none is forgotten while the disk refuses them."""

import logging
import time
from collections.abc import Sequence

from sdgen.errors import StorageFailed
from sdgen.history import History, JobRow, JobState
from sdgen.queue.views import Order

log = logging.getLogger(__name__)

UNWRITTEN = 10_000  # ends that are remembered while the disk refuses them


class Ends:
    """Not thread-safe: the queue's lock guards it."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._unwritten: dict[str, tuple[JobState, str, bool]] = {}
        self._warned_of = ""

    def add(self, job_id: str, state: JobState, error: str, *, forget_words: bool) -> None:
        """An end to be written. forget_words: of a job whose prompt is to be left out."""
        self._unwritten[job_id] = state, error, forget_words

    def add_failed(self, rows: Sequence[JobRow], orders: Sequence[Order], error: str) -> None:
        """Ends of jobs that may be on disk or not, as many as there is room for."""
        for row, order in zip(rows, orders, strict=True):
            if len(self._unwritten) < UNWRITTEN:
                self.add(row.id, "failed", error, forget_words=order.request.leave_out_prompt)

    def write(self) -> None:
        """Write those that are not on disk yet; what the disk refuses waits for the next call."""
        for job_id, (state, error, forget) in list(self._unwritten.items()):
            try:
                self._history.end_job(job_id, state, time.time(), error, forget_words=forget)
            except StorageFailed as failure:
                if job_id != self._warned_of:  # it is tried every second
                    self._warned_of = job_id
                    log.warning("the end of job %s is not written yet: %s", job_id, failure)
                return
            del self._unwritten[job_id]
