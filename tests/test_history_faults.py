"""Rows when the disk is full, the file damaged, the program killed: old state whole, or new."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from sdgen.errors import StorageFailed
from sdgen.history.columns import ADD_JOB, job_values
from sdgen.history.database import Database
from sdgen.history.salvage import replace_database
from tests.conftest import OpenHistory
from tests.fault_programs import posix, run
from tests.history_rows import job, picture

NAME = "history.sqlite3"


def test_a_full_database_keeps_its_old_state(tmp_path: Path, open_history: OpenHistory) -> None:
    history = open_history(tmp_path)
    history.add_jobs([job("old")])
    with history.writing() as db:  # the file may not grow any more
        db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StorageFailed, match="disk is full"):
        history.add_jobs([job(str(number), label="x" * 10_000) for number in range(9)])
    assert [row.id for row in history.unfinished()] == ["old"]
    history.add_jobs([job("new", place=2.0)])  # and the next call has what it needs
    assert [row.id for row in history.unfinished()] == ["old", "new"]


FULL_DISK = """
import sys
from pathlib import Path
from sdgen.history import History
from tests.fault_programs import limited
from tests.history_rows import job, picture

def state(history):
    return history.unfinished(), history.picture("p"), history.paused()

failed = passed = 0
for limit in range(0, 60_000, int(sys.argv[2])):
    folder = Path(sys.argv[1]) / str(limit)
    history = History(folder)
    history.add_jobs([job("a"), job("b", place=2.0)])
    for call in (
        lambda: history.add_jobs([job(name, label="x" * 3000) for name in "cde"]),
        lambda: history.start_job("a", 5.0),
        lambda: history.end_job("a", "done", 6.0, forget_words=True),
        lambda: history.add_picture(picture("p", prompt="y" * 3000)),
        lambda: history.set_paused("me", True),
    ):
        before = state(history)
        if limited(limit, call):
            passed += 1
        else:
            failed += 1
            assert state(history) == before, limit
            call()  # with room again
        assert state(history) != before, limit
    after = state(history)
    history.close()
    history = History(folder)
    assert history.set_aside is None
    assert state(history) == after, limit
    history.close()
