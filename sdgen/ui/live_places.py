"""Where on the page live parts go."""


def live(part: str, html: str = "") -> str:
    """The place of one part of sdgen.ui.live; html: what is there before the first message."""
    return f'<div data-live="{part}">{html}</div>'
