"""Keeping rows, files and limits together. Whoever calls these holds the gallery's lock, where
nothing else is said."""

import contextlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from sdgen.errors import PictureUnreadable, StorageFailed
from sdgen.gallery.files import PictureFile, picture_files, remove, row_of_file
from sdgen.gallery.jobs_by_name import jobs_by_name
from sdgen.gallery.thumbnails import Thumbnails
from sdgen.history import History, PictureRow
from sdgen.history.columns import PICTURE_COLUMNS, pictures_of
from sdgen.pictures import picture_folders, pictures_folder

_AT_ONCE = 500  # rows of a transaction, so that others wait for a moment only
_DAY_SECONDS = 86400
_EMPTY_DAYS = 2  # an empty folder so old is nobody's who is about to write into it


class Copies(Protocol):
    """What knows of copies of pictures elsewhere, which go with them for good."""

    def find(self, pictures: Iterable[Path]) -> list[Path]:
        """The copies of these files, while they are there."""

    def forget(self, copies: Iterable[Path], ids: Iterable[str]) -> None:
        """Remove those, and whatever else is known as a copy of the pictures `ids`."""


class NoCopies:
    """There are none."""

    def find(self, pictures: Iterable[Path]) -> list[Path]:
        """None."""
        return []

    def forget(self, copies: Iterable[Path], ids: Iterable[str]) -> None:
        """Nothing to do."""


def synchronise(data_dir: Path, history: History, thumbnails: Thumbnails, copies: Copies) -> int:
    """Make the rows agree with the files; how many rows had to change. Raises StorageFailed.

    A file without a row gets one from recipe and name; if it has no recipe it is left alone. A row
    whose file lies elsewhere follows it, a row without a file goes. Only files without a row are
    opened, so it is quick when nothing happened.
    """
    with history.reading() as db:  # before the files: what comes later is written down by itself
        known = dict(db.execute("SELECT id, path FROM pictures").fetchall())
    in_place: set[str] = set()
    elsewhere: dict[str, PictureFile] = {}
    unknown: dict[str, PictureFile] = {}
    for file in _files(data_dir):
        if file.id not in known:
            unknown[file.id] = file
        elif known[file.id] == file.path:
            in_place.add(file.id)
        else:
            elsewhere[file.id] = file
    follow = [(file, known[file.id]) for file in elsewhere.values() if file.id not in in_place]
    top = pictures_folder(data_dir)
    gone = [
        (picture_id, path)
        for picture_id, path in known.items()
        if picture_id not in in_place and picture_id not in elsewhere
        if not (top / path).exists()
    ]
    if follow or gone:
        with history.writing() as db:
            db.executemany(
                "UPDATE pictures SET path = ?, owner = ?, "
                "deleted = CASE WHEN ? IS NULL THEN NULL ELSE coalesce(deleted, ?) END "
                "WHERE id = ? AND path = ?",
                [
                    (file.path, file.folder.owner, file.binned, file.binned, file.id, path)
                    for file, path in follow
                ],
            )
            db.executemany("DELETE FROM pictures WHERE id = ? AND path = ?", gone)
    for picture_id, _ in gone:
        thumbnails.forget(picture_id)
    if gone:
        copies.forget((), [picture_id for picture_id, _ in gone])
    return len(follow) + len(gone) + _add(data_dir, history, list(unknown.values()))


def _add(data_dir: Path, history: History, files: Sequence[PictureFile]) -> int:
    """Rows for files that have none; how many files had a recipe."""
    added = 0
    with history.reading() as db:
        jobs = jobs_by_name(db, (file.id for file in files))
    for start in range(0, len(files), _AT_ONCE):
        rows = []
        for file in files[start : start + _AT_ONCE]:
            job, index = jobs.get(file.id, ("", 0))
            with contextlib.suppress(PictureUnreadable):
                rows.append(replace(row_of_file(data_dir, file), job=job, index=index))
        history.add_pictures(rows)
        added += len(rows)
    return added


