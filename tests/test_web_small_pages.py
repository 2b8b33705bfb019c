"""Pages without scripts: what is on them, what they may do, and what others may do with them."""

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from sdgen.config import Settings
from sdgen.owners import new_token
from sdgen.web.personal import FORM_BYTES_MAX, Personal
from sdgen.web.small_pages import small_page
from sdgen.web.visitors import COOKIE
from tests.web_studio import PAGE, WebStudio, client_of, web_studio

HERE = "http://127.0.0.1:7860"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Read(HTMLParser):
    """What a person sees of a page, and its forms and links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.seen: list[str] = []
        self._hidden = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._hidden:
            self.seen.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("on_space", [False, True])
def test_a_page_does_nothing_but_its_form_and_nobody_frames_it(on_space: bool) -> None:
    page = small_page("A <b>title</b>", "<p>Body</p>", on_space=on_space)
    text = bytes(page.body).decode()
    style = re.search("<style>(.*)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    frames = "https://huggingface.co https://*.hf.space" if on_space else "'none'"
    assert page.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; "
        f"frame-ancestors {frames}"
    )
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.status_code == 200
    read = Read(text)
    assert read.seen == ["A <b>title</b>", "A <b>title</b>", "Body"]
    assert text.startswith("<!doctype html>")
    assert read.all("html") == [{"lang": "en"}]
    assert read.all("meta") == [
        {"charset": "utf-8"},
        {"name": "viewport", "content": "width=device-width"},
    ]


def test_a_page_has_the_status_and_the_headers_that_it_is_given() -> None:
    page = small_page("x", "", on_space=False, status=429, headers={"Retry-After": "60"})
    assert (page.status_code, page.headers["retry-after"]) == (429, "60")
    assert page.headers["cache-control"] == "no-store"


def test_a_token_is_no_html_also_inside_an_attribute() -> None:
    nasty = """"><b title='y'>&"""
    page = Read(bytes(Personal(on_space=False).question(nasty, nasty).body).decode())
    assert page.all("b") == []
    assert page.all("input") == [{"type": "hidden", "name": "token", "value": nasty}]
    assert page.all("a")[-1] == {"href": f"./?me={nasty}"}


@pytest.fixture
def studio(settings: Settings) -> Iterator[WebStudio]:
    with web_studio(settings.data_dir) as made:
        yield made


@pytest.fixture
def client(studio: WebStudio, settings: Settings) -> TestClient:
    return client_of(studio, settings)


SAID = [
    "Use the queue and pictures of this link?",
    "Use the queue and pictures of this link?",
    "This browser will then see the queue and the gallery of whoever gave you the link, and what "
    "is drawn here goes there. Say yes if the link is your own, from another browser or device.",
    "Yes, they are mine",
    "No, keep what this browser has",
]


def test_what_a_personal_link_asks(client: TestClient) -> None:
    offered = new_token()
    read = Read(client.get("/", params={"me": offered}).text)
    assert read.seen == SAID, "a browser without a token has nothing to lose"
    assert read.all("form") == [{"method": "post", "action": "sdgen/me"}]
    assert read.all("input") == [{"type": "hidden", "name": "token", "value": offered}]
    assert [link["href"] for link in read.all("a")] == ["./"]

    client.get("/")
    own = client.cookies[COOKIE]
    read = Read(client.get("/", params={"me": offered}).text)
    assert read.seen == [
        *SAID,
        "What becomes of mine?",
        "They stay, and come back with ",
        "this browser's own link",
        ". Keep it for yourself.",
    ]
    assert [link["href"] for link in read.all("a")] == ["./", f"./?me={own}"]


def test_a_space_s_question_is_inside_its_frame(studio: WebStudio, settings: Settings) -> None:
    on_space = client_of(studio, settings, on_space=True)
    policy = on_space.get("/", params={"me": new_token()}).headers["content-security-policy"]
    assert policy.endswith("frame-ancestors https://huggingface.co https://*.hf.space")


def test_why_a_click_is_refused(client: TestClient) -> None:
    def answer(content: bytes, **headers: str) -> tuple[int, str]:
        told = client.post("/sdgen/me", content=content, headers=FORM | headers)
        assert "set-cookie" not in told.headers
        return told.status_code, told.text

    token = f"token={new_token()}".encode()
    assert answer(token) == (403, "This has to come from the app's own page.")
    ours = {"Origin": HERE}
    assert answer(b"token=" + b"x" * FORM_BYTES_MAX, **ours) == (413, "Too long.")
    incomplete = (400, "This link is not complete.")
    for content in (b"", b"token=", b"token=short", b"other=" + token[6:], b"token=\xff\xfe"):
        assert answer(content, **ours) == incomplete
    just = b"token=" + b"x" * (FORM_BYTES_MAX - 6)
    assert answer(just, **ours) == incomplete, "as long as it may be, it is read"


def test_a_click_over_https_is_one_of_the_page_over_https(
    studio: WebStudio, settings: Settings
) -> None:
    public = settings.model_copy(update={"yes_public": True})
    client = client_of(studio, public, base_url="https://pictures.example")
    data = {"token": new_token()}
    elsewhere = {"Origin": "https://pictures.example:8443"}
    assert client.post("/sdgen/me", data=data, headers=elsewhere).status_code == 403
    taken = client.post("/sdgen/me", data=data, headers={"Origin": "https://pictures.example"})
    assert taken.status_code == 303
    assert taken.headers["cache-control"] == "no-store"
    assert taken.headers["set-cookie"].startswith(f"{COOKIE}={data['token']}; Max-Age=31536000; ")
    assert taken.headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")


def test_behind_a_path_the_cookie_is_for_that_path(studio: WebStudio, settings: Settings) -> None:
    client = client_of(studio, settings, root_path="/pictures")
    answer = client.get("/pictures/")
    assert answer.text == PAGE
    assert "; Path=/pictures; " in answer.headers["set-cookie"]
    assert "; Path=/; " in client_of(studio, settings).get("/").headers["set-cookie"]
