"""What the Gallery tab looks for: between the browser's plain value and the gallery's Search."""

from collections.abc import Mapping
from datetime import date, timedelta, timezone
from typing import NamedTuple

from sdgen.gallery import Search
from sdgen.pictures import is_picture_name

PAGE_SIZE = 48  # pictures
IDS_MAX = 1000  # pictures that one deed takes
_WORDS_CHARS, _NAME_CHARS = 300, 300
_PAGE_MAX = 1_000_000
_ZONE_MAX = 14 * 60  # minutes; no place on earth is further from UTC
KINDS = ("all", "favourites", "bin")


class Shown(NamedTuple):
    """A page of what is looked for."""

    search: Search = Search()
    page: int = 0  # from 0, the newest

    @property
    def offset(self) -> int:
        """How many newer pictures there are before this page."""
        return self.page * PAGE_SIZE

    @property
    def is_narrowed(self) -> bool:
        """True where pictures may be left out that would otherwise be on the same list."""
        search = self.search
        return bool(search.words or search.model or search.adapter or search.since or search.until)


def shown_from(value: object) -> Shown:
    """What a browser asks for; whatever is missing or of a wrong kind is left out."""
    if not isinstance(value, Mapping):
        return Shown()
    only = _text(value, "only", 20)
    minutes = min(max(_whole(value, "zone"), -_ZONE_MAX), _ZONE_MAX)
    search = Search(
        words=_text(value, "words", _WORDS_CHARS),
        model=_text(value, "model", _NAME_CHARS),
        adapter=_text(value, "adapter", _NAME_CHARS),
        since=_day(value, "since"),
        until=_day(value, "until"),
        zone=timezone(timedelta(minutes=minutes)),
        favourites=only == "favourites",
        bin=only == "bin",
    )
    return Shown(search, min(max(_whole(value, "page"), 0), _PAGE_MAX))


def ids_from(value: object) -> tuple[str, ...]:
    """The pictures that a browser names, each once; whatever has no form of an id is left out."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return ()
    good = (each for each in value if isinstance(each, str) and is_picture_name(each))
    return tuple(dict.fromkeys(good))


def _text(value: Mapping[str, object], name: str, most: int) -> str:
    text = value.get(name)
    return text[:most].strip() if isinstance(text, str) else ""


def _whole(value: Mapping[str, object], name: str) -> int:
    number = value.get(name)
    return number if isinstance(number, int) and not isinstance(number, bool) else 0


def _day(value: Mapping[str, object], name: str) -> date | None:
    text = value.get(name)
    if not isinstance(text, str):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
