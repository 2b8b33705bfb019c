"""What the Gallery tab does, as functions of plain values, over a studio with fakes."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.config import Settings
from sdgen.gallery import Search
from sdgen.history import PictureRow
from sdgen.owners import ANYONE, Visitor
from sdgen.studio import Studio
from sdgen.ui import gallery_tiles
from sdgen.ui.gallery_page import TOO_MANY, TWO, GalleryPage
from sdgen.ui.gallery_search import IDS_MAX, PAGE_SIZE, Shown, ids_from, shown_from
from sdgen.ui.viewing import GONE
from tests.gallery_pictures import Wall

ANN, BOB = Visitor("a" * 20, "ann"), Visitor("b" * 20, "bob")
NASTY = "<b>x</b> {{7*7}} ${window.hacked=1} `\\` \"'"
REASON = "It may not be safe for work."
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
DAY = 86400.0


class Tickets:
    """What was asked to be packed."""

    def __init__(self) -> None:
        self.issued: list[tuple[str, list[str]]] = []

    def issue(self, owner: str, ids: Sequence[str]) -> str:
        self.issued.append((owner, list(ids)))
        return "ticket"


@pytest.fixture
def tickets() -> Tickets:
    return Tickets()


@pytest.fixture
def page(studio: Studio, tickets: Tickets) -> GalleryPage:
    return GalleryPage(studio, tickets.issue, bin_days=30)


@pytest.fixture
def wall(studio: Studio, settings: Settings) -> Wall:
    """Ann's pictures."""
    return Wall(studio, settings, ANN.owner)


def ids_in(html: str) -> list[str]:
    """The pictures that are shown, in their order."""
    return re.findall(r'data-id="([^"]*)"', html)


def shown(page: GalleryPage, looked: Any = None, owner: str = ANN.owner) -> list[str]:
    return ids_in(page.section(owner, shown_from(looked or {})))


# --- what is shown


def test_pages_hold_each_picture_once_newest_first(page: GalleryPage, wall: Wall) -> None:
    rows = [wall.hang(seed=i, created=NOON + i) for i in range(PAGE_SIZE + 3)]
    first, second = shown(page), shown(page, {"page": 1})
    assert len(first) == PAGE_SIZE
    assert first + second == [row.id for row in reversed(rows)]
    html = page.section(ANN.owner, Shown())
    assert "51 pictures" in html
    assert "Page 1 of 2" in html


def test_behind_the_last_page_is_the_last_page(page: GalleryPage, wall: Wall) -> None:
    row = wall.hang()
    assert shown(page, {"page": 999_999}) == [row.id]
    assert shown(page, {"page": -4}) == [row.id]


def test_each_filter_leaves_out_what_does_not_fit(page: GalleryPage, wall: Wall) -> None:
    robot = wall.hang("a Red robot", model="picturebook", created=NOON)
    wizard = wall.hang("a wizard", model="sd15", adapters=("sepia",), created=NOON + DAY)
    wall.studio.gallery.favourite(ANN.owner, [wizard.id], True)
    for looked, found in (
        ({"words": "robot red"}, [robot]),
        ({"words": "elephant"}, []),
        ({"model": "sd15"}, [wizard]),
        ({"adapter": "sepia"}, [wizard]),
        ({"since": "2026-11-22"}, [wizard]),
        ({"until": "2026-11-21"}, [robot]),
        ({"only": "favourites"}, [wizard]),
        ({"only": "bin"}, []),
        ({"only": "all"}, [wizard, robot]),
    ):
        assert shown(page, looked) == [row.id for row in found], looked


def test_days_are_those_of_the_browser(page: GalleryPage, wall: Wall) -> None:
    late = wall.hang(created=datetime(2026, 11, 20, 23, 30, tzinfo=UTC).timestamp())
    tokyo = {"since": "2026-11-21", "zone": 540}
    assert shown(page, tokyo) == [late.id]
    assert shown(page, {**tokyo, "zone": 0}) == []
    found = wall.studio.gallery.search(ANN.owner, Search())
    for hours, heading in ((9, "Today"), (0, "Yesterday")):
        search = Search(zone=timezone(timedelta(hours=hours)))
        html = gallery_tiles.section(found, Shown(search), bin_days=30, withhold=False, now=NOON)
        assert f"<h2>{heading}</h2>" in html


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (date(2026, 11, 21), "Today"),
        (date(2026, 11, 20), "Yesterday"),
        (date(2026, 11, 2), "Monday, 2 November"),
        (date(2025, 11, 2), "Sunday, 2 November 2025"),
    ],
)
def test_a_day_in_words(day: date, words: str) -> None:
    assert gallery_tiles.day_words(day, date(2026, 11, 21)) == words


