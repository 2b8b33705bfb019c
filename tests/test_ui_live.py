"""What is live on pages: each owner's own, as it changes, for as long as somebody watches."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
import uvicorn
from starlette.applications import Starlette

from sdgen.config import Settings
from sdgen.job import Failed, Finished, GenerateResult, Job, Preview, Progress, Stopped
from sdgen.owners import ANYONE, Visitor
from sdgen.studio import Order, Studio
from sdgen.ui.form import Form
from sdgen.ui.forming import Forming, advance, begin
from sdgen.ui.live import Live, Parts, live_routes, on_stage, told
from sdgen.ui.page import Page
from sdgen.ui.viewing import Viewing
from tests.conftest import FakeEngine, FakeModelFiles, ask
from tests.queue_apps import wait_for_rounds
from tests.serving import free_port
from tests.studio_jobs import hold
from tests.watchers import ME, OTHER, Watcher, pictures_of, settled

FORM = Form(prompt="a red robot", seed="7", steps=3, width=64, height=64)
BUSY = 'aria-busy="true"'
END = GenerateResult((), 0.1)


@pytest.fixture
def page(studio: Studio) -> Page:
    return Page(studio, most=20)


def job(prompt: str, group: str = "", *events: object) -> Forming:
    """A job as far as these events are."""
    forming = begin(Job(ask(prompt), group=group))
    for event in events:
        forming = advance(forming, event, lambda saved: None)  # type: ignore[arg-type]
    return forming


# --- what is shown


def test_what_runs_is_on_the_stage_else_what_ended_last() -> None:
    first, second = job("a", "", Finished(END)), job("b", "", Failed(ValueError("x")))  # type: ignore[arg-type]
    gone = job("never begun", "", Stopped(END))
    assert on_stage([first, second, gone]) == [second]
    running, beside = job("c", "", Progress(1, 2, None)), job("d")
    assert on_stage([first, running, second, beside]) == [running, beside]
    pair = [job("left", "g", Finished(END)), job("right", "g")]
    assert on_stage([first, pair[0], running, pair[1]]) == [*pair, running]
    assert on_stage([gone]) == []


def test_of_several_jobs_each_problem_is_named() -> None:
    failed = job("a <cat>", "", Failed(ValueError("No memory.")))  # type: ignore[arg-type]
    assert "a &lt;cat&gt;" not in told([failed])
    assert "“a &lt;cat&gt;”: No memory." in told([failed, job("b")])


def test_a_grids_previews_have_the_shape_of_the_sheet(studio: Studio) -> None:
    from sdgen.grid import Axis, Grid

    grid = Grid(x=Axis(field="steps", values=("1", "2", "3")), y=Axis(field="seed", values=("1",)))
    forming = begin(Job(ask(), grid=grid))
    assert (len(forming.saved), forming.ratio) == (1, "192/64")
    assert advance(forming, Preview((None,), 1), lambda saved: None).previews == ("",)


def test_nothing_of_one_owner_reaches_another(page: Page, studio: Studio) -> None:
    page.generate(FORM._replace(prompt="mine-and-secret", num_images=2), ME)
    page.pause(ME, True)
    page.generate(FORM._replace(prompt="waiting-secret"), ME)
    page.pause(ME, False)
    settled(studio)
    parts = Watcher(studio, OTHER).look()
    page.generate(FORM._replace(prompt="theirs"), OTHER)
    settled(studio, OTHER)
    mine, theirs = Watcher(studio).look(), Watcher(studio, OTHER).look()
    ids = [picture.id for picture in pictures_of(studio)]
    assert len(ids) == 3
    for html in (*parts.values(), *theirs.values()):
        assert "secret" not in html
        assert not any(name in html for name in ids)
    assert "theirs" not in "".join(mine.values())


def test_others_are_a_number_only(settings: Settings, engine: FakeEngine) -> None:
    studio = Studio(settings.model_copy(update={"max_running": 1}), engine, FakeModelFiles())
    page = Page(studio, most=9)
    engine.seconds_per_step = 0.1
    page.generate(FORM._replace(prompt="secret", steps=150), OTHER)
    Watcher(studio, OTHER).wait(lambda parts: BUSY in parts["stage"])
    page.generate(FORM, ME)
    panel = Watcher(studio).look()["queue"]
    assert "Yours: 1 waiting · 1 of others ahead" in panel
    assert "secret" not in panel
    studio.close()


def test_a_visitor_without_token_sees_no_jobs_of_others_like_him(studio: Studio) -> None:
    nobody = Visitor(ANYONE, "x")
    studio.submit([Order(ask("by a program"))], nobody)[0].result(10)
    parts = Watcher(studio, nobody).look()
    assert set(parts) == {"told"}
    assert "keeps no cookie" in parts["told"]


def test_newest_pictures_come_first_and_those_on_the_stage_are_not_shown_twice(
    page: Page, studio: Studio
) -> None:
    for seed in ("1", "2", "3"):
        page.generate(FORM._replace(seed=seed), ME)
        settled(studio)
    parts = Watcher(studio).look()
    assert "seed 3" in parts["stage"]
    assert "seed 3" not in parts["earlier"]
    assert parts["earlier"].index("seed 2") < parts["earlier"].index("seed 1")
    assert "sdgen/thumb/" in parts["earlier"]


def test_a_picture_that_is_thrown_away_leaves_the_stage(page: Page, studio: Studio) -> None:
    page.generate(FORM._replace(num_images=2), ME)
    settled(studio)
    watcher = Watcher(studio)
    newest, _ = pictures_of(studio)
    assert newest.id in watcher.look()["stage"]
    notice = Viewing(studio).discard(newest.id, ME)
    assert newest.id not in "".join(watcher.look().values())
    assert "Undo" in notice
    Viewing(studio).restore(newest.id, ME)
    assert newest.id in watcher.look()["stage"]


def test_a_flagged_picture_is_veiled_here_and_withheld_on_a_space(
    page: Page, studio: Studio, engine: FakeEngine
) -> None:
    engine.flagged = "It may not be safe for work."
    page.generate(FORM, ME)
    stage = settled(studio)["stage"]
    assert "sd-flagged" in stage
    assert 'data-action="reveal"' in stage
    (picture,) = pictures_of(studio)
    space = Watcher(studio, withhold=True).look()["stage"]
    assert "It may not be safe for work." in space
    assert "<img" not in space
    opened = Viewing(studio, withhold_flagged=True).open(picture.id, ME)
    assert "<img" not in opened.dialog
    assert "download" not in opened.dialog


def test_a_full_disk_is_said(settings: Settings, engine: FakeEngine) -> None:
    full = settings.model_copy(update={"disk_warn_mb": 10**9, "disk_reserve_mb": 10**9})
    studio = Studio(full, engine, FakeModelFiles())
    assert "nothing new is drawn" in Watcher(studio).look()["disk"]
    assert "nothing new is drawn" in (Page(studio, most=9).generate(FORM, ME).notice or "")
    studio.close()


# --- the stream


async def taken(stream: AsyncIterator[Parts], until: str, part: str = "stage") -> list[Parts]:
    """What the stream says up to and with a text in a part."""
    messages = []
    async with asyncio.timeout(20):
        async for message in stream:
            messages.append(message)
            if until in message.get(part, ""):
                break
    return messages


def test_only_what_changes_is_sent_and_not_too_often(
    page: Page, studio: Studio, engine: FakeEngine
) -> None:
    engine.seconds_per_step = 0.01

    async def watch() -> tuple[list[Parts], float]:
        async with aclosing(Live(studio).parts(ME.owner)) as stream:
            first = await anext(stream)
            assert set(first) == {"stage", "told", "queue", "earlier", "disk"}
            page.generate(FORM._replace(steps=60), ME)
            begun = time.monotonic()
            return await taken(stream, "sdgen/picture/"), time.monotonic() - begun

    messages, seconds = asyncio.run(watch())
    assert 2 <= len(messages) <= seconds / 0.1 + 2
    assert all("disk" not in message and "told" not in message for message in messages)


def test_a_reload_and_a_second_tab_see_the_same(
    page: Page, studio: Studio, engine: FakeEngine
) -> None:
    engine.seconds_per_step = 0.03

    async def watch() -> None:
        live = Live(studio)
        async with aclosing(live.parts(ME.owner)) as stream:
            await anext(stream)
            page.generate(FORM._replace(steps=100), ME)
            await taken(stream, "data:image")
        async with aclosing(live.parts(ME.owner)) as one, aclosing(live.parts(ME.owner)) as two:
            for stream in (one, two):
                assert BUSY in (await anext(stream))["stage"]
            page.stop(ME)
            for stream in (one, two):
                assert await taken(stream, "Stopped")

    asyncio.run(watch())
    assert engine.steps_taken < 100


@pytest.mark.parametrize(("when_left", "goes_on"), [("keep", True), ("stop", False)])
def test_when_the_last_watcher_leaves(
    settings: Settings, engine: FakeEngine, when_left: str, goes_on: bool
) -> None:
    given = settings.model_copy(update={"when_left": when_left, "left_seconds": 0.0})
    studio = Studio(given, engine, FakeModelFiles())
    release = hold(engine, 3)

    async def watch() -> None:
        async with aclosing(Live(studio).parts(ME.owner)) as stream:
            await anext(stream)
            Page(studio, most=9).generate(FORM._replace(steps=100), ME)
            await taken(stream, BUSY)
            await asyncio.to_thread(wait_for_rounds, studio, engine)
            assert studio.queue(ME.owner).jobs, "it is watched"

    asyncio.run(watch())
    if goes_on:
        wait_for_rounds(studio, engine)
        release.set()
    settled(studio)
    assert (len(pictures_of(studio)) == 1) is goes_on
    studio.close()


@pytest.fixture
def left_alone(settings: Settings, engine: FakeEngine) -> Iterator[Studio]:
    """A studio that stops what nobody watches, at once."""
    given = settings.model_copy(update={"when_left": "stop", "left_seconds": 0.0})
    studio = Studio(given, engine, FakeModelFiles())
    yield studio
    studio.close()


@pytest.fixture
def address(left_alone: Studio) -> Iterator[tuple[str, int]]:
    """The stream on a real server, without Gradio."""
    app = Starlette(routes=live_routes(Live(left_alone), lambda connection: ME))
    config = uvicorn.Config(app, port=free_port(), log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield "127.0.0.1", config.port
    server.should_exit = True
    thread.join(5)


def read_until(connection: socket.socket, pattern: bytes) -> bytes:
    got = b""
    while not re.search(pattern, got):
        got += connection.recv(65536)
    return got


def test_a_closed_connection_is_a_watcher_that_left(
    left_alone: Studio, address: tuple[str, int], engine: FakeEngine
) -> None:
    engine.seconds_per_step = 0.02
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"GET /sdgen/live HTTP/1.1\r\nHost: here\r\n\r\n")
        head = read_until(connection, b"sd-empty")
        assert b"text/event-stream" in head
        assert b'"run"' in head
        Page(left_alone, most=9).generate(FORM._replace(steps=150), ME)
        read_until(connection, rb"Step [789]\d of 150")
    settled(left_alone)
    assert 70 <= engine.steps_taken < 140


def test_the_server_that_stops_lets_its_pages_go(studio: Studio) -> None:
    stopping = threading.Event()

    async def watch() -> float:
        async with aclosing(Live(studio).parts(ME.owner, stopping.is_set)) as stream:
            await anext(stream)
            stopping.set()
            begun = time.monotonic()
            assert [message async for message in stream] == []
            return time.monotonic() - begun

    assert asyncio.run(watch()) < 2
