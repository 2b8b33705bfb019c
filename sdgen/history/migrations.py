"""How the tables came about, one function a version; PRAGMA user_version says how many are done."""

import sqlite3
from collections.abc import Callable

Migration = Callable[[sqlite3.Connection], None]


def _jobs_and_pictures(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE jobs (
            id TEXT PRIMARY KEY, owner TEXT NOT NULL, payer TEXT NOT NULL, state TEXT NOT NULL,
            place REAL NOT NULL, leave TEXT NOT NULL, request TEXT NOT NULL,
            created REAL NOT NULL, enhancement TEXT NOT NULL, grid TEXT NOT NULL,
            "group" TEXT NOT NULL, label TEXT NOT NULL, started REAL, ended REAL,
            error TEXT NOT NULL, attempts INTEGER NOT NULL, work REAL NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX jobs_of ON jobs (owner, created)")
    db.execute("CREATE INDEX work_of ON jobs (payer, created, work)")
    db.execute("CREATE INDEX unfinished ON jobs (place) WHERE ended IS NULL")
    db.execute("CREATE INDEX ended ON jobs (ended) WHERE ended IS NOT NULL")
    # words: prompt and negative prompt as searches compare them
    db.execute(
        """
        CREATE TABLE pictures (
            id TEXT PRIMARY KEY, owner TEXT NOT NULL, path TEXT NOT NULL, seed INTEGER NOT NULL,
            prompt TEXT NOT NULL, model TEXT NOT NULL, width INTEGER NOT NULL,
            height INTEGER NOT NULL, created REAL NOT NULL, negative_prompt TEXT NOT NULL,
            adapters TEXT NOT NULL, job TEXT NOT NULL, "index" INTEGER NOT NULL,
            flagged TEXT NOT NULL, favourite INTEGER NOT NULL, deleted REAL,
            size_bytes INTEGER NOT NULL, kind TEXT NOT NULL, words TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX pictures_of ON pictures (owner, deleted, created, id)")
    db.execute("CREATE INDEX pictures_of_job ON pictures (job, \"index\") WHERE job != ''")
    db.execute("CREATE TABLE paused (owner TEXT PRIMARY KEY)")


def _no_list_of_jobs(db: sqlite3.Connection) -> None:
    db.execute("DROP INDEX jobs_of")  # no question is asked by owner


MIGRATIONS: tuple[Migration, ...] = (_jobs_and_pictures, _no_list_of_jobs)


def migrate(db: sqlite3.Connection) -> bool:
    """Bring the tables up to date, each version in a transaction; False: they are newer than us."""
    while True:
        db.execute("BEGIN IMMEDIATE")  # read the version under it: another program may migrate too
        try:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version >= len(MIGRATIONS):
                return version == len(MIGRATIONS)
            MIGRATIONS[version](db)
            db.execute(f"PRAGMA user_version = {version + 1}")
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