print(failed, passed)
"""


@posix
@pytest.mark.parametrize("step", [6_000, pytest.param(500, marks=pytest.mark.slow)])
def test_a_disk_that_fills_up_at_any_write_keeps_the_old_state(tmp_path: Path, step: int) -> None:
    failed, passed = map(int, run(FULL_DISK, tmp_path, step).split())
    assert failed > 30_000 / step
    assert passed > 30_000 / step


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path, open_history: OpenHistory) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed) as caught:
        open_history(tmp_path / "file" / "folder")
    assert str(tmp_path) not in str(caught.value)
    (tmp_path / NAME).mkdir()
    with pytest.raises(StorageFailed):
        open_history(tmp_path)


def overwritten(start: int, end: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:start] + b"\xa5" * (end - start) + data[end:]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "no database": lambda data: b"not a database at all" * 100,
    "the head": overwritten(0, 16),
    "the tables": overwritten(100, 4096),
    "a page": overwritten(3 * 4096, 4 * 4096),
    "cut off": lambda data: data[: len(data) // 2],
    "all but the head": lambda data: overwritten(4096, len(data))(data),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_put_aside(
    tmp_path: Path, damage: str, open_history: OpenHistory
) -> None:
    history = open_history(tmp_path)
    history.add_jobs([job(f"{number:03}", label="x" * 500) for number in range(100)])
    history.close()
    path = tmp_path / NAME
    broken = DAMAGES[damage](path.read_bytes())
    path.write_bytes(broken)
    history = open_history(tmp_path)
    assert history.set_aside is not None
    assert history.set_aside.read_bytes() == broken
    kept = history.unfinished()
    assert all(row == job(row.id, label="x" * 500) for row in kept)
    history.add_jobs([job("new", owner="you")])
    assert history.job("new") == job("new", owner="you")
    history.close()
    assert not list(tmp_path.glob("history.new*"))
    again = open_history(tmp_path)
    assert again.set_aside is None
    assert len(again.unfinished()) == len(kept) + 1
    again.close()


def test_what_can_be_read_of_a_damaged_file_is_kept(
    tmp_path: Path, open_history: OpenHistory
) -> None:
    history = open_history(tmp_path)
    history.add_jobs([job()])
    history.add_picture(picture(favourite=True, flagged="why"))
    history.set_paused("me", True)
    history.close()
    path = tmp_path / NAME
    with sqlite3.connect(path) as db:  # an index that lost its page: tables are whole
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'work_of'").fetchone()[0]
    db.close()
    data = path.read_bytes()
    path.write_bytes(overwritten((page - 1) * 4096, page * 4096)(data))
    history = open_history(tmp_path)
    assert history.set_aside is not None
    assert history.unfinished() == [job()]
    assert history.picture("p") == picture(favourite=True, flagged="why")
    assert history.paused() == {"me"}


def test_a_log_is_never_read_into_another_file(tmp_path: Path, open_history: OpenHistory) -> None:
    rows = [job(f"{number:02}", label="x" * 3000) for number in range(20)]
    history = open_history(tmp_path / "first")
    history.add_jobs(rows[:9])
    history.close()
    history = open_history(tmp_path / "first")
    history.start_job("03", 1.0)  # a page of it is in the log
    second = tmp_path / "second"
    shutil.copytree(tmp_path / "first", second)  # as kill -9 leaves it, with its log
    history.close()
    (second / NAME).write_bytes(b"no database" * 1000)
    log = (second / f"{NAME}-wal").read_bytes()
    history = open_history(second)
    assert history.set_aside is not None
    assert history.set_aside.with_suffix(".sqlite3-wal").read_bytes() == log
    assert history.unfinished() == []
    history.close()

    def fill(new: Database) -> None:
        with new.writing() as db:
            db.executemany(ADD_JOB, [job_values(row) for row in rows])

    (second / f"{NAME}-wal").write_bytes(log)
    replace_database(second / NAME, fill)
    history = open_history(second)
    assert history.set_aside is None
    assert history.unfinished() == rows


def test_what_a_killed_repair_left_goes(tmp_path: Path, open_history: OpenHistory) -> None:
    old, young = tmp_path / "history.new-1.sqlite3", tmp_path / "history.new-2.sqlite3-wal"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    (tmp_path / NAME).write_bytes(b"no database" * 100)
    assert open_history(tmp_path).set_aside is not None
    assert not old.exists()
    assert young.exists()


KILL_WRITERS = """
import itertools, sys
from pathlib import Path
from sdgen.history import History
from tests.fault_programs import kill_writers, say
from tests.history_rows import job

def write(turn):
    history = History(Path(sys.argv[1]))
    for number in itertools.count():
        name = f"{turn}-{number}"
        history.add_jobs([job(name), job(name + "b")])
        say("waiting", name)
        history.start_job(name, 1.0)
        say("running", name)
        history.end_job(name, "done", 2.0)
        say("done", name)
        yield

kill_writers(write, int(sys.argv[2]), longest=0.06)
"""


@posix
@pytest.mark.parametrize("rounds", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_kill_9_loses_no_job(tmp_path: Path, rounds: int, open_history: OpenHistory) -> None:
    lines = run(KILL_WRITERS, tmp_path, rounds).splitlines()
    history = open_history(tmp_path)
    assert history.set_aside is None
    order = ("waiting", "running", "done")
    said: dict[str, int] = {}
    for line in lines:
        state, name = line.split()
        said[name] = order.index(state)
    assert said
    for name, least in said.items():
        row, together = history.job(name), history.job(f"{name}b")
        assert row is not None
        assert together is not None
        assert order.index(row.state) >= least
        assert row.attempts == (row.state != "waiting")
        assert (row.ended is None) == (row.state != "done")
