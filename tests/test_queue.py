"""The queue: on disk before anything runs, one end each, and nothing lost by a restart."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sdgen.config import Settings
from sdgen.errors import (
    AdapterRefused,
    GenerationFailed,
    InvalidRequest,
    ModelUnavailable,
    OutOfMemory,
    QueueFull,
    ShuttingDown,
    StorageFailed,
    TooMuch,
)
from sdgen.gallery import Search
from sdgen.grid import Axis, Grid
from sdgen.history import History, JobState
from sdgen.job import Failed, Finished, Job, Queued, Saved, Stopped
from sdgen.owners import ANYONE, LOCAL_VISITOR, Visitor
from sdgen.queue import Order
from sdgen.studio import Studio
from tests.conftest import FakeEngine, FakeModelFiles, Fault, ask
from tests.test_studio import SECONDS, hold

ANN, BOB = Visitor("a" * 20, "a" * 20), Visitor("b" * 20, "b" * 20)


@contextmanager
def app(data_dir: Path, engine: FakeEngine | None = None, **given: object) -> Iterator[Studio]:
    """A studio with its queue open, as one run of the app."""
    studio = Studio(
        Settings(data_dir=data_dir, credentials=False, **given),  # type: ignore[arg-type]  # a test's own
        engine or FakeEngine(),
        FakeModelFiles(),
    )
    try:
        studio.open_queue()
        yield studio
    finally:
        studio.close()


def wait_until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def end_of(job: Job) -> object:
    return list(job.events())[-1]


def submit(studio: Studio, visitor: Visitor = ANN, *prompts: str, **given: object) -> list[Job]:
    orders = [Order(ask(prompt, **given)) for prompt in prompts or ("a red robot",)]
    return studio.submit(orders, visitor)


def prompts(studio: Studio, visitor: Visitor = ANN) -> list[str]:
    return [job.prompt for job in studio.queue(visitor.owner).jobs]


# --- a row first, one end


def test_a_job_is_a_row_before_anything_runs(tmp_path: Path) -> None:
    engine = FakeEngine()
    release = hold(engine, 0)
    with app(tmp_path, engine) as studio:
        first, second = submit(studio, ANN, "one", "two")
        written = History(tmp_path)  # as another process would see it
        rows = {row.id: row for row in written.unfinished()}
        written.close()
        assert set(rows) == {first.id, second.id}
        assert rows[second.id].state == "waiting"
        assert '"prompt":"two"' in rows[second.id].request
        assert (rows[first.id].owner, rows[first.id].ended) == (ANN.owner, None)
        release.set()
        assert isinstance(end_of(second), Finished)
        told = studio.find_job(second.id, ANN)
        assert told is not None
        assert told.row.state == "done"
        assert told.row.started is not None
        assert told.row.ended is not None
        assert [picture.seed for picture in told.pictures] == [7]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (OutOfMemory("too big"), "failed"),
        (GenerationFailed("broken"), "failed"),
        (AdapterRefused("not for this model"), "refused"),
        (ModelUnavailable("gone"), "refused"),
    ],
)
def test_an_error_is_the_job_s_one_end(
    tmp_path: Path, error: GenerationFailed, state: JobState
) -> None:
    engine = FakeEngine()
    engine.faults.append(Fault(error, step=1))
    with app(tmp_path, engine) as studio:
        (job,) = submit(studio)
        assert end_of(job) == Failed(error)
        told = studio.find_job(job.id, ANN)
        assert told is not None
        assert (told.row.state, told.row.error) == (state, str(error))
        assert studio.history.unfinished() == []


def test_a_cancelled_job_is_stopped_whether_it_waits_or_runs(tmp_path: Path) -> None:
    engine = FakeEngine()
    hold(engine, 1)
    with app(tmp_path, engine) as studio:
        running, waiting = submit(studio, ANN, "one", "two")
        wait_until(lambda: engine.steps_taken)
        assert studio.cancel(waiting.id, ANN)
        assert isinstance(end_of(waiting), Stopped)
        assert studio.cancel(running.id, ANN)
        assert isinstance(end_of(running), Stopped)
        assert not studio.cancel(running.id, ANN)
        assert {row.state for row in studio.history.jobs_of(ANN.owner)} == {"stopped"}
        assert [request.prompt for request in engine.submitted] == ["one"]


# --- what a restart finds


def test_after_a_restart_the_rest_is_drawn_in_its_order_and_nothing_twice(tmp_path: Path) -> None:
    before = FakeEngine()
    hold(before, 5)  # in the second of three pictures
    with app(tmp_path, before) as studio:
        jobs = submit(studio, ANN, "one", "two", "three", num_images=3)
        wait_until(lambda: before.steps_taken >= 5)
        wait_until(lambda: studio.gallery.search(ANN.owner, Search()).total)
        studio.move(jobs[2].id, ANN.owner, -1)
    after = FakeEngine()
    with app(tmp_path, after) as studio:
        wait_until(lambda: not studio.queue(ANN.owner).jobs)
        asked = [(request.prompt, request.seed, request.num_images) for request in after.submitted]
        assert asked == [("one", 8, 2), ("three", 7, 3), ("two", 7, 3)]
        rows = studio.gallery.search(ANN.owner, Search()).rows
        assert sorted((row.prompt, row.seed) for row in rows) == [
            (prompt, seed) for prompt in ("one", "three", "two") for seed in (7, 8, 9)
        ]
        assert {row.state for row in studio.history.jobs_of(ANN.owner)} == {"done"}
        assert {row.attempts for row in studio.history.jobs_of(ANN.owner)} == {1, 2}


def test_who_watches_finds_the_same_job_after_a_restart(tmp_path: Path) -> None:
    before = FakeEngine()
    hold(before, 0)
    with app(tmp_path, before) as studio:
        first, second = submit(studio, ANN, "one", "two")
    assert "goes on" in str(end_of(first))
    after = FakeEngine()
    release = hold(after, 0)
    with app(tmp_path, after) as studio:
        again = studio.job(second.id)
        assert again is not None
        assert again.request == second.request
        release.set()
        assert [type(event) for event in again.events() if isinstance(event, Saved)] == [Saved]


def test_a_job_of_a_call_that_died_with_the_app_is_stopped(tmp_path: Path) -> None:
    before = FakeEngine()
    hold(before, 0)
    with app(tmp_path, before) as studio:
        (job,) = studio.submit([Order(ask())], ANN, "call")
        (waiting,) = studio.submit([Order(ask())], ANN, "call")
        wait_until(lambda: before.submitted)
    assert isinstance(job.end, Stopped)
    assert "caller was gone" in str(waiting.end)
    after = FakeEngine()
    with app(tmp_path, after) as studio:
        for each in (job, waiting):
            told = studio.find_job(each.id, ANN)
            assert told is not None
            assert told.row.state == "stopped"
        assert after.submitted == []


def test_a_request_of_another_version_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    before = FakeEngine()
    hold(before, 0)
    with app(tmp_path, before) as studio:
        jobs = submit(studio, ANN, "one", "two")
        with studio.history.writing() as db:
            db.execute("UPDATE jobs SET request = '{\"prompt\": 1}' WHERE id = ?", (jobs[0].id,))
    with app(tmp_path) as studio:
        wait_until(lambda: not studio.history.unfinished())
        states = {row.id: row.state for row in studio.history.jobs_of(ANN.owner)}
        assert states == {jobs[0].id: "refused", jobs[1].id: "done"}


def test_a_second_app_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with app(tmp_path), pytest.raises(StorageFailed, match="--data-dir"), app(tmp_path):
        pass
    with app(tmp_path):
        pass  # the folder is free again


def test_a_closed_queue_takes_nothing(tmp_path: Path) -> None:
    with app(tmp_path) as studio:
        pass
    with pytest.raises(ShuttingDown):
        submit(studio)


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
        assert queue.others_waiting == 2
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


@pytest.mark.parametrize("when_left", ["keep", "stop"])
def test_what_happens_when_the_last_watcher_leaves(tmp_path: Path, when_left: str) -> None:
    engine = FakeEngine()
    release = hold(engine, 1)
    with app(tmp_path, engine, when_left=when_left, left_seconds=0.2) as studio:
        with studio.watching(ANN.owner, lambda: None):
            jobs = submit(studio, ANN, "one", "two")
            time.sleep(0.5)
            assert len(studio.queue(ANN.owner).jobs) == 2  # somebody watches
        if when_left == "stop":
            assert all(isinstance(end_of(job), Stopped) for job in jobs)
        else:
            time.sleep(1.5)
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
        time.sleep(1.5)
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
        assert studio.disk().low
        assert not studio.disk().full
        end_of(submit(studio)[0])
    with app(tmp_path, disk_reserve_mb=10**9) as studio:
        with pytest.raises(StorageFailed, match="MB left"):
            submit(studio)
        assert studio.history.unfinished() == []


# --- what is left of a job


def test_a_prompt_that_is_left_out_is_nowhere_once_the_job_ended(tmp_path: Path) -> None:
    with app(tmp_path) as studio:
        (job,) = submit(studio, ANN, "xyzzysecret", leave_out_prompt=True)
        assert isinstance(end_of(job), Finished)
        (row,) = studio.gallery.search(ANN.owner, Search()).rows
        assert row.prompt == ""
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"xyzzysecret" not in path.read_bytes(), path


def test_a_grid_is_one_job_with_one_sheet(tmp_path: Path) -> None:
    engine = FakeEngine()
    grid = Grid(
        x=Axis(field="steps", values=("1", "2", "3")),
        y=Axis(field="guidance_scale", values=("1", "3")),
    )
    with app(tmp_path, engine) as studio:
        (job,) = studio.submit([Order(ask(), grid=grid)], ANN)
        events = list(job.events())
        assert isinstance(events[-1], Finished)
        assert sum(isinstance(event, Saved) for event in events) == 1
        (row,) = studio.gallery.search(ANN.owner, Search()).rows
        assert row.kind == "sheet"
        assert row.width > 3 * 64
        assert sorted((r.steps, r.guidance_scale) for r in engine.submitted) == [
            (steps, guidance) for steps in (1, 2, 3) for guidance in (1.0, 3.0)
        ]


def test_a_grid_with_a_wrong_cell_is_refused_whole(tmp_path: Path) -> None:
    grid = Grid(x=Axis(field="steps", values=("3", "900")))
    with app(tmp_path) as studio:
        with pytest.raises(InvalidRequest, match="900"):
            studio.submit([Order(ask(), grid=grid)], ANN)
        assert studio.history.unfinished() == []


def test_a_grid_stops_and_fails_as_one(tmp_path: Path) -> None:
    grid = Grid(x=Axis(field="seed", values=("1", "2", "3")))
    engine = FakeEngine()
    engine.faults.extend([None, Fault(OutOfMemory("too big"))])
    with app(tmp_path, engine) as studio:
        (job,) = studio.submit([Order(ask(), grid=grid)], ANN)
        assert isinstance(end_of(job), Failed)
        hold(engine, engine.steps_taken + 1)
        (job,) = studio.submit([Order(ask(), grid=grid)], ANN)
        wait_until(lambda: studio.queue(ANN.owner).jobs[0].step)
        studio.cancel(job.id, ANN)
        assert isinstance(end_of(job), Stopped)
        assert studio.gallery.search(ANN.owner, Search()).total == 0


def test_the_engine_s_other_work_only_delays(tmp_path: Path) -> None:
    """The engine is full with what did not come from the queue: a job waits, it is not refused."""
    engine = FakeEngine(max_queue=1)
    release = hold(engine, 0)
    with app(tmp_path, engine) as studio:
        studio.start(ask("direct"))
        wait_until(lambda: engine.status().running)
        studio.start(ask("direct too"))
        (job,) = submit(studio)
        time.sleep(0.3)
        assert job.end is None
        release.set()
        assert isinstance(end_of(job), Finished)


def test_one_user_s_pictures_are_those_of_the_command_line(tmp_path: Path) -> None:
    with app(tmp_path) as studio:
        end_of(studio.start(ask("typed in a terminal")))
        end_of(submit(studio, LOCAL_VISITOR, "drawn on the page")[0])
        found = studio.gallery.search(LOCAL_VISITOR.owner, Search()).rows
        assert {row.prompt for row in found} == {"typed in a terminal", "drawn on the page"}
