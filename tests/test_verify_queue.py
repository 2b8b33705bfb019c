"""Verifying takes its turn like any drawing: limits, the queue, and no pixels while it waits."""

import asyncio
import struct
import zlib
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from sdgen.errors import GenerationFailed, PictureUnreadable, QueueFull, TooMuch
from sdgen.metadata import read_picture
from sdgen.studio import Studio
from sdgen.ui.streams import events, owned
from sdgen.ui.viewing import Viewing
from sdgen.verify import Verification
from tests.conftest import FakeEngine
from tests.queue_apps import ANN, BOB, app, end_of, submit, wait_until

WORK = 64 * 64 * 3 / 1e6  # megapixel-steps of one picture of a test


def drawn(studio: Studio, prompt: str = "a red robot") -> Path:
    """The file of one small picture of Ann's."""
    (job,) = submit(studio, ANN, prompt)
    end_of(job)
    (row,) = studio.history.pictures_of_job(job.id)
    return studio.gallery.path(row)


def gated(engine: FakeEngine) -> list[bool]:
    """From now on the engine waits before each step until something is in this list."""
    go_on: list[bool] = []
    engine.before_step = lambda job, step: wait_until(lambda: go_on or job.cancelled)
    return go_on


def with_text(path: Path, image: Image.Image, recipe: str, after: bytes = b"") -> Path:
    """A PNG with a recipe of ours as it is given. after: put in the place of its pixel data."""
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("sdgen", recipe)
    image.save(path, "PNG", pnginfo=texts)
    if after:
        whole = path.read_bytes()
        at = whole.index(b"IDAT") - 4
        chunk = struct.pack(">I", len(after)) + b"IDAT" + after
        chunk += struct.pack(">I", zlib.crc32(b"IDAT" + after))
        path.write_bytes(whole[:at] + chunk + whole[-12:])
    return path


def test_it_counts_as_its_payer_s_work(tmp_path: Path) -> None:
    with app(tmp_path, max_work_per_hour=2.5 * WORK) as studio:
        path = drawn(studio)
        assert studio.verify(path, ANN).answer == "identical"
        with pytest.raises(TooMuch, match="megapixel-steps"):
            studio.verify(path, ANN)
        assert studio.verify(path, BOB).answer == "identical"
        assert studio.history.work_since(ANN.payer, 0.0) == pytest.approx(2 * WORK)


def test_it_counts_among_the_jobs_of_one_person_and_of_all(tmp_path: Path) -> None:
    engine = FakeEngine()
    with app(tmp_path, engine, max_waiting_per_user=2, max_queue=3) as studio:
        path = drawn(studio)
        go_on = gated(engine)
        for _ in range(2):
            asked = studio.redrawing(path)
            assert not isinstance(asked, Verification)
            studio.redraw(asked, ANN)
        with pytest.raises(TooMuch, match="2 jobs in the queue"):
            studio.verify(path, ANN)
        submit(studio, BOB)
        with pytest.raises(QueueFull):
            studio.verify(path, BOB)
        go_on.append(True)


def test_it_is_seen_in_the_queue_and_nowhere_else(tmp_path: Path) -> None:
    engine = FakeEngine()
    with app(tmp_path, engine) as studio:
        path = drawn(studio, "a very private cat")
        before = len(studio.shown_jobs(ANN.owner))
        go_on = gated(engine)
        asked = studio.redrawing(path)
        assert not isinstance(asked, Verification)
        job = studio.redraw(asked, ANN)
        (seen,) = studio.queue(ANN.owner).jobs
        assert (seen.label, seen.prompt) == ("Verify", "a very private cat")
        assert len(studio.shown_jobs(ANN.owner)) == before, "there is nothing to show on the stage"
        row = studio.history.job(job.id)
        assert row is not None
        assert (row.leave, row.payer) == ("call", ANN.payer)
        assert "private" not in row.request, "what is not kept leaves no words behind"
        go_on.append(True)
        end_of(job)
        assert len(studio.shown_jobs(ANN.owner)) == before
        assert studio.history.pictures_of_job(job.id) == []
        assert len(list(tmp_path.rglob("pictures/**/*.png"))) == 1


def test_whoever_leaves_ends_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    with app(tmp_path, engine) as studio:
        path = drawn(studio)
        gated(engine)
        waiting = studio.verifying(path, ANN, heartbeat=0.01)
        assert next(waiting) is None
        assert studio.queue(ANN.owner).jobs
        waiting.close()
        wait_until(lambda: not studio.queue(ANN.owner).jobs)

        row = studio.history.pictures_of_job(studio.shown_jobs(ANN.owner)[0].id)[0]
        page = Viewing(studio).verify(row.id, ANN)
        next(page)  # it is said that it waits
        next(page)  # a heartbeat
        assert studio.queue(ANN.owner).jobs
        page.close()
        wait_until(lambda: not studio.queue(ANN.owner).jobs)


