"""What to show of a gallery, and the same as SQL."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo

from sdgen.history import PictureRow
from sdgen.history.columns import clean, searchable

_WORDS_MAX = 100  # different words of one search; what comes after them is not looked for


@dataclass(frozen=True)
class Search:
    """Which pictures; the default is all that are not in the bin.

    words: each must occur in prompt or negative prompt, in any order, also as part of a longer
    word, whatever their case. model, adapter: exactly that name. since, until: days of the time
    zone, both included.
    """

    words: str = ""
    model: str = ""
    adapter: str = ""
    since: date | None = None
    until: date | None = None
    zone: tzinfo = UTC
    favourites: bool = False
    bin: bool = False


@dataclass(frozen=True)
class Found:
    """One page of what a search finds. total: on all pages."""

    rows: tuple[PictureRow, ...]
    total: int


def conditions(owner: str, search: Search) -> tuple[str, list[object]]:
    """The WHERE of a search among an owner's pictures, and its values."""
    parts = ["owner = ?", f"deleted IS {'NOT ' if search.bin else ''}NULL"]
    values: list[object] = [clean(owner)]
    if search.model:
        parts.append("model = ?")
        values.append(clean(search.model))
    if search.adapter:
        parts.append("EXISTS (SELECT 1 FROM json_each(adapters) WHERE value = ?)")
        values.append(clean(search.adapter))
    if search.since:
        parts.append("created >= ?")
        values.append(datetime.combine(search.since, time.min, search.zone).timestamp())
    if search.until:
        parts.append("created <= ?")
        values.append(datetime.combine(search.until, time.max, search.zone).timestamp())
    if search.favourites:
        parts.append("favourite")
    for word in list(dict.fromkeys(searchable(search.words).split()))[:_WORDS_MAX]:
        parts.append("instr(words, ?)")
        values.append(word)
    return f"WHERE {' AND '.join(parts)}", values
