"""Adapters in a real browser: picked, judged, mixed, proven; by mouse and by keyboard."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from sdgen.config import Settings
from sdgen.studio import Studio
from tests import extra_tab
from tests.browser.conftest import PATIENCE, ready, wait_for_stored
from tests.browser.test_accessibility import findings
from tests.browser.test_page import DONE, FINISHED, PROMPT, drop_anywhere
from tests.conftest import FakeEngine
from tests.picture_loras import fill, write_lora
from tests.serving import GRADIO_WARNINGS, served

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), *GRADIO_WARNINGS]

expect.set_options(timeout=PATIENCE)


@pytest.fixture(autouse=True)
def adapters(settings: Settings) -> None:
    fill(settings.data_dir)


def pick(page: Page, title: str) -> None:
    """Choose a line of the picker."""
    page.click("#adapter-pick input")
    page.get_by_role("option").filter(has_text=title).first.click()


def row(page: Page, name: str) -> Locator:
    return page.locator(f'.sd-adapter[data-name="{name}"]')


def strength(page: Page, name: str, part: str = "scale") -> Locator:
    return row(page, name).locator(f'input[type="number"][data-part="{part}"]')


def test_a_picked_adapter_is_judged_and_drawn_with(open_page: Any, engine: FakeEngine) -> None:
    page = open_page()
    page.fill(PROMPT, "a beach")
    pick(page, "Storm hero")
    expect(row(page, "storm-hero").locator(".sd-verdict")).to_contain_text("It fits Picturebook")
    expect(page.locator(PROMPT)).to_have_value("storm hero, a beach")
    expect(strength(page, "storm-hero")).to_have_value("0.8")
    expect(page.locator("#hint")).not_to_contain_text("storm")
    strength(page, "storm-hero").fill("1.25")
    page.keyboard.press("Tab")
    pick(page, "Watercolour")
    slider = row(page, "watercolour").locator('input[type="range"]')
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    expect(strength(page, "watercolour")).to_have_value("0.8")
    page.click("#generate")
    page.wait_for_selector(DONE)
    uses = engine.submitted[0].adapters
    assert [(Path(use.name).stem, use.scale, use.text_scale) for use in uses] == [
        ("storm-hero", 1.25, None),
        ("watercolour", 0.8, None),
    ]
    page.click(".sd-stage button.sd-frame")
    expect(page.locator("dialog[open] dl")).to_contain_text("storm-hero at 1.25")


def test_a_strength_beyond_the_slider_makes_it_longer(open_page: Any, engine: FakeEngine) -> None:
    page = open_page()
    pick(page, "Storm hero")
    slider = row(page, "storm-hero").locator('input[type="range"][data-part="scale"]')
    expect(slider).to_have_attribute("max", "2")
    strength(page, "storm-hero").fill("-5")
    strength(page, "storm-hero").press("Tab")
    expect(slider).to_have_attribute("min", "-10")
    expect(slider).to_have_value("-5")
    draw_now(page)
    assert [use.scale for use in engine.submitted[-1].adapters] == [-5.0]


def test_the_text_encoder_has_a_strength_of_its_own(open_page: Any, engine: FakeEngine) -> None:
    page = open_page()
    pick(page, "Storm hero")
    apart = row(page, "storm-hero").get_by_role("checkbox")
    expect(strength(page, "storm-hero", "text_scale")).to_be_hidden()
    apart.check()
    strength(page, "storm-hero", "text_scale").fill("-0.5")
    page.keyboard.press("Tab")
    draw_now(page)
    assert engine.submitted[-1].adapters[0].text_scale == -0.5
    apart.uncheck()
    draw_now(page)
    assert engine.submitted[-1].adapters[0].text_scale is None
    pick(page, "Watercolour")
    expect(row(page, "watercolour").get_by_role("checkbox")).to_have_count(0)


def draw_now(page: Page) -> None:
    page.click("#generate")
    page.wait_for_selector('.sd-stage[aria-busy="true"]')
    page.wait_for_selector(DONE)


def test_chips_put_words_in_and_take_them_out(open_page: Any) -> None:
    page = open_page()
    page.fill(PROMPT, "a beach")
    pick(page, "Storm hero")
    chip = row(page, "storm-hero").get_by_role("button", name="red cape")
    expect(chip).to_have_attribute("aria-pressed", "false")
    row(page, "storm-hero").locator("summary").click()
    facts = row(page, "storm-hero").locator("dl")
    expect(facts).to_contain_text("20 attention, 2 text encoder")
    chip.click()
    expect(page.locator(PROMPT)).to_have_value("red cape, storm hero, a beach")
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(facts).to_be_visible()
    # What is typed right after the click stays, however long the server takes.
    page.evaluate(
        """() => {
          document.querySelector('[data-word="red cape"]').click();
          const box = document.querySelector("#prompt textarea");
          box.value += " at night";
          box.dispatchEvent(new Event("input", { bubbles: true }));
        }"""
    )
    expect(chip).to_have_attribute("aria-pressed", "false")  # the server has answered
    expect(page.locator(PROMPT)).to_have_value("storm hero, a beach at night")
    page.fill(PROMPT, "storm hero, a beach")
    page.get_by_role("button", name="Remove Storm hero").click()
    expect(page.locator(PROMPT)).to_have_value("a beach")
    expect(page.locator(".sd-adapter")).to_have_count(0)
    page.click("#adapter-pick input")
    expect(page.get_by_role("option").filter(has_text="Storm hero")).to_have_count(1)


def test_what_does_not_fit_is_said_before_generate(open_page: Any) -> None:
    page = open_page()
    pick(page, "Big XL look")
    expect(page.locator("#adapter-said")).to_contain_text("This is an SDXL LoRA")
    expect(page.locator(".sd-adapter")).to_have_count(0)
    pick(page, "Half of another")
    expect(row(page, "half").locator(".sd-warns")).to_contain_text("Only 50 % of it applies")
    pick(page, "Watercolour")
    page.click("#model input")
    page.get_by_role("option").filter(has_text="Stable Diffusion 1.5").first.click()
    expect(row(page, "watercolour").locator(".sd-refused")).to_contain_text("nothing of it applies")
    pick(page, "Minnal Murali")
    expect(page.locator("#adapter-said")).to_contain_text("not on this machine")


def test_the_proof_strip_is_one_seed_at_three_strengths(open_page: Any, engine: FakeEngine) -> None:
    page = open_page()
    page.fill(PROMPT, "a beach")
    pick(page, "Watercolour")
    row(page, "watercolour").get_by_role("button", name="Proof strip").click()
    expect(page.locator(f".sd-strip {DONE} img")).to_have_count(3)
    labels = page.locator(".sd-strip h2").all_inner_texts()
    assert labels == ["Strength 0", "Strength 0.5", "Strength 1"]
    assert [request.adapters[0].scale for request in engine.submitted] == [0, 0.5, 1]
    assert len({request.seed for request in engine.submitted}) == 1


def test_adapters_survive_a_reload_and_come_back_with_a_picture(
    open_page: Any, address: str, settings: Settings
) -> None:
    page = open_page()
    page.fill(PROMPT, "a beach")
    pick(page, "Watercolour")
    strength(page, "watercolour").fill("0.35")
    page.keyboard.press("Tab")
    draw_now(page)
    wait_for_stored(page, lambda form: "0.35" in str(form.get("adapters")), "sdgen.form")
    ready(page, address)
    expect(strength(page, "watercolour")).to_have_value("0.35")
    page.get_by_role("button", name="Remove Watercolour").click()
    expect(page.locator(PROMPT)).to_have_value("a beach")
    (path,) = (settings.data_dir / "pictures").rglob("*.png")
    drop_anywhere(page, path)
    expect(strength(page, "watercolour")).to_have_value("0.35")
    expect(page.locator(PROMPT)).to_have_value("watercolour, a beach")


def test_a_file_is_added_and_chosen(open_page: Any, tmp_path: Path) -> None:
    page = open_page()
    page.click("#adapter-more > button")
    mine = write_lora(tmp_path / "My cat.safetensors", trigger="mycat", seed=8)
    page.set_input_files("#adapter-file input[type=file]", mine)
    expect(page.locator(".sd-adapter b")).to_have_text("My cat")
    expect(page.locator(PROMPT)).to_have_value("mycat")
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no adapter at all")
    page.set_input_files("#adapter-file input[type=file]", bad)
    expect(page.locator("#adapter-said [role=alert]")).to_be_visible()
    expect(page.locator(".sd-adapter")).to_have_count(1)


def test_one_that_was_added_is_deleted(open_page: Any, settings: Settings) -> None:
    page = open_page()
    pick(page, "Watercolour")
    expect(page.locator(".sd-adapter b")).to_have_text("Watercolour")
    page.click("#adapter-more > button")
    page.get_by_label("Delete one that was added").click()
    page.get_by_role("option", name="Watercolour").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.locator("#adapter-said")).to_contain_text("not on this machine any more")
    expect(page.locator(".sd-adapter")).to_have_count(0)
    assert not (settings.data_dir / "adapters" / "watercolour.safetensors").exists()
    page.get_by_label("Delete one that was added").click()
    expect(page.get_by_role("option", name="Storm hero")).to_be_visible()
    expect(page.get_by_role("option", name="Watercolour")).to_have_count(0)


def test_a_file_dropped_on_its_place_goes_there_and_nowhere_else(
    open_page: Any, tmp_path: Path
) -> None:
    page = open_page()
    page.click("#adapter-more > button")
    mine = write_lora(tmp_path / "dropped.safetensors", title="Dropped", seed=8)
    for place in ("#stage", "#adapter-file button"):
        drop_on(page, place, mine)
        expect(page.locator(".sd-adapter b")).to_have_text("dropped")
        page.get_by_role("button", name="Remove").click()
        expect(page.locator(".sd-adapter")).to_have_count(0)
    expect(page.locator("#notice")).to_be_hidden()


def drop_on(page: Page, place: str, path: Path) -> None:
    """Drop a file there, as from a file manager."""
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], name));
          return transfer;
        }""",
        [path.name, list(path.read_bytes())],
    )
    for kind in ("dragenter", "dragover", "drop"):
        page.dispatch_event(place, kind, {"dataTransfer": transfer})


