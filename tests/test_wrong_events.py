"""The page's own events, called by a program with whatever JSON can hold: one sentence each."""

import http.client
import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import pytest

from sdgen import logs
from sdgen.config import Settings
from sdgen.studio import Studio
from sdgen.ui.api.wrong_events import WRONG, in_a_sentence
from tests.conftest import FakeEngine, FakeModelFiles
from tests.serving import GRADIO_WARNINGS, served

pytestmark = GRADIO_WARNINGS

SECRET = "my-private-words"
LONG = SECRET * 2_000
WRONG_VALUES: list[Any] = [
    None, -1, LONG, f"{SECRET}\ud800", [SECRET], {"a": [SECRET]}, [[[[]]]],
    {"path": f"/{SECRET}", "meta": {"_type": "gradio.FileData"}},
]  # fmt: skip


class Page:
    """A program that sends the events of a page."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc
        found = [
            (number, event)
            for number, event in enumerate(json.loads(self.send("GET", "config"))["dependencies"])
            if event["api_visibility"] == "private" and event["backend_fn"]
        ]
        self.events = [(number, it["api_name"], len(it["inputs"])) for number, it in found]
        without = {number for number, event in found if not event["queue"]}
        self.direct = [event for event in self.events if event[0] in without]
        self.sent = 0

    def send(self, method: str, path: str, body: str | None = None) -> bytes:
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, f"/{path}", body, {"Content-Type": "application/json"})
            return connection.getresponse().read()
        finally:
            connection.close()

    def event(self, number: int, data: list[Any], event_data: Any = None) -> list[dict[str, Any]]:
        """What the server answers to an event, to its end."""
        self.sent += 1
        session = f"s{self.sent}"
        body = {
            "data": data, "fn_index": number, "session_hash": session, "event_data": event_data,
            "trigger_id": None,
        }  # fmt: skip
        if b"event_id" not in self.send("POST", "gradio_api/queue/join", json.dumps(body)):
            return []  # refused at the door, where what is no call of a page may end
        told = self.send("GET", f"gradio_api/queue/data?session_hash={session}").decode()
        return [json.loads(line[6:]) for line in told.split("\n") if line.startswith("data: ")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    own = Settings(data_dir=tmp_path_factory.mktemp("data"))
    studio = Studio(own, FakeEngine(), FakeModelFiles())
    from lora.tab import add_tab

    with served(studio, own, tabs=[("Train", add_tab)]) as url:
        yield Page(url)
    studio.close()


def test_no_event_of_the_page_answers_wrong_values_with_a_traceback(
    page: Page, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert len(page.events) > 40
    taken = 0
    for number, name, count in page.events:
        for value in WRONG_VALUES:
            answers = page.event(number, [value] * count, event_data=value)
            taken += bool(answers)
            for end in answers:
                if end["msg"] != "process_completed" or end["success"]:
                    continue
                said = end["output"]["error"]
                assert isinstance(said, str), (name, value, end)
                assert 0 < len(said) < 1000, (name, value)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err, (name, err[-3000:])
        assert SECRET not in out + err, name
    assert taken > 100, "most of it reaches the events"
    for record in caplog.records:
        assert not record.exc_info, record
        assert SECRET not in record.getMessage()
        assert len(record.getMessage()) < 1000


def test_events_that_pass_by_the_queue_answer_so_as_well(
    page: Page, capfd: pytest.CaptureFixture[str]
) -> None:
    """As the page itself sends most of them."""
    told = 0
    for number, name, count in page.direct:
        for value in WRONG_VALUES:
            body = {"data": [value] * count, "fn_index": number, "session_hash": "one"}
            answer = json.loads(page.send("POST", "gradio_api/run/any", json.dumps(body)))
            if "error" in answer:
                assert 0 < len(answer["error"]) < 1000, (name, value)
                told += 1
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err, (name, err[-3000:])
        assert SECRET not in out + err, name
    assert told > 20


def test_a_component_s_own_refusal_is_cut_and_not_printed() -> None:
    told = in_a_sentence(gr.Error(f"Value {LONG} is not in the list of choices"), "pick")
    assert told.message.startswith("Value my-private")
    assert len(told.message) < 700
    assert told.print_exception is False
    mine = gr.Error("As it is.", print_exception=False)
    assert in_a_sentence(mine, "x") is mine


def test_the_log_tells_kind_and_place_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    handlers, root = list(logging.getLogger().handlers), logging.getLogger()
    root.handlers.clear()
    try:
        logs.set_up(Settings(log_format="json"))
        try:
            int(SECRET)
        except ValueError as error:
            told = in_a_sentence(error, "draw")
        assert told.message == WRONG
        (line,) = stream.getvalue().splitlines()
        assert json.loads(line)["message"].startswith("event draw: ValueError at test_wrong_event")
        assert SECRET not in line
    finally:
        root.handlers[:] = handlers
        logging.captureWarnings(False)
        monkeypatch.undo()
