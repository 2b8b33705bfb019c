"""Everybody's pictures: found, marked, deleted, brought back, kept within limits.

Each method takes the owner who asks. What belongs to another owner is as if it were not there.
"""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from sdgen.errors import StorageFailed
from sdgen.gallery.archive import zip_stream
from sdgen.gallery.files import move, move_back, row_of_recipe
from sdgen.gallery.search import Found, Search, conditions
from sdgen.gallery.thumbnails import Thumbnails
from sdgen.gallery.upkeep import (
    Copies,
    NoCopies,
    erase_rows,
    remove_lost_thumbnails,
    synchronise,
    tidy,
)
from sdgen.history import History, PictureKind, PictureRow
from sdgen.history.columns import PICTURE_COLUMNS, clean, pictures_of
from sdgen.metadata import Recipe
from sdgen.owners import ANYONE
from sdgen.pictures import bin_folder, day_folder, pictures_folder

_NEWEST_FIRST = "ORDER BY created DESC, id DESC"
_OLDEST_FIRST = "ORDER BY created, id"
_GIVEN = "id IN (SELECT value FROM json_each(?))"
_PAGE_MAX = 2**31  # rows


class Gallery:
    """Files and their rows. Thread-safe. Methods raise StorageFailed, where nothing else is said.

    Then the pictures are as they were, and the next call works if the cause is gone.
    """

    def __init__(
        self,
        data_dir: Path,
        history: History,
        *,
        bin_days: int = 30,
        copies: Copies | None = None,
    ) -> None:
        """bin_days: how long deleted pictures can come back. copies: of pictures, elsewhere."""
        self._copies = copies or NoCopies()
        self._data_dir = data_dir
        self._history = history
        self._bin_days = bin_days
        self._thumbnails = Thumbnails(data_dir)
        self._moving = threading.Lock()  # one at a time changes where files lie

    # What there is

    def row_for(
        self,
        path: Path,
        recipe: Recipe,
        owner: str,
        job: str = "",
        index: int = 0,
        flagged: str = "",
        kind: PictureKind = "picture",
    ) -> PictureRow:
        """The row of a picture that was written below the data folder's pictures/."""
        return row_of_recipe(self._data_dir, path, recipe, owner, job, index, flagged, kind)

    def record(self, row: PictureRow) -> None:
        """Write a picture down; as History.add_picture."""
        self._history.add_picture(row)

    def find(self, picture_id: str, owner: str) -> PictureRow | None:
        """An owner's picture, also from the bin; or None."""
        row = self._history.picture(picture_id)
        return row if row is not None and row.owner == owner else None

    def rows(self, owner: str, ids: Iterable[str]) -> list[PictureRow]:
        """An owner's among these pictures, newest first, also from the bin."""
        how = f"WHERE owner = ? AND {_GIVEN} {_NEWEST_FIRST}"
        with self._history.reading() as db:
            return pictures_of(
                db.execute(
                    f"SELECT {PICTURE_COLUMNS} FROM pictures {how}", (clean(owner), _listed(ids))
                )
            )

    def path(self, row: PictureRow) -> Path:
        """Where a picture's file is."""
        return pictures_folder(self._data_dir) / row.path

    def search(self, owner: str, search: Search, offset: int = 0, limit: int = 48) -> Found:
        """One page of an owner's pictures, newest first."""
        if owner == ANYONE:
            return Found((), 0)
        where, values = conditions(owner, search)
        page = (min(max(limit, 0), _PAGE_MAX), min(max(offset, 0), _PAGE_MAX))
        with self._history.reading() as db:
            total = db.execute(f"SELECT count(*) FROM pictures {where}", values).fetchone()[0]
            how = f"{where} {_NEWEST_FIRST} LIMIT ? OFFSET ?"
            found = db.execute(f"SELECT {PICTURE_COLUMNS} FROM pictures {how}", [*values, *page])
            return Found(tuple(pictures_of(found)), total)

    def neighbours(self, owner: str, search: Search, picture_id: str) -> tuple[str, str]:
        """The ids of the next newer and the next older picture of a search; "": there is none."""
        row = None if owner == ANYONE else self.find(picture_id, owner)
        if row is None:
            return "", ""
        where, values = conditions(owner, search)
        found = []
        with self._history.reading() as db:
            for than, order in ((">", _OLDEST_FIRST), ("<", _NEWEST_FIRST)):
                how = f"{where} AND (created, id) {than} (?, ?) {order} LIMIT 1"
                one = db.execute(f"SELECT id FROM pictures {how}", [*values, row.created, row.id])
                found.append("".join(name for (name,) in one))
        return found[0], found[1]

    def models(self, owner: str) -> list[str]:
        """The models of an owner's pictures, by name."""
        return self._names(owner, "model", "pictures")

    def adapters(self, owner: str) -> list[str]:
        """The adapters of an owner's pictures, by name."""
        return self._names(owner, "value", "pictures, json_each(pictures.adapters)")

    def _names(self, owner: str, column: str, source: str) -> list[str]:
        if owner == ANYONE:
            return []
        where = "WHERE owner = ? AND deleted IS NULL"
        with self._history.reading() as db:
            found = db.execute(f"SELECT DISTINCT {column} FROM {source} {where}", (clean(owner),))
            return sorted((name for (name,) in found if name), key=str.casefold)

    def thumbnail(self, row: PictureRow) -> Path:
        """A small WebP of a picture, made when it is first wanted. Also raises PictureUnreadable:
        the file is damaged, gone or too big."""
        return self._thumbnails.of(row.id, self.path(row))

    def zip_of(self, owner: str, ids: Iterable[str]) -> Iterator[bytes]:
        """A zip of an owner's original files, as it is made; other ids are left out."""
        rows = self.rows(owner, ids)
        return zip_stream((f"{row.id}.png", self.path(row), row.created) for row in rows)

    # What is done with it

    def favourite(self, owner: str, ids: Iterable[str], on: bool) -> int:
        """Mark pictures or take the mark away; how many of them there are."""
        with self._history.writing() as db:
            return db.execute(
                f"UPDATE pictures SET favourite = ? WHERE owner = ? AND {_GIVEN}",
                (on, clean(owner), _listed(ids)),
            ).rowcount

    def delete(self, owner: str, ids: Iterable[str]) -> tuple[str, ...]:
        """Put pictures into the bin; the ids of those that went."""
        return self._move(owner, ids, time.time())

    def restore(self, owner: str, ids: Iterable[str]) -> tuple[str, ...]:
        """Take pictures out of the bin; the ids of those that came back."""
        return self._move(owner, ids, None)

    def erase(self, owner: str, ids: Iterable[str]) -> int:
        """Remove pictures that are in the bin for good; how many."""
        with self._moving:
            rows = [row for row in self.rows(owner, ids) if row.deleted is not None]
            return erase_rows(self._data_dir, self._history, self._thumbnails, self._copies, rows)

    def empty_bin(self, owner: str) -> int:
        """Remove all that an owner has in the bin for good; how many."""
        if owner == ANYONE:
            return 0
        how = "WHERE owner = ? AND deleted IS NOT NULL"
        with self._moving:
            with self._history.reading() as db:
                rows = pictures_of(
                    db.execute(f"SELECT {PICTURE_COLUMNS} FROM pictures {how}", (clean(owner),))
                )
            return erase_rows(self._data_dir, self._history, self._thumbnails, self._copies, rows)

    def tidy(self, *, keep_days: int = 0, keep_bytes: int = 0) -> int:
        """Remove for good what was in the bin too long, and what is above the limits (0: none).

        Above the limits the oldest go, those in the bin first, favourites never. How many went.
        """
        limits = (self._bin_days, keep_days, keep_bytes)
        with self._moving:
            removed = tidy(self._data_dir, self._history, self._thumbnails, self._copies, *limits)
        remove_lost_thumbnails(self._history, self._thumbnails)
        return removed

    def synchronise(self) -> int:
        """Make the rows agree with the files, which are right; how many rows had to change."""
        with self._moving:
            return synchronise(self._data_dir, self._history, self._thumbnails, self._copies)

    def _move(self, owner: str, ids: Iterable[str], deleted: float | None) -> tuple[str, ...]:
        """Move files into the bin, or out of it, and then their rows.

        Killed in between, the next start makes the rows follow the files.
        """
        with self._moving:
            rows = self.rows(owner, ids)
            rows = [row for row in rows if (row.deleted is None) != (deleted is None)]
            places = {}
            for row in rows:
                when = datetime.fromtimestamp(row.created if deleted is None else deleted, UTC)
                folder = (day_folder if deleted is None else bin_folder)(
                    self._data_dir, when, owner
                )
                places[self.path(row)] = folder / f"{row.id}.png"
            try:
                moved = move(places.items())
            except OSError as error:
                raise StorageFailed(
                    f"The pictures could not be moved: {error.strerror or 'the disk is broken'}."
                ) from error
            gone = {new.stem for new in places.values()} - {new.stem for _, new in moved}
            top = pictures_folder(self._data_dir)
            try:
                with self._history.writing() as db:
                    db.executemany(
                        "UPDATE pictures SET path = ?, deleted = ? WHERE id = ?",
                        [(new.relative_to(top).as_posix(), deleted, new.stem) for _, new in moved],
                    )
                    db.executemany("DELETE FROM pictures WHERE id = ?", [(name,) for name in gone])
            except StorageFailed:
                move_back(moved)
                raise
            return tuple(new.stem for _, new in moved)


def _listed(ids: Iterable[str]) -> str:
    return json.dumps([clean(name) for name in ids])
