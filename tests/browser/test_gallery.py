"""The Gallery tab in a real browser: find, mark, delete, compare, pack; by mouse and by keys."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sdgen.config import Settings
from sdgen.owners import owner_of_token
from sdgen.studio import Studio
from sdgen.ui.gallery_search import PAGE_SIZE
from sdgen.web.visitors import COOKIE
from tests.browser.conftest import PATIENCE
from tests.browser.test_accessibility import findings
from tests.conftest import FakeEngine
from tests.gallery_pictures import Wall
from tests.serving import GRADIO_WARNINGS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), *GRADIO_WARNINGS]

NOON = 1_795_000_000.0  # some day's
PICTURES = "#gallery-pictures .sd-pic"
TOAST = "#gallery-said .sd-toast"

expect.set_options(timeout=PATIENCE)


@pytest.fixture
def wall_of(studio: Studio, settings: Settings) -> Any:
    """The part of the gallery that belongs to a page's browser."""

    def made(page: Page) -> Wall:
        (token,) = (c["value"] for c in page.context.cookies() if c["name"] == COOKIE)
        return Wall(studio, settings, owner_of_token(token))

    return made


def open_tab(page: Page, name: str = "Gallery") -> None:
    page.get_by_role("tab", name=name).click()
    page.wait_for_selector("#gallery-pictures .sd-pics")


def seeds(page: Page) -> list[str]:
    return page.locator(f"{PICTURES} .sd-seed").all_text_contents()


def choose(page: Page, *places: int, shift: bool = False) -> None:
    """Tick the boxes of the pictures at those places."""
    for place in places:
        box = page.locator(f"{PICTURES} input").nth(place)
        box.click(modifiers=["Shift"] if shift else [])


def deed(page: Page, name: str) -> None:
    page.locator(".sd-selection").get_by_role("button", name=name, exact=True).click()


def test_pictures_are_found_marked_deleted_and_brought_back(open_page: Any, wall_of: Any) -> None:
    page = open_page()
    open_tab(page)
    expect(page.locator("#gallery-pictures")).to_contain_text("No pictures yet")
    wall = wall_of(page)
    for seed, prompt in ((1, "a red robot"), (2, "a blue boat"), (3, "a red boat")):
        wall.hang(prompt, seed=seed, created=NOON + seed)
    page.get_by_role("button", name="Look for new pictures").click()
    expect(page.locator(PICTURES)).to_have_count(3)
    assert seeds(page) == ["seed 3", "seed 2", "seed 1"]
    expect(page.locator(f"{PICTURES} img").first).to_have_js_property("naturalWidth", 64)

    page.get_by_label("Words of the prompt").fill("RED")
    expect(page.locator(PICTURES)).to_have_count(2)
    expect(page.locator(".sd-count")).to_have_text("2 pictures found")
    page.evaluate("sessionStorage.removeItem('sdgen-gallery')")
    page.keyboard.type(" ")
    page.wait_for_function("sessionStorage.getItem('sdgen-gallery') !== null")  # it has looked
    page.keyboard.type("boat")
    expect(page.locator(PICTURES)).to_have_count(1)
    page.reload()
    open_tab(page)
    expect(page.get_by_label("Words of the prompt")).to_have_value("RED boat")
    expect(page.locator(PICTURES)).to_have_count(1)
    page.get_by_label("Words of the prompt").fill("elephant")
    page.get_by_role("button", name="Clear the search").click()
    expect(page.locator(PICTURES)).to_have_count(3)

    page.locator(f"{PICTURES} .sd-frame").nth(1).focus()
    page.keyboard.press("f")
    expect(page.locator(f"{PICTURES} .sd-star").nth(1)).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Favourites").check()
    expect(page.locator(PICTURES)).to_have_count(1)
    assert seeds(page) == ["seed 2"]
    page.get_by_label("All", exact=True).check()
    expect(page.locator(PICTURES)).to_have_count(3)

    choose(page, 0, 2)
    deed(page, "Delete")
    expect(page.locator(PICTURES)).to_have_count(1)
    expect(page.locator(TOAST)).to_contain_text("2 pictures in the bin for 30 days.")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(PICTURES)).to_have_count(3)

    page.locator(f"{PICTURES} .sd-frame").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")
    expect(page.locator(PICTURES)).to_have_count(2)
    page.get_by_label("Bin").check()
    expect(page.locator(f"{PICTURES} .sd-seed")).to_have_text(["30 days left"])
    choose(page, 0)
    deed(page, "Delete for good")
    page.locator("dialog[open]").get_by_role("button", name="Keep them").click()
    expect(page.locator(PICTURES)).to_have_count(1)
    deed(page, "Delete for good")
    page.locator("dialog[open]").get_by_role("button", name="Delete for good").click()
    expect(page.locator("#gallery-pictures")).to_contain_text("The bin is empty")

    page.get_by_label("All", exact=True).check()
    expect(page.locator(PICTURES)).to_have_count(2)
    choose(page, 0, 1)
    deed(page, "Delete")
    page.get_by_label("Bin").check()
    expect(page.locator(PICTURES)).to_have_count(2)
    page.get_by_role("button", name="Empty the bin").click()
    question = page.get_by_role("dialog", name="Empty the bin?")
    expect(question).to_contain_text("All 2 pictures in the bin are erased from the disk.")
    question.get_by_role("button", name="Delete for good").click()
    expect(page.locator("#gallery-pictures")).to_contain_text("The bin is empty")
    expect(page.locator(TOAST)).to_contain_text("2 pictures deleted for good.")
    page.get_by_label("All", exact=True).check()
    expect(page.locator("#gallery-pictures")).to_contain_text("No pictures yet")