def test_few_pictures_a_day_stand_under_their_month(page: GalleryPage, wall: Wall) -> None:
    for back in range(5):
        wall.hang(created=NOON - back * DAY)
    html = page.section(ANN.owner, Shown())
    assert re.findall("<h2>([^<]*)</h2>", html)[0].startswith("November")


def test_prompts_are_shown_literally(page: GalleryPage, wall: Wall) -> None:
    one, two = wall.hang(NASTY), wall.hang(NASTY + "2", adapters=("<i>",))
    for html in (
        page.section(ANN.owner, Shown(Search(words="<b>"))),
        page.section(ANN.owner, Shown(Search(words="<b>none"))),
        page.compare(ANN.owner, [one.id, two.id]).dialog,
        page.search_form(ANN.owner),
    ):
        assert not re.search(r"<b>|<i>x|\{\{|\$\{|`|\\", html)
        assert "&lt;" in html


def test_why_nothing_is_shown(page: GalleryPage, wall: Wall) -> None:
    def said(looked: Any) -> str:
        return page.section(ANN.owner, shown_from(looked))

    assert "No pictures yet" in said({})
    assert 'data-action="generate"' in said({})
    assert "The bin is empty. What you delete waits here for 30 days." in said({"only": "bin"})
    assert "No favourites yet" in said({"only": "favourites"})
    wall.hang()
    assert "No picture with “x &lt;y”." in said({"words": "x <y"})
    assert "Clear the search" in said({"words": "x"})
    assert "No picture is like that in the bin." in said({"only": "bin", "until": "2020-01-01"})


def test_a_browser_without_cookies_is_told_so(page: GalleryPage) -> None:
    assert "keeps no cookie" in page.section(ANYONE, Shown())


def test_the_search_offers_only_what_makes_a_difference(page: GalleryPage, wall: Wall) -> None:
    wall.hang(model="sd15")
    assert "<select" not in page.search_form(ANN.owner)
    wall.hang(model="picturebook", adapters=("sepia",))
    form = page.search_form(ANN.owner)
    for name in ("sd15", "picturebook", "sepia"):
        assert f'<option value="{name}">' in form
    assert "<select" not in page.search_form(BOB.owner)


def test_a_sheet_has_its_badge(page: GalleryPage, wall: Wall) -> None:
    wall.hang()
    assert "sd-badge" not in page.section(ANN.owner, Shown())
    wall.hang(kind="sheet")
    assert page.section(ANN.owner, Shown()).count('<span class="sd-badge">grid</span>') == 1


def test_flagged_pictures_are_veiled_here_and_withheld_on_a_space(
    page: GalleryPage, studio: Studio, wall: Wall, tickets: Tickets
) -> None:
    row, other = wall.hang(flagged=REASON), wall.hang(seed=8)
    html = page.section(ANN.owner, Shown())
    assert REASON in html
    assert 'data-action="reveal"' in html
    space = GalleryPage(studio, tickets.issue, bin_days=30, withhold_flagged=True)
    html = space.section(ANN.owner, Shown())
    assert REASON in html
    assert f"sdgen/thumb/{row.id}" not in html
    assert f"sdgen/thumb/{other.id}" in html
    assert f"sdgen/picture/{row.id}" not in space.open(ANN, Shown(), row.id).dialog
    assert space.compare(ANN.owner, [row.id, other.id]).dialog == ""
    space.pack(ANN.owner, [row.id, other.id])
    assert tickets.issued == [(ANN.owner, [other.id])]


def test_an_opened_picture_leads_on_among_what_is_looked_for(page: GalleryPage, wall: Wall) -> None:
    robots = [wall.hang("a robot", created=NOON + i) for i in range(3)]
    wall.hang("a boat", created=NOON + 1.5)
    looked = shown_from({"words": "robot"})
    dialog, said = page.open(ANN, looked, robots[1].id)
    assert f'data-name="{robots[0].id}"' in dialog
    assert f'data-name="{robots[2].id}"' in dialog
    assert "<p>" not in said
    told = list(page.verify(ANN, looked, robots[1].id))
    assert "Bit-identical" in told[-1].dialog
    assert f'data-name="{robots[2].id}"' in told[-1].dialog


