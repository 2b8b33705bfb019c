"""The queue in a real browser: it outlives pages, is the same in all tabs, and nobody else's."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from sdgen.config import Settings
from sdgen.studio import Studio
from tests.browser.conftest import PATIENCE, ready, wait_for_stored
from tests.browser.test_accessibility import findings
from tests.browser.test_page import BUSY, DONE, FINISHED, PROMPT, draw
from tests.conftest import FakeEngine, FakeModelFiles
from tests.serving import GRADIO_WARNINGS, free_port, served

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), *GRADIO_WARNINGS]

PANEL = "#queue .sd-queue"
WAITING = "#queue .sd-queue-prompt"
PREVIEW = ".sd-forming img[src^='data:image/webp']"

expect.set_options(timeout=PATIENCE)


def queue_up(page: Page, *prompts: str) -> None:
    """Several prompts at once; the first begins."""
    page.check("#several input")
    page.fill(PROMPT, "\n".join(prompts))
    expect(page.locator("#hint")).to_contain_text(f"{len(prompts)} requests (at most 100)")
    page.click("#generate")
    page.wait_for_selector(PREVIEW)


def test_a_reload_and_a_second_tab_find_the_queue_and_another_browser_nothing(
    open_page: Any, address: str
) -> None:
    page, stranger = open_page(), open_page()
    page.fill("#steps input[type=number]", "150")
    queue_up(page, "xylophone one", "xylophone two", "xylophone three")
    ready(page, address)
    page.wait_for_selector(PREVIEW)
    expect(page.locator(WAITING)).to_have_text(["xylophone two", "xylophone three"])
    second = ready(page.context.new_page(), address)
    second.wait_for_selector(PREVIEW)
    expect(second.locator(PANEL)).to_contain_text("Yours: 2 waiting")
    second.click("text=Cancel all waiting")
    expect(page.locator(PANEL)).to_have_count(0)
    second.click("#stop")
    page.wait_for_selector(DONE)
    expect(page.locator(".sd-status").first).to_contain_text("Stopped")
    assert "xylophone" not in stranger.content()
    expect(stranger.locator("#stage .sd-empty")).to_be_visible()
    expect(stranger.locator("#earlier, #queue")).to_have_text(["", ""])


def test_what_waits_is_moved_held_and_cancelled_by_keyboard(
    open_page: Any, engine: FakeEngine, node_modules: Any
) -> None:
    engine.seconds_per_step = 0.3
    page = open_page()
    page.fill("#steps input[type=number]", "150")
    queue_up(page, "first", "a", "b", "c")
    expect(page.locator(WAITING)).to_have_text(["a", "b", "c"])
    assert findings(page, node_modules) == []
    page.get_by_role("button", name="Move 3 up").focus()
    page.keyboard.press("Enter")
    expect(page.locator(WAITING)).to_have_text(["a", "c", "b"])
    page.keyboard.press("Enter")  # the focus went with it
    expect(page.locator(WAITING)).to_have_text(["c", "a", "b"])
    page.get_by_role("button", name="Cancel 2").focus()
    page.keyboard.press("Enter")
    expect(page.locator(WAITING)).to_have_text(["c", "b"])
    expect(page.get_by_role("button", name="Cancel 2")).to_be_focused()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(PANEL)).to_contain_text("Paused")
    page.click("#stop")
    page.wait_for_selector(DONE)
    expect(page.locator(WAITING)).to_have_text(["c", "b"])
    page.get_by_role("button", name="Resume").click()
    page.wait_for_selector(BUSY)
    expect(page.locator(WAITING)).to_have_text(["b"])


def test_a_closed_page_stops_nothing(open_page: Any, engine: FakeEngine, address: str) -> None:
    engine.seconds_per_step = 0.05
    page = open_page()
    page.fill("#steps input[type=number]", "30")
    page.fill(PROMPT, "a cat")
    page.click("#generate")
    page.wait_for_selector(BUSY)
    context = page.context
    page.close()
    page = ready(context.new_page(), address)
    page.wait_for_selector(FINISHED)
    assert engine.steps_taken == 30


def test_more_tabs_than_a_browser_has_connections(open_page: Any, address: str) -> None:
    first = open_page()
    for _ in range(5):
        first.context.new_page().goto(address, wait_until="commit")
    page = ready(first.context.new_page(), address)
    draw(page, "in the seventh tab")
    for other in page.context.pages:
        expect(other.locator(FINISHED)).to_have_attribute("alt", "in the seventh tab")


def test_a_grid_is_one_sheet(open_page: Any, engine: FakeEngine) -> None:
    engine.seconds_per_step = 0.02
    page = open_page()
    page.fill(PROMPT, "a cat")
    page.get_by_role("button", name="Grid (X/Y)").click()
    page.fill("#grid-x-values input, #grid-x-values textarea", "2, 4")
    page.click("#grid-y-field input")
    page.get_by_role("option", name="Guidance").click()
    page.fill("#grid-y-values input, #grid-y-values textarea", "1-3")
    expect(page.locator("#grid-said")).to_have_text("6 pictures in one sheet")
    page.click("#grid-draw")
    expect(page.locator("#stage .sd-status")).to_contain_text("1 sheet in")
    page.click(".sd-stage button.sd-frame")
    viewer = page.locator("dialog[open]")
    expect(viewer).to_contain_text("Steps 2, 4 × Guidance 1, 2, 3")
    viewer.get_by_role("button", name="Make a grid").click()
    expect(page.locator("#notice")).to_contain_text("settings are in the form")
    expect(page.locator("#grid-draw")).to_be_visible()
    assert len(engine.submitted) == 6


def test_a_link_opens_a_pictures_recipe_for_its_owner_alone(open_page: Any, address: str) -> None:
    page, stranger = open_page(), open_page()
    page.fill("#seed input, #seed textarea", "31")
    draw(page, "linked {and|literal}")
    page.click(".sd-stage button.sd-frame")
    page.wait_for_selector("dialog[open]")
    name = page.locator("dialog[open]").get_attribute("data-name")
    page.keyboard.press("Escape")
    page.fill("#seed input, #seed textarea", "")
    page.fill(PROMPT, "something else")
    wait_for_stored(page, lambda form: form.get("prompt") == "something else", "sdgen.form")
    link = f"{address}?recipe={name}"
    ready(page, link)
    expect(page.locator("dialog[open] .sd-prompt")).to_have_text("linked {and|literal}")
    assert page.input_value(PROMPT) == "linked {and|literal}"
    assert page.input_value("#seed input, #seed textarea") == "31"
    assert "recipe" not in page.url
    ready(stranger, link)
    expect(stranger.get_by_role("alert")).to_contain_text("no picture of yours under this link")
    assert "linked" not in stranger.content()


def test_a_deleted_picture_comes_back(open_page: Any) -> None:
    page = open_page()
    draw(page, "a mistake")
    page.click(".sd-stage button.sd-frame")
    page.click("dialog >> [data-action=star]")
    expect(page.locator("dialog[open] [data-action=star]")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.click("dialog >> text=Delete")
    expect(page.locator(FINISHED)).to_have_count(0)
    page.click("#notice >> text=Undo")
    expect(page.locator("#notice")).to_contain_text("is back")
    expect(page.locator(FINISHED)).to_have_count(1)


def test_the_link_to_another_device_is_shown_on_demand(open_page: Any, browser: Browser) -> None:
    page = open_page()
    draw(page, "on both")
    assert "?me=" not in page.content()
    page.click("summary:has-text('another device')")
    page.click("text=Show the link")
    link = page.locator("#device input").input_value()
    other = open_page()
    other.goto(link)
    other.click("text=Yes, they are mine")
    other.wait_for_selector(FINISHED)
    expect(other.locator(FINISHED)).to_have_attribute("alt", "on both")


@pytest.fixture
def two_lives(settings: Settings, engine: FakeEngine) -> Iterator[Any]:
    """Serves on one port, again and again, each time with another studio over the same data."""
    port, engines = free_port(), [engine]

    def live() -> Any:
        engines.append(FakeEngine(seconds_per_step=0.15))
        return Studio(settings, engines[-1], FakeModelFiles()), port

    yield live
    for each in engines:
        each.close()


def test_an_open_page_comes_back_by_itself_after_a_restart(
    two_lives: Any, settings: Settings, browser: Browser
) -> None:
    studio, port = two_lives()
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    with served(studio, settings, port=port) as address:
        ready(page, address)
        page.fill("#steps input[type=number]", "40")
        queue_up(page, "one", "two")
        studio.close()
    expect(page.locator("#said")).to_contain_text("The connection is lost")
    studio, _ = two_lives()
    studio.open_queue()
    with served(studio, settings, port=port):
        page.wait_for_selector(PREVIEW)
        expect(page.locator(".sd-forming img").first).to_have_attribute("alt", "Forming: one")
        expect(page.locator(WAITING)).to_have_text(["two"])
        assert page.input_value(PROMPT) == "one\ntwo"
        expect(page.locator("#said")).to_have_text("")
        page.context.close()
        studio.close()


def test_a_browser_without_shared_workers_watches_too(browser: Browser, address: str) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    context.add_init_script("delete window.SharedWorker")
    page = ready(context.new_page(), address)
    draw(page, "without a worker")
    expect(page.locator(FINISHED)).to_have_attribute("alt", "without a worker")
    context.close()
