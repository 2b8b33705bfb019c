"""The wall before a stand-in for Gradio, which keeps logins as Gradio does: quick, and each rule
apart. test_web_wall.py walks the real page."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from sdgen.web.wall import ATTEMPTS_MAX, ATTEMPTS_SECONDS, PUBLIC_PATHS, Attempts, Wall, user_of
from tests.test_web_small_pages import Read

HTML = {"Accept": "text/html,*/*;q=0.8"}
CHROME = {"User-Agent": "Mozilla/5.0 (X11) Chrome/150"}
OPEN = [path for path in PUBLIC_PATHS if path not in ("/", "/login", "/logout")]
RECIPE = "0123456789abcdefghjkmnpqrs"


async def inside(request: Request) -> Response:
    return PlainTextResponse(f"inside {request.method}")


async def login(request: Request) -> Response:
    """As Gradio: 400 for a wrong password, two cookies for the right one."""
    if b"right" not in await request.body():
        return PlainTextResponse("Incorrect credentials.", 400)
    answer = PlainTextResponse("ok")
    answer.set_cookie("access-token-4711", "secure")
    answer.set_cookie("access-token-unsecure-4711", "token")
    return answer


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


def app_behind(*, on_space: bool = False) -> Starlette:
    paths = ["/", "/config", *PUBLIC_PATHS]
    app = Starlette(
        routes=[
            Route("/login", login, methods=["GET", "POST"]),
            WebSocketRoute("/socket", socket),
            *[Route(path, inside, methods=["GET", "POST", "PUT"]) for path in paths],
        ],
        middleware=[Middleware(Wall, on_space=on_space)],
    )
    app.tokens = {"token": "ann"}  # type: ignore[attr-defined]  # as Gradio's app has them
    app.cookie_id = "4711"  # type: ignore[attr-defined]
    return app


def browser(app: Starlette, address: str = "203.0.113.7") -> TestClient:
    return TestClient(
        app, "http://pictures.example", follow_redirects=False, client=(address, 50000)
    )


@pytest.fixture
def stranger() -> Iterator[TestClient]:
    with browser(app_behind()) as client:
        yield client


@pytest.fixture
def known() -> Iterator[TestClient]:
    with browser(app_behind()) as client:
        client.cookies.set("access-token-unsecure-4711", "token")
        yield client


def connection(cookies: str, **app: object) -> HTTPConnection:
    return HTTPConnection({
        "type": "http",
        "headers": [(b"cookie", cookies.encode())],
        "app": SimpleNamespace(**app),
    })  # fmt: skip


def test_a_login_is_what_the_app_s_own_tokens_say() -> None:
    app = {"tokens": {"t": "ann", "odd": 7}, "cookie_id": "x"}
    assert user_of(connection("access-token-x=t", **app)) == "ann"
    assert user_of(connection("access-token-unsecure-x=t", **app)) == "ann"
    for cookies in ("", "access-token-y=t", "access-token=t", "access-token-x=odd", "t=t"):
        assert user_of(connection(cookies, **app)) is None, cookies
    assert user_of(connection("access-token-x=t", tokens={}, cookie_id="x")) is None
    assert user_of(connection("access-token-=t", tokens={"t": "ann"}, cookie_id="")) is None
    assert user_of(connection("access-token-None=t", tokens={"t": "ann"})) is None
    assert user_of(HTTPConnection({"type": "http", "headers": []})) is None


def test_what_a_stranger_reaches(stranger: TestClient) -> None:
    for path in OPEN:
        assert stranger.get(path).text == "inside GET", path
    for method, path in (
        ("GET", "/config"), ("POST", "/config"), ("POST", "/"), ("PUT", "/"), ("GET", "/nothing"),
        ("GET", "/healthz/"), ("GET", "/login/"),
    ):  # fmt: skip
        answer = stranger.request(method, path)
        assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"}), path
    assert stranger.head("/").status_code == 200


def test_who_is_known_reaches_everything(known: TestClient) -> None:
    for path in ("/", "/config", *OPEN):
        assert known.get(path).text == "inside GET"
    assert known.post("/").text == "inside POST"
    with known.websocket_connect("/socket"):
        pass


def test_a_websocket_of_a_stranger_is_closed_as_forbidden(stranger: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as closed, stranger.websocket_connect("/socket"):
        pass
    assert closed.value.code == 1008
    with pytest.raises(WebSocketDisconnect), stranger.websocket_connect("/login"):
        pass


@pytest.mark.parametrize("on_space", [False, True])
def test_the_form(on_space: bool) -> None:
    answer = browser(app_behind(on_space=on_space)).get("/", headers=HTML)
    assert answer.status_code == 200
    assert ("hf.space" in answer.headers["content-security-policy"]) is on_space
    assert "retry-after" not in answer.headers
    read = Read(answer.text)
    assert read.seen == ["sdgen: log in", "sdgen: log in", "Name", "Password", "Log in"]
    assert read.all("form") == [{"method": "post", "action": "login"}]
    assert read.all("p") == []
    name, password = read.all("input")
    assert name == {
        "name": "username", "autocomplete": "username", "required": None, "autofocus": None
    }  # fmt: skip
    assert password == {
        "name": "password", "type": "password", "autocomplete": "current-password",
        "required": None,
    }  # fmt: skip


def test_a_recipe_goes_through_the_form_and_nothing_else_does(stranger: TestClient) -> None:
    def action(recipe: str) -> str | None:
        page = stranger.get("/", params={"recipe": recipe}, headers=HTML).text
        return Read(page).all("form")[0]["action"]

    assert action(RECIPE) == f"login?recipe={RECIPE}"
    assert action('"><script>') == action("") == action(RECIPE[1:]) == "login"
    taken = stranger.post("/login", params={"recipe": RECIPE}, content="right", headers=HTML)
    assert taken.headers["location"] == f"./?recipe={RECIPE}"


def test_a_browser_s_form_gets_a_page_and_a_program_gradio_s_answer(stranger: TestClient) -> None:
    taken = stranger.post("/login", content="right", headers=HTML)
    assert (taken.status_code, taken.headers["location"]) == (303, "./")
    assert taken.headers["cache-control"] == "no-store"
    cookies = taken.headers.get_list("set-cookie")
    assert [cookie.partition("=")[0] for cookie in cookies] == [
        "access-token-4711", "access-token-unsecure-4711"
    ]  # fmt: skip
    assert taken.text == ""
    program = stranger.post("/login", content="right")
    assert (program.status_code, program.text) == (200, "ok")

    refused = stranger.post("/login", content="wrong", headers=HTML)
    assert refused.status_code == 401
    read = Read(refused.text)
    assert read.all("p") == [{"class": "problem", "role": "alert"}]
    assert "That is not the name or not the password." in read.seen
    program = stranger.post("/login", content="wrong")
    assert (program.status_code, program.text) == (400, "Incorrect credentials.")
    assert stranger.get("/login", headers=HTML).status_code == 400, "Gradio's own: no form was sent"


def test_ten_wrong_passwords_of_one_address_in_a_minute() -> None:
    app = app_behind()
    client = browser(app)
    for number in range(ATTEMPTS_MAX):
        assert client.get("/login").status_code == 400, "to look is no guess"
        assert client.post("/login", content="right").status_code == 200, "nor is the right one"
        assert client.post("/login", content="wrong").status_code == 400, number
    late = client.post("/login", content="right", headers=HTML)
    assert (late.status_code, late.headers["retry-after"]) == (429, "60")
    assert "Too many wrong passwords. Try again in a minute." in Read(late.text).seen
    assert "set-cookie" not in late.headers
    assert browser(app, "203.0.113.8").post("/login", content="right").status_code == 200


def test_on_a_space_the_address_is_in_a_header() -> None:
    client = browser(app_behind(on_space=True), "10.0.0.4")
    one, other = ({"X-Forwarded-For": address} for address in ("8.8.4.4", "8.8.8.8"))
    for _ in range(ATTEMPTS_MAX):
        client.post("/login", content="wrong", headers=one)
    assert client.post("/login", content="right", headers=one).status_code == 429
    assert client.post("/login", content="right", headers=other).status_code == 200


def test_attempts_are_counted_by_address_and_forgotten_after_a_minute() -> None:
    now = [100.0]
    attempts = Attempts(lambda: now[0])
    attempts.forgive("a")
    for number in range(ATTEMPTS_MAX):
        assert not attempts.too_many("a"), number
        attempts.failed("a")
    assert attempts.too_many("a")
    attempts.forgive("a")
    assert not attempts.too_many("a")
    attempts.failed("a")
    now[0] += ATTEMPTS_SECONDS - 1
    assert attempts.too_many("a")
    now[0] += 1
    assert not attempts.too_many("a")
    for _ in range(ATTEMPTS_MAX):
        attempts.failed("b")
    now[0] += ATTEMPTS_SECONDS - 1
    assert attempts.too_many("b")
    assert (ATTEMPTS_MAX, ATTEMPTS_SECONDS) == (10, 60.0)


QUESTION = ["sdgen: log out", "sdgen: log out", "This ends the login on every device.", "Log out",
            "Stay"]  # fmt: skip
OWN, OTHERS = "http://pictures.example/", "https://evil.example/"


@pytest.mark.parametrize(
    ("headers", "at_once"),
    [
        ({}, True),  # a program
        ({"Sec-Fetch-Site": "same-origin", **CHROME}, True),
        ({"Sec-Fetch-Site": "none", **CHROME}, True),  # an address that was typed
        ({"Sec-Fetch-Site": "cross-site", **CHROME}, False),
        ({"Sec-Fetch-Site": "same-site", **CHROME}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({**CHROME}, False),  # a browser that does not tell
        ({"Referer": OWN, **CHROME}, True),
        ({"Referer": OTHERS, **CHROME}, False),
        ({"Referer": "https://behind.example/x", "X-Forwarded-Host": "behind.example", **CHROME},
         True),
    ],
)  # fmt: skip
def test_who_is_logged_out_at_once(
    known: TestClient, headers: dict[str, str], at_once: bool
) -> None:
    answer = known.get("/logout", headers=headers)
    assert answer.status_code == 200
    if at_once:
        assert answer.text == "inside GET"
        return
    read = Read(answer.text)
    assert read.seen == QUESTION
    assert read.all("form") == [{"method": "post", "action": "logout"}]
    assert read.all("a") == [{"class": "button second", "href": "./"}]


def test_the_question_s_answer_is_gradio_s_own_logout(known: TestClient) -> None:
    assert known.post("/logout", headers={"Origin": OWN}).text == "inside GET"
    assert known.post("/logout").text == "inside GET"
    refused = known.post("/logout", headers={"Origin": OTHERS})
    assert (refused.status_code, refused.text) == (
        403, "This has to come from the app's own page."
    )  # fmt: skip
    for method in ("PUT", "HEAD", "DELETE"):
        assert known.request(method, "/logout").status_code == 405
    assert known.put("/logout").json() == {"detail": "Method Not Allowed"}


def test_a_space_s_question_is_inside_its_frame() -> None:
    answer = browser(app_behind(on_space=True)).get("/logout", headers=CHROME)
    assert "hf.space" in answer.headers["content-security-policy"]


def test_what_is_no_request_passes() -> None:
    """Starlette's own start and end; with a `with` block the client sends them."""
    begun: list[str] = []

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        begun.append(str(scope["type"]))

    import asyncio

    asyncio.run(Wall(app, on_space=False)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert begun == ["lifespan"]
