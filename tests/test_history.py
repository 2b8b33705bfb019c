"""Rows of jobs and pictures: what was written is there, whatever happens in between."""

import dataclasses
import json
import sqlite3
import threading
from pathlib import Path

import pytest

from sdgen.errors import StorageFailed
from tests.conftest import OpenHistory
from tests.history_rows import job, picture


def test_a_row_comes_back_as_it_went(tmp_path: Path, open_history: OpenHistory) -> None:
    mine = job(
        enhancement="{}", grid="[]", group="g", label="ä\n", started=1.5, ended=2.5, error="e",
        attempts=3, work=0.25, state="failed", leave="watched",
    )  # fmt: skip
    shown = picture(
        negative_prompt="x", adapters=("a", 'b"', ","), job="a", index=3, flagged="why",
        favourite=True, deleted=5.0, size_bytes=9, kind="sheet", seed=2**40,
    )  # fmt: skip
    history = open_history(tmp_path)
    history.add_jobs([mine])
    history.add_picture(shown)
    history.close()
    history = open_history(tmp_path)  # and over a restart
    assert history.job("a") == mine
    assert history.picture("p") == shown
    assert history.pictures_of_job("a") == [shown]
    assert history.job("b") is None
    assert history.picture("q") is None
    assert history.set_aside is None


def test_a_job_has_one_end(tmp_path: Path, open_history: OpenHistory) -> None:
    history = open_history(tmp_path)
    history.add_jobs([job()])
    history.start_job("a", 101.0)
    history.wait_again("a")
    history.start_job("a", 102.0)
    history.end_job("a", "failed", 103.0, "It broke.")
    ended = history.job("a")
    history.end_job("a", "done", 104.0, forget_words=True)
    history.start_job("a", 105.0)
    history.wait_again("a")
    history.add_jobs([job()])  # nor does it come again
    assert history.job("a") == ended
    assert ended == job(state="failed", started=102.0, ended=103.0, error="It broke.", attempts=2)
    assert history.unfinished() == []


def test_unfinished_jobs_come_in_their_order(tmp_path: Path, open_history: OpenHistory) -> None:
    history = open_history(tmp_path)
    places = {"a": 3.0, "b": 1.0, "c": 2.0, "d": 0.5}
    history.add_jobs([job(name, place=place) for name, place in places.items()])
    history.end_job("d", "stopped", 101.0)
    assert [row.id for row in history.unfinished()] == ["b", "c", "a"]
    history.start_job("b", 101.0)
    history.place_jobs({"a": 0.0, "b": 9.0, "c": 1.5})  # a running one keeps its place
    assert [row.id for row in history.unfinished()] == ["a", "b", "c"]


def test_owners_and_payers_are_apart(tmp_path: Path, open_history: OpenHistory) -> None:
    history = open_history(tmp_path)
    history.add_jobs(
        [
            job("a", work=1.0, created=1.0),
            job("b", work=2.0, created=2.0),
            job("c", owner="you", work=4.0, created=3.0),
            job("d", payer="you", work=8.0, created=4.0),
        ]
    )
    assert history.work_since("me", 2.0) == 6.0
    assert history.work_since("me", 9.0) == 0.0
    history.set_paused("me", True)
    history.set_paused("me", True)
    assert history.paused() == {"me"}
    history.set_paused("me", False)
    assert history.paused() == frozenset()


def test_old_ends_are_forgotten(tmp_path: Path, open_history: OpenHistory) -> None:
    history = open_history(tmp_path)
    history.add_jobs([job(name) for name in "abc"])
    history.end_job("a", "done", 101.0)
    history.end_job("b", "done", 102.0)
    assert history.forget_jobs(102.0) == 1
    assert [history.job(name) is None for name in "abc"] == [True, False, False]


def test_words_can_be_forgotten(tmp_path: Path, open_history: OpenHistory) -> None:
    history = open_history(tmp_path)
    wordy = {"enhancement": '{"original_prompt": "robot"}', "label": "robot", "grid": "[robot]"}
    history.add_jobs([job(**wordy), job("b", request="robot")])
    for name in "ab":
        history.end_job(name, "done", 101.0, forget_words=True)
    row = history.job("a")
    assert row is not None
    assert json.loads(row.request) == {"prompt": "", "negative_prompt": "", "seed": 7}
    history.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"robot" not in written


def test_a_picture_learns_its_job_and_nothing_else(
    tmp_path: Path, open_history: OpenHistory
) -> None:
    history = open_history(tmp_path)
    found = picture(favourite=True)  # as a file without a row is written down
    history.add_picture(found)
    history.add_picture(picture(job="j", index=2, flagged="why", prompt="other"))
    known = dataclasses.replace(found, job="j", index=2, flagged="why")
    assert history.picture("p") == known
    for later in (picture(job="k"), picture(), picture(flagged="else")):
        history.add_picture(later)
        assert history.picture("p") == known


def test_a_reason_to_withhold_a_picture_is_never_lost(
    tmp_path: Path, open_history: OpenHistory
) -> None:
    history = open_history(tmp_path)
    history.add_picture(picture(flagged="why"))
    for later in (picture(), picture(job="j")):
        history.add_picture(later)
        row = history.picture("p")
        assert row is not None
        assert row.flagged == "why"


def test_text_that_utf_8_has_no_bytes_for_is_no_trouble(
    tmp_path: Path, open_history: OpenHistory
) -> None:
    history = open_history(tmp_path)
    history.add_jobs([job("\ud800", label="a\ud800b\0c")])
    row = history.job("\ud800")
    assert row is not None
    assert row.label == "a?b\0c"


def test_a_reader_sees_one_state(tmp_path: Path, open_history: OpenHistory) -> None:
    history = open_history(tmp_path)
    history.add_picture(picture("a"))
    with history.reading() as db:
        counted = [db.execute("SELECT count(*) FROM pictures").fetchone()]
        history.add_picture(picture("b"))  # neither waits for the other
        counted.append(db.execute("SELECT count(*) FROM pictures").fetchone())
    assert counted == [(1,), (1,)]
    assert history.picture("b") is not None


def test_threads_lose_nothing(tmp_path: Path, open_history: OpenHistory) -> None:
    history = open_history(tmp_path)
    errors: list[BaseException] = []

    def work(who: int) -> None:
        try:
            for number in range(20):
                name = f"{who}-{number}"
                history.add_jobs([job(name, owner=str(who))])
                history.start_job(name, 1.0)
                assert history.job(name)
                history.end_job(name, "done", 2.0)
        except BaseException as error:  # noqa: BLE001  # told by the test below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    rows = [history.job(f"{who}-{number}") for who in range(8) for number in range(20)]
    assert {row and (row.state, row.attempts) for row in rows} == {("done", 1)}


def test_a_newer_file_is_left_alone(tmp_path: Path, open_history: OpenHistory) -> None:
    open_history(tmp_path).close()
    path = tmp_path / "history.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StorageFailed, match="newer version"):
        open_history(tmp_path)
    assert path.read_bytes() == before


def test_closed_is_closed(tmp_path: Path, open_history: OpenHistory) -> None:
    history = open_history(tmp_path)
    history.close()
    history.close()
    with pytest.raises(StorageFailed):
        history.unfinished()
    with pytest.raises(StorageFailed):
        history.add_jobs([job()])
