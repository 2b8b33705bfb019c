"""A page of another site can do nothing in a visitor's name; links and programs still work."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from sdgen.config import Settings
from sdgen.owners import new_token, owner_of_token
from sdgen.web.other_sites import OtherSites, is_from_another_site, is_of_this_machine
from sdgen.web.visitors import COOKIE
from tests.web_studio import WebStudio, add_picture, client_of, web_studio

TOKEN = new_token()
HERE = {"host": "pictures.example"}

SAME = [
    ("POST", {}),  # a program
    ("GET", {}),
    ("POST", {"sec-fetch-site": "same-origin", "origin": "https://pictures.example"}),
    ("GET", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}),  # typed, a bookmark
    ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}),  # a link, a frame
    ("POST", {"origin": "http://pictures.example"}),  # plain http in a local network
    ("POST", {"origin": "https://pictures.example"}),  # a proxy that ends TLS
    ("POST", {"origin": "https://pictures.example:443"}),
    ("POST", {"origin": "HTTPS://Pictures.Example"}),
]
OTHER = [
    ("POST", {"sec-fetch-site": "cross-site"}),
    ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}),
    ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}),  # an <img>
    ("POST", {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}),  # another port
    ("POST", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}),  # a form
    ("POST", {"origin": "https://evil.example"}),
    ("POST", {"origin": "null"}),
    ("POST", {"origin": "https://pictures.example.evil.example"}),
    ("POST", {"origin": "https://pictures.example@evil.example"}),
    ("POST", {"origin": "http://pictures.example:3000"}),
    ("POST", {"origin": "http://[broken"}),
    ("GET", {"origin": "https://evil.example"}),
]


@pytest.mark.parametrize(("method", "headers"), SAME)
def test_own_pages_links_and_programs(method: str, headers: dict[str, str]) -> None:
    assert not is_from_another_site(method, HERE | headers)


@pytest.mark.parametrize(("method", "headers"), OTHER)
def test_other_sites(method: str, headers: dict[str, str]) -> None:
    assert is_from_another_site(method, HERE | headers)


def test_a_proxy_may_tell_the_host_in_another_header() -> None:
    headers = {
        "host": "127.0.0.1:7860",
        "x-forwarded-host": "pictures.example, inner",
        "origin": "https://pictures.example",
    }
    assert not is_from_another_site("POST", headers)
    assert is_from_another_site("POST", headers | {"origin": "https://inner.example"})


@pytest.fixture
def studio(settings: Settings) -> Iterator[WebStudio]:
    with web_studio(settings.data_dir) as made:
        yield made


def browser(studio: WebStudio, settings: Settings, **more: object) -> TestClient:
    client = client_of(studio, settings, **more)
    client.cookies.set(COOKIE, TOKEN)
    return client


def test_another_site_s_page_sees_no_pictures(studio: WebStudio, settings: Settings) -> None:
    picture = add_picture(settings.data_dir, studio.gallery, owner_of_token(TOKEN), 1).id
    client = browser(studio, settings)
    where = f"/sdgen/picture/{picture}"
    assert client.get(where).status_code == 200
    for mode in ("cors", "no-cors"):
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
        assert client.get(where, headers=headers).status_code == 404
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get(where, headers=link).status_code == 200


def test_it_changes_nothing_on_an_app_for_this_machine(
    studio: WebStudio, settings: Settings
) -> None:
    evil = {"Origin": "https://evil.example"}
    assert browser(studio, settings).post("/", headers=evil).status_code == 403
    assert browser(studio, settings).post("/").status_code == 200
    assert browser(studio, settings).get("/", headers=evil).status_code == 200
    public = settings.model_copy(update={"host": "0.0.0.0"})
    for client in (browser(studio, public), browser(studio, settings, on_space=True)):
        assert client.post("/", headers=evil).status_code == 200  # as a stranger


HERE_NAMES = ["localhost", "LOCALHOST:7860", "127.0.0.1:7860", "[::1]:7860", "192.168.1.7", "",
              "app.localhost:7860"]  # fmt: skip
OTHER_NAMES = [
    "evil.example",
    "evil.example:7860",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost@evil.example",
    "xlocalhost",
    "[::1",
    "0x7f.1.evil",
]


@pytest.mark.parametrize("name", HERE_NAMES)
def test_names_of_this_machine(name: str) -> None:
    assert is_of_this_machine(name)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_names_that_another_site_can_have(name: str) -> None:
    assert not is_of_this_machine(name)


def test_a_site_whose_name_leads_here_gets_nothing_of_an_app_for_this_machine(
    studio: WebStudio, settings: Settings
) -> None:
    """DNS rebinding: to the browser that page and the app are one site."""
    picture = add_picture(settings.data_dir, studio.gallery, owner_of_token(TOKEN), 1).id
    as_evil = {
        "base_url": "http://evil.example:7860",
        "headers": {"Origin": "http://evil.example:7860"},
    }
    mine = settings.model_copy(update={"one_user": True})
    for local in (settings, mine):
        evil = browser(studio, local, **as_evil)
        for method, path in (("GET", "/"), ("POST", "/"), ("GET", f"/sdgen/picture/{picture}")):
            answer = evil.request(method, path)
            assert answer.status_code == 403
            assert "--auth" in answer.text
            assert "set-cookie" not in answer.headers
        with pytest.raises(WebSocketDisconnect), evil.websocket_connect("/"):
            pass
    public = settings.model_copy(update={"yes_public": True})
    login = settings.model_copy(update={"auth": SecretStr("ann:secret")})
    for others in (public, login):
        assert browser(studio, others, **as_evil).get("/").status_code == 200
    assert browser(studio, settings, on_space=True, **as_evil).get("/").status_code == 200


def test_the_cookie_is_not_replaced_by_following_a_link(
    studio: WebStudio, settings: Settings
) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    answer = browser(studio, settings).get("/", headers=headers)
    assert f"{COOKIE}={TOKEN};" in answer.headers["set-cookie"]


def test_the_cookie_is_not_replaced_by_another_site_s_page(
    studio: WebStudio, settings: Settings
) -> None:
    """Asked without his cookie, the page would give him a new one: he would lose his pictures."""
    public = settings.model_copy(update={"yes_public": True})
    for here in (settings, public):
        for site in ("same-site", "cross-site"):  # same-site: another port of this machine
            headers = {
                "Sec-Fetch-Site": site,
                "Sec-Fetch-Mode": "cors",
                "Origin": "http://e.example",
            }
            answer = browser(studio, here).get("/", headers=headers)
            assert answer.status_code == 200
            assert "set-cookie" not in answer.headers


def test_a_websocket_of_another_site_is_closed(studio: WebStudio, settings: Settings) -> None:
    client = browser(studio, settings)
    headers = {"Origin": "https://evil.example"}
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect("/", headers=headers),
    ):
        pass
    assert closed.value.code == 1008


def frames_of(client: TestClient, path: str = "/") -> str:
    policy = client.get(path).headers["content-security-policy"]
    return policy.partition("frame-ancestors ")[2].partition(";")[0]


def test_no_other_site_shows_the_app_in_a_frame(studio: WebStudio, settings: Settings) -> None:
    public = settings.model_copy(update={"yes_public": True})
    login = settings.model_copy(update={"auth": SecretStr("ann:secret")})
    for local in (settings, public):
        assert frames_of(browser(studio, local)) == "'self'"
        assert frames_of(browser(studio, local), "/no-such-page") == "'self'"
    assert frames_of(browser(studio, login)) == "'none'"  # the form of the login
    offered = f"/?me={new_token()}"
    assert frames_of(browser(studio, settings), offered) == "'none'"


def test_hugging_face_shows_a_space_in_a_frame(studio: WebStudio, settings: Settings) -> None:
    space = browser(studio, settings, on_space=True)
    assert frames_of(space) == "'self' https://huggingface.co https://*.hf.space"
    login = settings.model_copy(update={"auth": SecretStr("ann:secret")})
    form = browser(studio, login, on_space=True)
    assert frames_of(form) == "https://huggingface.co https://*.hf.space"


def test_an_answer_to_another_site_keeps_all_its_headers_but_cookies() -> None:
    async def page(request: Request) -> Response:
        answer = PlainTextResponse("text", headers={"X-Kept": "yes"})
        answer.set_cookie("a", "b")
        return answer

    middleware = [Middleware(OtherSites, may_call=True, any_name=True)]
    app = Starlette(routes=[Route("/", page)], middleware=middleware)
    evil = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    answer = TestClient(app).get("/", headers=evil)
    assert (answer.headers["x-kept"], answer.text) == ("yes", "text")
    assert "set-cookie" not in answer.headers
    assert "set-cookie" in TestClient(app).get("/").headers
