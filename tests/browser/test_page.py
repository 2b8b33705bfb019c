"""The page in a real browser: draw, stop, reload, drop, open, by mouse and by keyboard alone."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sdgen.config import Settings
from tests.browser.conftest import PATIENCE, ready, wait_for_stored
from tests.conftest import FakeEngine
from tests.serving import GRADIO_WARNINGS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), *GRADIO_WARNINGS]

PROMPT = "#prompt textarea"
BUSY = '.sd-stage[aria-busy="true"]'
DONE = '.sd-stage[aria-busy="false"]'
FINISHED = ".sd-stage button.sd-frame img"
NASTY = "<b>x</b> {{7*7}} ${window.hacked=1} `\\` \"'"

expect.set_options(timeout=PATIENCE)


def draw(page: Page, prompt: str = "a red robot") -> None:
    """Type, Ctrl+Enter, wait for the picture."""
    page.fill(PROMPT, prompt)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(BUSY)
    page.wait_for_selector(DONE)


def field(page: Page, name: str) -> str:
    return page.input_value(f"#{name} input")


def test_a_sentence_becomes_a_picture(open_page: Any) -> None:
    page = open_page()
    page.fill(PROMPT, "a red robot")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".sd-forming img[src^='data:image/webp']")
    expect(page.locator(".sd-status").first).to_contain_text("Step")
    expect(page.locator("#stop")).to_be_visible()
    page.wait_for_selector(FINISHED)
    expect(page.locator(FINISHED)).to_have_attribute("alt", "a red robot")
    expect(page.locator("#stop")).to_be_hidden()
    assert page.evaluate(f"document.querySelector('{FINISHED}').naturalWidth") == 256
    expect(page.locator(".sd-stage .sd-seed")).to_have_text(re.compile(r"seed \d+"))


def test_prompts_are_shown_literally_and_run_nothing(open_page: Any) -> None:
    page = open_page()
    draw(page, NASTY)
    expect(page.locator(FINISHED)).to_have_attribute("alt", NASTY)
    page.click(".sd-stage button.sd-frame")
    expect(page.locator("dialog .sd-prompt")).to_have_text(NASTY)
    assert page.evaluate("window.hacked === undefined")


def test_stop_keeps_what_is_finished(open_page: Any, engine: FakeEngine) -> None:
    page = open_page()
    page.fill("#images input[type=number]", "6")
    page.fill("#steps input[type=number]", "6")
    page.fill(PROMPT, "robots")
    page.click("#generate")
    page.wait_for_selector(FINISHED)
    page.click("#stop")
    page.wait_for_selector(DONE)
    expect(page.locator(".sd-status").first).to_contain_text("Stopped.")
    kept = page.locator(FINISHED).count()
    assert 1 <= kept < 6
    assert engine.status().running == 0


def test_bad_input_is_said_and_nothing_is_lost(open_page: Any, engine: FakeEngine) -> None:
    page = open_page()
    page.click("#generate")
    expect(page.get_by_role("alert").first).to_contain_text("Prompt is empty")
    page.fill("#width input", "77")
    page.fill(PROMPT, "a cat")
    page.click("#generate")
    expect(page.get_by_role("alert").first).to_contain_text("Width must be a multiple of 8")
    assert page.input_value(PROMPT) == "a cat"
    assert field(page, "width") == "77"
    assert engine.submitted == []


def test_the_form_and_the_pictures_survive_a_reload(open_page: Any, address: str) -> None:
    page = open_page()
    page.fill("#seed input, #seed textarea", "4242")
    page.fill("#steps input[type=number]", "5")
    draw(page, "a blue boat")
    wait_for_stored(page, lambda form: form.get("prompt") == "a blue boat", "sdgen.form")
    ready(page, address)
    assert page.input_value(PROMPT) == "a blue boat"
    assert page.input_value("#seed input, #seed textarea") == "4242"
    assert page.input_value("#steps input[type=number]") == "5"
    expect(page.locator(FINISHED)).to_have_attribute("alt", "a blue boat")
    expect(page.locator(".sd-stage .sd-seed")).to_have_text("seed 4242")


def test_the_open_tab_survives_a_reload_and_can_be_linked(open_page: Any, address: str) -> None:
    def opened() -> str:
        return str(page.get_by_role("tab", selected=True).text_content()).strip()

    page = open_page()
    assert opened() == "Generate"
    page.get_by_role("tab", name="Gallery").click()
    page.wait_for_selector("#gallery-pictures .sd-pics")
    assert page.url.endswith("/#tab=gallery")
    page.reload()
    page.wait_for_selector("#gallery-pictures .sd-pics")
    assert opened() == "Gallery"
    page.get_by_role("tab", name="Generate").click()
    assert page.url.removesuffix("/") == address.removesuffix("/")
    page.reload()
    page.wait_for_selector("#generate")
    assert opened() == "Generate"
    ready(page, f"{address}#tab=no-such")  # a link of somebody who has a further tab
    assert opened() == "Generate"


def test_a_dropped_picture_fills_the_form(open_page: Any, settings: Settings) -> None:
    page = open_page()
    page.fill("#seed input, #seed textarea", "77")
    page.fill("#steps input[type=number]", "4")
    draw(page, "a green tree")
    (path,) = (settings.data_dir / "pictures").rglob("*.png")
    page.fill("#seed input, #seed textarea", "")
    page.fill("#steps input[type=number]", "9")
    page.fill(PROMPT, "something else")
    drop_anywhere(page, path)
    expect(page.locator(PROMPT)).to_have_value("a green tree")
    expect(page.locator("#steps input[type=number]")).to_have_value("4")
    expect(page.locator("#seed input, #seed textarea")).to_have_value("77")
    expect(page.locator("#notice")).to_contain_text("settings are in the form")


def test_a_dropped_file_that_is_no_picture_is_said(open_page: Any, tmp_path: Path) -> None:
    page = open_page()
    page.fill(PROMPT, "a cat")
    file = tmp_path / "x.png"
    file.write_bytes(b"no picture at all")
    page.set_input_files("#drop input[type=file]", file)
    expect(page.get_by_role("alert").first).to_contain_text("no PNG, JPEG or WebP")
    assert page.input_value(PROMPT) == "a cat"


def test_an_opened_picture_gives_its_settings_back(open_page: Any) -> None:
    page = open_page()
    page.fill("#seed input, #seed textarea", "11")
    draw(page, "first")
    page.fill("#seed input, #seed textarea", "")
    draw(page, "second")
    page.locator("#earlier button.sd-frame").first.click()
    expect(page.locator("dialog[open] .sd-prompt")).to_have_text("first")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("dialog[open] .sd-prompt")).to_have_text("second")
    page.keyboard.press("ArrowRight")
    expect(page.locator("dialog[open] .sd-prompt")).to_have_text("first")
    with page.expect_download() as download:
        page.click("dialog >> text=Download PNG")
    assert re.fullmatch(r"[0-9a-z]{26}\.png", download.value.suggested_filename)
    page.click("dialog >> text=Use these settings")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator(PROMPT)).to_have_value("first")
    expect(page.locator("#seed input, #seed textarea")).to_have_value("11")


def test_same_again_with_a_new_seed(open_page: Any, engine: FakeEngine) -> None:
    page = open_page()
    page.fill("#seed input, #seed textarea", "11")
    draw(page, "again")
    page.click(".sd-stage button.sd-frame")
    page.click("dialog >> text=Same again, new seed")
    page.wait_for_selector(BUSY)
    page.wait_for_selector(DONE)
    assert [request.prompt for request in engine.submitted] == ["again", "again"]
    assert engine.submitted[1].seed != 11
    page.click("#reuse-seed")
    seed = page.locator("#seed input, #seed textarea")
    expect(seed).to_have_value(str(engine.submitted[1].seed))
    page.click("#dice")
    expect(seed).to_have_value("")


def test_a_model_that_is_not_here_is_fetched_only_when_asked(open_page: Any) -> None:
    page = open_page()
    page.click("#model input")
    page.click("text=SD-Turbo")
    expect(page.locator("#facts")).to_contain_text("2.6 GB to download")
    expect(page.locator("#negative")).to_have_count(0)
    expect(page.locator("#guidance")).to_have_count(0)
    expect(page.locator("#steps input[type=number]")).to_have_value("2")
    page.fill(PROMPT, "a cat")
    page.click("#generate")
    expect(page.get_by_role("alert").first).to_contain_text("Nothing is downloaded before")
    page.click("#fetch")
    expect(page.locator("#facts")).to_contain_text("on this machine")
    expect(page.locator("#fetch")).to_have_count(0)


def test_two_windows_draw_at_once(open_page: Any) -> None:
    pages = [open_page(), open_page()]
    for page, prompt in zip(pages, ("a cat", "a dog"), strict=True):
        page.fill(PROMPT, prompt)
        page.click("#generate")
    for page, prompt in zip(pages, ("a cat", "a dog"), strict=True):
        page.wait_for_selector(DONE)
        expect(page.locator(FINISHED)).to_have_attribute("alt", prompt)


def test_the_keyboard_alone_is_enough(open_page: Any, engine: FakeEngine) -> None:
    page = open_page()
    page.fill("#steps input[type=number]", "60")
    expect(page.locator(PROMPT)).to_be_visible()
    page.focus(PROMPT)
    page.keyboard.type("a cat")
    tab_to(page, "generate")
    page.keyboard.press("Enter")
    page.wait_for_selector(BUSY)
    tab_to(page, "stop")
    page.keyboard.press("Enter")
    page.wait_for_selector(DONE)
    page.wait_for_function("document.activeElement.id === 'generate'")
    assert engine.status().running == 0
    page.fill("#steps input[type=number]", "2")
    page.focus("#generate")
    page.keyboard.press("Enter")
    page.wait_for_selector(FINISHED)
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.action") == "open":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert page.evaluate("document.activeElement.dataset.action") == "open"


@pytest.mark.parametrize("width", [360, 820, 1440])
def test_nothing_is_wider_than_the_window(open_page: Any, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 800})
    draw(page, "averyveryverylongwordwithoutanyspaceinitthatcannotbebroken" * 3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click(".sd-stage button.sd-frame")
    page.wait_for_selector("dialog[open]")
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= width


def test_light_and_dark_can_be_chosen_and_stay(open_page: Any, address: str) -> None:
    page = open_page(color_scheme="light")
    colour = "getComputedStyle(document.querySelector('gradio-app')).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme-toggle")
    dark = page.evaluate(colour)
    assert light != dark
    ready(page, address)
    page.wait_for_function("document.body.classList.contains('dark')")


def drop_anywhere(page: Page, path: Path) -> None:
    """Drop a file in the middle of the page, as from a file manager."""
    transfer = page.evaluate_handle(
        """async (bytes) => {
          const transfer = new DataTransfer();
          const name = "dropped.png", type = "image/png";
          transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
          return transfer;
        }""",
        list(path.read_bytes()),
    )
    for kind in ("dragenter", "dragover", "drop"):
        page.dispatch_event("#stage", kind, {"dataTransfer": transfer})


def tab_to(page: Page, element_id: str) -> None:
    """Press Tab until that element has the focus."""
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == element_id:
            return
    raise AssertionError(f"#{element_id} is not reached by Tab")
