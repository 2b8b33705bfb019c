"""file= hands over files of the app's own temporary folder, as nothing but files; it fetches none.

Over a real page on a real server, with every spelling of the route that anybody could read so.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from gradio.utils import get_upload_folder

from sdgen.config import Settings
from sdgen.studio import Studio
from sdgen.ui.api.blocks import NOT_UPLOADED, paths_in
from sdgen.web.gradio_files import SANDBOX, is_inside
from sdgen.web.paths import means_a_file
from tests.conftest import FakeEngine, FakeModelFiles
from tests.outside_calls import outside_calls
from tests.raw_http import ask, uploaded
from tests.serving import GRADIO_WARNINGS, served

pytestmark = GRADIO_WARNINGS
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
SCRIPT = b"<!doctype html><script>document.title = 'ran'</script>"


@dataclass(frozen=True)
class App:
    """A page that is being served."""

    url: str
    folder: Path  # Gradio's
    data_dir: Path
    events: tuple[tuple[int, int, int], ...]  # (number, place of a file, inputs)


@pytest.fixture(scope="module", params=["local", "public"])
def app(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[App]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"), yes_public=request.param == "public"
    )
    studio = Studio(settings, FakeEngine(), FakeModelFiles())
    studio.open_queue()
    with served(studio, settings) as url:
        config = json.loads(ask(url, "/config").body)
        files = {part["id"] for part in config["components"] if part["type"] == "file"}
        events = tuple(
            (event["id"], event["inputs"].index(number), len(event["inputs"]))
            for event in config["dependencies"]
            for number in event["inputs"]
            if number in files
        )
        yield App(url, Path(get_upload_folder()), settings.data_dir, events)
    studio.close()


@dataclass(frozen=True)
class OtherSite:
    """A server of somebody else, who sees what it is asked for."""

    port: int
    asked: list[str]


@pytest.fixture(scope="module")
def other_site() -> Iterator[OtherSite]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(SCRIPT)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = HTTPServer(("0.0.0.0", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield OtherSite(server.server_port, asked)
    server.shutdown()
    server.server_close()


def test_what_was_uploaded_comes_back(app: App) -> None:
    path = uploaded(app.url, "a picture ü.png", PNG)
    answer = ask(app.url, f"/gradio_api/file={quote(path)}")
    assert (answer.status, answer.body) == (200, PNG)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == SANDBOX
    head = ask(app.url, f"/gradio_api/file={quote(path)}", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-security-policy"] == SANDBOX


@pytest.mark.parametrize("part", ["bytes=0-7", "bytes=8-", "bytes=0-99999"])
def test_a_part_of_a_file_tells_nothing_of_the_question(app: App, part: str) -> None:
    path = uploaded(app.url, "part.png", PNG)
    headers = {"Range": part, "Cookie": "sdgen-token=" + "a" * 32, "X-Evil": "echo", "Refresh": "0"}
    answer = ask(app.url, f"/gradio_api/file={quote(path)}", "GET", headers)
    assert answer.status == 206
    first, _, last = part.removeprefix("bytes=").partition("-")
    assert answer.body == PNG[int(first) : int(last) + 1 if last else None]
    assert not {"cookie", "x-evil", "refresh", "host"} & set(answer.headers)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == SANDBOX


@pytest.mark.parametrize("part", ["bytes=1-2-3", "bytes=0-1,3-4", "bytes=\xb2-\xb3", "bytes=-1-"])
def test_a_part_that_is_none_is_no_fault_of_ours(app: App, part: str) -> None:
    path = uploaded(app.url, "part.png", PNG)
    answer = ask(app.url, f"/gradio_api/file={quote(path)}", "GET", {"Range": part})
    assert (answer.status, answer.body) == (200, PNG)


@pytest.mark.parametrize(
    "name",
    ["x.html", "x.svg", "x.xhtml", "x.xml", "x.js", "x.pdf", "x.htm", "x.mht", "x.shtml", "x.css",
     "x.png.html", "x", "x.unknown"],
)  # fmt: skip
def test_nothing_that_can_act_is_shown(app: App, name: str) -> None:
    path = uploaded(app.url, name, SCRIPT)
    for headers in ({}, {"Range": "bytes=0-30"}, {"Accept": "text/html"}):
        answer = ask(app.url, f"/gradio_api/file={quote(path)}", "GET", headers)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == SANDBOX


def targets(app: App, port: int) -> list[str]:
    """What somebody could ask for behind file=, and must not get."""
    inside = uploaded(app.url, "mine.png", PNG)
    link = app.folder / "link.png"
    link.unlink(missing_ok=True)
    link.symlink_to("/etc/passwd")
    folder_link = app.folder / "elsewhere"
    folder_link.unlink(missing_ok=True)
    folder_link.symlink_to(app.data_dir)
    history = app.data_dir / "history.sqlite3"
    assert history.is_file()
    return [
        f"http://100.64.7.7:{port}/x.png",
        f"http://127.0.0.1:{port}/x.png",
        f"https://127.0.0.1:{port}/x.png",
        f"HTTP://100.64.7.7:{port}/x.png",
        f"Http:/100.64.7.7:{port}/x.png",
        f"http:100.64.7.7:{port}/x.png",
        f"//100.64.7.7:{port}/x.png",
        f"///100.64.7.7:{port}/x.png",
        f"\\\\100.64.7.7:{port}\\x.png",
        f"/\\100.64.7.7:{port}/x.png",
        f"http://evil.example:{port}/x.png",
        "http://evil.example@localhost/x",
        "ftp://evil.example/x.png",
        "file:///etc/passwd",
        f"file://{inside}",
        "/etc/passwd",
        str(history),
        str(link),
        str(folder_link / "history.sqlite3"),
        str(folder_link),
        str(app.folder),
        f"{app.folder}/",
        f"{app.folder}/../{app.folder.name}/{Path(inside).relative_to(app.folder)}",
        f"{app.folder}/../../../../../../etc/passwd",
        f"{app.folder}x/y.png",
        f"{Path(inside).parent}/.",
        f"{inside}\0",
        f"{inside}\0.txt",
        f"{inside}/",
        f"{inside}/..",
        str(Path(inside).relative_to(app.folder)),
        f"./{Path(inside).name}",
        "../../etc/passwd",
        "C:\\Windows\\win.ini",
        "C:/Windows/win.ini",
        "\\\\server\\share\\x",
        "\\\\?\\C:\\x",
        "..\\..\\etc\\passwd",
        "/proc/self/environ",
        f"/proc/self/root{inside}",
        f"/proc/self/cwd/../{inside}",
        "/dev/zero",
        "~/.bashrc",
        "",
        "/",
        "x" * 5000,
        f"/{'x/' * 4000}",
        "data:text/html,<script>1</script>",
        "blob:x",
        f"{inside}?x=1#y",
        f"{inside};x",
        f" {inside}",
    ]


SPELLINGS = [
    "/gradio_api/file={}",
    "/gradio_api/file%3D{}",
    "/gradio_api/%66ile={}",
    "/%67radio_api/file={}",
    "/gradio_api%2ffile={}",
    "/gradio_api/file%253D{}",
    "/gradio_api/%2566ile={}",
    "/gradio_api/file/{}",
    "/file={}",
    "/file/{}",
    "//gradio_api/file={}",
    "/gradio_api//file={}",
    "/\\gradio_api\\file={}",
    "/gradio_api\\file={}",
    "/gradio_api%5cfile={}",
    "/GRADIO_API/FILE={}",
    "/gradio_api/File={}",
    "/./gradio_api/file={}",
    "/x/../gradio_api/file={}",
    "/gradio_api/x/../file={}",
    "/gradio_api/mcp/../file={}",
    "/sdgen/../gradio_api/file={}",
    "/sdgen/file={}",
    "/static/../file={}",
    "/draw/gradio_api/file={}",
    "/gradio_api/file={}?x=1",
]


def check_refused(app: App, spelling: str, target: str, written: str, **how: Any) -> None:
    answer = ask(app.url, spelling.format(written), **how)
    if ("?" in target or "#" in target) and answer.status in (200, 206):
        assert answer.body in (b"", PNG, PNG[:10])  # the file: what follows is a query
        return
    cannot_be_read = answer.status == 400 and b"Invalid HTTP" in answer.body
    assert answer.status == 403 or cannot_be_read, (how, spelling, target, answer)
    assert b"root:" not in answer.body
    assert SCRIPT not in answer.body


def test_all_else_is_refused(app: App, other_site: OtherSite) -> None:
    outside_calls()
    ways: list[dict[str, Any]] = [
        {}, {"method": "HEAD"}, {"headers": {"Range": "bytes=0-9"}}, {"method": "POST"},
    ]  # fmt: skip
    for target in targets(app, other_site.port):
        for written in (quote(target, safe="/"), quote(target, safe="/:\\?#;@"), quote(target, "")):
            for how in ways:
                check_refused(app, SPELLINGS[0], target, written, **how)
    assert outside_calls() == []
    assert other_site.asked == []


def test_however_the_route_is_spelled(app: App, other_site: OtherSite) -> None:
    outside_calls()
    for target in targets(app, other_site.port):
        for spelling in SPELLINGS[1:]:
            check_refused(app, spelling, target, quote(target, safe="/:@"))
    assert outside_calls() == []
    assert other_site.asked == []


def test_the_file_itself_is_handed_over_under_its_one_name(app: App) -> None:
    path = quote(uploaded(app.url, "mine.png", PNG))
    for spelling in SPELLINGS:
        decoded_once = spelling in (
            "/gradio_api/file={}", "/gradio_api/file%3D{}", "/gradio_api/%66ile={}",
            "/%67radio_api/file={}", "/gradio_api%2ffile={}", "/gradio_api/file={}?x=1",
        )  # fmt: skip
        assert ask(app.url, spelling.format(path)).status == (200 if decoded_once else 403)


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=x", "/file=x", "/FILE/x", "/a%2ffile=", "\\file=x", "/a/%2566ile%253dx",
     "/gradio_api%5c%5cfile=x"],
)  # fmt: skip
def test_paths_that_mean_a_file(path: str) -> None:
    assert means_a_file(path)


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/gradio_api/upload", "/sdgen/picture/1", "/assets/ImageFile-x.js",
     "/gradio_api/profile=1", "/static/fonts/file.woff2", "/gradio_api/file", "/files/x"],
)  # fmt: skip
def test_paths_that_mean_none(path: str) -> None:
    assert not means_a_file(path)


def test_inside_is_decided_by_where_a_path_leads(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    real, outside = folder / "a.png", tmp_path / "b.png"
    real.write_bytes(PNG)
    outside.write_bytes(PNG)
    (folder / "good").symlink_to(real)
    (folder / "bad").symlink_to(outside)
    (folder / "circle").symlink_to(folder / "circle")
    assert is_inside(str(real), folder)
    assert is_inside(str(folder / "good"), folder)
    for path in (outside, folder / "bad", folder / "circle", folder, folder / "none", "a.png", ""):
        assert not is_inside(str(path), folder)
    linked = tmp_path / "linked"
    linked.symlink_to(folder)  # e.g. /tmp of macOS
    assert is_inside(str(linked / "a.png"), linked)
    os.mkfifo(folder / "pipe")
    assert not is_inside(str(folder / "pipe"), folder)


# --- addresses and paths in what a call brings


FOREIGN = [
    {"path": "http://evil.example/x.png", "meta": {"_type": "gradio.FileData"}},
    {"path": "http://100.64.7.7:9/x.png", "meta": {"_type": "gradio.FileData"}},
    {"path": "HTTPS://evil.example/x", "meta": {"_type": "gradio.FileData"}, "url": "http://e.example"},
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"path": "app.py", "meta": {"_type": "gradio.FileData"}},
    {"path": "README.md", "url": "http://evil.example/", "meta": {"_type": "gradio.FileData"}},
    {"path": None, "url": "http://evil.example/x", "meta": {"_type": "gradio.FileData"}},
]  # fmt: skip


def told_of(app: App, body: dict[str, Any]) -> str:
    """What an event of the page says, up to its end."""
    headers = {"Content-Type": "application/json"}
    joined = ask(app.url, "/gradio_api/queue/join", "POST", headers, json.dumps(body).encode())
    assert joined.status == 200, joined
    session = body["session_hash"]
    return ask(app.url, f"/gradio_api/queue/data?session_hash={session}").body.decode()


def test_no_event_of_the_page_fetches_what_a_call_names(app: App, other_site: OtherSite) -> None:
    assert app.events
    outside_calls()
    for number, place, inputs in app.events:
        for which, foreign in enumerate(FOREIGN):
            for value in (foreign, [foreign], {"deep": [foreign]}):
                for at in {place, 0}:
                    data: list[Any] = [None] * inputs
                    data[at] = value
                    body = {
                        "data": data,
                        "fn_index": number,
                        "session_hash": f"s{number}-{which}-{at}",
                        "trigger_id": None,
                    }
                    told = told_of(app, body)
                    assert '"success":false' in told
                    assert NOT_UPLOADED in told
    assert outside_calls() == []
    assert other_site.asked == []


@pytest.mark.parametrize(
    ("endpoint", "name"), [("verify", "picture"), ("inspect_adapter", "adapter")]
)
def test_no_endpoint_fetches_what_a_call_names(app: App, endpoint: str, name: str) -> None:
    outside_calls()
    headers = {"Content-Type": "application/json"}
    for foreign in [*FOREIGN, "http://evil.example/x.png"]:
        body = json.dumps({"data": [foreign]}).encode()
        begun = ask(app.url, f"/gradio_api/call/{endpoint}", "POST", headers, body)
        event_id = json.loads(begun.body)["event_id"]
        told = ask(app.url, f"/gradio_api/call/{endpoint}/{event_id}").body
        assert b"event: error" in told, (foreign, told)
    assert outside_calls() == []


def test_every_object_that_could_be_a_file_is_found() -> None:
    nested = {"a": [{"path": "x", "b": {"path": 5}}], "path": "y"}
    assert sorted(paths_in([nested, "path", 3, None])) == ["", "x", "y"]


def test_the_hook_sees_who_is_asked() -> None:
    outside_calls()
    with socket.socket() as probe:
        probe.setblocking(False)
        assert probe.connect_ex(("192.0.2.1", 9)) != 0
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("evil.invalid", 80)
    assert "evil.invalid" in outside_calls()
