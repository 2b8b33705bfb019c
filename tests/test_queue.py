"""The queue: on disk before anything runs, one end each, and nothing lost by a restart."""

from contextlib import closing
from pathlib import Path

import pytest

from sdgen.errors import (
    AdapterRefused,
    GenerationFailed,
    InvalidRequest,
    ModelUnavailable,
    OutOfMemory,
    ShuttingDown,
    StorageFailed,
)
from sdgen.gallery import Search
from sdgen.grid import Axis, Grid
from sdgen.history import History, JobRow, JobState, Leave
from sdgen.job import Failed, Finished, Job, Saved, Stopped
from sdgen.owners import LOCAL_VISITOR
from sdgen.queue import Order
from sdgen.studio import Studio
from tests.conftest import FakeEngine, Fault, ask
from tests.queue_apps import ANN, app, end_of, submit, wait_until
from tests.studio_jobs import hold


def row_of(studio: Studio, job: Job) -> JobRow:
    """The row of a job of Ann's."""
    told = studio.find_job(job.id, ANN)
    assert told is not None
    return told.row


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
        assert {row_of(studio, job).state for job in (running, waiting)} == {"stopped"}
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
        ended = [row_of(studio, job) for job in jobs]
        assert {row.state for row in ended} == {"done"}
        assert {row.attempts for row in ended} == {1, 2}


@pytest.mark.parametrize("leave", ["keep", "call"])
def test_a_picture_whose_row_was_not_written_any_more_is_its_job_s(
    tmp_path: Path, leave: Leave
) -> None:
    before = FakeEngine()
    hold(before, 4)  # in the second of two pictures
    with app(tmp_path, before) as studio:
        (job,) = studio.submit([Order(ask(num_images=2))], ANN, leave)
        wait_until(lambda: studio.gallery.search(ANN.owner, Search()).total)
        (row,) = studio.gallery.search(ANN.owner, Search()).rows
        studio.pause(ANN.owner, True)
    with closing(History(tmp_path)) as history, history.writing() as db:  # as after kill -9
        db.execute("DELETE FROM pictures WHERE id = ?", (row.id,))
    with app(tmp_path) as studio:
        studio.cancel(job.id, ANN)  # before it runs again
        studio.gallery.synchronise()
        told = studio.find_job(job.id, ANN)
        assert told is not None
        assert told.row.state == "stopped"
        assert [(picture.id, picture.index) for picture in told.pictures] == [(row.id, 0)]


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
        assert [row_of(studio, job).state for job in jobs] == ["refused", "done"]


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


def attempts(studio: Studio, job_id: str) -> int:
    """How often the queue handed that job to the engine, or tried to."""
    row = studio.history.job(job_id)
    return row.attempts if row else 0


def test_the_engine_s_other_work_only_delays(tmp_path: Path) -> None:
    """The engine is full with what did not come from the queue: a job waits, it is not refused."""
    engine = FakeEngine(max_queue=1)
    release = hold(engine, 0)
    with app(tmp_path, engine) as studio:
        studio.start(ask("direct"))
        wait_until(lambda: engine.status().running)
        studio.start(ask("direct too"))
        (job,) = submit(studio)
        wait_until(lambda: attempts(studio, job.id) >= 2)
        assert job.end is None
        release.set()
        assert isinstance(end_of(job), Finished)


def test_one_user_s_pictures_are_those_of_the_command_line(tmp_path: Path) -> None:
    with app(tmp_path) as studio:
        end_of(studio.start(ask("typed in a terminal")))
        end_of(submit(studio, LOCAL_VISITOR, "drawn on the page")[0])
        found = studio.gallery.search(LOCAL_VISITOR.owner, Search()).rows
        assert {row.prompt for row in found} == {"typed in a terminal", "drawn on the page"}
