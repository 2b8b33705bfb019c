"""The rows anew from the pictures, which are the truth."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from sdgen.errors import PictureUnreadable, StorageFailed
from sdgen.gallery.files import picture_files, row_of_file
from sdgen.gallery.jobs_by_name import jobs_by_name
from sdgen.history import History, PictureRow
from sdgen.history.columns import ADD_PICTURE, picture_values
from sdgen.history.database import Database
from sdgen.history.salvage import (
    Marks,
    carry_over_jobs,
    database_path,
    readable_marks,
    replace_database,
)

_AT_ONCE = 500  # rows of a transaction


@dataclass(frozen=True)
class Rebuilt:
    """What came of it. unreadable: files that are left alone, as they carry no recipe."""

    pictures: int
    unreadable: int
    jobs_kept: int
    favourites_kept: int


def rebuild(data_dir: Path) -> Rebuilt:
    """Make the rows anew from the pictures. Nobody else may use the data folder meanwhile.

    What no file tells is taken over from the old rows, as far as they can be read: jobs, marks,
    which picture is whose job's. Raises StorageFailed; then the old rows are as they were.
    """
    History(data_dir).close()  # puts a damaged file aside, refuses one that is newer than us
    path = database_path(data_dir)
    told: list[Rebuilt] = []
    replace_database(path, lambda new: told.append(_fill(data_dir, path, new)))
    return told[0]


def _fill(data_dir: Path, old: Path, new: Database) -> Rebuilt:
    jobs = carry_over_jobs(old, new)
    known = readable_marks(old)
    rows: dict[str, PictureRow] = {}
    unreadable = 0
    try:
        for file in picture_files(data_dir):
            if file.id in rows and (file.id not in known or known[file.id].path != file.path):
                continue  # a copy of a picture that has its row
            try:
                row = row_of_file(data_dir, file)
            except PictureUnreadable:
                unreadable += 1
                continue
            rows[file.id] = _marked(row, known[file.id]) if file.id in known else row
    except OSError as error:
        raise StorageFailed(
            f"The pictures cannot be listed: {error.strerror or 'the disk does not answer'}."
        ) from error
    with new.reading() as db:
        jobs_found = jobs_by_name(db, (row.id for row in rows.values() if not row.job))
    for picture_id, (job, index) in jobs_found.items():
        rows[picture_id] = dataclasses.replace(rows[picture_id], job=job, index=index)
    values = [picture_values(row) for row in rows.values()]
    for start in range(0, len(values), _AT_ONCE):
        with new.writing() as db:
            db.executemany(ADD_PICTURE, values[start : start + _AT_ONCE])
    favourites = sum(row.favourite for row in rows.values())
    return Rebuilt(len(rows), unreadable, jobs, favourites)


def _marked(row: PictureRow, before: Marks) -> PictureRow:
    """A row made from a file, with what only the old row knows."""
    deleted = row.deleted
    if deleted is not None and before.deleted is not None:
        deleted = before.deleted  # to the second, not to the day
    return dataclasses.replace(
        row,
        job=before.job,
        index=before.index,
        flagged=row.flagged or before.flagged,
        favourite=before.favourite,
        deleted=deleted,
    )