# --- what is done


def undone(said: str) -> list[str]:
    """The ids that a message's Undo names."""
    found = re.search(r'data-action="restore" data-ids="([^"]*)"', said)
    return found[1].split() if found else []


def test_deleted_pictures_come_back_by_undo(page: GalleryPage, wall: Wall) -> None:
    rows = [wall.hang(seed=i, created=NOON + i) for i in range(3)]
    paths = [wall.studio.gallery.path(row) for row in rows]
    said = page.discard(ANN.owner, [row.id for row in rows[:2]])
    assert "2 pictures in the bin for 30 days." in said
    assert shown(page) == [rows[2].id]
    in_bin = page.section(ANN.owner, shown_from({"only": "bin"}))
    assert ids_in(in_bin) == [rows[1].id, rows[0].id]
    assert "30 days left" in in_bin
    assert "back in the gallery" in page.restore(ANN.owner, undone(said))
    assert shown(page) == [row.id for row in reversed(rows)]
    assert all(path.is_file() for path in paths)


def test_only_what_is_in_the_bin_is_erased(page: GalleryPage, wall: Wall) -> None:
    kept, gone = wall.hang(), wall.hang(seed=8)
    page.discard(ANN.owner, [gone.id])
    assert "1 picture deleted for good." in page.erase(ANN.owner, [kept.id, gone.id])
    assert shown(page) == [kept.id]
    assert shown(page, {"only": "bin"}) == []
    assert GONE in page.restore(ANN.owner, [gone.id])


def test_the_bin_is_emptied_whole_and_asks_before(page: GalleryPage, wall: Wall) -> None:
    rows = [wall.hang(seed=seed) for seed in range(PAGE_SIZE + 3)]
    assert "Empty the bin" not in page.section(ANN.owner, shown_from({"only": "bin"}))
    page.discard(ANN.owner, [row.id for row in rows[1:]])
    in_bin = page.section(ANN.owner, shown_from({"only": "bin"}))
    assert f"All {PAGE_SIZE + 2} pictures in the bin are erased from the disk." in in_bin
    assert 'data-action="empty"' in in_bin
    for other in ({"only": "bin", "words": "robot"}, {}, {"only": "favourites"}):
        assert 'data-action="empty"' not in page.section(ANN.owner, shown_from(other))
    assert GONE in page.empty_bin(BOB.owner)
    assert f"{PAGE_SIZE + 2} pictures deleted for good." in page.empty_bin(ANN.owner)
    assert shown(page, {"only": "bin"}) == []
    assert shown(page) == [rows[0].id]
    assert GONE in page.empty_bin(ANN.owner)


def test_favourites_are_marked_and_unmarked(page: GalleryPage, wall: Wall) -> None:
    ids = [wall.hang(seed=i).id for i in range(3)]
    assert "<p>" not in page.favourite(ANN.owner, ids[:1], True), "the star itself says it"
    assert "2 pictures among your favourites." in page.favourite(ANN.owner, ids[1:], True)
    assert len(shown(page, {"only": "favourites"})) == 3
    page.favourite(ANN.owner, ids[:2], False)
    assert shown(page, {"only": "favourites"}) == ids[2:]


def test_a_zip_is_of_the_own_pictures_that_are_there(
    page: GalleryPage, wall: Wall, tickets: Tickets
) -> None:
    rows = [wall.hang(seed=i) for i in range(2)]
    said = page.pack(ANN.owner, [*[row.id for row in rows], "0" * 26])
    assert tickets.issued == [(ANN.owner, [row.id for row in reversed(rows)])]  # newest first
    assert 'href="sdgen/zip/ticket"' in said
    assert "2 pictures as one zip" in said


def test_two_are_compared_by_what_differs(page: GalleryPage, wall: Wall) -> None:
    left = wall.hang(seed=7, steps=3)
    right = wall.hang(seed=8, steps=3, width=128)
    dialog, said = page.compare(ANN.owner, [left.id, right.id])
    assert "<p>" not in said
    assert "<th scope=row>Seed</th><td>7</td><td>8</td>" in dialog
    assert "seed 8 · 128 × 64" in dialog
    assert "<th scope=row>Steps" not in dialog
    assert "--ratio:2.0000" in dialog, "the wider one fits in"
    assert re.search('<input type="range"[^>]*aria-label="[^"]+', dialog)


