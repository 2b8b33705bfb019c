"""The data folder as the studio uses it: its rows, its gallery, and their upkeep."""

import logging
import threading
import time
from collections.abc import Callable

from sdgen import scratch
from sdgen.config import Settings
from sdgen.errors import StorageFailed
from sdgen.gallery import Gallery
from sdgen.history import History
from sdgen.queue import AppLock

log = logging.getLogger(__name__)

UPKEEP_SECONDS = 3600.0
JOBS_KEPT_SECONDS = 30 * 24 * 3600.0  # rows of jobs that ended; their pictures stay


class Store:
    """Opened when it is needed: most commands never look. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = threading.Lock()
        self._history: History | None = None
        self._gallery: Gallery | None = None
        self._lock: AppLock | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def history(self) -> History:
        """Jobs and pictures as rows. Raises StorageFailed."""
        with self._opening:
            if self._history is None:
                self._history = History(self._settings.data_dir)
                if self._history.set_aside is not None:
                    log.error(
                        "the history was damaged; it is put aside as %s and made anew",
                        self._history.set_aside.name,
                    )
            return self._history

    @property
    def gallery(self) -> Gallery:
        """The pictures. Raises StorageFailed."""
        history = self.history
        with self._opening:
            if self._gallery is None:
                self._gallery = Gallery(
                    self._settings.data_dir,
                    history,
                    bin_days=self._settings.bin_days,
                    copies=scratch.HandedCopies(),
                )
            return self._gallery

    def hold(self) -> None:
        """Be the one app of this data folder. Raises StorageFailed where there is another."""
        if self._lock is None:
            self._lock = AppLock(self._settings.data_dir)

    def look_after(self) -> None:
        """From now on, now and then: rows and files agree, and the limits of the operator hold."""
        self._thread = threading.Thread(target=self._upkeep, name="sdgen-upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(1.0)
        with self._opening:
            if self._history is not None:
                self._history.close()
        if self._lock is not None:
            self._lock.close()

    def _upkeep(self) -> None:
        while not self._stop.is_set():
            self._attempt("rows and files", lambda: self.gallery.synchronise())
            self._attempt(
                "old pictures",
                lambda: self.gallery.tidy(
                    keep_days=self._settings.keep_days,
                    keep_bytes=self._settings.keep_mb * 1_000_000,
                ),
            )
            self._attempt(
                "rows of old jobs",
                lambda: self.history.forget_jobs(time.time() - JOBS_KEPT_SECONDS),
            )
            self._attempt("temporary files", lambda: scratch.remove_old(scratch.folder_in_use()))
            self._stop.wait(UPKEEP_SECONDS)

    def _attempt(self, what: str, deed: Callable[[], int]) -> None:
        try:
            count = deed()
        except StorageFailed as error:
            log.warning("upkeep of %s: %s", what, error)
        else:
            if count:
                log.info("upkeep of %s: %d changed", what, count)
