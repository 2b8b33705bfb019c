"""What the Gallery tab does, as functions of plain values: Gradio calls them, and so do tests.

Nothing is kept between two calls: what is looked for comes in with each of them. Ids come from
browsers; the gallery gives nobody a picture of another owner.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from sdgen.errors import SdgenError
from sdgen.gallery import Found
from sdgen.owners import ANYONE, Visitor
from sdgen.studio import Studio
from sdgen.ui import gallery_compare, gallery_parts, gallery_tiles, messages
from sdgen.ui.gallery_search import IDS_MAX, PAGE_SIZE, Shown
from sdgen.ui.viewing import GONE, Opened, Viewing

TOO_MANY = f"At most {IDS_MAX:,} pictures at once."
TWO = "Select exactly two pictures to compare them."


class GalleryPage:
    """The tab's deeds.

    issue: a ticket for a zip of an owner's pictures. bin_days: how long deleted ones are kept.
    withhold_flagged: keep pictures back to which the model's safety checker objects.
    """

    def __init__(
        self,
        studio: Studio,
        issue: Callable[[str, Sequence[str]], str],
        *,
        bin_days: int,
        withhold_flagged: bool = False,
    ) -> None:
        self._studio = studio
        self._viewing = Viewing(studio, withhold_flagged)
        self._issue = issue
        self._bin_days = bin_days
        self._withhold = withhold_flagged

    # --- what is shown

    def search_form(self, owner: str) -> str:
        """The search, with the models and adapters that occur; HTML."""
        try:
            gallery = self._studio.gallery
            return gallery_parts.form(gallery.models(owner), gallery.adapters(owner))
        except SdgenError:
            return gallery_parts.form((), ())

    def section(self, owner: str, shown: Shown) -> str:
        """One page of pictures; behind the last page the last one. HTML."""
        if owner == ANYONE:
            return messages.notes((messages.NO_COOKIE,))
        try:
            shown, found = self._found(owner, shown)
        except SdgenError as error:
            return messages.alert(str(error))
        return gallery_tiles.section(
            found, shown, bin_days=self._bin_days, withhold=self._withhold, now=time.time()
        )

    def open(self, visitor: Visitor, shown: Shown, picture_id: str) -> Opened:
        """One picture with its recipe, and the way to its neighbours among those looked for."""
        return _said(self._viewing.open(picture_id, visitor, search=shown.search))

    def verify(self, visitor: Visitor, shown: Shown, picture_id: str) -> Iterator[Opened]:
        """Draw a picture again; the opened picture tells how the two compare."""
        for opened in self._viewing.verify(picture_id, visitor, shown.search):
            yield _said(opened)

    def compare(self, owner: str, ids: Sequence[str]) -> Opened:
        """Two pictures in one frame; the first one is on the left."""
        if len(ids) != 2:
            return Opened("", gallery_parts.toast(TWO))
        try:
            left, right = (self._viewing.row(each, owner) for each in ids)
            if self._withhold and (left.flagged or right.flagged):
                return Opened("", gallery_parts.toast(left.flagged or right.flagged))
            path = self._studio.gallery.path
            recipes = self._studio.recipe_of(path(left)), self._studio.recipe_of(path(right))
        except SdgenError as error:
            return Opened("", gallery_parts.toast(str(error)))
        dialog = gallery_compare.compared((left, right), recipes)
        return Opened(dialog, gallery_parts.toast(""))

    # --- what is done; each gives what is said of it, HTML

    def favourite(self, owner: str, ids: Sequence[str], on: bool) -> str:
        """Mark pictures as favourites, or take the mark back; of one picture nothing is said."""

        def deed() -> str:
            changed = self._studio.gallery.favourite(owner, ids, on)
            if not changed:
                return gallery_parts.toast(GONE)
            if len(ids) == 1:
                return gallery_parts.toast("")
            words = gallery_tiles.pictures(changed)
            said = f"{words} among your favourites." if on else f"{words} no favourites any more."
            return gallery_parts.toast(said)

        return self._done(ids, deed)

    def discard(self, owner: str, ids: Sequence[str]) -> str:
        """Move pictures to the bin, with a way back."""

        def deed() -> str:
            moved = self._studio.gallery.delete(owner, ids)
            if not moved:
                return gallery_parts.toast(GONE)
            kept = gallery_tiles.how_long(self._bin_days)
            words = f"{gallery_tiles.pictures(len(moved))} in the bin{kept}."
            return gallery_parts.toast(words, undo=gallery_parts.Undo("restore", moved))

        return self._done(ids, deed)

    def restore(self, owner: str, ids: Sequence[str]) -> str:
        """Take pictures out of the bin."""

        def deed() -> str:
            back = self._studio.gallery.restore(owner, ids)
            if not back:
                return gallery_parts.toast(GONE)
            return gallery_parts.toast(f"{gallery_tiles.pictures(len(back))} back in the gallery.")

        return self._done(ids, deed)

    def erase(self, owner: str, ids: Sequence[str]) -> str:
        """Remove pictures of the bin for good."""

        def deed() -> str:
            return _erased(self._studio.gallery.erase(owner, ids))

        return self._done(ids, deed)

    def empty_bin(self, owner: str) -> str:
        """Remove all that is in the bin for good."""
        return self._tried(lambda: _erased(self._studio.gallery.empty_bin(owner)))

    def pack(self, owner: str, ids: Sequence[str]) -> str:
        """A zip of the originals: its link, which the page follows by itself."""

        def deed() -> str:
            found = self._studio.gallery.rows(owner, ids)
            rows = [row for row in found if not (row.flagged and self._withhold)]
            if not rows:
                return gallery_parts.toast(GONE)
            ticket = self._issue(owner, [row.id for row in rows])
            size = messages.size(sum(row.size_bytes for row in rows))
            words = f"{gallery_tiles.pictures(len(rows))} as one zip of about {size}."
            link = gallery_parts.Download(f"sdgen/zip/{ticket}")
            return gallery_parts.toast(words, download=link)

        return self._done(ids, deed)

    # --- parts

    def _done(self, ids: Sequence[str], deed: Callable[[], str]) -> str:
        if not ids:
            return gallery_parts.toast(GONE)
        if len(ids) > IDS_MAX:
            return gallery_parts.toast(TOO_MANY)
        return self._tried(deed)

    def _tried(self, deed: Callable[[], str]) -> str:
        try:
            return deed()
        except SdgenError as error:
            return gallery_parts.toast(str(error))

    def _found(self, owner: str, shown: Shown) -> tuple[Shown, Found]:
        gallery = self._studio.gallery
        found = gallery.search(owner, shown.search, shown.offset, PAGE_SIZE)
        if found.rows or not found.total:
            return shown if found.total else shown._replace(page=0), found
        shown = shown._replace(page=(found.total - 1) // PAGE_SIZE)
        return shown, gallery.search(owner, shown.search, shown.offset, PAGE_SIZE)


def _erased(count: int) -> str:
    return gallery_parts.toast(
        f"{gallery_tiles.pictures(count)} deleted for good." if count else GONE
    )


def _said(opened: Opened) -> Opened:
    """The notice as a message at the lower edge."""
    return Opened(opened.dialog, gallery_parts.framed(opened.notice))
