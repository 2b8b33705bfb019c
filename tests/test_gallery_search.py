"""A search finds what going through all pictures by hand finds."""

import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sdgen.gallery import Search
from sdgen.history import PictureRow
from sdgen.pictures import job_picture_name
from tests.galleries import NOON, Pictures

DAY = 86400
LETTERS = st.text("aAbBßéÉ%_'\"\\ \nжЖ漢", max_size=6)
NAMES = st.sampled_from(["ink", "Ink", ",", '"', "[]"])


@st.composite
def shelves(draw: st.DrawFn) -> list[PictureRow]:
    """Rows of two owners, many of them alike."""
    rows = []
    for number in range(draw(st.integers(0, 12))):
        name = job_picture_name("job", NOON, number)
        row = PictureRow(
            id=name,
            owner=draw(st.sampled_from(["me", "you"])),
            path=f"me/2026-11-20/{name}.png",
            seed=draw(st.integers(0, 2**32)),
            prompt=draw(LETTERS),
            negative_prompt=draw(LETTERS),
            model=draw(st.sampled_from(["", "a", "A"])),
            width=8,
            height=8,
            created=NOON + draw(st.sampled_from([-DAY, 0, 0, 0.5, DAY])),
            adapters=tuple(draw(st.lists(NAMES, max_size=3, unique=True))),
            flagged=draw(LETTERS),
            favourite=draw(st.booleans()),
            deleted=draw(st.sampled_from([None, None, NOON])),
        )
        rows.append(row)
    return rows


DAYS = st.none() | st.dates(date(2026, 11, 18), date(2026, 11, 22))
SEARCHES = st.builds(
    Search,
    words=LETTERS,
    model=st.sampled_from(["", "a", "A", "b"]),
    adapter=st.just("") | NAMES,
    since=DAYS,
    until=DAYS,
    favourites=st.booleans(),
    bin=st.booleans(),
)


def by_hand(rows: list[PictureRow], owner: str, search: Search) -> list[PictureRow]:
    def fits(row: PictureRow) -> bool:
        texts = (row.prompt.casefold(), row.negative_prompt.casefold())
        words = search.words.casefold().split()
        day = datetime.fromtimestamp(row.created, UTC).date()
        return (
            row.owner == owner
            and (row.deleted is not None) == search.bin
            and search.model in ("", row.model)
            and (not search.adapter or search.adapter in row.adapters)
            and (search.since or date.min) <= day <= (search.until or date.max)
            and (row.favourite or not search.favourites)
            and all(any(word in text for text in texts) for word in words)
        )

    found = [row for row in rows if fits(row)]
    return sorted(found, key=lambda row: (row.created, row.id), reverse=True)


@settings(max_examples=40)
@given(shelves(), st.lists(SEARCHES, max_size=8))
def test_a_search_finds_what_looking_at_all_finds(
    rows: list[PictureRow], searches: list[Search]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pictures = Pictures(Path(folder))
        pictures.history.add_pictures(rows)
        for search in searches:
            for owner in ("me", "you"):
                expected = by_hand(rows, owner, search)
                found = pictures.gallery.search(owner, search, limit=100)
                assert list(found.rows) == expected
                assert found.total == len(expected)
        pictures.close()