def tidy(
    data_dir: Path,
    history: History,
    thumbnails: Thumbnails,
    copies: Copies,
    bin_days: int,
    keep_days: int,
    keep_bytes: int,
) -> int:
    """Remove for good what was in the bin for `bin_days`, and what is above the limits (0: none).

    How many pictures went. Raises StorageFailed.
    """
    now = time.time()
    where = f"WHERE deleted <= {now - bin_days * _DAY_SECONDS!r}"
    if keep_days:
        where += f" OR (created < {now - keep_days * _DAY_SECONDS!r} AND NOT favourite)"
    with history.reading() as db:
        rows = pictures_of(db.execute(f"SELECT {PICTURE_COLUMNS} FROM pictures {where}"))
    removed = erase_rows(data_dir, history, thumbnails, copies, rows)
    if keep_bytes:
        removed += erase_rows(data_dir, history, thumbnails, copies, _above(history, keep_bytes))
    _remove_empty_folders(data_dir)
    thumbnails.remove_stumps()
    return removed


def _above(history: History, keep_bytes: int) -> list[PictureRow]:
    """What has to go so that at most so many bytes stay."""
    order = "ORDER BY deleted IS NULL, created, id"
    with history.reading() as db:
        total = db.execute("SELECT coalesce(sum(size_bytes), 0) FROM pictures").fetchone()[0]
        found = db.execute(
            f"SELECT {PICTURE_COLUMNS} FROM (SELECT *, "
            f"sum(size_bytes) OVER ({order}) - size_bytes AS before "
            f"FROM pictures WHERE NOT favourite) WHERE before < ? {order}",
            (total - keep_bytes,),
        )
        return pictures_of(found)


def erase_rows(
    data_dir: Path,
    history: History,
    thumbnails: Thumbnails,
    copies: Copies,
    rows: Sequence[PictureRow],
) -> int:
    """Remove pictures for good, files first: what is erased never comes back, nor does a copy of
    it answer any more. How many.

    Raises StorageFailed; what was erased until then stays so.
    """
    top = pictures_folder(data_dir)
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        alike = copies.find(top / row.path for row in some)
        try:
            remove(top / row.path for row in some)
        except OSError as error:
            raise StorageFailed(
                f"Pictures could not be removed: {error.strerror or 'the disk is broken'}."
            ) from error
        copies.forget(alike, [row.id for row in some])
        with history.writing() as db:
            db.executemany("DELETE FROM pictures WHERE id = ?", [(row.id,) for row in some])
        for row in some:
            thumbnails.forget(row.id)
    return len(rows)


def remove_lost_thumbnails(history: History, thumbnails: Thumbnails) -> None:
    """Remove those whose picture has no row, as after a crash while one was made. Raises
    StorageFailed. Needs no lock: they are made again where they are wanted."""
    for ids in thumbnails.ids():
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            how = "WHERE id IN (SELECT value FROM json_each(?))"
            with history.reading() as db:
                found = db.execute(f"SELECT id FROM pictures {how}", (json.dumps(some),))
                known = {picture_id for (picture_id,) in found}
            for picture_id in some:
                if picture_id not in known:
                    thumbnails.forget(picture_id)


def _files(data_dir: Path) -> Iterable[PictureFile]:
    try:
        return list(picture_files(data_dir))
    except OSError as error:
        raise StorageFailed(
            f"The pictures cannot be listed: {error.strerror or 'the disk does not answer'}."
        ) from error


def _remove_empty_folders(data_dir: Path) -> None:
    newest = (datetime.now(UTC) - timedelta(days=_EMPTY_DAYS)).date()
    with contextlib.suppress(OSError):
        for folder in list(picture_folders(data_dir)):
            if folder.day < newest:
                with contextlib.suppress(OSError):  # it is not empty
                    folder.path.rmdir()
