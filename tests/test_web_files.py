"""Files go to their owner alone; others' and unknown ones get the same answer."""

import asyncio
import io
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image
from starlette.testclient import TestClient

from sdgen.config import Settings
from sdgen.errors import StorageFailed
from sdgen.gallery import Gallery
from sdgen.history import PictureRow
from sdgen.metadata import read_recipe
from sdgen.owners import ANYONE, LOCAL, new_token, owner_of_token
from sdgen.web import tickets
from sdgen.web.visitors import COOKIE
from tests.web_studio import WebStudio, add_picture, client_of, web_studio

ANN, BOB = new_token(), new_token()
KINDS = ("picture", "thumb")


@pytest.fixture
def studio(settings: Settings) -> Iterator[WebStudio]:
    with web_studio(settings.data_dir) as made:
        yield made


def browser(
    studio: WebStudio, settings: Settings, token: str, on_space: bool = False
) -> TestClient:
    client = client_of(studio, settings, on_space)
    client.cookies.set(COOKIE, token)
    return client


@pytest.fixture
def ann(studio: WebStudio, settings: Settings) -> TestClient:
    return browser(studio, settings, ANN)


@pytest.fixture
def bob(studio: WebStudio, settings: Settings) -> TestClient:
    return browser(studio, settings, BOB)


@pytest.fixture
def picture(studio: WebStudio, settings: Settings) -> str:
    """The id of a picture of Ann's."""
    return add_picture(settings.data_dir, studio.gallery, owner_of_token(ANN), 1).id


def test_the_owner_gets_the_file_as_it_is(
    ann: TestClient, picture: str, studio: WebStudio, settings: Settings, tmp_path: Path
) -> None:
    answer = ann.get(f"/sdgen/picture/{picture}")
    assert answer.status_code == 200
    row = studio.gallery.find(picture, owner_of_token(ANN))
    assert row is not None
    assert answer.content == studio.gallery.path(row).read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(answer.content))
    (tmp_path / "got.png").write_bytes(answer.content)
    assert read_recipe(tmp_path / "got.png").seed == 1


def test_a_thumbnail_is_a_small_webp(ann: TestClient, picture: str) -> None:
    answer = ann.get(f"/sdgen/thumb/{picture}")
    assert answer.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(answer.content)).size == (64, 64)


@pytest.mark.parametrize("kind", KINDS)
def test_another_s_picture_and_none_are_answered_alike(
    bob: TestClient, picture: str, kind: str
) -> None:
    others, unknown = bob.get(f"/sdgen/{kind}/{picture}"), bob.get(f"/sdgen/{kind}/{'7' * 26}")
    assert others.status_code == unknown.status_code == 404
    assert (others.content, others.headers) == (unknown.content, unknown.headers)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_token_nobody_s_pictures_are_there(
    studio: WebStudio, settings: Settings, picture: str, kind: str
) -> None:
    stranger = client_of(studio, settings)
    assert stranger.get(f"/sdgen/{kind}/{picture}").status_code == 404
    local = add_picture(settings.data_dir, studio.gallery, LOCAL, 2).id
    assert stranger.get(f"/sdgen/{kind}/{local}").status_code == 404
    anyone_s = add_picture(settings.data_dir, studio.gallery, ANYONE, 3).id
    assert stranger.get(f"/sdgen/{kind}/{anyone_s}").status_code == 200  # who knows its name


def test_a_program_shows_its_token_in_a_header(
    studio: WebStudio, settings: Settings, picture: str
) -> None:
    program = client_of(studio, settings, headers={"X-Sdgen-Token": ANN})
    assert program.get(f"/sdgen/picture/{picture}").status_code == 200
    program = client_of(studio, settings, headers={"X-Sdgen-Token": BOB})
    assert program.get(f"/sdgen/picture/{picture}").status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        "../history.sqlite3",
        "..%2f..%2fhistory.sqlite3",
        "%2e%2e",
        "0" * 25,
        "0" * 27,
        "0" * 25 + "I",
        "0" * 25 + "%0a",
        "0" * 26 + "%0a",
        "0" * 26 + ".png",
        "%00" * 26,
        "'" + "0" * 25,
        "%ud800" + "0" * 20,
    ],
)
@pytest.mark.parametrize("kind", [*KINDS, "zip"])
def test_what_is_no_name_is_not_there(ann: TestClient, kind: str, name: str) -> None:
    assert ann.get(f"/sdgen/{kind}/{name}").status_code == 404


