"""The gallery: what is mine is found, what is another's is not there."""

import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from PIL import Image

from sdgen.errors import PictureUnreadable
from sdgen.gallery import Gallery, Search, thumbnails
from sdgen.metadata import read_picture
from sdgen.owners import ANYONE, LOCAL
from sdgen.pictures import is_picture_name
from tests.galleries import NOON, Pictures

DAY = 86400


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[Pictures]:
    made = Pictures(tmp_path)
    yield made
    made.close()


def shown(pictures: Pictures, owner: str = "me", **given: object) -> list[str]:
    return [row.id for row in pictures.gallery.search(owner, Search(**given)).rows]  # type: ignore[arg-type]


def test_a_row_says_what_the_file_says(pictures: Pictures) -> None:
    adapters = [{"name": "minnal", "scale": 0.5}, {"name": "ink", "scale": 1.0}]
    path, row = pictures.write(
        prompt="a fox", negative_prompt="rain", seed=9, adapters=adapters, side=24, flagged="why"
    )
    assert (row.prompt, row.negative_prompt, row.seed) == ("a fox", "rain", 9)
    assert (row.model, row.adapters, row.flagged) == ("picturebook", ("minnal", "ink"), "why")
    assert (row.width, row.height, row.size_bytes) == (24, 24, path.stat().st_size)
    assert (row.created, row.kind, row.deleted) == (NOON, "picture", None)
    assert row.path == f"me/2026-11-20/{row.id}.png"
    assert is_picture_name(row.id)
    assert pictures.gallery.path(row) == path
    pictures.gallery.record(row)
    assert pictures.gallery.find(row.id, "me") == row


def test_the_newest_come_first_page_by_page(pictures: Pictures) -> None:
    rows = [pictures.add(created=NOON + number) for number in (3, 1, 4, 1.0, 5)]
    order = [row.id for row in sorted(rows, key=lambda row: (row.created, row.id), reverse=True)]
    assert shown(pictures) == order
    for start in range(7):
        page = pictures.gallery.search("me", Search(), start, 2)
        assert [row.id for row in page.rows] == order[start : start + 2]
        assert page.total == 5
    assert pictures.gallery.search("me", Search(), 0, 0).rows == ()
    assert pictures.gallery.search("me", Search(), -3, -1).total == 5


