"""The pictures of the Gallery tab as HTML, by day, a page at a time; or why there are none."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from sdgen.gallery import Found
from sdgen.history import PictureRow
from sdgen.html import render, short
from sdgen.ui import TEMPLATES
from sdgen.ui.gallery_search import PAGE_SIZE, Shown

LABEL_CHARS = 80  # of a prompt in a label; screen readers read it to the end
DAY = 86400.0  # seconds
FEW = 4  # pictures a day; with fewer on average, months are headings enough


@dataclass(frozen=True)
class Empty:
    """What is said where there is no picture to show, and the button of a way out.

    action: its event, "" where there is no way. only: which kind of pictures it leads to.
    """

    text: str
    action: str = ""
    button: str = ""
    only: str = ""


@dataclass(frozen=True)
class _Tile:
    """One picture. note: the line below it. withheld: a flagged one is not served."""

    row: PictureRow
    note: str
    withheld: bool

    @property
    def label(self) -> str:
        seed = f"seed {self.row.seed}"
        return f"“{short(self.row.prompt, LABEL_CHARS)}”, {seed}" if self.row.prompt else seed

    @property
    def alt(self) -> str:
        return alt_text(self.row)


def alt_text(row: PictureRow) -> str:
    """What is said of a picture to those who do not see it."""
    return short(row.prompt) or f"Picture with seed {row.seed}"


def section(found: Found, shown: Shown, *, bin_days: int, withhold: bool, now: float) -> str:
    """One page of pictures. withhold: flagged ones are not served. now: seconds since the epoch."""
    all_in_bin = f"All {pictures(found.total)} in the bin are"
    what = "The picture in the bin is" if found.total == 1 else all_in_bin
    return render(
        TEMPLATES,
        "gallery.html",
        "section",
        kind=kind_of(shown),
        bin=shown.search.bin,
        page=shown.page,
        pages=-(-found.total // PAGE_SIZE),
        drawn=time.monotonic_ns(),
        count=count(found.total, shown),
        empty=empty(shown, bin_days),
        groups=list(_groups(found.rows, shown, bin_days, withhold, now)),
        may_empty=shown.search.bin and bool(found.rows) and not shown.is_narrowed,
        empty_words=f"{what} erased from the disk.",
    )


def kind_of(shown: Shown) -> str:
    """Which of KINDS is shown."""
    if shown.search.bin:
        return "bin"
    return "favourites" if shown.search.favourites else "all"


def count(total: int, shown: Shown) -> str:
    """How many there are, as a line: "10,432 pictures"; of none at all more is said than that."""
    if total == 0:
        return "Nothing found" if shown.is_narrowed else ""
    words = pictures(total)
    if shown.search.bin:
        return f"{words} in the bin"
    if shown.search.favourites:
        words = f"{total:,} {'favourite' if total == 1 else 'favourites'}"
    return f"{words} found" if shown.is_narrowed else words


def pictures(number: int) -> str:
    """A number of pictures: "1 picture", "10,432 pictures"."""
    return f"{number:,} {'picture' if number == 1 else 'pictures'}"


def empty(shown: Shown, bin_days: int) -> Empty:
    """What is said where there is no picture to show."""
    search = shown.search
    if shown.is_narrowed:
        words = f"No picture with “{search.words}”" if search.words else "No picture is like that"
        where = {"bin": " in the bin", "favourites": " among your favourites"}
        text = f"{words}{where.get(kind_of(shown), '')}."
        return Empty(text, "all-pictures", "Clear the search", only=kind_of(shown))
    if search.bin:
        return Empty(f"The bin is empty. What you delete waits here{how_long(bin_days)}.")
    if search.favourites:
        text = "No favourites yet. Press the star on a picture that you like."
        return Empty(text, "all-pictures", "Show all pictures", only="all")
    text = "No pictures yet. All that you draw is kept here until you delete it."
    return Empty(text, "generate", "Draw one")


def _groups(
    rows: Sequence[PictureRow], shown: Shown, bin_days: int, withhold: bool, now: float
) -> Iterator[tuple[str, list[_Tile]]]:
    """The tiles under headings of time; the bin has none."""
    if not rows:
        return
    if shown.search.bin:
        yield (
            "",
            [_Tile(row, _days_left(row, bin_days, now) or _seed(row), withhold) for row in rows],
        )
        return
    days = [datetime.fromtimestamp(row.created, shown.search.zone).date() for row in rows]
    today = datetime.fromtimestamp(now, shown.search.zone).date()
    words = day_words if len(set(days)) * FEW <= len(rows) or len(set(days)) <= 2 else month_words
    headed = groupby(zip(days, rows, strict=True), lambda dated: words(dated[0], today))
    for heading, those in headed:
        yield heading, [_Tile(row, _seed(row), withhold) for _, row in those]


def _seed(row: PictureRow) -> str:
    return f"seed {row.seed}"


def month_words(day: date, today: date) -> str:
    """A month as people say it: "November", with the year where it is another."""
    return f"{day:%B}" if day.year == today.year else f"{day:%B} {day.year}"


def day_words(day: date, today: date) -> str:
    """A day as people say it: "Today", "Friday, 21 November", with the year where it is another."""
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    year = "" if day.year == today.year else f" {day.year}"
    return f"{day:%A}, {day.day} {day:%B}{year}"


def _days_left(row: PictureRow, bin_days: int, now: float) -> str:
    if row.deleted is None:
        return ""
    days = max(0, -int(-(row.deleted + bin_days * DAY - now) // DAY))
    return f"{days} {'day' if days == 1 else 'days'} left"


def how_long(bin_days: int) -> str:
    """How long the bin keeps a picture: " for 30 days"."""
    if bin_days == 0:
        return " until the app tidies up"
    return f" for {bin_days} {'day' if bin_days == 1 else 'days'}"
