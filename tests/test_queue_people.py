"""The queue for the people in it: what each sees and moves, how long it lasts, who is refused."""

from pathlib import Path

import pytest

from sdgen.config import Settings
from sdgen.errors import QueueFull, StorageFailed, TooMuch
from sdgen.job import Finished, Queued, Stopped
from sdgen.owners import ANYONE, Visitor
from sdgen.queue import DiskState, Order, limits
from sdgen.studio import Studio
from sdgen.ui.page import Page
from tests.conftest import FakeEngine, FakeModelFiles, ask
from tests.queue_apps import (
    ANN,
    BOB,
    app,
    end_of,
    prompts,
    submit,
    wait_for_rounds,
    wait_until,
)
from tests.studio_jobs import hold

# --- the queue that a person sees


def test_reordering_cancelling_and_pausing_what_waits(tmp_path: Path) -> None:
    engine = FakeEngine()
    release = hold(engine, 1)
    with app(tmp_path, engine) as studio:
        jobs = submit(studio, ANN, "one", "two", "three", "four")
        wait_until(lambda: engine.steps_taken)
        assert studio.move(jobs[3].id, ANN.owner, -1)
        assert prompts(studio) == ["one", "two", "four", "three"]
        assert not studio.move(jobs[1].id, ANN.owner, -1)  # the one that runs is not passed
        assert not studio.move(jobs[1].id, BOB.owner, +1)
        assert studio.move(jobs[1].id, ANN.owner, +1)
        studio.pause(ANN.owner, True)
        assert studio.queue(ANN.owner).paused
        release.set()
        assert isinstance(end_of(jobs[0]), Finished)
        assert prompts(studio) == ["four", "two", "three"]
        assert [job.ahead for job in studio.queue(ANN.owner).jobs] == [0, 1, 2]
        assert len(engine.submitted) == 1
        studio.cancel(jobs[2].id, ANN)
        studio.pause(ANN.owner, False)
        wait_until(lambda: not studio.queue(ANN.owner).jobs)
        assert [request.prompt for request in engine.submitted] == ["one", "four", "two"]


def test_a_pause_outlives_a_restart(tmp_path: Path) -> None:
    with app(tmp_path) as studio:
        studio.pause(ANN.owner, True)
        submit(studio)
    with app(tmp_path) as studio:
        assert studio.queue(ANN.owner).paused
        assert prompts(studio) == ["a red robot"]
        assert studio.cancel_all(ANN.owner) == 1
        assert studio.queue(ANN.owner).jobs == ()


def test_people_take_turns_and_see_how_many_others_are_ahead(tmp_path: Path) -> None:
    engine = FakeEngine(max_queue=1)
    release = hold(engine, 1)
    with app(tmp_path, engine, max_running=1) as studio:
        mine = submit(studio, ANN, "a1", "a2", "a3")
        wait_until(lambda: engine.steps_taken)
        theirs = submit(studio, BOB, "b1", "b2")
        queue = studio.queue(ANN.owner)
        assert [(job.prompt, job.ahead, job.others_ahead) for job in queue.waiting] == [
            ("a2", 1, 1), ("a3", 3, 2)
        ]  # fmt: skip
        newest = theirs[1].newest(Queued)
        assert newest is not None
        assert newest.ahead == 2
        release.set()
        for job in (*mine, *theirs):
            assert isinstance(end_of(job), Finished)
        drawn = [request.prompt for request in engine.submitted]
        assert drawn == ["a1", "b1", "a2", "b2", "a3"]


def test_nobody_sees_or_touches_the_jobs_of_another(tmp_path: Path) -> None:
    engine = FakeEngine()
    hold(engine, 1)
    with app(tmp_path, engine) as studio:
        running, waiting = submit(studio, ANN, "one", "two")
        woken: list[int] = []
        with studio.watching(BOB.owner, lambda: woken.append(1)):
            assert studio.queue(BOB.owner).jobs == ()
            assert studio.shown_jobs(BOB.owner) == ()
            for job in (running, waiting):
                assert studio.find_job(job.id, BOB) is None
                assert not studio.cancel(job.id, BOB)
                assert not studio.move(job.id, BOB.owner, 1)
            assert studio.cancel_all(BOB.owner) == 0
        assert prompts(studio) == ["one", "two"]


def test_a_program_without_a_token_reaches_its_job_by_its_id_alone(tmp_path: Path) -> None:
    with app(tmp_path) as studio:
        (job,) = submit(studio, Visitor(ANYONE, "1.2.3.4"))
        end_of(job)
        assert studio.find_job(job.id, Visitor(ANYONE, "5.6.7.8")) is not None
        assert studio.find_job("0" * 32, Visitor(ANYONE, "1.2.3.4")) is None


def test_nobody_without_a_token_reaches_all_jobs_of_those_without_one(tmp_path: Path) -> None:
    engine = FakeEngine()
    hold(engine, 1)
    one, other = Visitor(ANYONE, "1.2.3.4"), Visitor(ANYONE, "5.6.7.8")
    with app(tmp_path, engine) as studio:
        running, *waiting = submit(studio, one, "one", "two", "three")
        wait_until(lambda: engine.steps_taken)
        assert studio.shown_jobs(other.owner) == ()
        assert studio.cancel_all(other.owner) == 0
        assert not studio.move(waiting[1].id, other.owner, -1)
        Page(studio, 8).stop(other)
        assert not any(job.cancelled for job in (running, *waiting))


