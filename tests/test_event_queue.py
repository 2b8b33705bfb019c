"""Calls that nobody reads: bounded, stopped after a while, and in nobody's way."""

import gc
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException

from sdgen.config import Settings
from sdgen.owners import owner_of_token
from sdgen.studio import Studio
from sdgen.ui import app as page
from sdgen.ui.event_queue import SESSION_CHARS, Bounds, EventQueue, OpenEvents
from tests.conftest import FakeEngine, FakeModelFiles
from tests.raw_http import Answer, ask
from tests.serving import GRADIO_WARNINGS, free_port

pytestmark = GRADIO_WARNINGS
ANN, BOB = "a" * 32, "b" * 32
CHEAP = ["a red robot", "", None, 1, 1, None, 64, 64]
PATIENCE = 20.0  # seconds


@dataclass
class App:
    """A page that is being served with bounds of the test's own."""

    url: str
    engine: FakeEngine
    studio: Studio
    queue: EventQueue
    pictures: Path

    def call(self, endpoint: str, data: list[Any], token: str = ANN, **more: Any) -> Answer:
        headers = {"Content-Type": "application/json", "X-Sdgen-Token": token}
        body = json.dumps({"data": data, **more}).encode()
        return ask(self.url, f"/gradio_api/call/{endpoint}", "POST", headers, body)

    def begin(self, endpoint: str, data: list[Any], token: str = ANN, **more: Any) -> str:
        answer = self.call(endpoint, data, token, **more)
        assert answer.status == 200, answer
        return str(json.loads(answer.body)["event_id"])

    def read(self, endpoint: str, event_id: str) -> bytes:
        return ask(self.url, f"/gradio_api/call/{endpoint}/{event_id}").body

    def drawing(self, token: str) -> tuple[int, int]:
        """(jobs waiting or running, jobs ended) of a token."""
        owner = owner_of_token(token)
        jobs = self.studio.shown_jobs(owner)
        return sum(job.end is None for job in jobs), sum(job.end is not None for job in jobs)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Serves a page with those bounds."""
    closing: list[Any] = []
    patch = pytest.MonkeyPatch()
    cache = tempfile.TemporaryDirectory()
    patch.setenv("GRADIO_TEMP_DIR", cache.name)

    def served(seconds_per_step: float = 0.0, **bounds: Any) -> App:
        settings = Settings(data_dir=tmp_path / "data")
        engine = FakeEngine()
        engine.seconds_per_step = seconds_per_step
        studio = Studio(settings, engine, FakeModelFiles())
        studio.open_queue()
        patch.setattr(page, "bounds_for", lambda *_: Bounds(**bounds))
        demo = page.build(studio, settings)
        demo.launch(**page.launch_options(studio, settings) | {"server_port": free_port()})
        closing.extend([lambda: demo.close(verbose=False), studio.close])
        return App(demo.local_url, engine, studio, demo._queue, settings.data_dir / "pictures")

    yield served
    for close in closing:
        close()
    closing.clear()
    gc.collect()
    patch.undo()
    cache.cleanup()


def wait_until(so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_one_payer_has_so_many_open(serve: Callable[..., App]) -> None:
    app = serve(of_one=5, in_all=100)
    begun = [app.begin("models", []) for _ in range(5)]
    refused = app.call("models", [])
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) > 0
    assert "5 open calls" in json.loads(refused.body)["detail"]
    assert app.call("models", [], BOB).status == 200  # of somebody else
    assert b"event: complete" in app.read("models", begun[0])
    begun.append(app.begin("models", []))  # one was read, so one more may begin
    assert app.call("models", []).status == 429
    for event_id in begun[1:]:
        assert b"event: complete" in app.read("models", event_id)


def test_all_together_have_so_many_open(serve: Callable[..., App]) -> None:
    app = serve(of_one=3, in_all=7)
    for number in range(7):
        app.begin("models", [], f"{number // 3}" * 32)
    refused = app.call("models", [], BOB)
    assert refused.status == 429
    assert "7 open calls here" in json.loads(refused.body)["detail"]


def test_pages_count_too(serve: Callable[..., App]) -> None:
    app = serve(of_one=3, in_all=100)
    config = json.loads(ask(app.url, "/config").body)
    (draw,) = [e["id"] for e in config["dependencies"] if e["api_name"] == "models"]
    headers = {"Content-Type": "application/json", "X-Sdgen-Token": ANN}
    codes = []
    for _ in range(4):
        body = {"data": [], "fn_index": draw, "session_hash": "same"}
        sent = json.dumps(body).encode()
        codes.append(ask(app.url, "/gradio_api/queue/join", "POST", headers, sent).status)
    assert codes == [200, 200, 200, 429]


def test_whoever_waits_gets_his_answer_whatever_others_leave_unread(
    serve: Callable[..., App],
) -> None:
    """2,050 posts that nobody listened to threw running answers out of Gradio's memory."""
    app = serve(seconds_per_step=0.05, of_one=100, in_all=1000)
    event_id = app.begin("generate", [*CHEAP[:4], 40, *CHEAP[5:]])
    told: list[bytes] = []
    listening = threading.Thread(target=lambda: told.append(app.read("generate", event_id)))
    listening.start()
    codes = [app.call("models", [], f"{n % 25:x}".rjust(32, "f")).status for n in range(2050)]
    assert codes.count(200) <= 1000
    assert set(codes) <= {200, 429}
    listening.join()
    assert b"event: complete" in told[0], told
    assert len(app.queue.pending_messages_per_session) <= 1001  # with the one that was read