def test_a_picture_of_unknown_size_is_compared(page: GalleryPage, wall: Wall) -> None:
    rows = wall.hang(seed=7), wall.hang(seed=8)
    with wall.studio.history.writing() as db:
        db.execute("UPDATE pictures SET width = 0, height = 0 WHERE id = ?", (rows[0].id,))
    assert "--ratio:1.0000" in page.compare(ANN.owner, [row.id for row in rows]).dialog


@pytest.mark.parametrize("count", [0, 1, 3])
def test_no_other_number_is_compared(page: GalleryPage, wall: Wall, count: int) -> None:
    dialog, said = page.compare(ANN.owner, [wall.hang(seed=i).id for i in range(count)])
    assert dialog == ""
    assert TWO in said


def test_pictures_of_others_are_not_there(
    page: GalleryPage, wall: Wall, studio: Studio, settings: Settings, tickets: Tickets
) -> None:
    rows = [wall.hang(seed=i) for i in range(2)]
    ids = [row.id for row in rows]
    binned = wall.hang(seed=9)
    page.discard(ANN.owner, [binned.id])
    files = {path: path.read_bytes() for path in settings.data_dir.rglob("*.png")}
    before: list[PictureRow] = list(studio.gallery.search(ANN.owner, Search()).rows)
    assert shown(page, owner=BOB.owner) == []
    assert shown(page, {"only": "bin"}, owner=BOB.owner) == []
    for said in (
        page.favourite(BOB.owner, ids, True),
        page.discard(BOB.owner, ids),
        page.restore(BOB.owner, [binned.id]),
        page.erase(BOB.owner, [*ids, binned.id]),
        page.empty_bin(BOB.owner),
        page.pack(BOB.owner, ids),
        page.open(BOB, Shown(), ids[0]).notice,
        page.compare(BOB.owner, ids).notice,
    ):
        assert GONE in said
    assert page.open(BOB, Shown(), ids[0]).dialog == ""
    assert page.compare(BOB.owner, ids).dialog == ""
    assert tickets.issued == []
    assert list(studio.gallery.search(ANN.owner, Search()).rows) == before
    assert {path: path.read_bytes() for path in settings.data_dir.rglob("*.png")} == files


def test_too_many_at_once_are_refused(page: GalleryPage, wall: Wall) -> None:
    row = wall.hang()
    many = [row.id, *(f"{i:026d}" for i in range(IDS_MAX))]
    assert TOO_MANY in page.discard(ANN.owner, many)
    assert shown(page) == [row.id]


def test_a_broken_disk_is_a_sentence(
    page: GalleryPage, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = wall.hang()
    wall.studio.history.close()
    for said in (page.section(ANN.owner, Shown()), page.discard(ANN.owner, [row.id])):
        assert "<p>" in said
        assert "sqlite" not in said.lower()


# --- what browsers send


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())


@given(
    st.dictionaries(
        st.sampled_from(
            ["words", "model", "adapter", "since", "until", "only", "page", "zone", "x"]
        ),
        plain | st.dates().map(str),
    )
    | plain
)
def test_whatever_a_browser_looks_for_is_a_search(value: object) -> None:
    looked = shown_from(value)
    assert looked.page >= 0
    assert 0 <= looked.offset < 2**31
    assert len(looked.search.words) <= 300
    assert abs(looked.search.zone.utcoffset(None) or timedelta()) <= timedelta(hours=14)


def test_what_is_looked_for_survives_the_browser() -> None:
    value = {"words": " red robot ", "model": "sd15", "adapter": "sepia", "since": "2026-11-01",
             "until": "2026-11-30", "only": "favourites", "page": 3, "zone": -300}  # fmt: skip
    looked = shown_from(value)
    assert looked.page == 3
    assert looked.search == Search(
        "red robot", "sd15", "sepia", date(2026, 11, 1), date(2026, 11, 30),
        timezone(timedelta(hours=-5)), favourites=True,
    )  # fmt: skip
    assert looked.is_narrowed
    assert not shown_from({"only": "bin", "page": 2}).is_narrowed


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (None, ()),
        ("0" * 26, ("0" * 26,)),
        (["0" * 26, "0" * 26, "1" * 26], ("0" * 26, "1" * 26)),
        (["../" + "0" * 23, "0" * 27, "A" * 26, 7, None, ["0" * 26], "0" * 26], ("0" * 26,)),
        ({"ids": "0" * 26}, ()),
    ],
)
def test_ids_are_those_of_pictures_each_once(value: object, ids: tuple[str, ...]) -> None:
    assert ids_from(value) == ids