def test_a_stopped_one_says_so(tmp_path: Path) -> None:
    engine = FakeEngine()
    with app(tmp_path, engine, max_running=1) as studio:
        path = drawn(studio)
        gated(engine)
        running = submit(studio, BOB)
        waiting = studio.verifying(path, ANN, heartbeat=0.01)
        next(waiting)
        assert studio.cancel_all(ANN.owner) == 1
        with pytest.raises(GenerationFailed, match="Stopped before"):
            list(waiting)
        running[0].cancel()


def test_a_restart_does_not_draw_it_again(tmp_path: Path) -> None:
    engine = FakeEngine()
    with app(tmp_path, engine) as studio:
        path = drawn(studio)
        gated(engine)
        asked = studio.redrawing(path)
        assert not isinstance(asked, Verification)
        job = studio.redraw(asked, ANN)
    with app(tmp_path) as studio:
        assert studio.queue_counts == (0, 0)
        told = studio.find_job(job.id, ANN)
        assert told is not None
        assert told.row.state == "stopped"


def test_pixels_are_looked_at_after_the_drawing(tmp_path: Path) -> None:
    """A file whose pixels cannot be decoded is none the wiser before it was drawn again."""
    engine = FakeEngine()
    with app(tmp_path / "data", engine) as studio:
        image, recipe = read_picture(drawn(studio))
        path = with_text(tmp_path / "x.png", image, recipe.model_dump_json(), b"no pixels")
        go_on = gated(engine)
        waiting = studio.verifying(path, ANN, heartbeat=0.01)
        assert next(waiting) is None
        go_on.append(True)
        with pytest.raises(PictureUnreadable, match="damaged"):
            list(waiting)


@pytest.mark.parametrize(
    ("size", "answer", "said"),
    [
        ((64, 72), "different", "the file has 64x72 pixels, its recipe draws 64x64"),
        ((1, 20_000), "different", "1x20000"),
        ((1, 20_000_000), "impossible", "1x20000000 pixels"),
        ((8000, 2000), "impossible", "8000x2000 pixels"),
    ],
)
def test_another_size_is_refused_before_anything_is_drawn_or_decoded(
    tmp_path: Path, size: tuple[int, int], answer: str, said: str
) -> None:
    engine = FakeEngine()
    with app(tmp_path / "data", engine) as studio:
        _, recipe = read_picture(drawn(studio))
        path = with_text(
            tmp_path / "x.png", Image.new("1", size), recipe.model_dump_json(), b"no pixels"
        )
        asked = len(engine.submitted)
        found = studio.verify(path, ANN)
        assert (found.answer, found.ssim, found.altered) == (answer, None, None)
        assert said in found.sentence
        assert len(engine.submitted) == asked


def test_a_file_that_was_exchanged_meanwhile_is_not_decoded(tmp_path: Path) -> None:
    engine = FakeEngine()
    with app(tmp_path / "data", engine) as studio:
        image, recipe = read_picture(drawn(studio))
        path = with_text(tmp_path / "x.png", image, recipe.model_dump_json())
        go_on = gated(engine)
        waiting = studio.verifying(path, ANN, heartbeat=0.01)
        next(waiting)
        with_text(path, Image.new("1", (1, 20_000)), recipe.model_dump_json(), b"no pixels")
        go_on.append(True)
        with pytest.raises(PictureUnreadable, match="changed while"):
            list(waiting)


@pytest.fixture
def studio_of_app(tmp_path: Path) -> Iterator[tuple[Studio, FakeEngine]]:
    engine = FakeEngine()
    with app(tmp_path, engine) as studio:
        yield studio, engine


def test_a_program_that_hangs_up_ends_it(studio_of_app: tuple[Studio, FakeEngine]) -> None:
    from anyio import CapacityLimiter

    studio, engine = studio_of_app
    asked = studio.redrawing(drawn(studio))
    assert not isinstance(asked, Verification)
    gated(engine)

    async def call() -> None:
        one = CapacityLimiter(1)
        async with (
            owned(lambda: studio.redraw(asked, ANN), one) as job,
            aclosing(events(job, 0.01)) as coming,
        ):
            async for _ in coming:
                return

    asyncio.run(call())
    wait_until(lambda: not studio.queue(ANN.owner).jobs)
