"""Logs: one JSON object a line for collectors, words for people, never a key, no prompt unasked."""

import datetime
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from sdgen import logs
from sdgen.config import Settings
from sdgen.errors import OutOfMemory

CANARY = "sk-CANARY-4711"
SECRETS = [
    CANARY,
    "hf_AbCdEfGhIjKlMnOp",
    "Authorization: Bearer abcdef0123456789.x-y",
    "api_key=abcdef012345",
    '{"password": "correct-horse"}',
    "GET /?me=0123456789abcdef0123456789abcdef",
    "access-token-unsecure-abc=QWERTYUIOP",
    "sdgen-token=0123456789abcdef0123456789abcdef",
]
HARMLESS = [
    "a task-runner and a risk-averse desk",
    "Basic training of a bearer of news",
    "job 0123456789abcdef0123456789abcdef done after 3.2 s",
    "75 tokens are read; tell me: a red robot",
]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """What set_up changes is everybody's; each test puts it back."""
    root = logging.getLogger()
    names = ("", "sdgen", "sdgen.jobs", "uvicorn", "uvicorn.error", "uvicorn.access")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers, hooks = list(root.handlers), (sys.excepthook, threading.excepthook)
    root.handlers.clear()  # pytest's own; set_up would close them
    yield
    root.handlers[:] = handlers
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def written(monkeypatch: pytest.MonkeyPatch, **settings: object) -> io.StringIO:
    """What goes to stderr from now on."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.set_up(Settings(**settings))  # type: ignore[arg-type]
    return stream


def objects(stream: io.StringIO) -> list[dict[str, object]]:
    """Every line as JSON; a line that is none is an error."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail() -> None:
    try:
        raise ValueError(f"no access with {CANARY}")
    except ValueError:
        logging.getLogger("sdgen.engine").error("job %s failed", "4711", exc_info=True)


def test_text_is_warnings_and_errors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch)
    logging.getLogger("sdgen.engine").warning("rows are %s", "measured anew")
    logging.getLogger("gradio").info("noise")
    logs.job_event("4711", "done", prompt="a red robot", seconds=3.2)
    assert stream.getvalue() == "WARNING sdgen.engine: rows are measured anew\n"


def test_json_tells_each_job_in_lines_of_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, log_format="json")
    logs.job_event("4711", "accepted", prompt="a red robot")
    logs.job_event("4711", "failed", seconds=3.21987, error=OutOfMemory("a red robot is too big"))
    logging.getLogger("sdgen.queue").info("job x", extra={"job": "x", "state": "running"})
    logging.getLogger("gradio").info("noise")
    first, second, third = objects(stream)
    assert first["message"] == "job 4711 accepted"
    assert (first["job"], first["state"], first["logger"]) == ("4711", "accepted", "sdgen.jobs")
    assert second["message"] == "job 4711 failed after 3.2 s: OutOfMemory"
    assert (second["seconds"], second["error"]) == (3.22, "OutOfMemory")
    assert (third["job"], third["state"]) == ("x", "running")
    when = datetime.datetime.fromisoformat(str(first["time"]))
    assert when.tzinfo == datetime.UTC
    assert str(first["time"]).endswith("Z")
    assert "robot" not in stream.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_prompts_are_told_where_the_operator_asks(
    monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    stream = written(monkeypatch, log_format=form, log_prompts=True)
    logs.job_event("4711", "accepted", prompt='a "red" robot\nINFO forged: line')
    assert len(stream.getvalue().splitlines()) == 1
    if form == "json":
        assert objects(stream)[0]["prompt"] == 'a "red" robot\nINFO forged: line'
    else:
        assert r"a \"red\" robot\nINFO forged: line" in stream.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_key_is_not_written(
    monkeypatch: pytest.MonkeyPatch, form: str, secret: str
) -> None:
    stream = written(monkeypatch, log_format=form, log_prompts=True)
    logging.getLogger("openai").warning("refused: %s", f"before\n{secret} after")
    logs.job_event("4711", "accepted", prompt=f"draw {secret}")
    value = secret.replace('"', " ").replace("=", " ").strip(" }").split()[-1]
    assert len(value) >= 10
    assert value not in stream.getvalue()
    assert logs.REDACTED in stream.getvalue()
    assert "after" in stream.getvalue()


@pytest.mark.parametrize("line", HARMLESS)
def test_ordinary_words_stay(line: str) -> None:
    assert logs.redact(line) == line


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_is_whole_and_without_keys(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    stream = written(monkeypatch, log_format=form)
    fail()
    assert CANARY not in stream.getvalue()
    told = stream.getvalue() if form == "text" else str(objects(stream)[0]["exception"])
    assert told.rstrip().endswith(f"ValueError: no access with {logs.REDACTED}")
    assert "Traceback" in told
    assert 'in fail\n    raise ValueError(f"no access' in told


def test_what_nobody_caught_is_an_object_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, log_format="json")

    def work() -> None:
        raise RuntimeError(f"lost {CANARY}")

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()
    try:
        raise LookupError("nothing")
    except LookupError as error:
        sys.excepthook(LookupError, error, error.__traceback__)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("old ways", UserWarning, stacklevel=1)
    in_thread, uncaught, warned = objects(stream)
    assert "worker" in str(in_thread["message"])
    assert "RuntimeError" in str(in_thread["exception"])
    assert CANARY not in stream.getvalue()
    assert "LookupError: nothing" in str(uncaught["exception"])
    assert (warned["level"], warned["logger"]) == ("WARNING", "py.warnings")


def test_the_server_s_own_lines_take_the_same_form(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    stream = written(monkeypatch, log_format="json")
    uvicorn.Config("nothing:app", log_level="warning")  # as Gradio does; sets its handlers
    logs.adopt_server()
    logging.getLogger("uvicorn.error").error("Exception in ASGI application, token=%s", CANARY)
    assert objects(stream)[0]["logger"] == "uvicorn.error"
    assert CANARY not in stream.getvalue()
