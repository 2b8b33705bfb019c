"""Two people at one app: of what one does, not a byte reaches the other's browser."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from sdgen.config import Settings
from sdgen.gallery import Search
from sdgen.owners import owner_of_token
from sdgen.studio import Studio
from sdgen.web.visitors import COOKIE
from tests.browser.conftest import PATIENCE, ready
from tests.faults.recorder import Wire, wire
from tests.serving import GRADIO_WARNINGS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), *GRADIO_WARNINGS]

ANNS, BOBS = "xyzzyann", "plughbob"  # words of their prompts that occur nowhere else
PREVIEW = re.compile(rb"data:image/webp;base64,[A-Za-z0-9+/=]{60,}")  # the fake engine's are small
PICTURES = 3
MADE = ".sd-stage button.sd-frame img"

expect.set_options(timeout=PATIENCE)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """One job at a time, so that the other one waits."""
    return Settings(data_dir=tmp_path / "data", max_running=1)


@pytest.fixture
def people(browser: Browser, address: str) -> Iterator[Any]:
    """Opens pages, each person's in a browser of their own behind a wire of their own."""
    port = urlsplit(address).port
    assert port is not None
    with wire(port) as anns, wire(port) as bobs:
        contexts = [browser.new_context() for _ in range(2)]
        for context in contexts:
            context.set_default_timeout(PATIENCE)
        yield [(contexts[0].new_page(), anns), (contexts[1].new_page(), bobs)]
        for context in contexts:
            context.close()


def owner(page: Page) -> str:
    """Whose browser it is."""
    tokens = [c["value"] for c in page.context.cookies() if c["name"] == COOKIE]
    return owner_of_token(tokens[0])


def test_nothing_of_one_reaches_the_other(people: list[tuple[Page, Wire]], studio: Studio) -> None:
    (ann, anns), (bob, bobs) = people
    ready(ann, anns.address)
    ready(bob, bobs.address)
    gallery = ready(bob.context.new_page(), bobs.address)
    gallery.get_by_role("tab", name="Gallery").click()
    gallery.wait_for_selector("#gallery-pictures .sd-pics")

    bob.fill("#prompt textarea", f"{BOBS} a blue boat")
    ann.fill("#prompt textarea", f"{ANNS} a red robot")
    ann.fill("#images input[type=number]", str(PICTURES))
    ann.click("#generate")
    ann.wait_for_selector(".sd-forming img[src^='data:image']")
    (job,) = studio.queue(owner(ann)).jobs
    bob.click("#generate")
    expect(bob.locator("#queue")).to_contain_text("1 of others ahead")
    expect(ann.locator(MADE)).to_have_count(PICTURES)
    expect(bob.locator(MADE)).to_have_count(1)
    gallery.get_by_role("button", name="Look for new pictures").click()
    expect(gallery.locator("#gallery-pictures .sd-pic")).to_have_count(1)

    mine = studio.gallery.search(owner(ann), Search()).rows
    theirs = studio.gallery.search(owner(bob), Search()).rows
    assert (len(mine), len(theirs)) == (PICTURES, 1)
    for row in mine:  # and one who knows a name gets nothing by it
        for path in ("picture", "thumb"):
            assert bob.request.get(f"{bobs.address}sdgen/{path}/{row.id}").status == 404
    known = len(bobs.received)
    ready(bob, f"{bobs.address}?recipe={mine[0].id}")
    ready(bob, f"{bobs.address}?recipe={theirs[0].id}")

    received = bobs.received
    assert b"content-encoding: gzip" not in received.lower()
    assert b"content-encoding: br" not in received.lower()
    previews = {match.group() for match in PREVIEW.finditer(anns.received)}
    for its_own in (BOBS, theirs[0].id):  # so it would be seen
        assert its_own.encode() in received
    assert previews
    secrets = {ANNS, job.id, owner(ann), *(c["value"] for c in ann.context.cookies())}
    assert not [word for word in secrets if word.encode() in received]
    assert not [row.id for row in mine if row.id.encode() in received[:known]]
    assert not [preview for preview in previews if preview in received]
