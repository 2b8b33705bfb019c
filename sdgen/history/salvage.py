"""A new file in the place of the old one, with all that can still be read of the old one."""

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from sdgen.history.columns import ADD_JOB, ADD_PICTURE, JOB_COLUMNS, PICTURE_COLUMNS
from sdgen.history.database import Database, said

_NAME = "history.sqlite3"
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
    beside = path.with_name(f"history.new-{os.getpid()}.sqlite3")
    _remove(beside)
    try:
        new = Database(beside)
        try:
            fill(new)
        finally:
            new.close()  # which writes its log back into it
        with said():
            for suffix in (".sqlite3-wal", ".sqlite3-shm"):  # never a log beside a foreign file
                path.with_suffix(suffix).unlink(missing_ok=True)
            beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(beside)
        raise


def carry_over(old: Path, new: Database) -> None:
    """Copy what can be read of the rows of a file, damaged or not, up to where it cannot."""
    carry_over_jobs(old, new)
    _copy(old, f"SELECT {PICTURE_COLUMNS}, words FROM pictures", new, ADD_PICTURE)


def carry_over_jobs(old: Path, new: Database) -> int:
    """As carry_over, but no pictures; how many jobs."""
    jobs = _copy(old, f"SELECT {JOB_COLUMNS} FROM jobs", new, ADD_JOB)
    _copy(old, "SELECT owner FROM paused", new, "INSERT INTO paused VALUES (?)")
    return jobs


def _copy(old: Path, read: str, new: Database, write: str) -> int:
    copied = 0
    with new.writing() as db, contextlib.suppress(sqlite3.DatabaseError):
        source = sqlite3.connect(f"{old.absolute().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(source):
            for row in source.execute(read):
                with contextlib.suppress(sqlite3.IntegrityError):  # not a row that we ever wrote
                    copied += db.execute(write, row).rowcount
    return copied


def _link(path: Path, other: Path) -> None:
    try:
        os.link(path, other)
    except OSError:  # not on every disk
        shutil.copy2(path, other)


def _remove(path: Path) -> None:
    for suffix in (".sqlite3", ".sqlite3-wal", ".sqlite3-shm"):
        path.with_suffix(suffix).unlink(missing_ok=True)
