"""Bodies of requests: how large, how tangled, how slow; over a real server, and what stays free."""

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from gradio.utils import get_upload_folder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from sdgen.config import Settings
from sdgen.studio import Studio
from sdgen.web import bodies
from sdgen.web.bodies import (
    BODY_BYTES_MAX,
    DEPTH_MAX,
    NOT_UTF8,
    TOO_DEEP,
    TOO_MANY_VALUES,
    UPLOAD_ID_CHARS,
    VALUES_MAX,
    Bodies,
    UploadLimits,
    tangled,
)
from tests.conftest import FakeEngine, FakeModelFiles
from tests.raw_http import ask
from tests.serving import GRADIO_WARNINGS, served

pytestmark = GRADIO_WARNINGS
JSON = {"Content-Type": "application/json"}
FLOOD = b'{"data":[' + b"[]," * (15 * 2**20) + b"[]]}"  # 45 MB


@dataclass(frozen=True)
class App:
    """A page that is being served."""

    url: str
    folder: Path  # Gradio's


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    studio = Studio(settings, FakeEngine(), FakeModelFiles())
    studio.open_queue()
    with served(studio, settings) as url:
        yield App(url, Path(get_upload_folder()))
    studio.close()


def send_chunked(url: str, path: str, pieces: Iterator[bytes]) -> bytes:
    """A body whose length nobody is told; what the server says."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), parts.port or 80), timeout=60) as raw:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        )
        raw.sendall(head.encode())
        try:
            for piece in pieces:
                raw.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            raw.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may hang up once it has answered
        told = b""
        try:
            while piece := raw.recv(65536):
                told += piece
        except ConnectionResetError:
            pass
        return told


@pytest.mark.parametrize("path", ["call/generate", "call/v2/generate", "queue/join", "run/x",
                                  "cancel", "call/no-such"])  # fmt: skip
def test_a_body_that_is_too_large_is_said(app: App, path: str) -> None:
    body = json.dumps({"data": ["x" * BODY_BYTES_MAX]}).encode()
    answer = ask(app.url, f"/gradio_api/{path}", "POST", JSON, body)
    assert answer.status == 413
    assert "at most 1 MB" in json.loads(answer.body)["detail"]


def test_one_that_just_fits_is_read(app: App) -> None:
    fill = BODY_BYTES_MAX - len(json.dumps({"data": [""]}))
    body = json.dumps({"data": ["x" * fill]}).encode()
    assert len(body) == BODY_BYTES_MAX
    answer = ask(app.url, "/gradio_api/call/generate", "POST", JSON, body)
    assert answer.status == 200
    assert ask(app.url, "/gradio_api/call/generate", "POST", JSON, body + b" ").status == 413


def test_a_length_that_is_not_told_is_counted(app: App) -> None:
    told = send_chunked(app.url, "/gradio_api/call/generate", (b"[]," * 5000 for _ in range(200)))
    assert b" 413 " in told.split(b"\r\n")[0]
    assert b"at most 1 MB" in told


def test_a_length_that_is_a_lie_helps_nobody(app: App) -> None:
    parts = urlsplit(app.url)
    with socket.create_connection((str(parts.hostname), parts.port or 80), timeout=20) as raw:
        raw.sendall(
            b"POST /gradio_api/call/generate HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n" + b"[" * 100
        )
        assert b" 422 " in raw.recv(65536)  # two brackets were read; the rest is no request


def test_a_flood_costs_neither_memory_nor_time(app: App) -> None:
    """45 MB of `[],` took 4.5 GB once, and 6 MB held /healthz up for four seconds."""
    assert ask(app.url, "/healthz").status == 200
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB
    answer = ask(app.url, "/gradio_api/call/generate", "POST", JSON, FLOOD)
    assert answer.status == 413
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000  # kB; the client in this process holds the body itself


@pytest.mark.parametrize(
    "body",
    [
        b"[]," * 300_000,
        b"{}," * 300_000,
        b"[" * 900_000,
        b"]" * 900_000,
        b'{"a":' * 150_000,
        b"1," * 500_000,
        b'"",' * 300_000,
        b'"\\"' * 300_000,
        b'\\"' * 450_000 + b"[]," * 10_000,
        b'"' + b'\\"' * 450_000,
        b'"' + b"\\" * 900_001,
        '"a", [], '.encode("utf-16") * 50_000,
        b"\0[," * 300_000,
    ],
)
def test_what_is_tangled_is_told_in_no_time(app: App, body: bytes) -> None:
    assert len(body) <= BODY_BYTES_MAX
    slowest = 0.0
    for _ in range(3):
        start = time.thread_time()
        tangled(body)
        slowest = max(slowest, time.thread_time() - start)
    assert slowest < 1.0  # a hundredth of it; a fault here is quadratic, and takes minutes
    answer = ask(app.url, "/gradio_api/call/generate", "POST", JSON, body)
    assert answer.status in (400, 413, 422)
    assert "detail" in json.loads(answer.body)


def nested(depth: int) -> bytes:
    return b'{"data":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_the_limits_of_tangle_are_exact() -> None:
    assert tangled(nested(DEPTH_MAX)) is None
    assert tangled(nested(DEPTH_MAX + 1)) is TOO_DEEP
    assert tangled(b"[" + b"1," * (VALUES_MAX - 1) + b"1]") is None
    assert tangled(b"[" + b"1," * VALUES_MAX + b"1]") is TOO_MANY_VALUES
    assert tangled(b"[]" * (VALUES_MAX // 1)) is None
    assert tangled(b"]" * (VALUES_MAX + 1)) is TOO_MANY_VALUES
    assert tangled(b"\xff\xfe[\0") is NOT_UTF8


def test_texts_may_hold_what_they_like() -> None:
    for text in (",[{" * 100_000, '\\",[' * 100_000, "[" * 1000, '"' * 1000, "\\" * 1001, "ü[,"):
        assert tangled(json.dumps({"data": [text, text]}).encode()) is None, text[:10]
        assert tangled(json.dumps({text[:500]: {"x": text}}).encode()) is None, text[:10]


def test_what_follows_a_text_is_seen_again() -> None:
    text = json.dumps('\\" [ \\\\').encode()
    assert tangled(text + b"[" * (DEPTH_MAX + 1)) is TOO_DEEP
    assert tangled(b'"\\\\"' + b"[" * (DEPTH_MAX + 1)) is TOO_DEEP


# --- how long it takes


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that waits a tenth of a second for each piece of a body."""
    monkeypatch.setattr(bodies, "WAIT_SECONDS", 0.1)


