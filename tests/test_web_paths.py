"""How a path is read before the router reads it, and which of Gradio's routes there are."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from sdgen.web.gradio_routes import CLOSED, OPEN, OPEN_TO_TOOLS, OURS, GradioRoutes
from sdgen.web.paths import means_a_file, route_path

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")


@pytest.mark.parametrize(
    ("path", "root", "read"),
    [
        ("/config", "", "/config"),
        ("/app/config", "/app", "/config"),
        ("/app", "/app", ""),
        ("/app/", "/app", "/"),
        ("/application", "/app", "/application"),
        ("/config", "/app", "/config"),
        ("/app/app/x", "/app", "/app/x"),
        ("", "", ""),
    ],
)
def test_a_path_is_read_after_the_root_path(path: str, root: str, read: str) -> None:
    assert route_path({"path": path, "root_path": root}) == read
    if not root:
        assert route_path({"path": path}) == read


@pytest.mark.parametrize(
    "path",
    [
        "/file=x", "/gradio_api/file=/tmp/x", "/gradio_api/file/x", "/FILE=x", "/a/b/file=x",
        "//gradio_api//file=x", "/gradio_api\\file=x", "/gradio_api/%66ile=x", "/file%3Dx",
        "/%2566ile=x", "/%252566ile=x", "/%25252566ile=x", "file=x", "/x%5Cfile=y",
    ],
)  # fmt: skip
def test_a_file_in_any_spelling(path: str) -> None:
    assert means_a_file(path)


@pytest.mark.parametrize(
    "path", ["/", "/profile=x", "/files", "/file", "/gradio_api/upload", "/a?file=x", "/file-=x",
             "/%2525252566ile=x"],
)  # fmt: skip
def test_what_means_no_file(path: str) -> None:
    """The last has more layers than any program takes off."""
    assert not means_a_file(path)


async def inside(request: Request) -> Response:
    return PlainTextResponse("inside")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()


def client_of(*, mcp: bool, root_path: str = "") -> TestClient:
    app = Starlette(
        routes=[
            WebSocketRoute("/{path:path}", socket),
            Route("/{path:path}", inside, methods=list(METHODS)),
        ],
        middleware=[Middleware(GradioRoutes, mcp=mcp)],
    )
    return TestClient(app, root_path=root_path)


@pytest.fixture(params=[False, True], ids=["plain", "tools"])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    with client_of(mcp=request.param) as made:
        yield made


def written(template: str) -> str:
    """A path that a template takes."""
    return re.sub(r"{\w+(:path)?}", "x1", template)


def test_what_is_open_answers_by_its_methods_alone(client: TestClient) -> None:
    for opened in OPEN:
        for method in METHODS:
            answer = client.request(method, written(opened.template))
            is_open = method in opened.methods.split()
            if method == "GET" and opened.template == "/gradio_api/call/v2/{api_name}":
                is_open = True  # it is also the answer's address of an endpoint of the name "v2"
            assert answer.status_code == (200 if is_open else 404), (method, opened.template)
            if not is_open and method != "HEAD":
                assert answer.json() == {"detail": "Not Found"}


@pytest.mark.parametrize("mcp", [False, True])
def test_tools_are_open_where_there_are_any(mcp: bool) -> None:
    with client_of(mcp=mcp) as client:
        for opened in OPEN_TO_TOOLS:
            for method in opened.methods.split():
                answer = client.request(method, written(opened.template))
                assert answer.status_code == (200 if mcp else 404)


def test_what_is_closed_or_on_no_list_does_not_answer(client: TestClient) -> None:
    for path in [*map(written, CLOSED), "/nothing", "/sdgen", "/x/healthz", "/CONFIG"]:
        assert client.get(path).status_code == 404, path


def test_sdgen_s_own_are_the_router_s_to_know(client: TestClient) -> None:
    for path in ("/sdgen/picture/x", "/sdgen/", "/healthz", "/readyz", "/metrics"):
        assert path.startswith(OURS)
        for method in ("GET", "POST"):
            assert client.request(method, path).status_code == 200


def test_no_websocket_is_taken(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/config"):
        pass
    assert closed.value.code == 1008


def test_a_proxy_s_path_changes_nothing() -> None:
    with client_of(mcp=False, root_path="/app") as client:
        assert client.get("/app").status_code == 200
        assert client.get("/app/config").status_code == 200
        assert client.get("/app/monitoring").status_code == 404


def test_what_is_no_request_passes() -> None:
    begun: list[str] = []

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        begun.append(str(scope["type"]))

    asyncio.run(GradioRoutes(app, mcp=False)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert begun == ["lifespan"]
