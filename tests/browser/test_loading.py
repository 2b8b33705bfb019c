"""All that the page asks the server for is there, light and dark: no route it needs is closed."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import PATIENCE, ready
from tests.serving import GRADIO_WARNINGS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), *GRADIO_WARNINGS]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_that_the_page_loads_is_missing(
    browser: Browser, address: str, scheme: Any, tmp_path: Path
) -> None:
    context = browser.new_context(color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    missing: list[str] = []
    paths: set[str] = set()
    said: list[str] = []

    def answered(response: Any) -> None:
        paths.add(response.url.removeprefix(address.rstrip("/")).partition("?")[0])
        if response.status >= 400:
            missing.append(f"{response.status} {response.request.method} {response.url}")

    page.on("response", answered)
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else 0)
    ready(page, address)
    page.fill("#prompt textarea", "a red robot")
    page.click("#generate")
    expect(page.locator(".sd-stage button.sd-frame img")).to_have_count(1, timeout=PATIENCE)
    page.click("#theme-toggle")
    picture = tmp_path / "x.png"
    picture.write_bytes(b"no picture at all")
    page.set_input_files("#drop input[type=file]", picture)
    expect(page.get_by_role("alert").first).to_contain_text("no PNG, JPEG or WebP")
    page.get_by_role("tab", name="Gallery").click()
    page.wait_for_selector("#gallery-pictures .sd-pics")
    page.wait_for_timeout(300)
    assert missing == []
    assert not [text for text in said if "404" in text or "Failed to load" in text], said
    assert any(path.startswith("/assets/") and path.endswith(".js") for path in paths)
    assert {"/gradio_api/upload", "/theme.css", "/"} <= paths

    # What Gradio's description of the endpoints asks for besides; without it, it shows as well.
    page.get_by_role("button", name="Use via API").click()
    expect(page.get_by_text("/generate").first).to_be_visible()
    page.wait_for_timeout(300)
    context.close()
    off = ("/monitoring/summary", "/gradio_api/mcp/schema")
    assert [line for line in missing if not line.endswith(off)] == []
