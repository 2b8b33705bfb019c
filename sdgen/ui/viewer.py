"""One picture opened: its place on the page, and what its buttons do."""

from collections.abc import Callable, Iterator, Sequence

import gradio as gr

from sdgen.owners import Visitor
from sdgen.ui.events import PRIVATE, QUICK, event_name
from sdgen.ui.viewing import Opened, Viewing


class Viewer:
    """Layout and wiring. The methods are what Gradio calls: plain values in, updates out.

    Taking a picture's settings is the form's, not its own.
    """

    def __init__(self, viewing: Viewing, visitor: Callable[[gr.Request], Visitor]) -> None:
        """visitor: who asks."""
        self._viewing = viewing
        self._visitor = visitor

    # --- layout

    def lay_out(self, script: str) -> None:
        """Nothing as long as no picture is opened."""
        self.place = gr.HTML(js_on_load=script, elem_id="viewer")

    # --- what happens when

    def wire(self, pictures: Sequence[gr.HTML], notice: gr.HTML) -> None:
        """pictures: what is clicked to be opened here."""
        shown, place = [self.place, notice], self.place
        for part in (*pictures, place):
            part.open(self.open, None, shown, **QUICK)
        place.verify(self.prove, None, shown, **PRIVATE)
        place.star(self.star, None, shown, **QUICK)
        place.discard(self.discard, None, notice, **QUICK)
        for part in (place, notice):
            part.restore(self.bring_back, None, notice, **QUICK)

    # --- handlers

    def open(self, request: gr.Request, event: gr.EventData) -> Opened:
        """One picture with its recipe."""
        return self._viewing.open(event_name(event), self._visitor(request))

    def prove(self, request: gr.Request, event: gr.EventData) -> Iterator[Opened]:
        """One picture, drawn again and compared."""
        yield from self._viewing.verify(event_name(event), self._visitor(request))

    def star(self, request: gr.Request, event: gr.EventData) -> Opened:
        """A favourite, or one no more."""
        return self._viewing.star(event_name(event), self._visitor(request))

    def discard(self, request: gr.Request, event: gr.EventData) -> str:
        """To the bin."""
        return self._viewing.discard(event_name(event), self._visitor(request))

    def bring_back(self, request: gr.Request, event: gr.EventData) -> str:
        """Back from the bin."""
        return self._viewing.restore(event_name(event), self._visitor(request))
