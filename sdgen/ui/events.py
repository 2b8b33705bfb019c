"""What Gradio's events of the page share: their options, and what an event carries."""

from typing import Any

import gradio as gr

from sdgen.ui.gradio_parts import event_data

PRIVATE = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
QUICK = {**PRIVATE, "queue": False}  # answers at once, so it need not wait its turn
NEWEST = {**QUICK, "trigger_mode": "always_last"}  # of many in a row, the last one counts
# Also those that come before the last one is answered.
EACH = {**QUICK, "trigger_mode": "multiple"}
Update = Any  # what Gradio takes for a component: a value, gr.update(...) or gr.skip()


def event_name(event: gr.EventData) -> str:
    """The `data-name` of the button that was pressed; whatever else a browser sent is ""."""
    return event_text(event, "name")


def event_text(event: gr.EventData, key: str) -> str:
    """One text of what a browser sent with an event; "" where there is none."""
    value = event_data(event).get(key)
    return value if isinstance(value, str) else ""
