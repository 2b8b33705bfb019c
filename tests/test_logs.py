"""Logs: one JSON object a line for collectors, words for people, never a key, no prompt unasked."""

import datetime
import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdgen import logs
from sdgen.config import Settings
from sdgen.errors import OutOfMemory

ROOT = Path(__file__).parent.parent
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


# --- libraries quote what users wrote


WORDS = "my private cat"
LIBRARY_LOGGERS = [
    "diffusers.pipelines.stable_diffusion", "transformers.tokenization_utils_base", "peft.tuners",
    "accelerate.utils", "huggingface_hub.utils", "gradio.queueing", "gradio_client", "httpx",
    "uvicorn.error", "asyncio", "torch._dynamo", "PIL.Image", "a.library.nobody.thought.of",
]  # fmt: skip


def test_a_library_that_is_imported_later_brings_no_way_round() -> None:
    """torch sets handlers of its own on import, which the app does once the page is open."""
    program = (
        "import logging\n"
        "from sdgen.config import Settings\n"
        "from sdgen.logs import set_up\n"
        "set_up(Settings())\n"
        "import torch\n"
        f"for name in {['torch', 'torch._dynamo', 'torch._inductor', 'torch.fx']}:\n"
        f"    logging.getLogger(name).warning('cannot compile %s', {WORDS!r})\n"
        f"logging.getLogger('torch.of.tomorrow').addHandler(logging.StreamHandler())\n"
        f"logging.getLogger('torch.of.tomorrow').warning({WORDS!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert WORDS not in done.stderr + done.stdout
    assert done.stderr.count("WARNING torch") == 5


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("name", LIBRARY_LOGGERS)
def test_no_library_tells_a_user_s_words(
    monkeypatch: pytest.MonkeyPatch, form: str, name: str
) -> None:
    stream = written(monkeypatch, log_format=form)
    logger = logging.getLogger(name)
    logger.warning(f"The following part of your input was truncated: ['{WORDS}']")
    logger.error("cannot read %s", WORDS)
    logger.warning(WORDS)
    logger.error("%(value)s", {"value": WORDS})
    try:
        raise ValueError(WORDS)
    except ValueError:
        try:
            raise KeyError(WORDS)  # as libraries do
        except KeyError:
            logger.exception("Exception in ASGI application")
    told = stream.getvalue()
    assert WORDS not in told
    assert told.count(name) == 5
    assert "cannot read %s" in told, "what stands in its source can be told"
    assert "Exception in ASGI application" in told
    assert "ValueError" in told
    assert "KeyError" in told
    assert "test_logs.py" in told


@pytest.mark.parametrize("form", ["text", "json"])
def test_warnings_tell_their_kind_and_place_alone(
    monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    stream = written(monkeypatch, log_format=form)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn(f"{WORDS} is too long", UserWarning, stacklevel=1)
    assert WORDS not in stream.getvalue()
    assert "UserWarning at test_logs.py:" in stream.getvalue()


def test_the_operator_may_ask_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, log_prompts=True)
    logging.getLogger("diffusers").warning(f"truncated: {WORDS}")
    assert f"truncated: {WORDS}" in stream.getvalue()


@pytest.mark.parametrize("name", ["diffusers", "transformers", "huggingface_hub"])
def test_a_library_s_own_handler_is_not_used(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As they do when they are imported, before or after us."""
    stream, own = written(monkeypatch), io.StringIO()
    logger = logging.getLogger(name)
    logger.addHandler(logging.StreamHandler(own))
    logger.propagate = False
    logging.getLogger(f"{name}.inside").warning(f"cut: {WORDS}")
    assert own.getvalue() == ""
    assert stream.getvalue().startswith(f"WARNING {name}.inside: at test_logs.py:")


def test_diffusers_itself_tells_no_words_of_a_long_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch)
    from diffusers.utils import logging as theirs

    theirs.get_logger("diffusers.pipelines.x").warning(
        "The following part of your input was truncated because CLIP can only handle sequences up "
        f"to 77 tokens: ['{WORDS}']"
    )
    assert WORDS not in stream.getvalue()
    assert "WARNING diffusers.pipelines.x" in stream.getvalue()


# --- long values


@pytest.mark.parametrize("form", ["text", "json"])
def test_long_values_are_cut_at_both_ends_of_the_gap(
    monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    stream = written(monkeypatch, log_format=form, log_prompts=True)
    value = f"begin {'x' * 3_000_000} end"
    logging.getLogger("sdgen.ui").error("refused: %s", value)
    try:
        raise ValueError(value)
    except ValueError:
        logging.getLogger("sdgen.ui").exception("refused")
    logs.job_event("4711", "accepted", prompt=value)
    told = stream.getvalue()
    assert len(told) < 40_000
    assert told.count("begin x") == 3
    assert told.count("x end") == 3
    assert "characters are left out" in told


@pytest.mark.parametrize("length", [1990, 2100, 3900, 4100, 9000])
def test_no_half_of_a_key_stays_at_a_cut(length: int) -> None:
    most = logs.MESSAGE_CHARS
    for at in range(0, length - 20, 7):
        text = "." * at + f" {CANARY} " + "." * (length - at)
        told = logs.written(text, most)
        assert "CANARY" not in told
        assert "sk-" not in told
        assert len(told) < most + 100
