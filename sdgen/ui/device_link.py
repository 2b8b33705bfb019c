"""The way to one's own queue and pictures from another browser, as HTML; shown on demand only."""

from sdgen.config import Settings
from sdgen.ui.messages import escape

TITLE = "Open on another device"
LOGIN = "Log in there with the same name: queue and pictures belong to the login."
ONE_USER = "Open this page there: everybody who can open it shares one queue and one gallery."
NO_COOKIE = "This browser keeps no cookie of this page, so there is no link to its pictures."
SECRET = "Whoever has the link sees these pictures and this queue. Keep it to yourself."


def closed(settings: Settings) -> str:
    """What is there at first; the link itself is not."""
    if settings.one_user:
        body = f"<p>{ONE_USER}</p>"
    elif settings.login():
        body = f"<p>{LOGIN}</p>"
    else:
        body = (
            f"<p>{SECRET}</p>"
            '<button type="button" class="sd-button sd-small" data-action="link">Show the link'
            "</button>"
        )
    return f'<details class="sd-device"><summary>{TITLE}</summary>{body}</details>'


def shown(url: str) -> str:
    """The link, to be read and copied; "" is said to be none."""
    if not url:
        body = f"<p>{NO_COOKIE}</p>"
    else:
        safe = escape(url)
        body = (
            f'<p>{SECRET}</p><input type="text" readonly value="{safe}" '
            'aria-label="Personal link">'
            f'<button type="button" class="sd-button sd-small" data-action="copy" '
            f'data-text="{safe}">Copy</button>'
        )
    return f'<details class="sd-device" open><summary>{TITLE}</summary>{body}</details>'
