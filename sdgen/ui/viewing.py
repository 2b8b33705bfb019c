"""What the page does with one picture, as functions of plain values: open it, take its settings,
check it, mark it, throw it away. Ids come from browsers; another's picture is as none."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sdgen.errors import PictureUnreadable, SdgenError
from sdgen.gallery import Search
from sdgen.history import PictureRow
from sdgen.owners import Visitor
from sdgen.studio import Studio
from sdgen.ui import messages, tiles
from sdgen.ui.enhancing import Drafted, drafted_from
from sdgen.ui.form import FIELDS

FILLED = "The picture's settings are in the form."
VERIFYING = "It is being drawn again, exactly, to compare the two ..."
GONE = "This picture is not here any more."
NOT_YOURS = "There is no picture of yours under this link."
IN_BIN = "The picture is in the bin."
BACK = "The picture is back."
ALL = Search()


class Filled(NamedTuple):
    """Fields of the form to fill in, by name, and what to say about it."""

    fields: dict[str, object]
    notice: str  # HTML
    drafted: Drafted | None = None  # where the prompt came from


class Opened(NamedTuple):
    """A dialog, "" where there is none to show, and a notice; both HTML."""

    dialog: str
    notice: str = ""


class Viewing:
    """The deeds. withhold_flagged: pictures to which the safety checker objects stay back."""

    def __init__(self, studio: Studio, withhold_flagged: bool = False) -> None:
        self._studio = studio
        self._withhold = withhold_flagged

    def row(self, picture_id: str, owner: str) -> PictureRow:
        """An owner's picture. Raises PictureUnreadable: there is none of that id."""
        row = self._studio.gallery.find(picture_id, owner)
        if row is None:
            raise PictureUnreadable(GONE)
        return row

    def open(
        self, picture_id: str, visitor: Visitor, said: str = "", search: Search = ALL
    ) -> Opened:
        """A picture of the visitor's with its recipe.

        said: what is told of the picture under its recipe. search: where its neighbours are from.
        """
        try:
            row = self.row(picture_id, visitor.owner)
            gallery = self._studio.gallery
            recipe = self._studio.recipe_of(gallery.path(row))
            newer, older = gallery.neighbours(visitor.owner, search, row.id)
        except SdgenError as error:
            return Opened("", messages.alert(str(error)))
        withheld = bool(row.flagged) and self._withhold
        return Opened(tiles.opened(row, recipe, older, newer, said, withheld))

    def verify(self, picture_id: str, visitor: Visitor, search: Search = ALL) -> Iterator[Opened]:
        """Draw a picture again; the opened picture tells how the two compare.

        Yields now and then while it waits its turn; closing the generator, as Gradio does when the
        page is closed, ends that.
        """
        opened = self.open(picture_id, visitor, VERIFYING, search)
        yield opened
        if not opened.dialog:
            return
        said = ""
        try:
            path = self._studio.gallery.path(self.row(picture_id, visitor.owner))
            for found in self._studio.verifying(path, visitor):
                if found is None:
                    yield opened
                else:
                    said = found.sentence
        except SdgenError as error:
            said = str(error)
        yield self.open(picture_id, visitor, said, search)

    def read_file(self, path: Path) -> Filled:
        """The fields that a picture file was made with; unreadable: none, and a notice."""
        try:
            recipe = self._studio.recipe_of(path)
            form = self._studio.form_of(recipe)
        except SdgenError as error:
            return Filled({}, messages.alert(str(error)))
        fields = {name: value for name, value in form.fields.items() if name in FIELDS}
        if "prompt" in fields:
            fields["several"] = False  # this one, whatever braces it has
        return Filled(fields, messages.notes((FILLED, *form.notes)), drafted_from(recipe))

    def reuse(self, picture_id: str, visitor: Visitor) -> Filled:
        """The fields that one of the visitor's pictures was made with."""
        try:
            return self.read_file(self._studio.gallery.path(self.row(picture_id, visitor.owner)))
        except SdgenError as error:
            return Filled({}, messages.alert(str(error)))

    def linked(self, picture_id: str, visitor: Visitor) -> tuple[Filled, Opened]:
        """What a link with a picture's id opens: its settings, and the picture itself."""
        opened = self.open(picture_id, visitor)
        if not opened.dialog:
            return Filled({}, messages.alert(NOT_YOURS)), opened
        return self.reuse(picture_id, visitor), opened

    def star(self, picture_id: str, visitor: Visitor) -> Opened:
        """Make a picture a favourite, or take that back."""
        try:
            row = self.row(picture_id, visitor.owner)
            self._studio.gallery.favourite(visitor.owner, [row.id], not row.favourite)
        except SdgenError as error:
            return Opened("", messages.alert(str(error)))
        return self.open(picture_id, visitor)

    def discard(self, picture_id: str, visitor: Visitor) -> str:
        """Move a picture to the bin; a notice with the way back."""
        try:
            moved = self._studio.gallery.delete(visitor.owner, [picture_id])
        except SdgenError as error:
            return messages.alert(str(error))
        return messages.undo(IN_BIN, "restore", picture_id) if moved else messages.alert(GONE)

    def restore(self, picture_id: str, visitor: Visitor) -> str:
        """Take a picture out of the bin; a notice."""
        try:
            back = self._studio.gallery.restore(visitor.owner, [picture_id])
        except SdgenError as error:
            return messages.alert(str(error))
        return messages.notes((BACK,)) if back else messages.alert(GONE)

    def newest_seed(self, visitor: Visitor) -> int | None:
        """The seed of the visitor's newest picture."""
        try:
            found = self._studio.gallery.search(visitor.owner, ALL, limit=1)
        except SdgenError:
            return None
        return found.rows[0].seed if found.rows else None
