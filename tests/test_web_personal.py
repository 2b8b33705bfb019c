"""The browser's own token, and the link that carries it to another browser after a question."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from sdgen.config import Settings
from sdgen.owners import is_token, new_token
from sdgen.web.visitors import COOKIE
from tests.web_studio import PAGE, WebStudio, client_of, web_studio

HERE = "http://127.0.0.1:7860"
OWN_PAGE = {"Origin": HERE, "Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def studio(settings: Settings) -> Iterator[WebStudio]:
    with web_studio(settings.data_dir) as made:
        yield made


@pytest.fixture
def client(studio: WebStudio, settings: Settings) -> TestClient:
    return client_of(studio, settings)


def token_of(client: TestClient) -> str:
    return client.cookies.get(COOKIE) or ""


def test_the_page_gives_a_token_once_and_renews_it(client: TestClient) -> None:
    first = client.get("/")
    assert first.text == PAGE
    own = token_of(client)
    assert is_token(own)
    told = first.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=Lax", "Max-Age=31536000", "Path=/"):
        assert part in told
    assert "private" in first.headers["cache-control"]
    again = client.get("/")
    assert token_of(client) == own
    assert "Max-Age=31536000" in again.headers["set-cookie"]


def test_two_browsers_have_two_tokens(studio: WebStudio, settings: Settings) -> None:
    tokens = set()
    for _ in range(20):
        client = client_of(studio, settings)
        client.get("/")
        tokens.add(token_of(client))
    assert len(tokens) == 20


def test_a_cookie_that_is_no_token_is_replaced(client: TestClient) -> None:
    client.cookies.set(COOKIE, "x")
    answer = client.get("/")
    assert is_token(answer.headers["set-cookie"].partition("=")[2].partition(";")[0])


@pytest.mark.parametrize("where", ["/healthz", "/sdgen/picture/x", "/nothing", "/sdgen/me"])
def test_only_the_page_gives_it(client: TestClient, where: str) -> None:
    assert "set-cookie" not in client.get(where).headers


def test_over_https_and_in_a_space_s_frame(studio: WebStudio, settings: Settings) -> None:
    public = settings.model_copy(update={"yes_public": True})
    secure = client_of(studio, public, base_url="https://pictures.example").get("/")
    assert secure.headers["set-cookie"].endswith("SameSite=Lax; Secure")
    on_space = client_of(studio, settings, on_space=True).get("/")
    assert on_space.headers["set-cookie"].endswith("SameSite=None; Secure; Partitioned")


def test_a_link_asks_and_changes_nothing_by_itself(client: TestClient) -> None:
    client.get("/")
    own, offered = token_of(client), new_token()
    asked = client.get("/", params={"me": offered})
    assert asked.status_code == 200
    assert PAGE not in asked.text
    assert "set-cookie" not in asked.headers
    assert token_of(client) == own
    assert f'name="token" value="{offered}"' in asked.text
    assert own in asked.text  # the way back
    headers = asked.headers
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "<script" not in asked.text


def test_yes_takes_it(client: TestClient) -> None:
    client.get("/")
    offered = new_token()
    answer = client.post("/sdgen/me", content=f"token={offered}", headers=OWN_PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "../")
    assert token_of(client) == offered
    assert client.get("/").text == PAGE
    assert token_of(client) == offered


def test_one_s_own_link_leads_to_the_page_without_a_question(client: TestClient) -> None:
    client.get("/")
    answer = client.get("/", params={"me": token_of(client)})
    assert (answer.status_code, answer.headers["location"]) == (303, "./")


@pytest.mark.parametrize(
    "wrong", ["", "short", '"><script>alert(1)</script>' + "x" * 40, "x" * 200]
)
def test_what_is_no_token_is_not_asked_about(client: TestClient, wrong: str) -> None:
    assert client.get("/", params={"me": wrong}).text == PAGE
    answer = client.post("/sdgen/me", data={"token": wrong}, headers={"Origin": HERE})
    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:3000"},
    ],
)
@pytest.mark.parametrize("on_space", [False, True])
def test_the_click_has_to_be_on_our_own_page(
    studio: WebStudio, settings: Settings, headers: dict[str, str], on_space: bool
) -> None:
    client = client_of(studio, settings, on_space)
    answer = client.post("/sdgen/me", data={"token": new_token()}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("site", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": HERE}])
def test_either_header_shows_it(client: TestClient, site: dict[str, str]) -> None:
    answer = client.post("/sdgen/me", data={"token": new_token()}, headers=site)
    assert answer.status_code == 303


def test_a_long_form_is_not_read_to_its_end(client: TestClient) -> None:
    answer = client.post("/sdgen/me", content="token=" + "x" * 100_000, headers=OWN_PAGE)
    assert answer.status_code == 413


def test_behind_a_login_and_for_one_user_there_is_neither_cookie_nor_question(
    studio: WebStudio, settings: Settings
) -> None:
    for changed in ({"auth": SecretStr("ann:secret")}, {"one_user": True}):
        client = client_of(studio, settings.model_copy(update=changed))
        for params in ({}, {"me": new_token()}):
            answer = client.get("/", params=params)
            assert "set-cookie" not in answer.headers
            assert "Yes, they are mine" not in answer.text
        answer = client.post("/sdgen/me", data={"token": new_token()}, headers={"Origin": HERE})
        assert answer.status_code in (401, 404)
