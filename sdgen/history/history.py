"""Jobs and pictures as rows, in data_dir/history.sqlite3."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from sqlite3 import Connection

from sdgen.history.columns import (
    ADD_JOB,
    ADD_PICTURE,
    JOB_COLUMNS,
    PICTURE_COLUMNS,
    clean,
    job_of,
    job_values,
    picture_of,
    picture_values,
    pictures_of,
)
from sdgen.history.database import Damaged, Database
from sdgen.history.rows import JobRow, JobState, PictureRow
from sdgen.history.salvage import database_path, set_aside_and_salvage

_OPEN = "state IN ('waiting', 'running')"
_WORDS = ("prompt", "negative_prompt")  # of a request, the user's own


class History:
    """What was asked and what came of it. Thread-safe.

    Every method raises StorageFailed with a sentence: disk full, not writable, damaged, ...; then
    nothing has changed and the next call works if the cause is gone.
    """

    def __init__(self, data_dir: Path, *, waits_for_room: bool = False) -> None:
        """Open the rows of a data folder, or begin them; a damaged file is put aside.

        waits_for_room: on a full disk they can be read, and written once there is room.
        """
        path = database_path(data_dir)
        self.set_aside: Path | None = None  # where the damaged file went
        try:
            self._database = Database(path, waits_for_room=waits_for_room)
        except Damaged:
            self.set_aside = set_aside_and_salvage(path)
            self._database = Database(path)

    def close(self) -> None:
        """Let go of the file; nothing more can be read or written."""
        self._database.close()

    @property
    def problem(self) -> str:
        """Why nothing can be written now, as a sentence; "" where it can. Takes no time."""
        return self._database.problem

    @property
    def opened(self) -> int:
        """Grows with every file that was opened: another one may have taken the place of the
        first."""
        return self._database.opened

    def recover(self) -> None:
        """Open what can be opened again; rows of a file that is gone are begun anew."""
        self._database.recover()

    @property
    def changes(self) -> int:
        """Grows with every change of a row, so that a watcher need not read to know of none."""
        return self._database.changes

    def reading(self) -> contextlib.AbstractContextManager[Connection]:
        """A connection that sees one state of everything, for reading only."""
        return self._database.reading()

    def writing(self) -> contextlib.AbstractContextManager[Connection]:
        """A transaction: on disk afterwards or, when anything is raised, as if never begun."""
        return self._database.writing()

    # Jobs

    def add_jobs(self, rows: Sequence[JobRow]) -> None:
        """Write down jobs, all or none; one that is known by its id stays as it is."""
        with self.writing() as db:
            db.executemany(ADD_JOB, [job_values(row) for row in rows])

    def job(self, job_id: str) -> JobRow | None:
        """The job of that id, or None."""
        return next(self._jobs("WHERE id = ?", clean(job_id)), None)

    def unfinished(self) -> list[JobRow]:
        """Waiting and running jobs of everybody, in their order."""
        return list(self._jobs(f"WHERE ended IS NULL AND {_OPEN} ORDER BY place, created, id"))

    def start_job(self, job_id: str, when: float) -> None:
        """It runs: one attempt more."""
        self._change_job(
            "state = 'running', started = ?, attempts = attempts + 1", f"AND {_OPEN}", job_id, when
        )

    def wait_again(self, job_id: str) -> None:
        """A running job waits, at the place it had."""
        self._change_job("state = 'waiting'", "AND state = 'running'", job_id)

    def end_job(
        self,
        job_id: str,
        state: JobState,
        when: float,
        error: str = "",
        *,
        forget_words: bool = False,
    ) -> None:
        """Its one end; no effect on a job that has ended.

        forget_words: what the user wrote leaves the row with it.
        """
        with self.writing() as db:
            values = [state, when, clean(error), clean(job_id)]
            done = db.execute(
                f"UPDATE jobs SET state = ?, ended = ?, error = ? WHERE id = ? AND {_OPEN}", values
            )
            if forget_words and done.rowcount:
                _forget_words(db, clean(job_id))

    def place_jobs(self, places: Mapping[str, float]) -> None:
        """Give waiting jobs new places, all or none."""
        with self.writing() as db:
            db.executemany(
                "UPDATE jobs SET place = ? WHERE id = ? AND state = 'waiting'",
                [(place, clean(job_id)) for job_id, place in places.items()],
            )

    def work_since(self, payer: str, when: float) -> float:
        """Megapixels x steps of what a payer asked for since then."""
        with self.reading() as db:
            found = db.execute(
                "SELECT total(work) FROM jobs WHERE payer = ? AND created >= ?",
                (clean(payer), when),
            )
            return float(found.fetchone()[0])

    def forget_jobs(self, ended_before: float) -> int:
        """Remove the rows of jobs that ended before then; how many. Their pictures stay."""
        with self.writing() as db:
            return db.execute("DELETE FROM jobs WHERE ended < ?", (ended_before,)).rowcount

    def set_paused(self, owner: str, paused: bool) -> None:
        """Have an owner's waiting jobs wait on, or go on."""
        add = "INSERT INTO paused VALUES (?) ON CONFLICT (owner) DO NOTHING"
        with self.writing() as db:
            db.execute(add if paused else "DELETE FROM paused WHERE owner = ?", (clean(owner),))

    def paused(self) -> frozenset[str]:
        """The owners whose jobs wait until they say so."""
        with self.reading() as db:
            return frozenset(owner for (owner,) in db.execute("SELECT owner FROM paused"))

    def _jobs(self, how: str, *values: object) -> Iterator[JobRow]:
        with self.reading() as db:
            found = db.execute(f"SELECT {JOB_COLUMNS} FROM jobs {how}", values).fetchall()
        return (job_of(values) for values in found)

    def _change_job(self, change: str, condition: str, job_id: str, *values: object) -> None:
        with self.writing() as db:
            db.execute(
                f"UPDATE jobs SET {change} WHERE id = ? {condition}", (*values, clean(job_id))
            )

    # Pictures

    def add_picture(self, row: PictureRow) -> None:
        """Write down a picture.

        A picture that is known by its id stays as it is, but learns its job, where it had none.
        """
        self.add_pictures([row])

    def add_pictures(self, rows: Sequence[PictureRow]) -> None:
        """As add_picture; all or none."""
        with self.writing() as db:
            db.executemany(ADD_PICTURE, [picture_values(row) for row in rows])

    def picture(self, picture_id: str) -> PictureRow | None:
        """The picture of that id, whoever owns it, in the bin or not; or None."""
        with self.reading() as db:
            found = db.execute(
                f"SELECT {PICTURE_COLUMNS} FROM pictures WHERE id = ?", (clean(picture_id),)
            ).fetchone()
        return None if found is None else picture_of(found)

    def pictures_of_job(self, job_id: str) -> list[PictureRow]:
        """The pictures of a job in the order of their index, in the bin or not."""
        how = "WHERE job = ? AND job != '' ORDER BY \"index\", id"
        with self.reading() as db:
            return pictures_of(
                db.execute(f"SELECT {PICTURE_COLUMNS} FROM pictures {how}", (clean(job_id),))
            )


def _forget_words(db: Connection, job_id: str) -> None:
    """Empty what the user wrote in a job's row."""
    (request,) = db.execute("SELECT request FROM jobs WHERE id = ?", (job_id,)).fetchone()
    try:
        fields = json.loads(request)
        fields |= {name: "" for name in _WORDS if name in fields}
        request = json.dumps(fields, ensure_ascii=False)
    except (ValueError, TypeError):
        request = ""  # no JSON object: kept whole it would keep the words
    db.execute(
        "UPDATE jobs SET request = ?, enhancement = '', grid = '', label = '' WHERE id = ?",
        (request, job_id),
    )
