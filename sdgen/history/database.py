"""The SQLite file: opened, kept, and its errors turned into sentences.

One connection writes, under a lock, and stays open; each reading has a short connection of its
own, so that a long search neither waits for writers nor holds them up. WAL with synchronous=FULL:
what was committed survives kill -9 and a power cut.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sdgen.data_folder import GONE, has_no_room, make_data_folder, make_private, tighten
from sdgen.descriptors import SENTENCE, out_of_descriptors, patiently
from sdgen.errors import StorageFailed
from sdgen.history.migrations import migrate

_WAIT_SECONDS = 10.0  # for another program's transaction
_OPENING = (-1, -1)  # in the place of device and number; no file has them
_TRIES_SECONDS = 1.0  # between two tries to open a file on a full disk
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_WRITE = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    f"PRAGMA journal_size_limit = {4 * 2**20}",  # bytes that the log keeps when written back
    "PRAGMA secure_delete = 1",  # words that are erased are overwritten
)


class Damaged(StorageFailed):
    """The file is there and is no database that can be used."""


class Database:
    """A file with our tables. Thread-safe. Every method raises StorageFailed, never sqlite3's."""

    def __init__(self, path: Path, *, waits_for_room: bool = False) -> None:
        """Open it, or make it. Raises Damaged, or StorageFailed: also where it is newer than us.

        waits_for_room: where the disk is full, what is in the file can be read, and it is opened
        for writing as soon as there is room.
        """
        self.path = path
        self.changes = 0  # transactions so far: whoever saw this number knows all there is
        self.opened = 0  # how often a file was opened: whoever saw this number knows which
        self._waits_for_room = waits_for_room
        self._lock = threading.Lock()
        self._closed = False
        self._writer: sqlite3.Connection | None = None
        self._place: tuple[int, int] | None = None  # device and number of the file; None: no room
        self._device: int | None = None  # where the folder lies
        self._tried_at = 0.0
        with said():
            make_data_folder(path.parent)
            self._try_to_open()

    @property
    def problem(self) -> str:
        """Why nothing can be written now, as a sentence; "" where it can. Takes no time."""
        place = _place_of(self.path)
        if place is None and self._is_folder_gone():
            return GONE
        if self._place is None:
            return NO_ROOM_SENTENCE
        return _GONE_SENTENCE if place is None or self._place == _OPENING else ""

    def recover(self) -> None:
        """Open what can be opened again: there is room, or the file is gone and begun anew.

        A folder that is gone is not made: it may come back. Raises StorageFailed.
        """
        with said(), self._lock:
            if self._closed or (self._place is not None and _place_of(self.path) == self._place):
                return
            if _place_of(self.path) is None and self._is_folder_gone():
                raise StorageFailed(GONE)
            self._drop_writer()
            self._open()

    def _is_folder_gone(self) -> bool:
        """True also where only the place is left in which its disk is to be mounted."""
        try:
            device = self.path.parent.stat().st_dev
        except OSError:
            return True
        return self._device is not None and device != self._device

    def write_back(self) -> None:
        """Put everything into the file itself, so that it can be moved without its log."""
        with said(), self._lock:
            db = self._writer = self._writer or _connect(self.path)
            busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if busy:
                raise StorageFailed(_sentence(sqlite3.SQLITE_BUSY))

    def close(self) -> None:
        """Write the log back and let go of the file."""
        with self._lock:
            self._closed = True
            self._drop_writer()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of everything, for reading only."""
        with said():
            if self._closed:
                raise StorageFailed("The list of jobs and pictures is closed.")
            self._look()
            if self._place is None:
                db = _snapshot(self.path)
            else:
                db = _connect(self.path, "PRAGMA query_only = 1")
            try:
                db.execute("BEGIN")
                yield db
            finally:
                db.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on disk afterwards or, when anything is raised, nothing."""
        with said():
            if not self._closed:
                self._look()
        with said(), self._lock:
            if self._closed:
                raise StorageFailed("The list of jobs and pictures is closed.")
            if self._place is None:
                raise StorageFailed(NO_ROOM_SENTENCE)
            db = self._writer = self._writer or _connect(self.path, *_WRITE)
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
                self.changes += 1
            except BaseException as error:
                if isinstance(error, sqlite3.Error):
                    self._drop_writer()  # whatever state it is in, the next call has a fresh one
                elif db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _look(self) -> None:
        """See that the file is the one that was opened, and open one that lies in its place.

        Raises StorageFailed where there is none.
        """
        place = _place_of(self.path)
        if self._place is not None and place == self._place:
            return
        with self._lock:
            if self._place is None:
                if time.monotonic() - self._tried_at >= _TRIES_SECONDS:
                    self._try_to_open()
            elif _place_of(self.path) is None:
                self._drop_writer()
                raise StorageFailed(self.problem)
            elif _place_of(self.path) != self._place:
                self._drop_writer()
                self._open()

    def _try_to_open(self) -> None:
        """Open it, or wait until there is room. Raises as __init__."""
        self._tried_at = time.monotonic()
        try:
            with said():
                self._open()
        except Damaged:
            raise
        except StorageFailed:
            if not (self._waits_for_room and has_no_room(self.path.parent)):
                raise

    def _open(self) -> None:
        """Open the file, or begin one. Raises what SQLite and the disk raise, and Damaged."""
        had_no_room = self._place is None
        self._place = _OPENING  # a new file may well get the number of the one before
        try:
            beside = [self.path.with_name(f"{self.path.name}{end}") for end in ("-wal", "-shm")]
            if not self.path.exists():
                for path in beside:  # never a log beside a foreign file
                    path.unlink(missing_ok=True)
            make_private(self.path)
            for path in beside:  # new ones get the mode of the file itself
                tighten(path)
            self._writer = self._checked()
            self._device = self.path.parent.stat().st_dev
            self._place = _place_of(self.path)
        finally:
            if self._place == _OPENING and had_no_room:
                self._place = None
        self.opened += 1
        self.changes += 1

    def _checked(self) -> sqlite3.Connection:
        """A writing connection to a file that was looked through and has today's tables."""
        with contextlib.ExitStack() as unless_good:
            db = _connect(self.path, *_WRITE)
            unless_good.callback(db.close)
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise Damaged(_DAMAGED_SENTENCE)
            if not migrate(db):
                raise StorageFailed(
                    f"{self.path.name} was written by a newer version of sdgen. Use that version, "
                    "or move the file away: the pictures are found again without it."
                )
            unless_good.pop_all()
        return db

    def _drop_writer(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(sqlite3.Error):
                self._writer.close()
            self._writer = None


_DAMAGED_SENTENCE = (
    "The list of jobs and pictures is damaged. Start sdgen again: it puts that file aside and "
    "makes a new one from the pictures."
)


NO_ROOM_SENTENCE = (
    "The disk is full. Pictures can be looked at and deleted for good, and nothing new is drawn, "
    "until there is room again."
)
_GONE_SENTENCE = (
    "The list of jobs and pictures is not there any more. It is made anew from the pictures; "
    "please wait a moment."
)


def _place_of(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of its name; None where there is none."""
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_dev, told.st_ino


def _snapshot(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing at all, not even a log, to a file that nobody changes."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )


def _connect(path: Path, *settings: str) -> sqlite3.Connection:
    return patiently(partial(_open, path, settings))


def _open(path: Path, settings: tuple[str, ...]) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    with contextlib.ExitStack() as unless_good:
        unless_good.callback(db.close)
        for setting in settings:
            db.execute(setting)
        unless_good.pop_all()
    return db


@contextlib.contextmanager
def said() -> Iterator[None]:
    """Turn the errors of SQLite and of the disk into StorageFailed with a sentence."""
    try:
        yield
    except sqlite3.Error as error:
        if out_of_descriptors(error):
            raise StorageFailed(SENTENCE) from error
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary of the extended code
        if code in _DAMAGED:
            raise Damaged(_DAMAGED_SENTENCE) from error
        raise StorageFailed(_sentence(code)) from error
    except OSError as error:
        raise StorageFailed(
            f"The data folder cannot be used: {error.strerror or 'the disk does not answer'}."
        ) from error


def _sentence(code: int) -> str:
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return (
            "The list of jobs and pictures could not be written: the disk is full or does not "
            "answer. Free some space, try again."
        )
    if code == sqlite3.SQLITE_CANTOPEN:  # SQLite does not tell which
        return (
            "The list of jobs and pictures cannot be opened: the disk is full, or the data folder "
            "may not be written to. Free some space, or choose another folder."
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return "The data folder may not be written to. Choose another or allow it."
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "Another program holds the list of jobs and pictures. Try again in a moment."
    return "The list of jobs and pictures could not be used."