def test_an_adapter_that_was_trained_meanwhile_is_offered_in_its_tab(
    browser: Any, studio: Studio, settings: Settings, node_modules: Path
) -> None:
    with served(studio, settings, tabs=[("Train", extra_tab.add_tab)]) as url:
        page = browser.new_page(color_scheme="dark")
        page.set_default_timeout(PATIENCE)
        ready(page, url)
        assert findings(page, node_modules) == []
        page.get_by_role("tab", name="Train").click()
        page.keyboard.press("Control+Enter")
        expect(page.locator("#extra")).to_contain_text("picturebook, strangers: False")
        assert findings(page, node_modules) == []
        write_lora(settings.data_dir / "adapters" / "new.safetensors", title="Just trained")
        page.get_by_role("tab", name="Generate").click()
        pick(page, "Just trained")
        expect(row(page, "new").locator(".sd-verdict")).to_contain_text("It fits")
        page.fill(PROMPT, "a cat")
        page.click("#generate")
        expect(page.locator(FINISHED)).to_have_attribute("alt", "a cat")
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_serious_finding_with_adapters(
    open_page: Any, node_modules: Path, scheme: str, width: int
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    for title in ("Storm hero", "Half of another"):
        pick(page, title)
        expect(page.locator(".sd-adapter b").filter(has_text=title)).to_be_visible()
    row(page, "storm-hero").get_by_role("checkbox").check()
    row(page, "half").locator("summary").click()
    page.click("#adapter-more > button")
    pick(page, "Big XL look")
    expect(page.locator("#adapter-said [role=alert]")).to_be_visible()
    row(page, "storm-hero").get_by_role("button", name="Proof strip").click()
    expect(page.locator(f".sd-strip {DONE} img")).to_have_count(3)
    assert findings(page, node_modules) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
