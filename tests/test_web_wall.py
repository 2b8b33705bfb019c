"""With a login nothing is open but a written list: every route of the running app is walked."""

import gc
import http.client
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AuthenticationError
from pydantic import SecretStr
from starlette.routing import BaseRoute, Mount

from sdgen.config import Settings
from sdgen.studio import Studio
from sdgen.web.wall import ATTEMPTS_MAX, ATTEMPTS_SECONDS, PUBLIC_PATHS, Attempts
from tests.conftest import FakeEngine, FakeModelFiles
from tests.serving import GRADIO_WARNINGS, free_port

pytestmark = GRADIO_WARNINGS
NAME, PASSWORD = "ann", "correct horse"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@dataclass(frozen=True)
class Page:
    """The whole page, served with a login. Holds nothing of Gradio's, which would live too long."""

    url: str
    routes: tuple[tuple[str, str], ...]  # (method, path)
    cookie_id: str


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    from sdgen.ui.app import build, launch_options

    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"), auth=SecretStr(f"{NAME}:{PASSWORD}")
    )
    studio = Studio(settings, FakeEngine(), FakeModelFiles())
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", cache)
        demo = build(studio, settings)
        demo.launch(**launch_options(studio, settings) | {"server_port": free_port()})
        try:
            routes = tuple(every_route(demo.app.routes))
            yield Page(demo.local_url, routes, demo.app.cookie_id)
        finally:
            demo.close(verbose=False)
            studio.close()
            del demo
            gc.collect()


@pytest.fixture
def url(page: Page) -> str:
    return page.url


