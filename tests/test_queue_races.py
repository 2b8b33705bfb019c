"""What happens to a job while the queue hands it to the engine: cancelled, refused, shut down."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sdgen.errors import QueueFull, StorageFailed
from sdgen.grid import Axis, Grid
from sdgen.history import History, JobRow
from sdgen.job import Finished, Job, Stopped
from sdgen.queue import Order, Tools, grid_run, jobs
from sdgen.queue.run import PicturesRun
from sdgen.request import GenerateRequest
from sdgen.studio import Studio
from tests.conftest import FakeEngine, ask
from tests.queue_apps import ANN, app, end_of, submit, wait_until
from tests.studio_jobs import hold

GRID = Grid(x=Axis(field="steps", values=tuple(map(str, range(1, 13)))))


class MeetingEngine(FakeEngine):
    """Calls `meet` with the job's id and the number of each request before it takes it."""

    meet: Callable[[str, int], None] = staticmethod(lambda job_id, number: None)
    calls = 0

    def submit(self, request: GenerateRequest, job_id: str = "") -> Job:
        self.calls += 1
        self.meet(job_id, self.calls)
        return super().submit(request, job_id)


def full_at(call: int) -> Callable[[str, int], None]:
    """A `meet` that has no room for the request of that number."""

    def meet(job_id: str, number: int) -> None:
        if number == call:
            raise QueueFull(1)

    return meet


def order(grid: Grid | None) -> Order:
    return Order(ask(), grid=grid)


@pytest.mark.parametrize("cell", [1, 3])  # handed over by the queue's thread, by the job's own
def test_a_grid_is_cancelled_while_a_cell_is_handed_over(tmp_path: Path, cell: int) -> None:
    engine = MeetingEngine()
    with app(tmp_path, engine) as studio:

        def meet(job_id: str, number: int) -> None:
            if number == cell:
                studio.cancel(job_id, ANN)

        engine.meet = meet
        (job,) = studio.submit([order(GRID)], ANN)
        assert isinstance(end_of(job), Stopped)
        assert engine.calls == cell
        assert isinstance(end_of(*submit(studio)), Finished), "the queue goes on"


def test_a_grid_goes_on_when_all_its_cells_are_done_and_others_fill_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid_run, "AT_ONCE", 1)
    monkeypatch.setattr(grid_run, "WAKE", 0.01)
    engine = MeetingEngine()
    engine.meet = full_at(2)
    with app(tmp_path, engine) as studio:
        (job,) = studio.submit([order(GRID)], ANN)
        assert isinstance(end_of(job), Finished)
        assert len(engine.submitted) == len(GRID.x.values)


def test_a_job_that_the_engine_has_no_room_for_can_be_cancelled(tmp_path: Path) -> None:
    engine = MeetingEngine()
    with app(tmp_path, engine) as studio:

        def meet(job_id: str, number: int) -> None:
            studio.cancel(job_id, ANN)
            raise QueueFull(1)

        engine.meet = meet
        assert isinstance(end_of(*submit(studio)), Stopped)
        assert engine.calls == 1


def test_a_job_that_is_moved_while_it_is_handed_over_keeps_its_new_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = MeetingEngine()
    engine.meet = full_at(1)
    with app(tmp_path, engine) as studio:
        moves: list[bool] = []

        def run(order: Order, job: Job, row: JobRow, tools: Tools) -> PicturesRun:
            if not moves:
                moves.append(studio.move(row.id, ANN.owner, 1))
            return PicturesRun(order, job, row, tools)

        monkeypatch.setattr(jobs, "run_of", run)
        for job in submit(studio, ANN, "one", "two"):
            assert isinstance(end_of(job), Finished)
        assert moves == [True]
        assert [request.prompt for request in engine.submitted] == ["two", "one"]


def test_the_queue_goes_on_where_engine_and_disk_refuse_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = MeetingEngine()

    def full(history: History, job_id: str) -> None:
        raise StorageFailed("The disk is full.")

    engine.meet = full_at(1)
    monkeypatch.setattr(History, "wait_again", full)
    with app(tmp_path, engine) as studio:
        assert isinstance(end_of(*submit(studio)), Finished)


def test_a_prompt_that_is_left_out_goes_with_a_job_that_a_restart_ends(tmp_path: Path) -> None:
    engine = FakeEngine()
    hold(engine, 0)
    with app(tmp_path, engine) as studio:
        kept = submit(studio, ANN, "one", "two")
        secret = Order(ask("xyzzysecret", leave_out_prompt=True))
        (died,) = studio.submit([secret], ANN, "call")
        with studio.history.writing() as db:
            foreign = '{"prompt": "xyzzysecret", "seed": "?"}'
            db.execute("UPDATE jobs SET request = ? WHERE id = ?", (foreign, kept[1].id))
    with app(tmp_path) as studio:
        for job in (died, kept[1]):
            told = studio.find_job(job.id, ANN)
            assert told is not None
            assert told.row.ended is not None
            assert "xyzzysecret" not in told.row.request


@pytest.mark.parametrize(("grid", "number"), [(None, 1), (GRID, 1), (GRID, 9)])
def test_what_is_handed_over_while_the_app_stops_is_drawn_after_the_restart(
    tmp_path: Path, grid: Grid | None, number: int
) -> None:
    engine = MeetingEngine()
    closing: list[threading.Thread] = []

    def close_before(studio: Studio) -> Callable[[str, int], None]:
        def meet(job_id: str, call: int) -> None:
            if call == number:
                closing.append(threading.Thread(target=studio.close))
                closing[0].start()
                wait_until(lambda: engine._closed)

        return meet

    with app(tmp_path, engine) as studio:
        engine.meet = close_before(studio)
        (job,) = studio.submit([order(grid)], ANN)
        assert "goes on" in str(end_of(job))
        closing[0].join()
    with app(tmp_path) as studio:
        wait_until(lambda: not studio.history.unfinished())
        told = studio.find_job(job.id, ANN)
        assert told is not None
        assert (told.row.state, len(told.pictures)) == ("done", 1)