def test_jobs_side_by_side_start_together(tmp_path: Path) -> None:
    engine = FakeEngine()
    hold(engine, 1)
    with app(tmp_path, engine) as studio:
        orders = [Order(ask("plain"), label="Your words"), Order(ask("rich"), label="Enhanced")]
        studio.submit(orders, ANN, side_by_side=True)
        submit(studio, ANN, "later")
        wait_until(lambda: len(engine.submitted) == 2)
        shown = studio.shown_jobs(ANN.owner)
        assert [job.label for job in shown] == ["Your words", "Enhanced"]
        assert len({job.group for job in shown}) == 1
        assert [job.prompt for job in studio.queue(ANN.owner).waiting] == ["later"]


# --- who watches


def test_watchers_are_woken_and_the_last_ones_stay_to_be_shown(tmp_path: Path) -> None:
    with app(tmp_path) as studio:
        woken: list[int] = []
        with studio.watching(ANN.owner, lambda: woken.append(1)):
            (job,) = submit(studio)
            end_of(job)
        assert woken
        assert studio.shown_jobs(ANN.owner) == (job,)
        assert job.end is not None
        count = len(woken)
        end_of(submit(studio)[0])
        assert len(woken) == count  # who left is left alone


@pytest.mark.parametrize(
    ("when_left", "left_seconds", "goes_on"),
    [("keep", 0.0, True), ("stop", 0.0, False), ("stop", 3600.0, True)],
)
def test_what_happens_when_the_last_watcher_leaves(
    tmp_path: Path, when_left: str, left_seconds: float, goes_on: bool
) -> None:
    engine = FakeEngine()
    release = hold(engine, 1)
    with app(tmp_path, engine, when_left=when_left, left_seconds=left_seconds) as studio:
        with studio.watching(ANN.owner, lambda: None):
            jobs = submit(studio, ANN, "one", "two")
            wait_for_rounds(studio, engine)
            assert len(studio.queue(ANN.owner).jobs) == 2  # somebody watches
        if not goes_on:
            assert all(isinstance(end_of(job), Stopped) for job in jobs)
            return
        wait_for_rounds(studio, engine)
        assert len(studio.queue(ANN.owner).jobs) == 2
        release.set()
        assert all(isinstance(end_of(job), Finished) for job in jobs)


def test_strangers_jobs_stop_by_default_and_one_s_own_do_not(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, when_left="auto", left_seconds=0.0)
    for public, state in ((True, "stopped"), (False, "done")):
        engine = FakeEngine()
        release = hold(engine, 1)
        studio = Studio(settings, engine, FakeModelFiles(), public=public)
        (job,) = submit(studio)
        if not public:
            wait_for_rounds(studio, engine)
            release.set()
        end_of(job)
        told = studio.find_job(job.id, ANN)
        assert told is not None
        assert told.row.state == state
        studio.close()


# --- refused at the door


def test_a_full_queue_takes_all_or_none(tmp_path: Path) -> None:
    engine = FakeEngine()
    hold(engine, 0)
    with app(tmp_path, engine, max_queue=3) as studio:
        submit(studio, ANN, "one", "two")
        with pytest.raises(QueueFull, match="2 requests"):
            submit(studio, BOB, "three", "four")
        assert len(studio.history.unfinished()) == 2
        submit(studio, BOB, "three")


def test_one_person_s_share(tmp_path: Path) -> None:
    engine = FakeEngine()
    hold(engine, 0)
    with app(tmp_path, engine, max_waiting_per_user=2, max_work_per_hour=0.06) as studio:
        submit(studio, ANN, "one")  # 64 x 64 x 3 steps: 0.0123 megapixel-steps
        with pytest.raises(TooMuch, match="at most 2"):
            submit(studio, ANN, "two", "three")
        submit(studio, BOB, "one")
        with pytest.raises(TooMuch, match="megapixel-steps"):
            submit(studio, BOB, "two", steps=20)
        with pytest.raises(TooMuch):
            submit(studio, Visitor(ANYONE, BOB.payer), "two", steps=20)
        submit(studio, BOB, "two")


def test_a_disk_that_is_nearly_full_takes_nothing_new(tmp_path: Path) -> None:
    with app(tmp_path, disk_warn_mb=10**9) as studio:
        assert "MB left" in studio.disk().sentence
        assert not studio.disk().full
        end_of(submit(studio)[0])
    with app(tmp_path, disk_reserve_mb=10**9) as studio:
        with pytest.raises(StorageFailed, match="MB left"):
            submit(studio)
        assert studio.history.unfinished() == []


def test_a_disk_whose_room_cannot_be_told_is_not_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data_dir: Path) -> int:
        raise OSError("the disk does not answer")

    with app(tmp_path, disk_reserve_mb=10**9) as studio:
        monkeypatch.setattr(limits, "free_bytes", broken)
        assert studio.disk() == DiskState(None)
        assert isinstance(end_of(*submit(studio)), Finished)