@pytest.fixture
def stranger(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture
def known(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=20) as client:
        assert log_in(client).is_success
        yield client


def log_in(client: httpx.Client, password: str = PASSWORD, **more: Any) -> httpx.Response:
    data = {"username": NAME, "password": password}
    return client.post("login", data=data, **more)


def every_route(routes: list[BaseRoute], before: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of each route, also of those inside others, with parameters filled in."""
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        path = before + re.sub(r"{\w+(:\w+)?}", "1", getattr(route, "path", ""))
        if isinstance(route, Mount):
            yield "GET", path
            yield from every_route(list(route.routes), path)
        elif inner is not None:
            yield from every_route(list(inner.routes), before)
        else:
            for method in getattr(route, "methods", None) or {"GET"}:
                yield method, path


def test_the_walk_finds_gradio_s_routes_and_ours(page: Page) -> None:
    found = {path for _, path in page.routes}
    assert len(found) > 60
    assert found >= {
        "/",
        "/config",
        "/gradio_api/cancel",
        "/gradio_api/heartbeat/1",
        "/gradio_api/queue/join",
        "/gradio_api/upload",
        "/monitoring/1",
        "/theme.css",
        "/sdgen/picture/1",
        "/metrics",
    }


def test_every_route_asks_for_the_login_or_is_on_the_list(
    page: Page, stranger: httpx.Client
) -> None:
    for method, path in page.routes:
        answer = stranger.request(method, path)
        if path not in PUBLIC_PATHS:
            assert answer.status_code == 401, (method, path)
            assert method == "HEAD" or answer.json() == {"detail": "Not authenticated"}
            assert "set-cookie" not in answer.headers


def test_the_list_is_short_and_each_entry_is_there(page: Page) -> None:
    assert len(PUBLIC_PATHS) <= 8
    assert set(PUBLIC_PATHS) <= {path for _, path in page.routes}


@pytest.mark.parametrize(
    "path",
    [
        "//",
        "//config",
        "/%2f",
        "/config/",
        "/healthz/../config",
        "/healthz%2f..%2fconfig",
        "/healthz/",
        "/HEALTHZ",
        "/./config",
        "/login/",
        "/login/../config",
        "/login%2e%2e/config",
        "/login;x=/../config",
        "/;/config",
        "/?/../config",
        "/gradio_api/startup-events/../info",
        "/gradio_api%2fconfig",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=/login",
        "/config?x=/login",
        "/config#/login",
        "/nothing",
        "/\\config",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "get"])
def test_no_way_of_writing_a_path_goes_round_it(url: str, path: str, method: str) -> None:
    """Sent as it stands, which httpx would not do."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    connection._validate_path = lambda path: None  # type: ignore[attr-defined]
    connection.request(method, path, headers={"X-Forwarded-Prefix": "/login", "Accept": "*/*"})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    if path.startswith("/?"):  # the root itself: the form
        assert "components" not in body
    elif answer.status != 400:  # a server that cannot read the request has not answered it
        assert answer.status == 401, body[:300]


def test_a_stranger_gets_a_form_and_no_word_about_the_app(stranger: httpx.Client) -> None:
    answer = stranger.get("/", headers=HTML)
    assert answer.status_code == 200
    assert '<form method="post" action="login">' in answer.text
    for word in ("gradio", "config", "generate", "<script"):
        assert word not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert stranger.head("/").status_code == 200


def test_a_websocket_without_a_login_is_refused(url: str) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    connection.request("GET", "/gradio_api/queue/join", headers=asked)
    assert connection.getresponse().status in (401, 403)
    connection.close()


def test_the_form_logs_a_browser_in(stranger: httpx.Client) -> None:
    answer = log_in(stranger, headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    shown = stranger.get("/", headers=HTML).text
    assert "gradio_config" in shown
    assert f'"username":"{NAME}"' in shown
    assert stranger.get("/config").status_code == 200
    assert stranger.get("/logout").status_code == 302
    assert stranger.get("/config").status_code == 401


def test_a_recipe_s_link_survives_the_login(stranger: httpx.Client) -> None:
    recipe = "0123456789abcdefghjkmnpqrs"
    form = stranger.get("/", params={"recipe": recipe}, headers=HTML)
    assert f'action="login?recipe={recipe}"' in form.text
    answer = log_in(stranger, params={"recipe": recipe}, headers=HTML)
    assert answer.headers["location"] == f"./?recipe={recipe}"
    evil = stranger.get("/logout") and stranger.get("/", params={"recipe": '"><script>'})
    assert 'action="login"' in evil.text


def test_a_wrong_password_is_said(stranger: httpx.Client) -> None:
    answer = log_in(stranger, "wrong", headers=HTML)
    assert answer.status_code == 401
    assert "not the password" in answer.text
    assert "<form" in answer.text
    assert log_in(stranger, "wrong").status_code == 400  # Gradio's own answer, for programs


def test_gradio_s_client_logs_in_and_works(url: str) -> None:
    client = Client(url, auth=(NAME, PASSWORD), verbose=False, download_files=False)
    assert any(model["name"] == "picturebook" for model in client.predict(api_name="/models"))
    with pytest.raises(AuthenticationError):
        Client(url, verbose=False)
    with pytest.raises((AuthenticationError, ValueError)):
        Client(url, auth=(NAME, "wrong"), verbose=False)


def test_a_token_of_another_app_opens_nothing(page: Page, stranger: httpx.Client) -> None:
    for token in ("", "x" * 22, "None"):
        stranger.cookies.set(f"access-token-{page.cookie_id}", token)
        assert stranger.get("/config").status_code == 401
        assert stranger.get("/theme.css").status_code == 401


def test_another_site_s_page_is_not_logged_in(known: httpx.Client) -> None:
    assert known.get("/theme.css").status_code == 200
    evil = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    assert known.get("/theme.css", headers=evil).status_code == 401


def test_pictures_belong_to_the_login(
    url: str, known: httpx.Client, stranger: httpx.Client
) -> None:
    program = Client(url, auth=(NAME, PASSWORD), verbose=False, download_files=False)
    small = {"prompt": "a red robot", "width": 64, "height": 64, "steps": 1}
    drawn = program.predict(**small, api_name="/generate")
    where = f"/sdgen/picture/{drawn[0]['id']}"
    assert known.get(where).headers["content-type"] == "image/png"  # in a browser too
    assert known.get(where, headers={"X-Sdgen-Token": "x" * 32}).status_code == 200
    assert stranger.get(where).status_code == 401


def test_wrong_passwords_have_to_wait() -> None:
    now = [0.0]
    attempts = Attempts(clock=lambda: now[0])
    for _ in range(ATTEMPTS_MAX):
        assert not attempts.too_many("203.0.113.7")
        attempts.failed("203.0.113.7")
    assert attempts.too_many("203.0.113.7")
    assert not attempts.too_many("203.0.113.8")
    now[0] = ATTEMPTS_SECONDS
    assert not attempts.too_many("203.0.113.7")


def test_the_wall_makes_them_wait(tmp_path: Path) -> None:
    """Over a stand-in for Gradio's own check, which the real page above shows at work."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    from sdgen.web.wall import Wall

    async def login(request: Request) -> JSONResponse:
        right = b"right" in await request.body()
        return JSONResponse({"success": right}, 200 if right else 400)

    app = Starlette(
        routes=[Route("/login", login, methods=["POST"])],
        middleware=[Middleware(Wall, on_space=False)],
    )
    with TestClient(app) as client:
        codes = [client.post("/login", content="wrong").status_code for _ in range(12)]
        assert codes == [400] * ATTEMPTS_MAX + [429] * 2
        refused = client.post("/login", content="right", headers=HTML)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) == ATTEMPTS_SECONDS


def test_a_hundred_guesses_at_once_are_ten(tmp_path: Path) -> None:
    """Each is counted before it is looked at: none slips by while no other is known to be wrong."""
    import asyncio

    import httpx2
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from sdgen.web.wall import Wall

    looked_at: list[bytes] = []

    async def login(request: Request) -> JSONResponse:
        await asyncio.sleep(0.05)  # all are here by now
        looked_at.append(await request.body())
        right = b"right" in looked_at[-1]
        return JSONResponse({"success": right}, 200 if right else 400)

    app = Starlette(
        routes=[Route("/login", login, methods=["POST"])],
        middleware=[Middleware(Wall, on_space=False)],
    )

    async def guess(*words: str) -> list[int]:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://app") as client:
            sent = [client.post("/login", content=word) for word in words]
            return [answer.status_code for answer in await asyncio.gather(*sent)]

    assert asyncio.run(guess(*["right"] * 30)).count(200) == ATTEMPTS_MAX  # at once
    assert asyncio.run(guess("right")) == [200]  # what was right does not count
    looked_at.clear()
    codes = asyncio.run(guess(*["wrong"] * 100))
    assert codes.count(400) == len(looked_at) == ATTEMPTS_MAX
    assert codes.count(429) == 90


BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/150.0", **HTML}
OWN_WISH: list[dict[str, str]] = [
    {},  # a program
    {"User-Agent": "curl/8"},
    BROWSER | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"},
    BROWSER | {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},  # typed
    BROWSER | {"Referer": "{url}"},  # plain http in a local network
]
OTHERS_WISH: list[dict[str, str]] = [
    BROWSER | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},  # a link
    BROWSER | {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},  # of another port
    BROWSER | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},  # a picture
    BROWSER | {"Referer": "http://evil.example/"},
    BROWSER | {"Referer": "http://127.0.0.1:1/"},
    BROWSER | {"Referer": "null"},
    BROWSER,  # a page can have its browser leave that out
]


@pytest.mark.parametrize("headers", OWN_WISH)
def test_logging_out_is_one_request_for_its_owner(
    known: httpx.Client, url: str, headers: dict[str, str]
) -> None:
    told = {name: value.format(url=url) for name, value in headers.items()}
    assert known.get("/logout", headers=told).status_code == 302
    assert known.get("/config").status_code == 401


@pytest.mark.parametrize("headers", OTHERS_WISH)
def test_another_site_s_link_logs_nobody_out(known: httpx.Client, headers: dict[str, str]) -> None:
    answer = known.get("/logout", headers=headers)
    assert answer.status_code == 200
    assert '<form method="post" action="logout">' in answer.text
    assert "set-cookie" not in answer.headers
    assert known.get("/config").status_code == 200


def test_the_question_logs_out_and_only_from_here(known: httpx.Client, url: str) -> None:
    evil = BROWSER | {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert known.post("/logout", headers=evil).status_code == 403
    assert known.post("/logout", headers=BROWSER | {"Origin": "null"}).status_code == 403
    assert known.get("/config").status_code == 200
    own = BROWSER | {"Origin": url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert known.post("/logout", headers=own).status_code == 302
    assert known.get("/config").status_code == 401


def test_the_right_password_does_not_count(stranger: httpx.Client) -> None:
    for _ in range(ATTEMPTS_MAX + 5):
        assert log_in(stranger).status_code == 200
