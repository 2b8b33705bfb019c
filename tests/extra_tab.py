"""One more tab, as a module of its own adds it."""

import gradio as gr

from sdgen.config import Settings
from sdgen.studio import Studio


class Extra:
    """What a tab leaves to be closed when the app ends."""

    def close(self, grace: float) -> None:
        """Nothing to wait for."""


def add_tab(studio: Studio, settings: Settings, *, strangers: bool) -> Extra:
    """A line that tells what it was called with."""
    gr.Markdown(f"{studio.default_model()}, strangers: {strangers}", elem_id="extra")
    return Extra()
