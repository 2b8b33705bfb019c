"""The Train tab in a real browser: photos in, a real tiny training, an adapter out."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from lora.tab import add_tab
from sdgen.config import Settings
from sdgen.studio import Studio
from sdgen.ui.app import build, launch_options
from tests.browser.conftest import PATIENCE, ready
from tests.browser.test_accessibility import findings
from tests.serving import GRADIO_WARNINGS, free_port

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900), *GRADIO_WARNINGS]

PHOTOS = Path(__file__).parents[2] / "lora" / "examples" / "minnal-murali" / "photos"
TRAINING = 600_000  # milliseconds
# Few steps on small photos: seconds of work.
QUICK = {"steps": "6", "batch_size": "2", "resolution": "64", "save_every": "3", "held_out": "2"}
GRADIO_OWN = {"label-content-name-mismatch", "nested-interactive"}  # in its list of files


@pytest.fixture
def address(studio: Studio, settings: Settings) -> Iterator[str]:
    """A page with the tab; the engine is the fake one, the training is real."""
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", cache)
        patch.setenv("OMP_NUM_THREADS", "1")
        demo = build(studio, settings, tabs=(("Train", add_tab),))
        options = launch_options(studio, settings) | {"server_port": free_port()}
        _, url, _ = demo.launch(**options)
        yield url
        demo.close(verbose=False)


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    open_tab(page, address)
    yield page
    context.close()
    assert errors == []


def open_tab(page: Page, address: str) -> None:
    ready(page, address)
    page.get_by_role("tab", name="Train").click()
    page.wait_for_selector("#train-start")


def fill(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f"#train-{name}").locator("input, textarea").first.fill(value)


def put_photos(page: Page, count: int) -> None:
    files = sorted(PHOTOS.glob("*.png"))[:count]
    texts = [path.with_suffix(".txt") for path in files]
    page.set_input_files("#train-photos input[type=file]", [*files, *texts])
    expect(page.locator("#train-photos")).to_contain_text(files[0].stem)


def test_from_photos_to_an_adapter(page: Page, address: str, settings: Settings) -> None:
    put_photos(page, 12)
    fill(page, name="Minnal", trigger="Minnal Murali", class_word="hero")
    page.click("#train-check")
    expect(page.locator("#train-report")).to_contain_text("12 photos in, 12 used")
    boxes = page.locator("#train-report textarea")
    expect(boxes).to_have_count(12)
    boxes.first.fill("Minnal Murali on a beach, <b>smiling</b>")
    boxes.first.press("Tab")
    page.get_by_role("button", name="Advanced").click()
    fill(page, **QUICK)
    expect(page.locator("#train-effective")).to_contain_text("6 steps")
    page.click("#train-start")
    expect(page.locator("#train-head")).to_contain_text("Minnal", timeout=TRAINING)
    page.wait_for_selector("#train-samples img[alt='Minnal Murali, the base']", timeout=TRAINING)
    open_tab(page, address)  # closing the page changes nothing; coming back finds the run
    expect(page.locator("#train-head")).to_contain_text("Minnal")
    expect(page.locator("#train-head")).to_contain_text("Done", timeout=TRAINING)
    expect(page.locator("#train-samples img[alt='Minnal Murali, step 6']")).to_be_visible()
    expect(page.locator("#train-curves svg")).to_be_visible()
    expect(page.locator("#train-outcome")).to_contain_text("strength")
    (adapter,) = (settings.data_dir / "adapters").glob("*.safetensors")
    captions = list((settings.data_dir / "training").glob("*/photos/**/*.txt"))
    assert any("<b>smiling</b>" in path.read_text() for path in captions)
    with page.expect_download() as download:
        page.click("text=Download for kohya")
    assert download.value.suggested_filename.endswith(".kohya.safetensors")
    page.get_by_role("button", name="Use it in Generate").click()
    expect(page.locator("#prompt textarea")).not_to_have_value("")
    assert f"Minnal Murali <lora:{adapter.stem}:" in page.input_value("#prompt textarea")


def test_a_mistake_is_said_where_it_is_seen(page: Page) -> None:
    page.click("#train-start")
    expect(page.locator("#train-notice [role=alert]")).to_contain_text("Name is empty")
    fill(page, name="x", trigger="y")
    page.click("#train-start")
    expect(page.locator("#train-notice [role=alert]")).to_contain_text("Drop some photos")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_and_narrow_windows(
    browser: Browser, address: str, node_modules: Path, scheme: Any
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 800})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    open_tab(page, address)
    put_photos(page, 3)
    fill(page, name="x", trigger="Minnal Murali")
    page.click("#train-check")
    page.wait_for_selector("#train-report textarea")
    page.get_by_role("button", name="Advanced").click()
    found = [line for line in findings(page, node_modules) if line.split(":")[0] not in GRADIO_OWN]
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()