@pytest.mark.parametrize("kind", KINDS)
def test_headers_keep_a_file_harmless_and_private(ann: TestClient, picture: str, kind: str) -> None:
    headers = ann.get(f"/sdgen/{kind}/{picture}").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "private" in headers["cache-control"]
    assert "max-age=" in headers["cache-control"]
    assert "Cookie" in headers["vary"]  # another visitor of this browser asks anew
    assert "content-disposition" not in headers
    assert "set-cookie" not in headers


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_browser_has_is_not_sent_again(
    ann: TestClient, bob: TestClient, picture: str, kind: str
) -> None:
    where = f"/sdgen/{kind}/{picture}"
    tag = ann.get(where).headers["etag"]
    again = ann.get(where, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    assert ann.get(where, headers={"If-None-Match": '"other"'}).status_code == 200
    assert bob.get(where, headers={"If-None-Match": tag}).status_code == 404


def test_a_download_is_saved_under_its_own_name(ann: TestClient, picture: str) -> None:
    answer = ann.get(f"/sdgen/picture/{picture}?download=1")
    assert answer.headers["content-disposition"] == f'attachment; filename="{picture}.png"'


def test_head_tells_the_size_alone(ann: TestClient, picture: str) -> None:
    answer = ann.head(f"/sdgen/picture/{picture}")
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 100
    assert ann.post(f"/sdgen/picture/{picture}").status_code == 405


def test_pictures_in_the_bin_are_still_their_owner_s(
    ann: TestClient, bob: TestClient, picture: str, studio: WebStudio
) -> None:
    assert studio.gallery.delete(owner_of_token(ANN), [picture]) == (picture,)
    assert ann.get(f"/sdgen/picture/{picture}").status_code == 200
    assert bob.get(f"/sdgen/picture/{picture}").status_code == 404
    studio.gallery.erase(owner_of_token(ANN), [picture])
    assert ann.get(f"/sdgen/picture/{picture}").status_code == 404


def test_damaged_and_missing_files_are_not_there(
    ann: TestClient, picture: str, studio: WebStudio
) -> None:
    row = studio.gallery.find(picture, owner_of_token(ANN))
    assert row is not None
    path = studio.gallery.path(row)
    path.write_bytes(path.read_bytes()[:100])
    assert ann.get(f"/sdgen/thumb/{picture}").status_code == 404
    path.unlink()
    assert ann.get(f"/sdgen/picture/{picture}").status_code == 404


class BrokenGallery:
    """A gallery whose disk does not answer."""

    def find(self, picture_id: str, owner: str) -> None:
        raise StorageFailed("The history cannot be read: the disk is broken.")


def test_a_broken_disk_is_said_in_a_sentence(
    ann: TestClient, picture: str, studio: WebStudio
) -> None:
    studio.gallery = BrokenGallery()  # type: ignore[assignment]
    answer = ann.get(f"/sdgen/picture/{picture}")
    assert answer.status_code == 503
    assert answer.text == "The history cannot be read: the disk is broken."


@pytest.mark.parametrize("kind", KINDS)
def test_flagged_pictures_are_withheld_on_a_space(
    studio: WebStudio, settings: Settings, kind: str
) -> None:
    owner = owner_of_token(ANN)
    flagged = add_picture(settings.data_dir, studio.gallery, owner, 5, flagged="not safe").id
    plain = add_picture(settings.data_dir, studio.gallery, owner, 6).id
    at_home, on_space = browser(studio, settings, ANN), browser(studio, settings, ANN, True)
    assert at_home.get(f"/sdgen/{kind}/{flagged}").status_code == 200
    assert on_space.get(f"/sdgen/{kind}/{flagged}").status_code == 404
    assert on_space.get(f"/sdgen/{kind}/{plain}").status_code == 200
    both = tickets.issue(owner, [flagged, plain])
    assert names_in(on_space.get(f"/sdgen/zip/{both}").content) == [f"{plain}.png"]
    assert len(names_in(at_home.get(f"/sdgen/zip/{both}").content)) == 2


def names_in(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert found.testzip() is None
        return found.namelist()


def test_a_zip_has_the_files_as_they_are(
    ann: TestClient, studio: WebStudio, settings: Settings
) -> None:
    owner = owner_of_token(ANN)
    rows = [add_picture(settings.data_dir, studio.gallery, owner, n) for n in (11, 12, 13)]
    others = add_picture(settings.data_dir, studio.gallery, owner_of_token(BOB), 14)
    ticket = tickets.issue(owner, [row.id for row in rows] + [others.id, "7" * 26])
    answer = ann.get(f"/sdgen/zip/{ticket}")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith('attachment; filename="sdgen-')
    assert answer.headers["cache-control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert sorted(found.namelist()) == [f"{row.id}.png" for row in rows]
        for row in rows:
            assert found.read(f"{row.id}.png") == studio.gallery.path(row).read_bytes()
    head = ann.head(f"/sdgen/zip/{ticket}")
    assert (head.status_code, head.content) == (200, b"")


def test_a_ticket_is_its_owner_s(ann: TestClient, bob: TestClient, picture: str) -> None:
    ticket = tickets.issue(owner_of_token(ANN), [picture])
    assert ann.get(f"/sdgen/zip/{ticket}").status_code == 200
    stolen, unknown = bob.get(f"/sdgen/zip/{ticket}"), bob.get("/sdgen/zip/nothing")
    assert stolen.status_code == unknown.status_code == 404
    assert stolen.content == unknown.content


def test_tickets_end_and_are_not_without_number() -> None:
    now = [0.0]
    kept = tickets.Tickets(clock=lambda: now[0])
    first = kept.issue("ann", ["a", "b"])
    assert kept.find(first, "ann") == ("a", "b")
    assert kept.find(first, "bob") == kept.find("", "") == ()
    now[0] = tickets.LIFETIME - 1
    assert kept.find(first, "ann") == ("a", "b")
    now[0] = tickets.LIFETIME
    assert kept.find(first, "ann") == ()
    many = [kept.issue("ann", ["a"]) for _ in range(tickets.TICKETS_MAX + 1)]
    assert kept.find(many[0], "ann") == ()
    assert kept.find(many[1], "ann") == ("a",)
    assert len(kept.find(kept.issue("ann", ["a"] * 20_000), "ann")) == tickets.IDS_MAX


def test_an_old_ticket_takes_no_younger_one_along() -> None:
    now = [0.0]
    kept = tickets.Tickets(clock=lambda: now[0])
    old = kept.issue("ann", ["a"])
    now[0] = tickets.LIFETIME / 2
    young = kept.issue("bob", ["b"])
    now[0] = tickets.LIFETIME
    assert (kept.find(old, "ann"), kept.find(young, "bob")) == ((), ("b",))
    now[0] = tickets.LIFETIME * 1.5
    assert kept.find(young, "bob") == ()
    assert len(old) == 32, "192 bits, which cannot be guessed"


AT_ONCE = 8  # thumbnails that are made


class SlowGallery:
    """A gallery whose thumbnails are not ready before it is told so."""

    def __init__(self, gallery: Gallery) -> None:
        self.ready = threading.Event()
        self.begun = 0
        self.find, self.path = gallery.find, gallery.path

    def thumbnail(self, row: PictureRow) -> Path:
        self.begun += 1
        assert self.ready.wait(20)
        return self.path(row)


def test_thumbnails_that_take_long_hold_up_nobody(
    ann: TestClient, picture: str, studio: WebStudio
) -> None:
    slow = studio.gallery = SlowGallery(studio.gallery)  # type: ignore[assignment]

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(ann.app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:7860", cookies={COOKIE: ANN}
        ) as browser:
            where = f"/sdgen/thumb/{picture}"
            thumbs = [asyncio.create_task(browser.get(where)) for _ in range(60)]
            while slow.begun < AT_ONCE:
                await asyncio.sleep(0.005)
            codes = [(await browser.get(f"/sdgen/picture/{picture}")).status_code]
            codes += [(await browser.get("/readyz")).status_code]  # in the usual threads
            assert not any(task.done() for task in thumbs)
            assert slow.begun == AT_ONCE
            slow.ready.set()
            return codes + [(await task).status_code for task in thumbs]

    try:
        with ThreadPoolExecutor(1) as other:  # leaves the event loop of this thread as it is
            codes = other.submit(lambda: asyncio.run(asyncio.wait_for(ask(), 10))).result()
        assert codes == [200] * 62
    finally:
        slow.ready.set()


def test_one_user_is_everybody(studio: WebStudio, settings: Settings) -> None:
    alone = settings.model_copy(update={"one_user": True})
    local = add_picture(settings.data_dir, studio.gallery, LOCAL, 2).id
    assert client_of(studio, alone).get(f"/sdgen/picture/{local}").status_code == 200
