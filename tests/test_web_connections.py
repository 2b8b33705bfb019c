"""Connections: half a request is not waited for, and there is always room for the next visitor."""

import asyncio
import gc
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from sdgen.config import Settings
from sdgen.studio import Studio
from sdgen.web import connections
from sdgen.web.connections import OWN, TOO_MANY, Room, Watched, descriptors, guard
from tests.conftest import FakeEngine, FakeModelFiles
from tests.raw_http import ask
from tests.serving import GRADIO_WARNINGS, free_port

pytestmark = GRADIO_WARNINGS
ROOT = Path(__file__).parent.parent


async def hello(request: Request) -> PlainTextResponse:
    await request.body()
    return PlainTextResponse("hello")


async def stream(request: Request) -> StreamingResponse:
    async def ticks() -> AsyncIterator[bytes]:
        while True:
            yield b"tick"
            await asyncio.sleep(0.02)

    return StreamingResponse(ticks())


@contextmanager
def serving(room: Room) -> Iterator[int]:
    """A server with that room; its port."""
    app = Starlette(routes=[Route("/", hello, methods=["GET", "POST"]), Route("/stream", stream)])
    port = free_port()
    config = uvicorn.Config(app, port=port, log_level="critical", timeout_graceful_shutdown=1)
    config.load()
    guard(config, room)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield port
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second for each head."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)


def connected(port: int, sent: bytes = b"") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=20)
    made.sendall(sent)
    return made


def told(connection: socket.socket) -> bytes:
    """All that the server says until it hangs up."""
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except ConnectionResetError:
        pass
    return said


HALVES = [
    b"",
    b"G",
    b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT",  # the second one is half
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET",
]


@pytest.mark.parametrize("half", HALVES)
def test_half_a_request_is_not_waited_for(quick: None, half: bytes) -> None:
    del quick
    with serving(Room(100, 1)) as port, connected(port, half) as connection:
        assert told(connection).count(b"hello") == (b"\r\n\r\n" in half)


def is_open(connection: socket.socket) -> bool:
    """False once the server has hung up. Sends one more line of a head."""
    try:
        connection.sendall(b"X-A: b\r\n")
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def test_a_head_that_drips_is_not_waited_for(quick: None) -> None:
    del quick
    with serving(Room(100, 1)) as port, connected(port, b"GET / HTTP/1.1\r\n") as connection:
        connection.settimeout(0.01)
        deadline = time.monotonic() + 20
        while is_open(connection):
            assert time.monotonic() < deadline


def test_an_answer_may_take_longer_than_a_head(quick: None) -> None:
    del quick
    asked = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(Room(100, 1)) as port, connected(port, asked) as connection:
        said = b""
        while said.count(b"tick") < 20:  # 0.4 s
            piece = connection.recv(65536)
            assert piece
            said += piece


def test_a_connection_is_used_again(quick: None) -> None:
    del quick
    with serving(Room(100, 1)) as port, connected(port) as connection:
        for _ in range(3):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            said = b""
            while b"hello" not in said:
                said += connection.recv(65536)


def test_where_there_is_no_room_the_one_that_waits_longest_goes() -> None:
    with serving(Room(5, 1)) as port, ExitStack() as stack:
        waiting = [stack.enter_context(connected(port, b"GET / HT")) for _ in range(5)]
        assert ask(f"http://127.0.0.1:{port}", "/").body == b"hello"
        assert told(waiting[0]) == b""
        for _ in range(20):  # each of them takes the place of another
            assert ask(f"http://127.0.0.1:{port}", "/").body == b"hello"


def test_answers_that_are_under_way_are_not_cut_off() -> None:
    with serving(Room(3, 1)) as port, ExitStack() as stack:
        asked = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
        streams = [stack.enter_context(connected(port, asked)) for _ in range(3)]
        for each in streams:
            while b"tick" not in each.recv(65536):
                pass
        with connected(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as late:
            said = told(late)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert said.endswith(TOO_MANY)
        assert b"retry-after: 5" in said
        for each in streams:
            assert b"tick" in each.recv(65536)
        streams.pop().close()
        deadline = time.monotonic() + 20
        while ask(f"http://127.0.0.1:{port}", "/").status != 200:
            assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("address", "is_limited"),
    [("93.184.216.34", True), ("2001:4860:4860::8888", True), ("127.0.0.1", False),
     ("10.1.2.3", False), ("172.17.0.1", False), ("::1", False), ("", False)],
)  # fmt: skip
def test_one_address_of_the_internet_has_so_many(address: str, is_limited: bool) -> None:
    """Behind a proxy all have its address."""

    class Connection(Watched):
        def __init__(self, others: set["Connection"]) -> None:
            self.connections = others  # type: ignore[assignment]
            self.client = (address, 1) if address else None
            others.add(self)

    others: set[Connection] = set()
    Connection.room = Room(100, 1, of_one_address=3)
    for number in range(5):
        assert Connection(others)._has_too_many() is (is_limited and number >= 3)


def test_the_room_follows_from_what_the_system_allows() -> None:
    for limit in (128, 256, 1024, 4096, 1_048_576):
        room = Room.of(limit)
        assert room.connections >= 16
        assert room.upload_files >= 16
        if limit >= 256:
            assert room.connections + room.upload_files + OWN <= limit
    assert Room.of(1024).connections == 448
    assert Room.of(1_048_576).connections == 2000


def test_the_limit_is_raised_as_far_as_it_may_be() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 700));"
        "from sdgen.web.connections import descriptors; print(descriptors());"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["700", "700"]
    assert descriptors() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_the_app_s_own_server_is_watched(tmp_path: Path) -> None:
    from sdgen.ui.app import build, launch_options

    settings = Settings(data_dir=tmp_path)
    studio = Studio(settings, FakeEngine(), FakeModelFiles())
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", cache)
        patch.setattr(connections, "HEAD_SECONDS", 0.1)
        demo = build(studio, settings)
        demo.launch(**launch_options(studio, settings) | {"server_port": free_port()})
        try:
            port = urlsplit(demo.local_url).port
            assert port is not None
            with connected(port, b"POST /gradio_api/upload HTTP/1.1\r\nHo") as half:
                assert told(half) == b""
        finally:
            demo.close(verbose=False)
            studio.close()
            del demo
            gc.collect()


def test_both_of_uvicorn_s_kinds_have_what_is_used() -> None:
    assert {"connections", "client", "cycle", "loop", "transport"} <= set(
        H11Protocol.__init__.__code__.co_names
    )
    assert hasattr(H11Protocol, "on_response_complete")
    assert hasattr(H11Protocol, "handle_websocket_upgrade")
