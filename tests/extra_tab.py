"""One more tab, as a module of its own adds it."""

import gradio as gr

from sdgen.config import Settings
from sdgen.studio import Studio


def add_tab(studio: Studio, settings: Settings, *, strangers: bool) -> None:
    """A line that tells what it was called with."""
    gr.Markdown(f"{studio.default_model()}, strangers: {strangers}", elem_id="extra")
