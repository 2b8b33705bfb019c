"""What sdgen takes of Gradio's and starlette's inside, each tried alone: after an update the name
of the test that fails says what broke."""

import ast
import asyncio
import gc
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import uvicorn
from gradio.block_function import BlockFunction
from gradio.data_classes import PredictBodyInternal
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from sdgen.ui import gradio_parts as parts
from sdgen.web.paths import route_path
from tests.serving import GRADIO_WARNINGS, free_port

pytestmark = GRADIO_WARNINGS
ROOT = Path(__file__).parent.parent
THE_MODULE = ROOT / "sdgen" / "ui" / "gradio_parts.py"
# Names of Gradio's objects that begin with "_", wherever they may be written.
PRIVATE = {"_data", "_queue", "_id", "_state_ttl", "_update_config", "_update_value_in_config"}


@pytest.fixture
def demo() -> Iterator[Any]:
    with gr.Blocks() as made:
        gr.Textbox()
    yield made
    made.close(verbose=False)
    del made
    gc.collect()


# --- that there is one place


def sources() -> list[Path]:
    """All that may know Gradio; tests/test_layers.py keeps the rest from it."""
    folders = (ROOT / "sdgen" / "ui", ROOT / "sdgen" / "web", ROOT / "lora" / "tab")
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def reaches(path: Path) -> Iterator[str]:
    """Each line of a file that reaches into Gradio's or starlette's private parts."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        here = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and node.module:
            package, _, rest = node.module.partition(".")
            if package == "gradio" or (package == "starlette" and rest.startswith("_")):
                yield f"{here} imports {node.module}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(("gradio.", "starlette._")):
                    yield f"{here} imports {alias.name}"
        elif isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if node.attr in PRIVATE and not own:
                yield f"{here} uses .{node.attr}"
            elif node.attr == "__class__" and isinstance(node.ctx, ast.Store):
                yield f"{here} changes a class"


def test_nothing_else_reaches_inside() -> None:
    assert [line for path in sources() if path != THE_MODULE for line in reaches(path)] == []
    assert len(list(reaches(THE_MODULE))) > 5  # so the search finds what there is


# --- what each part has to be


def test_event_data() -> None:
    assert parts.event_data(gr.EventData(None, {"name": "x"})) == {"name": "x"}
    for other in (None, 5, "x", ["x"]):
        assert parts.event_data(gr.EventData(None, other)) == {}


def test_upload_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "here"))
    assert parts.upload_folder() == tmp_path / "here"
    assert str(tmp_path / "here") == gr.Textbox(render=False).GRADIO_CACHE  # and for answers


def test_api_prefix() -> None:
    assert parts.API_PREFIX == "/gradio_api"  # written out in sdgen.web, which knows no Gradio


def test_queue_of(demo: Any) -> None:
    queue = parts.queue_of(demo)
    assert type(queue) is parts.Queue
    with demo:
        demo.queue(api_open=False)
    assert parts.queue_of(demo) is not queue  # so bound() comes after the last queue()


def test_adopt(demo: Any) -> None:
    class Mine(parts.Queue):  # type: ignore[misc]
        pass

    queue = parts.queue_of(demo)
    assert parts.adopt(queue, Mine) is queue
    assert type(parts.queue_of(demo)) is Mine


def test_queue_push_has_the_arguments_that_are_passed_on() -> None:
    assert list(inspect.signature(parts.Queue.push).parameters) == [
        "self", "body", "request", "username"
    ]  # fmt: skip
    assert list(inspect.signature(parts.Queue.start).parameters) == ["self"]
    assert "session_hash" in inspect.signature(parts.Queue.clean_events).parameters
    assert "session_hash" in PredictBodyInternal.model_fields


def test_queue_keeps_messages_and_open_events_by_session(demo: Any) -> None:
    queue = parts.queue_of(demo)
    assert queue.pending_messages_per_session == {}
    assert queue.pending_event_ids_session == {}
    assert queue.event_ids_to_events == {}
    assert queue.stopped is False
    source = inspect.getsource(parts.Queue)
    assert "self.pending_messages_per_session[body.session_hash] = AsyncQueue()" in source
    assert "self.pending_event_ids_session[body.session_hash].add(event._id)" in source


def test_queue_messages_are_read_by_get() -> None:
    import gradio.routes

    source = inspect.getsource(gradio.routes.App.create_app)
    assert "asyncio.wait_for(messages.get(), timeout=10)" in source  # so Answers.get sees readers


def test_forget_uploads() -> None:
    from gradio.route_utils import FileUploadProgressNotTrackedError
    from gradio.routes import file_upload_statuses

    for number in range(30):
        file_upload_statuses.track(f"test-{number}")
        file_upload_statuses.append(f"test-{number}", "x", b"x")
    parts.forget_uploads(10)
    with pytest.raises(FileUploadProgressNotTrackedError):
        file_upload_statuses.is_done("test-19")
    assert file_upload_statuses.is_done("test-20") is False
    assert len(file_upload_statuses._statuses) == len(file_upload_statuses._signals) == 10
    parts.forget_uploads(0)


def test_api_component(demo: Any) -> None:
    def endpoint(words: str = "x") -> str:
        return words

    with demo:
        gr.api(endpoint)
    (event,) = demo.fns.values()
    assert [type(block) for block in event.inputs] == [parts.Api]
    assert event.inputs[0].value == "x"


def test_blocks_process_api() -> None:
    assert list(inspect.signature(gr.Blocks.process_api).parameters)[:3] == [
        "self", "block_fn", "inputs"
    ]  # fmt: skip


def test_blocks_preprocess_data_and_validate_inputs() -> None:
    assert list(inspect.signature(gr.Blocks.preprocess_data).parameters) == [
        "self", "block_fn", "inputs", "state", "explicit_call"
    ]  # fmt: skip
    assert list(inspect.signature(gr.Blocks.validate_inputs).parameters) == [
        "self", "block_fn", "inputs"
    ]  # fmt: skip
    assert "preprocess_data" in inspect.getsource(gr.Blocks.process_api)
    assert BlockFunction is not None


def test_fn_index_infer_error_is_what_an_unknown_endpoint_raises(demo: Any) -> None:
    from gradio.data_classes import PredictBody
    from gradio.route_utils import get_fn

    with pytest.raises(parts.FnIndexInferError):
        get_fn(demo, "nope", PredictBody(data=[]))


def test_session_state_has_the_methods_that_are_replaced(demo: Any) -> None:
    for name in ("_update_config", "_update_value_in_config", "__setitem__"):
        assert callable(getattr(parts.SessionState, name)), name
    assert "config_values" in vars(parts.SessionState(demo))


def test_state_holder_is_handed_to_the_blocks(demo: Any) -> None:
    holder = parts.StateHolder()
    holder.set_blocks(demo)
    assert demo.state_holder is holder
    assert holder.blocks is demo
    assert holder.session_data == {}


def test_connect_heartbeat_is_in_the_config(demo: Any) -> None:
    assert "connect_heartbeat" in demo.get_config_file()


def test_server_config_and_run_beside(demo: Any) -> None:
    ran = asyncio.Event()

    class Mine(parts.Queue):  # type: ignore[misc]
        def start(self) -> None:
            super().start()
            parts.run_beside(self.work)

        async def work(self) -> None:
            ran.set()

    parts.adopt(parts.queue_of(demo), Mine)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_port=free_port())
    config = parts.server_config(demo)
    assert isinstance(config, uvicorn.Config)
    assert isinstance(config.http_protocol_class, type)
    assert ran.is_set()
    made: list[Any] = []

    class Watched(config.http_protocol_class):  # type: ignore[name-defined,misc]
        def connection_made(self, transport: Any) -> None:
            made.append(self)
            super().connection_made(transport)

    config.http_protocol_class = Watched
    import httpx

    assert httpx.get(url).status_code == 200
    (connection,) = made  # each further connection is of the class that the settings name
    assert {"connections", "client", "cycle", "loop", "transport"} <= set(dir(connection))
    assert connection.cycle.response_complete is True


# --- starlette


def test_route_path_is_the_router_s_own_reading() -> None:
    """starlette keeps its function to itself; what its router matches is what counts."""
    given: dict[str, str] = {}
    read: list[str] = []

    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["path"])

    router = Router([Route("/{path:path}", answer)])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, **given}
        read.append(route_path(scope))
        await router(scope, receive, send)

    client = TestClient(app, follow_redirects=False)
    roots = ("", "/draw", "/draw/", "/a/b", "https://x.example/draw", "/drawing")
    paths = ("/", "", "/draw", "/draw/", "/draw/x", "/drawing/x", "/x", "//x", "/draw//x",
             "/draw/draw/x", "/a/b", "/a/b/c", "/a/bc")  # fmt: skip
    for root in roots:
        for path in paths:
            given.update(root_path=root, path=path)
            answered = client.get("/")
            mine = read.pop()
            if mine.startswith("/"):
                assert (answered.status_code, answered.text) == (200, mine[1:]), (root, path)
            else:
                assert answered.status_code in (307, 404), (root, path)
