"""axe-core finds nothing serious or critical of ours; Gradio's own findings are listed by id."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.test_page import draw
from tests.conftest import FakeEngine
from tests.serving import GRADIO_WARNINGS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), *GRADIO_WARNINGS]

# Findings inside Gradio's own markup, which no setting of ours reaches: (rule, where).
GRADIO_OWN = {
    # gr.File: its button is named "Click to upload or drop files" and shows "Drop File Here".
    ("label-content-name-mismatch", ".upload-container"),
}


def findings(page: Page, node_modules: Path) -> list[str]:
    """The serious and critical findings as "rule: where: what"."""
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['target']}: {node['html'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
        if not any(
            rule == violation["id"] and where in node["target"][-1] for rule, where in GRADIO_OWN
        )
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_serious_finding(
    open_page: Any, engine: FakeEngine, node_modules: Path, scheme: str, width: int
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    assert findings(page, node_modules) == []
    engine.notes = ("The prompt is longer than the model reads.",)
    page.fill("#images input[type=number]", "2")
    page.fill("#prompt textarea", "a red robot")
    page.click("#generate")
    page.wait_for_selector(".sd-forming img")
    assert findings(page, node_modules) == [], "while a picture forms"
    page.wait_for_selector('.sd-stage[aria-busy="false"]')
    engine.flagged = "It may not be safe for work."
    draw(page, "flagged")
    assert findings(page, node_modules) == [], "with a veiled picture and a gallery"
    page.locator("#earlier button.sd-frame").first.click()
    page.wait_for_selector("dialog[open]")
    assert findings(page, node_modules) == [], "with a picture opened"
    page.keyboard.press("Escape")
    page.fill("#prompt textarea", "")
    page.click("#generate")
    page.wait_for_selector('[role="alert"]')
    assert findings(page, node_modules) == [], "with an error"
