"""The tab with all of a visitor's pictures: what is laid out, and what happens when."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from sdgen.config import Settings
from sdgen.owners import Visitor
from sdgen.studio import Studio
from sdgen.ui import gallery_parts
from sdgen.ui.events import NEWEST, PRIVATE, QUICK, Update, event_name
from sdgen.ui.gallery_page import GalleryPage
from sdgen.ui.gallery_search import ids_from, shown_from
from sdgen.ui.generate_tab import ACTIONS, CLICK_GENERATE, GenerateTab
from sdgen.ui.gradio_parts import event_data
from sdgen.ui.viewing import Opened
from sdgen.web import tickets, visitor_of

HERE = Path(__file__).parent
SCRIPT = (HERE / "gallery.js").read_text(encoding="utf-8")
SEARCH_SCRIPT = (HERE / "gallery_search.js").read_text(encoding="utf-8")
VIEWER_SCRIPT = ACTIONS + (HERE / "gallery_viewer.js").read_text(encoding="utf-8")


class GalleryTab:
    """Layout and wiring. The methods are what Gradio calls: plain values in, updates out.

    The value of `_search` is what is looked for, and lives in the browser alone; so a window goes
    on where it was after the app was restarted.
    """

    def __init__(
        self,
        studio: Studio,
        settings: Settings,
        generate: GenerateTab,
        *,
        withhold_flagged: bool,
    ) -> None:
        """generate: the tab whose form takes a picture's settings. withhold_flagged: see
        GalleryPage."""
        self._settings = settings
        self._generate = generate
        self._page = GalleryPage(
            studio,
            tickets.issue,
            bin_days=settings.bin_days,
            withhold_flagged=withhold_flagged,
        )
        self._lay_out()
        self._wire()

    # --- layout

    def _lay_out(self) -> None:
        self._search = gr.HTML(
            {}, html_template="${form}", form=gallery_parts.form((), ()),
            js_on_load=SEARCH_SCRIPT, elem_id="gallery-search",
        )  # fmt: skip
        self._pictures = gr.HTML(js_on_load=SCRIPT, elem_id="gallery-pictures")
        self._said = gr.HTML(gallery_parts.toast(""), js_on_load=SCRIPT, elem_id="gallery-said")
        self._compared = gr.HTML(js_on_load=SCRIPT, elem_id="gallery-compare")
        self._viewer = gr.HTML(js_on_load=VIEWER_SCRIPT, elem_id="gallery-viewer")

    # --- what happens when

    def _wire(self) -> None:
        self._search.change(self.show, self._search, self._pictures, **NEWEST)
        pictures, viewer, said = self._pictures, self._viewer, self._said
        pictures.refresh(self.show, self._search, pictures, **QUICK)
        pictures.star(self.star, self._search, [pictures, said], **QUICK)
        pictures.pack(self.pack, None, said, **QUICK)
        pictures.compare(self.set_against, None, [self._compared, said], **QUICK)
        pictures.erase(self.erase, self._search, [pictures, said], **QUICK)
        pictures.empty(self.empty_bin, self._search, [pictures, said], **QUICK)
        for part in (pictures, said):
            part.restore(self.bring_back, self._search, [pictures, said], **QUICK)
        pictures.discard(self.discard, self._search, [pictures, said], **QUICK)
        for part in (pictures, viewer):
            part.open(self.open, self._search, [viewer, said], **QUICK)
        viewer.verify(self.prove, self._search, [viewer, said], **PRIVATE)
        viewer.star(self.star_opened, self._search, [viewer, pictures, said], **QUICK)
        viewer.discard(self.discard_opened, self._search, [viewer, pictures, said], **QUICK)
        viewer.restore(self.bring_back_opened, self._search, [viewer, pictures, said], **QUICK)
        again = self._generate.takes_from(viewer)
        again.then(None, None, None, js=CLICK_GENERATE, **QUICK)

    def on_select(self, shown: Any) -> None:
        """shown: the event after which there may be other pictures, models and adapters."""
        shown(self.select, self._search, [self._search, self._pictures], **QUICK)

    # --- handlers: what is shown

    def select(self, looked: object, request: gr.Request) -> list[Update]:
        """The tab is seen: its search with what occurs by now, and the pictures.

        A window that sees it for the first time asks for its pictures itself, in its own time zone.
        """
        owner = self._owner(request)
        drawn = isinstance(looked, dict) and "zone" in looked
        section = self._page.section(owner, shown_from(looked)) if drawn else gr.skip()
        return [gr.update(form=self._page.search_form(owner)), section]

    def show(self, looked: object, request: gr.Request) -> str:
        """The pictures that are looked for."""
        return self._page.section(self._owner(request), shown_from(looked))

    def open(self, looked: object, request: gr.Request, event: gr.EventData) -> Opened:
        """One picture with its recipe."""
        return self._page.open(self._visitor(request), shown_from(looked), event_name(event))

    def prove(self, looked: object, request: gr.Request, event: gr.EventData) -> Iterator[Opened]:
        """One picture, drawn again and compared."""
        yield from self._page.verify(self._visitor(request), shown_from(looked), event_name(event))

    def set_against(self, request: gr.Request, event: gr.EventData) -> Opened:
        """Two pictures in one frame."""
        return self._page.compare(self._owner(request), event_ids(event))

    # --- handlers: what is done

    def star(self, looked: object, request: gr.Request, event: gr.EventData) -> list[Update]:
        """Favourites or none; a single star shows itself at once."""
        owner, ids = self._owner(request), event_ids(event)
        said = self._page.favourite(owner, ids, event_is_on(event))
        if said == gallery_parts.toast(""):
            return [gr.skip(), said]
        return [self._page.section(owner, shown_from(looked)), said]

    def discard(self, looked: object, request: gr.Request, event: gr.EventData) -> list[Update]:
        """To the bin."""
        return self._after(self._page.discard, looked, request, event)

    def bring_back(self, looked: object, request: gr.Request, event: gr.EventData) -> list[Update]:
        """Out of the bin."""
        return self._after(self._page.restore, looked, request, event)

    def erase(self, looked: object, request: gr.Request, event: gr.EventData) -> list[Update]:
        """Out of the bin, for good."""
        return self._after(self._page.erase, looked, request, event)

    def empty_bin(self, looked: object, request: gr.Request) -> list[Update]:
        """All that is in the bin, for good."""
        owner = self._owner(request)
        said = self._page.empty_bin(owner)
        return [self._page.section(owner, shown_from(looked)), said]

    def pack(self, request: gr.Request, event: gr.EventData) -> str:
        """The originals as a zip."""
        return self._page.pack(self._owner(request), event_ids(event))

    # --- handlers of the opened picture

    def star_opened(self, looked: object, request: gr.Request, event: gr.EventData) -> list[Update]:
        """The opened picture, a favourite or none."""
        pictures, said = self._after(
            partial(self._page.favourite, on=event_is_on(event)), looked, request, event
        )
        return [self.open(looked, request, event).dialog, pictures, said]

    def discard_opened(
        self, looked: object, request: gr.Request, event: gr.EventData
    ) -> list[Update]:
        """The opened picture to the bin; what is said of it stands under its closed dialog."""
        return ["", *self.discard(looked, request, event)]

    def bring_back_opened(
        self, looked: object, request: gr.Request, event: gr.EventData
    ) -> list[Update]:
        """The opened picture out of the bin."""
        return ["", *self.bring_back(looked, request, event)]

    # --- parts

    def _after(
        self,
        deed: Callable[[str, Sequence[str]], str],
        looked: object,
        request: gr.Request,
        event: gr.EventData,
    ) -> list[Update]:
        """Do it; updates for the pictures and for what is said."""
        owner = self._owner(request)
        said = deed(owner, event_ids(event))
        return [self._page.section(owner, shown_from(looked)), said]

    def _owner(self, request: gr.Request) -> str:
        return self._visitor(request).owner

    def _visitor(self, request: gr.Request) -> Visitor:
        return visitor_of(request, request.username, self._settings)


def event_ids(event: gr.EventData) -> tuple[str, ...]:
    """The pictures that a browser names with an event."""
    return ids_from(event_data(event).get("ids"))


def event_is_on(event: gr.EventData) -> bool:
    """Whether a mark is set or taken back."""
    return event_data(event).get("on") is True