def test_neighbours_follow_the_search(pictures: Pictures) -> None:
    rows = [
        pictures.add(created=NOON + number // 2, prompt="odd" if number % 2 else "even")
        for number in range(8)
    ]
    for search in (Search(), Search(words="odd"), Search(words="nothing")):
        order = [row.id for row in pictures.gallery.search("me", search).rows]
        for at, name in enumerate(order):
            newer = order[at - 1] if at else ""
            older = order[at + 1] if at + 1 < len(order) else ""
            assert pictures.gallery.neighbours("me", search, name) == (newer, older)
    # one that the search does not show still has its place among those that it shows
    odd = [row.id for row in pictures.gallery.search("me", Search(words="odd")).rows]
    newer, older = pictures.gallery.neighbours("me", Search(words="odd"), rows[4].id)
    assert odd.index(older) == odd.index(newer) + 1
    assert pictures.gallery.neighbours("me", Search(), "none") == ("", "")


@pytest.mark.parametrize("hours", [-11, 0, 5.5, 14])
def test_days_are_whole_wherever_one_is(pictures: Pictures, hours: float) -> None:
    zone = timezone(timedelta(hours=hours))
    midnight = datetime(2026, 11, 20, tzinfo=zone).timestamp()
    seconds = (-1, 0, DAY - 1, DAY)
    before, first, last, after = (pictures.add(created=midnight + more).id for more in seconds)
    day = date(2026, 11, 20)
    assert set(shown(pictures, since=day, until=day, zone=zone)) == {first, last}
    assert set(shown(pictures, since=day, zone=zone)) == {first, last, after}
    assert set(shown(pictures, until=day, zone=zone)) == {before, first, last}
    assert len(shown(pictures, since=date.min, until=date.max, zone=zone)) == 4


def test_words_of_any_script(pictures: Pictures) -> None:
    street = pictures.add(prompt="Große STRASSE, Ørsted", negative_prompt="ΣΊΣΥΦΟΣ 100%").id
    coffee = pictures.add(prompt="cafe\u0301 at night_time").id  # as decomposing systems write it
    for words in ("grosse straße", "ørsted", "σίσυφος", "SSE große", "0% Ø", "Σίσυφοσ"):
        assert shown(pictures, words=words) == [street], words
    for words in ("CAF\u00c9", "t_t", "  night\tAT\n"):
        assert shown(pictures, words=words) == [coffee], words
    for words in ("%", "_"):
        assert len(shown(pictures, words=words)) == 1, words
    for words in ("cafe", "strasse night", "\\", "'", "\ud800", "x" * 10_000, "a b c d " * 5_000):
        assert shown(pictures, words=words) == [], words


def test_filters(pictures: Pictures) -> None:
    ink = pictures.add(adapters=[{"name": "ink"}], model="sd15").id
    both = pictures.add(adapters=[{"name": "ink"}, {"name": 'a",b'}], created=NOON + 1).id
    plain = pictures.add(created=NOON + 2).id
    assert shown(pictures, adapter="ink") == [both, ink]
    assert shown(pictures, adapter='a",b') == [both]
    assert shown(pictures, adapter="in") == shown(pictures, adapter='","') == []
    assert shown(pictures, model="sd15") == [ink]
    assert shown(pictures, model="picturebook", adapter="ink") == [both]
    assert pictures.gallery.favourite("me", [plain, ink, "none"], True) == 2
    assert shown(pictures, favourites=True) == [plain, ink]
    assert pictures.gallery.favourite("me", [plain], False) == 1
    assert shown(pictures, favourites=True) == [ink]
    assert pictures.gallery.models("me") == ["picturebook", "sd15"]
    assert pictures.gallery.adapters("me") == ['a",b', "ink"]
    pictures.gallery.delete("me", [ink, both])
    assert pictures.gallery.models("me") == ["picturebook"]
    assert pictures.gallery.adapters("me") == []


CALLS: dict[str, Callable[[Gallery, str, str], object]] = {
    "find": lambda gallery, owner, name: gallery.find(name, owner),
    "rows": lambda gallery, owner, name: gallery.rows(owner, [name]),
    "search": lambda gallery, owner, name: gallery.search(owner, Search()).rows,
    "bin": lambda gallery, owner, name: gallery.search(owner, Search(bin=True)).total,
    "neighbours": lambda gallery, owner, name: any(gallery.neighbours(owner, Search(), name)),
    "models": lambda gallery, owner, name: gallery.models(owner),
    "adapters": lambda gallery, owner, name: gallery.adapters(owner),
    "favourite": lambda gallery, owner, name: gallery.favourite(owner, [name], True),
    "delete": lambda gallery, owner, name: gallery.delete(owner, [name]),
    "restore": lambda gallery, owner, name: gallery.restore(owner, [name]),
    "erase": lambda gallery, owner, name: gallery.erase(owner, [name]),
    "empty bin": lambda gallery, owner, name: gallery.empty_bin(owner),
    "zip": lambda gallery, owner, name: zipfile.ZipFile(
        io.BytesIO(b"".join(gallery.zip_of(owner, [name])))
    ).namelist(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("other", ["you", LOCAL, ANYONE, "", "ME", "me%", "me\0", "\ud800"])
def test_another_owners_picture_is_not_there(pictures: Pictures, call: str, other: str) -> None:
    adapters = [{"name": "ink"}]
    kept = pictures.add(adapters=adapters)
    binned = pictures.add(adapters=adapters, created=NOON + 1)
    pictures.add(adapters=adapters, created=NOON + 2)
    pictures.gallery.delete("me", [binned.id])
    rows = [pictures.gallery.find(row.id, "me") for row in (kept, binned)]
    files = pictures.files()
    for row in (kept, binned):
        assert not CALLS[call](pictures.gallery, other, row.id)
    assert [pictures.gallery.find(row.id, "me") for row in (kept, binned)] == rows
    assert pictures.files() == files
    assert any(CALLS[call](pictures.gallery, "me", row.id) for row in (kept, binned))  # but mine is


def test_who_is_nobody_has_no_gallery(pictures: Pictures) -> None:
    row = pictures.add(owner=ANYONE, adapters=[{"name": "ink"}])
    other = pictures.add(owner=ANYONE)
    gallery = pictures.gallery
    assert gallery.find(row.id, ANYONE) == row  # who knows its id has it from the job
    assert gallery.search(ANYONE, Search()).total == 0
    assert gallery.neighbours(ANYONE, Search(), other.id) == ("", "")
    assert gallery.models(ANYONE) == gallery.adapters(ANYONE) == []


def test_a_thumbnail_is_small_and_made_once(pictures: Pictures) -> None:
    row = pictures.add(side=640)
    path = pictures.gallery.thumbnail(row)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("WEBP", (320, 320))
    assert path.is_relative_to(pictures.data_dir / "cache" / "thumbs")
    made = path.stat().st_mtime_ns
    assert pictures.gallery.thumbnail(row) == path
    assert path.stat().st_mtime_ns == made
    path.unlink()
    assert pictures.gallery.thumbnail(row).is_file()
    small = pictures.add(side=16)
    with Image.open(pictures.gallery.thumbnail(small)) as image:
        assert image.size == (16, 16)


def test_a_thumbnail_goes_with_its_picture(pictures: Pictures) -> None:
    erased, lost = pictures.add(), pictures.add(created=NOON + 1)
    thumbs = [pictures.gallery.thumbnail(row) for row in (erased, lost)]
    pictures.gallery.delete("me", [erased.id])
    assert all(path.is_file() for path in thumbs)
    pictures.gallery.erase("me", [erased.id])
    pictures.gallery.path(lost).unlink()
    pictures.gallery.synchronise()
    assert not any(path.is_file() for path in thumbs)


def test_a_picture_that_is_erased_while_its_thumbnail_is_made_leaves_none(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = pictures.add()
    pictures.gallery.delete("me", [row.id])
    (row,) = pictures.gallery.search("me", Search(bin=True)).rows

    def erased_meanwhile(path: Path) -> object:
        read = read_picture(path)
        assert pictures.gallery.erase("me", [row.id]) == 1
        return read

    monkeypatch.setattr(thumbnails, "read_picture", erased_meanwhile)
    with pytest.raises(PictureUnreadable):
        pictures.gallery.thumbnail(row)
    assert not list((pictures.data_dir / "cache").rglob("*.webp"))


def test_a_damaged_picture_has_no_thumbnail(pictures: Pictures) -> None:
    row = pictures.add(side=64)
    path = pictures.gallery.path(row)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(PictureUnreadable):
        pictures.gallery.thumbnail(row)
    path.unlink()
    with pytest.raises(PictureUnreadable):
        pictures.gallery.thumbnail(row)
    assert not list((pictures.data_dir / "cache").rglob("*.webp"))


def test_threads_make_one_thumbnail(pictures: Pictures) -> None:
    row = pictures.add(side=400)
    made: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: made.append(pictures.gallery.thumbnail(row).read_bytes()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    assert len([path for path in (pictures.data_dir / "cache").rglob("*") if path.is_file()]) == 1


def test_a_zip_holds_the_original_files(pictures: Pictures) -> None:
    rows = [pictures.add(created=NOON + number, side=100) for number in range(3)]
    other = pictures.add(owner="you")
    originals = {f"{row.id}.png": pictures.gallery.path(row).read_bytes() for row in rows}
    ids = [rows[0].id, other.id, "none", rows[1].id, rows[2].id, rows[0].id]
    data = b"".join(pictures.gallery.zip_of("me", ids))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == originals
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.infolist()[0].date_time == (2026, 11, 20, 12, 0, 2)
        # Each entry tells its size before its bytes, so programs can unpack it while it arrives.
        assert {entry.flag_bits & 0x08 for entry in archive.infolist()} == {0}
    assert data.startswith(b"PK\x03\x04")
    empty = b"".join(pictures.gallery.zip_of("me", []))
    assert zipfile.ZipFile(io.BytesIO(empty)).namelist() == []


def test_a_zip_is_made_while_it_is_sent_and_leaves_out_what_vanished(pictures: Pictures) -> None:
    rows = [pictures.add(created=NOON + number, side=64) for number in range(4)]
    stream = pictures.gallery.zip_of("me", [row.id for row in rows])
    first = next(stream)
    assert len(first) < 2 * max(row.size_bytes for row in rows)
    pictures.gallery.path(rows[1]).unlink()
    with zipfile.ZipFile(io.BytesIO(first + b"".join(stream))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{rows[number].id}.png" for number in (3, 2, 0)]


def test_threads_add_and_look_at_once(pictures: Pictures) -> None:
    made = [pictures.write(created=NOON + number)[1] for number in range(60)]
    errors: list[BaseException] = []
    stop = threading.Event()

    def add(part: int) -> None:
        for row in made[part::3]:
            pictures.gallery.record(row)

    def look() -> None:
        try:
            while not stop.is_set():
                found = pictures.gallery.search("me", Search(), limit=1000)
                assert found.total == len(found.rows)  # one state, not two
                pictures.gallery.synchronise()
        except BaseException as error:  # noqa: BLE001  # told below
            errors.append(error)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    adders = [threading.Thread(target=add, args=(part,)) for part in range(3)]
    for thread in (*lookers, *adders):
        thread.start()
    for thread in adders:
        thread.join()
    stop.set()
    for thread in lookers:
        thread.join()
    assert errors == []
    assert {row.id for row in made} == set(shown_all(pictures))
    assert pictures.agrees()


def shown_all(pictures: Pictures) -> list[str]:
    return [row.id for row in pictures.gallery.search("me", Search(), limit=1000).rows]