def half_sent(
    url: str, path: str, kind: str = "application/json", sent: bytes = b"{"
) -> socket.socket:
    parts = urlsplit(url)
    raw = socket.create_connection((str(parts.hostname), parts.port or 80), timeout=20)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    raw.sendall(head.encode() + b"Content-Length: 1000\r\n\r\n" + sent)
    return raw


@pytest.mark.parametrize("path", ["call/generate", "queue/join", "upload", "cancel"])
def test_half_a_body_is_not_waited_for(app: App, impatient: None, path: str) -> None:
    del impatient
    kind, sent = "application/json", b"{"
    if path == "upload":
        kind = "multipart/form-data; boundary=x"
        sent = b'--x\r\nContent-Disposition: form-data; name="files"; filename="half.bin"\r\n\r\nab'
    with half_sent(app.url, f"/gradio_api/{path}", kind, sent) as raw:
        told = b""
        while piece := raw.recv(65536):
            told += piece
    assert b" 408 " in told.split(b"\r\n")[0]
    assert b"too slowly" in told
    assert not list(app.folder.glob("tmp*"))  # nothing of the half is left


def test_a_body_that_drips_is_too_slow_in_all(
    app: App, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece comes in time, and the whole never would."""
    del impatient
    monkeypatch.setattr(bodies, "PACE", 1000)
    stop = threading.Event()
    with half_sent(app.url, "/gradio_api/call/generate") as raw:

        def drip() -> None:
            while not stop.wait(0.02):
                try:
                    raw.sendall(b" ")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        told = raw.recv(65536)
        stop.set()
        dripping.join()
    assert b" 408 " in told.split(b"\r\n")[0]


# --- uploads


def multipart(*parts: tuple[str, bytes | None, bytes]) -> tuple[dict[str, str], bytes]:
    """Headers and body of an upload. parts: (name, file name or None, content)."""
    body = b""
    for name, filename, content in parts:
        told = b"" if filename is None else b'; filename="%s"' % filename
        body += b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n' % (
            name.encode(), told,
        ) + content + b"\r\n"  # fmt: skip
    return {"Content-Type": "multipart/form-data; boundary=x"}, body + b"--x--\r\n"


def test_a_large_upload_is_taken(app: App) -> None:
    content = b"x" * (3 * BODY_BYTES_MAX)
    answer = ask(app.url, "/gradio_api/upload", "POST", *multipart(("files", b"a.bin", content)))
    (path,) = json.loads(answer.body)
    assert Path(path).read_bytes() == content


@pytest.mark.parametrize(
    "parts",
    [
        [("files", b"a.bin", b"a"), ("files", None, b"x")],  # a field in memory
        [("other", b"a.bin", b"a")],  # a file that nobody would ever remove
        [("", b"a.bin", b"a")],
    ],
)
def test_all_that_is_uploaded_is_a_file_that_is_asked_for(app: App, parts: Any) -> None:
    for query in ("", "?upload_id=x"):
        answer = ask(app.url, f"/gradio_api/upload{query}", "POST", *multipart(*parts))
        assert answer.status == 400
        assert "must be a file" in json.loads(answer.body)["detail"]
    assert not list(app.folder.glob("tmp*"))


@pytest.mark.parametrize("chars", [257, 20_000])
def test_a_boundary_that_the_parser_does_not_take_is_said(app: App, chars: int) -> None:
    kind = {"Content-Type": f"multipart/form-data; boundary={'z' * chars}"}
    answer = ask(app.url, "/gradio_api/upload", "POST", kind, b"--" + b"z" * chars)
    assert answer.status == 400
    assert "boundary" in json.loads(answer.body)["detail"]


def test_the_name_of_an_upload_is_short(app: App) -> None:
    name = "i" * UPLOAD_ID_CHARS
    body = multipart(("files", b"a.bin", b"a"))
    assert ask(app.url, f"/gradio_api/upload?upload_id={name}", "POST", *body).status == 200
    assert ask(app.url, f"/gradio_api/upload_progress?upload_id={name}").status == 200
    for path, how in (("upload", ("POST", *body)), ("upload_progress", ())):
        refused = ask(app.url, f"/gradio_api/{path}?upload_id={name}i", *how)
        assert refused.status == 400
        assert "upload_id" in json.loads(refused.body)["detail"]


def test_an_upload_that_breaks_off_leaves_nothing(app: App) -> None:
    kind = "multipart/form-data; boundary=x"
    sent = b'--x\r\nContent-Disposition: form-data; name="files"; filename="half.bin"\r\n\r\nab'
    half_sent(app.url, "/gradio_api/upload", kind, sent).close()
    deadline = time.monotonic() + 20
    while list(app.folder.glob("tmp*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def taker(limits: UploadLimits) -> TestClient:
    """Something that takes uploads as Gradio does, with those limits in front of it."""

    async def upload(request: Request) -> JSONResponse:
        async with request.form() as form:
            return JSONResponse([name for name, _ in form.multi_items()])

    app = Starlette(
        routes=[Route("/gradio_api/upload", upload, methods=["POST"])],
        middleware=[Middleware(Bodies, uploads=limits)],
    )
    return TestClient(app)


def post(client: TestClient, *parts: tuple[str, bytes | None, bytes]) -> Any:
    headers, body = multipart(*parts)
    return client.post("/gradio_api/upload", headers=headers, content=body)


def test_uploads_have_a_limit_of_their_own() -> None:
    client = taker(UploadLimits(10_000, files_at_once=5))
    assert post(client, ("files", b"a", b"x" * 9_000)).status_code == 200
    refused = post(client, ("files", b"a", b"x" * 6_000), ("files", b"b", b"x" * 6_000))
    assert refused.status_code == 413
    assert "upload is too large" in refused.json()["detail"]


def test_the_files_of_all_uploads_have_a_limit() -> None:
    """Each holds a descriptor until its upload ends."""
    limits = UploadLimits(100_000, files_at_once=5)
    client = taker(limits)
    for _ in range(3):  # what was counted is given back
        assert post(client, *[("files", b"a", b"x")] * 5).status_code == 200
        refused = post(client, *[("files", b"a", b"x")] * 6)
        assert refused.status_code == 503
        assert "More than 5 files" in refused.json()["detail"]
        assert limits.files_now == 0
