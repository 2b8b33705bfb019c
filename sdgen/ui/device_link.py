"""The way to one's own queue and pictures from another browser, as HTML; shown on demand only."""

from sdgen.config import Settings
from sdgen.html import render
from sdgen.ui import TEMPLATES

LOGIN = "Log in there with the same name: queue and pictures belong to the login."
ONE_USER = "Open this page there: everybody who can open it shares one queue and one gallery."
NO_COOKIE = "This browser keeps no cookie of this page, so there is no link to its pictures."
SECRET = "Whoever has the link sees these pictures and this queue. Keep it to yourself."


def closed(settings: Settings) -> str:
    """What is there at first; the link itself is not."""
    may_ask = not settings.one_user and not settings.login()
    words = SECRET if may_ask else ONE_USER if settings.one_user else LOGIN
    return render(TEMPLATES, "queue.html", "device_closed", words=words, may_ask=may_ask)


def shown(url: str) -> str:
    """The link, to be read and copied; "" is said to be none."""
    words = SECRET if url else NO_COOKIE
    return render(TEMPLATES, "queue.html", "device_open", words=words, link=url)
