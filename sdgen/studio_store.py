"""The data folder as the studio uses it: its rows, its gallery, and their upkeep."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from sdgen import scratch
from sdgen.config import Settings
from sdgen.errors import SdgenError, StorageFailed
from sdgen.gallery import Gallery
from sdgen.history import History
from sdgen.queue import AppLock

log = logging.getLogger(__name__)

UPKEEP_SECONDS = 3600.0
WATCH_SECONDS = 2.0  # between two looks whether the data folder is still there
JOBS_KEPT_SECONDS = 30 * 24 * 3600.0  # rows of jobs that ended; their pictures stay


class Store:
    """Opened when it is needed: most commands never look. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = threading.Lock()
        self._history: History | None = None
        self._gallery: Gallery | None = None
        self._opened = 0  # of the history, as far as what follows knows of it
        self._lock: AppLock | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._watcher: threading.Thread | None = None
        self._told = ""  # the problem that the log knows of

    @property
    def history(self) -> History:
        """Jobs and pictures as rows. Raises StorageFailed."""
        with self._opening:
            if self._history is None:
                self._history = History(self._settings.data_dir, waits_for_room=True)
                self._opened = self._history.opened
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

    @property
    def problem(self) -> str:
        """Why nothing can be kept now, as a sentence; "" where it can. Takes no time."""
        return "" if self._history is None else self._history.problem

    def watch(self, recovered: Callable[[], None]) -> None:
        """From now on: what was removed or had no room is opened again as soon as it can be.

        recovered: is called then, and may raise StorageFailed; it is called again later.
        """
        if self._watcher is None:
            self._watcher = threading.Thread(
                target=self._watch, args=(recovered,), name="sdgen-watch", daemon=True
            )
            self._watcher.start()

    def _watch(self, recovered: Callable[[], None]) -> None:
        while not self._stop.wait(WATCH_SECONDS):
            history = self._history
            if history is None:  # on a full disk there may be not even a folder
                with contextlib.suppress(SdgenError):
                    recovered()
                continue
            if history.problem and history.problem != self._told:
                log.error("%s", history.problem)
            self._told = history.problem
            try:
                if history.problem:
                    history.recover()
                if history.opened != self._opened:
                    opened = history.opened
                    if self._lock is not None:
                        self._lock.renew()
                    recovered()
                    self.gallery.synchronise()
                    self._opened = opened
                    log.warning("the data folder can be used again")
            except SdgenError:
                continue  # said above, or the app is being closed; the next look tries again

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self._stop.set()
        for thread in (self._thread, self._watcher):
            if thread is not None:
                thread.join(1.0)
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
