"""Enhancing in a real browser: the draft, the toggle, and a key that leaves no trace."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, expect

from sdgen.config import Settings
from sdgen.enhance import Enhancer, Service
from sdgen.studio import Studio
from tests.browser.conftest import ready, wait_for_stored
from tests.browser.test_accessibility import findings
from tests.conftest import FakeEngine, FakeModelFiles
from tests.serving import GRADIO_WARNINGS

pytestmark = [pytest.mark.browser, *GRADIO_WARNINGS]
CANARY = "sk-CANARY-4711-abcdefgh"
PROMPT = "#prompt textarea"
DONE = '.sd-stage[aria-busy="false"]'
expect.set_options(timeout=30_000)  # milliseconds; the machine may be busy
ENHANCED = "a red robot on a beach at sunset"


@pytest.fixture
def studio(settings: Settings, engine: FakeEngine, model_files: FakeModelFiles) -> Iterator[Studio]:
    async def ask(service: Service, system: str, user: str, hear: Callable[[str], None]) -> str:
        hear("on a beach")
        if "slow" in user:
            await asyncio.Event().wait()  # until it is given up
        return "on a beach, at sunset"

    helper = Service("http://helper.test/v1", "small")
    made = Studio(settings, engine, model_files, Enhancer(helper, ask=ask))
    yield made
    made.close()


def test_a_draft_is_seen_changed_and_used(open_page: Any, engine: FakeEngine) -> None:
    page = open_page()
    expect(page.locator("#privacy")).to_have_text("Your prompt is sent to helper.test.")
    page.fill(PROMPT, "a red robot")
    page.click("#enhance-once")
    expect(page.locator("#draft-difference ins").last).to_contain_text("at sunset")
    expect(page.locator("#draft textarea")).to_have_value(ENHANCED)
    assert page.input_value(PROMPT) == "a red robot"
    assert engine.submitted == []
    page.fill("#draft textarea", f"{ENHANCED} by the sea")
    expect(page.locator("#draft-difference ins").last).to_contain_text("by the sea")
    page.click("#draft-use")
    expect(page.locator(PROMPT)).to_have_value(f"{ENHANCED} by the sea")
    expect(page.locator("#draft-panel")).to_be_hidden()
    page.click("#generate")
    page.wait_for_selector(DONE)
    assert engine.submitted[0].prompt == f"{ENHANCED} by the sea"
    page.click(".sd-stage button.sd-frame")
    expect(page.locator("dialog .sd-recipe")).to_contain_text("a language model (small)")


def test_the_toggle_drafts_first_and_can_be_skipped(
    open_page: Any, engine: FakeEngine, address: str
) -> None:
    page = open_page()
    assert not page.is_checked("#enhance-each input")
    page.check("#enhance-each input")
    page.fill(PROMPT, "a red robot")
    page.click("#generate")
    page.wait_for_selector(DONE)
    assert engine.submitted[-1].prompt == ENHANCED
    assert page.input_value(PROMPT) == "a red robot"
    page.fill(PROMPT, "a slow robot")
    page.click("#generate")
    page.click("#draft-skip")
    page.wait_for_selector(f'{DONE} img[alt="a slow robot"]')
    assert engine.submitted[-1].prompt == "a slow robot"
    wait_for_stored(page, lambda kept: kept.get("each") is True, "sdgen.enhance")
    ready(page, address)
    assert page.is_checked("#enhance-each input")


def test_plain_and_enhanced_side_by_side(open_page: Any, engine: FakeEngine) -> None:
    page = open_page()
    page.fill(PROMPT, "a red robot")
    page.click("#enhance-once")
    expect(page.locator("#draft textarea")).to_have_value(ENHANCED)
    page.click("#draft-both")
    expect(page.locator(f".sd-strip {DONE} img")).to_have_count(2)
    first, second = engine.submitted
    assert {first.prompt, second.prompt} == {"a red robot", ENHANCED}
    assert first.seed == second.seed


def test_a_key_of_ones_own_leaves_no_trace(open_page: Any, address: str) -> None:
    page = open_page()
    bodies: list[str] = []
    page.on("response", lambda response: bodies.append(_text(response)))
    page.click("#own-key button")
    page.fill("#key input", CANARY)
    page.click("#key-keep")
    expect(page.locator("#key-said")).to_contain_text("an hour")
    expect(page.locator("#key input")).to_have_value("")
    expect(page.locator("#privacy")).to_have_text("Your prompt is sent to api.openai.com.")
    page.click("#key-forget")
    expect(page.locator("#privacy")).to_have_text("Your prompt is sent to helper.test.")
    page.fill(PROMPT, "what is done now is remembered, and so is all before it")
    wait_for_stored(page, lambda form: "all before it" in str(form.get("prompt")), "sdgen.form")
    kept = page.evaluate(
        "() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie,"
        " document.documentElement.outerHTML, [...document.querySelectorAll('input, textarea')]"
        ".map((box) => box.value), window.gradio_config])"
    )
    for text in (kept, json.dumps(bodies), page.url):
        assert CANARY not in text


def _text(response: Any) -> str:
    try:
        return str(response.text())
    except Error:  # a stream, or a page that is gone
        return ""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_finding_with_a_draft(
    open_page: Any, node_modules: Path, engine: FakeEngine, scheme: str
) -> None:
    page = open_page(color_scheme=scheme)
    page.click("#own-key button")
    page.fill(PROMPT, "a slow robot")
    page.click("#enhance-once")
    page.wait_for_selector("#draft-skip", state="visible")
    assert findings(page, node_modules) == [], "while a draft is written"
    page.click("#draft-skip")
    page.wait_for_selector("#draft-skip", state="hidden")  # until then a click is taken once
    page.fill(PROMPT, "a red robot")
    page.click("#enhance-once")
    expect(page.locator("#draft textarea")).to_have_value(ENHANCED)
    assert findings(page, node_modules) == [], "with a draft"
    page.click("#draft-both")
    expect(page.locator(f".sd-strip {DONE} img")).to_have_count(2)
    assert findings(page, node_modules) == [], "with a pair"
