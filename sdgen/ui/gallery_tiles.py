"""The pictures of the Gallery tab as HTML, by day, a page at a time; or why there are none."""

import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import groupby

from sdgen.gallery import Found
from sdgen.history import PictureRow
from sdgen.ui.gallery_parts import ALT_CHARS, button, icon, question, selection_bar, short
from sdgen.ui.gallery_search import PAGE_SIZE, Shown
from sdgen.ui.messages import escape
from sdgen.ui.tiles import thumbnail_url

DAY = 86400.0  # seconds
FEW = 4  # pictures a day; with fewer on average, months are headings enough


def section(found: Found, shown: Shown, *, bin_days: int, withhold: bool, now: float) -> str:
    """One page of pictures. withhold: flagged ones are not served. now: seconds since the epoch."""
    if not found.rows:
        body, tools = empty(shown, bin_days), ""
    else:
        body = _groups(found.rows, shown, bin_days, withhold, now) + _pages(found.total, shown)
        tools = (
            '<button type="button" class="sd-link" data-action="all" title="All on this page">'
            "Select all</button>"
        )
    asked = ""
    if shown.search.bin:
        asked = question(
            "erase", "Delete for good?", "The selected pictures are erased from the disk."
        )
        if found.rows and not shown.is_narrowed:
            tools += (
                '<button type="button" class="sd-link" data-action="ask" data-name="empty">'
                "Empty the bin</button>"
            )
            what = f"All {pictures(found.total)} in the bin are"
            what = "The picture in the bin is" if found.total == 1 else what
            asked += question("empty", "Empty the bin?", f"{what} erased from the disk.")
    kind = kind_of(shown)
    return (
        # When it was drawn: a page that is the same again still takes back what a browser marked.
        f'<section class="sd-pics" aria-label="Pictures" data-kind="{kind}" '
        f'data-bin="{str(shown.search.bin).lower()}" data-page="{shown.page}" '
        f'data-drawn="{time.monotonic_ns()}"><div class="sd-pics-head">'
        f'<p class="sd-count" role="status" tabindex="-1">{escape(count(found.total, shown))}</p>'
        f'{tools}<button type="button" class="sd-icon" data-action="refresh" '
        f'aria-label="Look for new pictures" title="Look for new pictures">{icon("refresh")}'
        f"</button></div>{body}{selection_bar(kind)}{asked}</section>"
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


def empty(shown: Shown, bin_days: int) -> str:
    """What is said where there is no picture to show."""
    search = shown.search
    if shown.is_narrowed:
        words = f"No picture with “{search.words}”" if search.words else "No picture is like that"
        where = {"bin": " in the bin", "favourites": " among your favourites"}
        text = f"{words}{where.get(kind_of(shown), '')}."
        way = button("all-pictures", "Clear the search", f'data-only="{kind_of(shown)}"')
    elif search.bin:
        text = f"The bin is empty. What you delete waits here{how_long(bin_days)}."
        way = ""
    elif search.favourites:
        text = "No favourites yet. Press the star on a picture that you like."
        way = button("all-pictures", "Show all pictures", 'data-only="all"')
    else:
        text = "No pictures yet. All that you draw is kept here until you delete it."
        way = button("generate", "Draw one", primary=True)
    return f'<div class="sd-nothing"><p>{escape(text)}</p>{way}</div>'


def _groups(
    rows: Sequence[PictureRow], shown: Shown, bin_days: int, withhold: bool, now: float
) -> str:
    """The tiles under headings of time; the bin has none."""
    if shown.search.bin:
        tiles = "".join(_tile(row, withhold, _days_left(row, bin_days, now)) for row in rows)
        return f'<ul class="sd-tiles sd-wall">{tiles}</ul>'
    days = [datetime.fromtimestamp(row.created, shown.search.zone).date() for row in rows]
    today = datetime.fromtimestamp(now, shown.search.zone).date()
    words = day_words if len(set(days)) * FEW <= len(rows) or len(set(days)) <= 2 else month_words
    headed = groupby(zip(days, rows, strict=True), lambda dated: words(dated[0], today))
    return "".join(
        f"<h2>{escape(heading)}</h2>"
        f'<ul class="sd-tiles sd-wall">{"".join(_tile(row, withhold) for _, row in those)}</ul>'
        for heading, those in headed
    )


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


def _tile(row: PictureRow, withhold: bool, note: str = "") -> str:
    """One picture with its box and star. note: in place of the seed."""
    label = escape(f"“{short(row.prompt)}”, seed {row.seed}" if row.prompt else f"seed {row.seed}")
    flags = " sd-flagged" if row.flagged else ""
    favourite = str(row.favourite).lower()
    star = (
        f'<button type="button" class="sd-star" data-action="star" data-name="{escape(row.id)}" '
        f'aria-pressed="{favourite}" aria-label="Favourite: {label}" title="Favourite (F)">'
        f"{icon('star')}</button>"
    )
    badge = '<span class="sd-badge">grid</span>' if row.kind == "sheet" else ""
    return (
        f'<li class="sd-tile sd-pic{flags}" data-id="{escape(row.id)}">{_frame(row, withhold)}'
        '<label class="sd-pick" title="Select (X); with Shift all between">'
        f'<input type="checkbox" aria-label="Select {label}"></label>'
        f"{'' if row.deleted is not None else star}{badge}"
        f'<span class="sd-seed">{escape(note or f"seed {row.seed}")}</span></li>'
    )


def _frame(row: PictureRow, withhold: bool) -> str:
    reason = escape(row.flagged)
    if row.flagged and withhold:
        return f'<div class="sd-frame sd-withheld"><p>{reason}</p></div>'
    alt = escape(short(row.prompt, ALT_CHARS) or f"Picture with seed {row.seed}")
    fit = " sd-whole" if row.kind == "sheet" else ""
    frame = (
        f'<button type="button" class="sd-frame{fit}" data-action="open" '
        f'data-name="{escape(row.id)}"><img src="{thumbnail_url(row.id)}" alt="{alt}" '
        'loading="lazy" decoding="async"></button>'
    )
    if not row.flagged:
        return frame
    return (
        f'{frame}<div class="sd-veil"><p title="{reason}">{reason}</p>'
        '<button type="button" class="sd-button" data-action="reveal">Show</button></div>'
    )


def _pages(total: int, shown: Shown) -> str:
    """The way to newer and older pictures; nothing where all are on one page."""
    pages = -(-total // PAGE_SIZE)
    if pages <= 1:
        return ""

    def turn(page: int, words: str) -> str:
        off = "" if 0 <= page < pages and page != shown.page else " disabled"
        return (
            f'<button type="button" class="sd-button" data-action="turn" data-page="{page}"{off}>'
            f"{words}</button>"
        )

    newest = turn(0, "« Newest") if shown.page > 1 else ""
    return (
        f'<nav class="sd-pages" aria-label="Pages">{newest}{turn(shown.page - 1, "‹ Newer")}'
        f"<span>Page {shown.page + 1:,} of {pages:,}</span>{turn(shown.page + 1, 'Older ›')}</nav>"
    )
