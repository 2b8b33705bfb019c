"""The queue on the page: its panel, the stage's and the row's Stop, the way to another device."""

from collections.abc import Callable
from urllib.parse import urljoin

import gradio as gr

from sdgen.config import Settings
from sdgen.owners import Visitor
from sdgen.ui import device_link
from sdgen.ui.events import EACH, QUICK, event_name
from sdgen.ui.messages import live
from sdgen.ui.page import Page
from sdgen.web import personal_link


class QueueRow:
    """Layout and wiring. The methods are what Gradio calls: plain values in, updates out."""

    def __init__(
        self, page: Page, settings: Settings, visitor: Callable[[gr.Request], Visitor]
    ) -> None:
        """visitor: who asks."""
        self._page = page
        self._settings = settings
        self._visitor = visitor

    # --- layout

    def lay_out(self, script: str) -> None:
        """The panel; live.py fills it. script: what turns clicks in HTML into events."""
        self.panel = gr.HTML(live("queue"), js_on_load=script, elem_id="queue")

    def lay_out_device(self, script: str) -> None:
        """The way to another device."""
        closed = device_link.closed(self._settings)
        self.device = gr.HTML(closed, js_on_load=script, elem_id="device")

    # --- what happens when

    def wire(self, stop: gr.Button, stage: gr.HTML, notice: gr.HTML) -> None:
        """stop: the button for all that runs; the stage has one for each of several groups."""
        panel = self.panel
        stop.click(self.halt_all, None, None, **EACH)
        stage.halt(self.halt, None, None, **EACH)
        panel.earlier(self.move_earlier, None, notice, **EACH)
        panel.later(self.move_later, None, notice, **EACH)
        panel.drop_job(self.drop_job, None, notice, **EACH)
        panel.cancel_all(self.drop_all, None, notice, **EACH)
        panel.pause(self.hold, None, notice, **EACH)
        panel.resume(self.go_on, None, notice, **EACH)
        self.device.link(self.show_link, None, self.device, **QUICK)

    # --- handlers

    def halt_all(self, request: gr.Request) -> None:
        """Stop what is shown running."""
        self._page.stop(self._visitor(request))

    def halt(self, request: gr.Request, event: gr.EventData) -> None:
        """Stop one group of what is shown running."""
        name = event_name(event)
        if name:
            self._page.stop(self._visitor(request), name)

    def move_earlier(self, request: gr.Request, event: gr.EventData) -> str:
        """A waiting job changes places with the one before it."""
        return self._page.move(self._visitor(request), event_name(event), -1)

    def move_later(self, request: gr.Request, event: gr.EventData) -> str:
        """A waiting job changes places with the one after it."""
        return self._page.move(self._visitor(request), event_name(event), 1)

    def drop_job(self, request: gr.Request, event: gr.EventData) -> str:
        """Cancel one waiting job."""
        return self._page.drop(self._visitor(request), event_name(event))

    def drop_all(self, request: gr.Request) -> str:
        """Cancel all that waits."""
        return self._page.drop_all(self._visitor(request))

    def hold(self, request: gr.Request) -> str:
        """Start nothing more for now."""
        return self._page.pause(self._visitor(request), True)

    def go_on(self, request: gr.Request) -> str:
        """Start again what waits."""
        return self._page.pause(self._visitor(request), False)

    def show_link(self, request: gr.Request) -> str:
        """The personal link of this browser, which asked for it."""
        link = personal_link(request, self._settings)
        return device_link.shown(urljoin(page_address(request), link) if link else "")


def page_address(request: gr.Request) -> str:
    """Where the browser that asks has the page, by its own word; it only sees its own."""
    headers = request.headers
    return str(headers["referer"]) if "referer" in headers else ""