def test_what_nobody_listens_to_is_stopped(serve: Callable[..., App]) -> None:
    """It was drawn to its end."""
    app = serve(seconds_per_step=0.05, unheard_seconds=0.4)
    app.begin("generate", [*CHEAP[:4], 150, *CHEAP[5:]], ANN)
    wait_until(lambda: app.drawing(ANN)[0] == 1)
    wait_until(lambda: app.engine.status().running == 0 and app.studio.queue_counts == (0, 0))
    wait_until(lambda: not app.queue.pending_messages_per_session)
    assert not app.queue.pending_event_ids_session
    assert list(app.pictures.rglob("*.png")) == []


def test_what_somebody_listens_to_goes_on(serve: Callable[..., App]) -> None:
    app = serve(seconds_per_step=0.05, unheard_seconds=0.2)
    event_id = app.begin("generate", [*CHEAP[:4], 40, *CHEAP[5:]])  # two seconds
    assert b"event: complete" in app.read("generate", event_id)


def test_a_submitted_job_goes_on_though_nobody_reads_its_answer(serve: Callable[..., App]) -> None:
    app = serve(seconds_per_step=0.05, unheard_seconds=0.2)
    app.begin("submit", [*CHEAP[:4], 20, *CHEAP[5:]])
    wait_until(lambda: not app.queue.pending_messages_per_session)
    wait_until(lambda: list(app.pictures.rglob("*.png")))


def test_an_answer_that_nobody_came_for_is_forgotten_and_its_place_is_free(
    serve: Callable[..., App],
) -> None:
    app = serve(of_one=2, unheard_seconds=0.2)
    late = app.begin("models", [])
    app.begin("models", [])
    assert app.call("models", []).status == 429
    wait_until(lambda: app.call("models", []).status == 200)
    assert b"event: complete" not in app.read("models", late)


def test_the_name_of_a_session_is_short(serve: Callable[..., App]) -> None:
    app = serve()
    name = "s" * SESSION_CHARS
    assert app.call("models", [], session_hash=name).status == 200
    refused = app.call("models", [], session_hash=f"{name}s")
    assert refused.status == 422
    assert "session_hash" in json.loads(refused.body)["detail"]


def test_calls_come_only_so_fast_where_others_come(tmp_path: Path) -> None:
    now = [0.0]
    events = OpenEvents(Bounds(per_second=2.0, burst=3), clock=lambda: now[0])

    def begin(payer: str) -> None:
        events.rename(events.begin(payer, set), None)

    for _ in range(3):
        begin("ann")
    with pytest.raises(HTTPException, match="short time") as refused:
        begin("ann")
    assert refused.value.status_code == 429
    assert refused.value.headers == {"Retry-After": "1"}
    begin("bob")
    now[0] += 0.5
    begin("ann")
    with pytest.raises(HTTPException):
        begin("ann")
    now[0] += 0.5
    events.forget_allowances()  # what is still used up is not forgotten
    begin("ann")
    with pytest.raises(HTTPException):
        begin("ann")
    now[0] += 100
    for _ in range(3):
        begin("ann")
    with pytest.raises(HTTPException):
        begin("ann")

    local = Settings(data_dir=tmp_path)
    assert page.bounds_for(local, on_space=False).per_second is None
    public = local.model_copy(update={"yes_public": True})
    assert page.bounds_for(public, on_space=False).per_second == page.CALLS_PER_SECOND
    assert page.bounds_for(local, on_space=True).per_second == page.CALLS_PER_SECOND
