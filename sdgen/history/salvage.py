"""A new file in the place of the old one, with all that can still be read of the old one."""

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdgen.atomic_write import sync_folder
from sdgen.history.columns import (
    ADD_JOB,
    ADD_PICTURE,
    JOB_COLUMNS,
    PICTURE_COLUMNS,
    job_of,
    job_values,
    picture_of,
    picture_values,
)
from sdgen.history.database import Database, said

_NAME = "history.sqlite3"
_NEW = "history.new-"  # how names begin of files that are being filled
_STALE_SECONDS = 86400  # after which one is left from a program that was killed
_Values = tuple[Any, ...]
_BESIDE = (".sqlite3", ".sqlite3-wal")  # a write-ahead log belongs to its file


def database_path(data_dir: Path) -> Path:
    """The file with the rows of a data folder."""
    return data_dir / _NAME


def set_aside_and_salvage(path: Path) -> Path:
    """Keep a damaged file under another name and put a new one in its place.

    What can be read of the old one is in the new one. Returns the other name. Raises StorageFailed.
    """
    aside = path.with_name(f"history.damaged-{time.strftime('%Y%m%d-%H%M%S')}.sqlite3")
    with said():
        for suffix in _BESIDE:
            if path.with_suffix(suffix).exists():
                _link(path.with_suffix(suffix), aside.with_suffix(suffix))
        replace_database(path, lambda db: carry_over(path, db))
    return aside


def replace_database(path: Path, fill: Callable[[Database], None]) -> None:
    """Make a new file beside `path`, have it filled, then put it in the place of `path`.

    Raises StorageFailed and what `fill` raises; then the old file is as it was.
    """
    beside = path.with_name(f"{_NEW}{os.getpid()}.sqlite3")
    with said():
        _remove_stale(path.parent)
        _remove(beside)
    try:
        new = Database(beside)
        try:
            fill(new)
            new.write_back()
        finally:
            new.close()
        with said():
            for suffix in (".sqlite3-wal", ".sqlite3-shm"):  # never a log beside a foreign file
                path.with_suffix(suffix).unlink(missing_ok=True)
            beside.replace(path)
            sync_folder(path.parent)
    finally:  # nothing of it is there any more where all went well
        with contextlib.suppress(OSError):
            _remove(beside)


def carry_over(old: Path, new: Database) -> None:
    """Copy what can be read of the rows of a file, damaged or not, up to where it cannot."""
    carry_over_jobs(old, new)
    read = f"SELECT {PICTURE_COLUMNS} FROM pictures"
    _copy(old, read, new, ADD_PICTURE, lambda values: picture_values(picture_of(values)))


def carry_over_jobs(old: Path, new: Database) -> int:
    """As carry_over, but no pictures; how many jobs."""
    read = f"SELECT {JOB_COLUMNS} FROM jobs"
    jobs = _copy(old, read, new, ADD_JOB, lambda values: job_values(job_of(values)))
    _copy(old, "SELECT owner FROM paused", new, "INSERT INTO paused VALUES (?)", tuple)
    return jobs


@dataclass(frozen=True)
class Marks:
    """What a picture's row knows and its file does not."""

    path: str
    job: str
    index: int
    flagged: str
    favourite: bool
    deleted: float | None


def readable_marks(old: Path) -> dict[str, Marks]:
    """The marks of the pictures in a file by their ids, up to where it cannot be read."""
    read = 'SELECT id, path, job, "index", flagged, favourite, deleted FROM pictures'
    found: dict[str, Marks] = {}
    with _up_to_damage(), contextlib.closing(_opened(old)) as source:
        for picture_id, path, job, index, flagged, favourite, deleted in source.execute(read):
            found[picture_id] = Marks(path, job, index, flagged, bool(favourite), deleted)
    return found


@contextlib.contextmanager
def _up_to_damage() -> Iterator[None]:
    """Stop in peace where a file is damaged, or never was ours; StorageFailed where the disk does
    not answer, as there may be more behind it."""
    with said():
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
                raise


def _opened(old: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{old.absolute().as_uri()}?mode=ro", uri=True)


def _copy(
    old: Path, read: str, new: Database, write: str, checked: Callable[[_Values], _Values]
) -> int:
    rows = []
    with _up_to_damage(), contextlib.closing(_opened(old)) as source:
        for row in source.execute(read):
            with contextlib.suppress(ValueError, TypeError):  # not a row that we ever wrote
                rows.append(checked(row))
    copied = 0
    with new.writing() as db:
        for row in rows:
            with contextlib.suppress(sqlite3.IntegrityError):  # nor this
                copied += db.execute(write, row).rowcount
    return copied


def _link(path: Path, other: Path) -> None:
    try:
        os.link(path, other)
    except OSError:  # not on every disk
        shutil.copy2(path, other)


def _remove_stale(folder: Path) -> None:
    for path in folder.glob(f"{_NEW}*"):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    for suffix in (".sqlite3", ".sqlite3-wal", ".sqlite3-shm"):
        path.with_suffix(suffix).unlink(missing_ok=True)
