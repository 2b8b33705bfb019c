"""A real Chromium on a real server with the fake engine; npm packages, fetched once."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from playwright.sync_api import Browser, Page, Request, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from sdgen.config import Settings
from sdgen.studio import Studio
from sdgen.ui.filling import BROWSER_KEY
from tests.conftest import FakeEngine
from tests.serving import served

HERE = Path(__file__).parent
CHROMIUM = os.environ.get("CHROMIUM", shutil.which("chromium") or "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
PATIENCE = 60_000  # milliseconds; the machine may be busy


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the npm packages of package.json."""
    given = os.environ.get("SDGEN_TEST_NODE_MODULES")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("npm")
    shutil.copy(HERE / "package.json", folder)
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    return folder / "node_modules"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def address(studio: Studio, settings: Settings, engine: FakeEngine) -> Iterator[str]:
    """Where the page is; the engine takes long enough to watch it."""
    engine.seconds_per_step = 0.15
    with served(studio, settings) as url:
        yield url


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Any]:
    """Opens the page in a browser window of its own; no error of the page goes unnoticed."""
    contexts, errors = [], []

    def opened(**context_options: Any) -> Page:
        options: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, **context_options}
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        return ready(page, address)

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


class Traffic:
    """What a page asks for. Told on the standard output, which pytest shows if the test fails."""

    def __init__(self, page: Page) -> None:
        self._unanswered: list[Request] = []
        page.on("request", self._asked)
        page.on("requestfinished", self._answered)
        page.on("requestfailed", self._failed)

    def tell(self) -> None:
        """The requests that nobody has answered yet."""
        for request in self._unanswered:
            print("no answer yet:", request.method, request.url)

    def _asked(self, request: Request) -> None:
        self._unanswered.append(request)

    def _answered(self, request: Request) -> None:
        if request in self._unanswered:  # and not of the page that was left for this one
            self._unanswered.remove(request)

    def _failed(self, request: Request) -> None:
        self._answered(request)
        print("failed:", request.method, request.url, request.failure)


def ready(page: Page, address: str) -> Page:
    """Go there and wait until what the browser remembered is in the form."""
    traffic = Traffic(page)
    page.goto(address)
    try:
        page.wait_for_selector("#generate")
        page.wait_for_function("window.sdgenRestored === true")
    except PlaywrightTimeout:
        traffic.tell()
        raise
    return page


def wait_for_stored(page: Page, wanted: Callable[[dict[str, Any]], bool], store: str) -> None:
    """Return once the browser remembers a form or a choice as it should be. store: its key."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not wanted(stored(page, store)):
        assert time.monotonic() < deadline, "the browser does not remember it"
        page.wait_for_timeout(10)


def stored(page: Page, store: str) -> dict[str, Any]:
    """What gr.BrowserState keeps under that key: JSON, by CryptoJS.AES.encrypt with a passphrase,
    which is OpenSSL's format and derives its key by MD5; before it a number that is not used."""
    kept = page.evaluate("(key) => localStorage.getItem(key)", store) or ""
    raw = base64.b64decode(kept.partition(":")[2])
    if not raw:
        return {}
    passphrase = hashlib.sha256(BROWSER_KEY.encode()).hexdigest().encode()
    made, block, salt = b"", b"", raw[8:16]
    while len(made) < 48:
        block = hashlib.md5(block + passphrase + salt).digest()
        made += block
    decryptor = Cipher(algorithms.AES(made[:32]), modes.CBC(made[32:48])).decryptor()
    text = decryptor.update(raw[16:]) + decryptor.finalize()
    found = json.loads(text[: -text[-1]])
    return found if isinstance(found, dict) else {}