def test_a_selection_goes_over_pages_and_its_zip_holds_the_originals(
    open_page: Any, wall_of: Any
) -> None:
    page = open_page()
    wall = wall_of(page)
    rows = [wall.hang(seed=i, created=NOON - i) for i in range(PAGE_SIZE + 2)]
    open_tab(page)
    expect(page.locator(".sd-count")).to_have_text("50 pictures")
    choose(page, 2)
    choose(page, 4, shift=True)
    page.get_by_role("button", name="Older").click()
    expect(page.locator(PICTURES)).to_have_count(2)
    choose(page, 0)
    expect(page.locator(".sd-selection p")).to_have_text("4 selected, 3 not on this page")
    with page.expect_download() as download:
        deed(page, "Download")
    data = Path(download.value.path()).read_bytes()
    chosen = [rows[place] for place in (2, 3, 4, PAGE_SIZE)]
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        found = {name: packed.read(name) for name in packed.namelist()}
    gallery = wall.studio.gallery
    assert found == {f"{row.id}.png": gallery.path(row).read_bytes() for row in chosen}
    page.get_by_role("button", name="Newer").click()
    expect(page.locator(f"{PICTURES} input:checked")).to_have_count(3)
    page.get_by_role("button", name="Clear the selection").click()
    expect(page.locator(".sd-selection")).to_be_hidden()


def test_a_picture_is_compared_opened_and_drawn_again(
    open_page: Any, wall_of: Any, engine: FakeEngine
) -> None:
    page = open_page()
    wall = wall_of(page)
    for seed in (11, 12):
        wall.hang(f"boat {seed}", seed=seed, created=NOON + seed)
    open_tab(page)
    choose(page, 0, 1)
    deed(page, "Compare")
    slider = page.locator("dialog.sd-compare[open] input")
    expect(slider).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "51 % of the left picture")
    edge = "getComputedStyle(document.querySelector('.sd-pair .sd-left')).clipPath"
    before = page.evaluate(edge)
    page.keyboard.press("End")
    assert page.evaluate(edge) != before
    expect(page.locator(".sd-differences")).to_contain_text("Seed1211")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear the selection").click()

    page.locator(f"{PICTURES} .sd-frame").first.click()
    viewer = page.locator("#gallery-viewer dialog[open]")
    expect(viewer.locator(".sd-prompt")).to_have_text("boat 12")
    page.keyboard.press("ArrowRight")
    expect(viewer.locator(".sd-prompt")).to_have_text("boat 11")
    expect(viewer.locator(".sd-newer")).to_be_focused()  # there is none that is older
    viewer.get_by_role("button", name="Favourite").click()
    expect(viewer.get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
    expect(viewer.get_by_role("button", name="Favourite")).to_be_focused()
    viewer.get_by_role("button", name="Use these settings").click()
    prompt = page.locator("#prompt textarea")
    expect(prompt).to_be_visible()
    expect(prompt).to_have_value("boat 11")
    expect(page.locator("#seed input, #seed textarea")).to_have_value("11")

    open_tab(page)
    page.locator(f"{PICTURES} .sd-frame").first.click()
    viewer.get_by_role("button", name="Same again, new seed").click()
    page.wait_for_selector('.sd-stage[aria-busy="false"] .sd-frame img')
    assert [request.prompt for request in engine.submitted] == ["boat 12"]
    assert engine.submitted[0].seed != 12
    open_tab(page)
    expect(page.locator(PICTURES)).to_have_count(3)


def test_another_browser_sees_none_of_it(open_page: Any, wall_of: Any, address: str) -> None:
    mine, other = open_page(), open_page()
    row = wall_of(mine).hang()
    open_tab(mine)
    open_tab(other)
    expect(mine.locator(PICTURES)).to_have_count(1)
    expect(other.locator("#gallery-pictures")).to_contain_text("No pictures yet")
    for kind in ("picture", "thumb"):
        where = f"{address}sdgen/{kind}/{row.id}"
        assert mine.request.get(where).status == 200
        assert other.request.get(where).status == 404


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_in_the_way_of_anybody(
    open_page: Any, wall_of: Any, node_modules: Path, scheme: str
) -> None:
    """Nothing serious for axe, and nothing wider than a phone."""
    page = open_page(color_scheme=scheme, viewport={"width": 360, "height": 800}, has_touch=True)
    wall = wall_of(page)
    for seed in range(PAGE_SIZE + 1):
        long = "averyveryverylongwordwithoutanyspace" * 3
        flagged = "It may not be safe for work." if seed == 2 else ""
        kind = "sheet" if seed == 3 else "picture"
        adapters = ("sepia",) if seed == 4 else ()
        wall.hang(long, seed=seed, flagged=flagged, kind=kind, adapters=adapters)

    def look(what: str) -> None:
        assert findings(page, node_modules) == [], what
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, what

    open_tab(page)
    expect(page.locator(PICTURES)).to_have_count(PAGE_SIZE)
    page.get_by_role("button", name="Filters").click()
    choose(page, 0, 1)
    look("with two selected, and the filters")
    deed(page, "Compare")
    page.wait_for_selector("dialog[open]")
    look("with two compared")
    assert page.evaluate("document.querySelector('dialog[open]').scrollWidth") <= 360
    page.keyboard.press("Escape")
    deed(page, "Delete")
    expect(page.locator(TOAST)).to_contain_text("in the bin")
    look("with a message")
    page.get_by_label("Bin").check()
    expect(page.locator(PICTURES)).to_have_count(2)
    choose(page, 0)
    deed(page, "Delete for good")
    look("in the bin, with a question")
    page.keyboard.press("Escape")
    page.get_by_label("Words of the prompt").fill("elephant")
    expect(page.locator("#gallery-pictures")).to_contain_text(re.compile("No picture with"))
    look("with nothing found")
