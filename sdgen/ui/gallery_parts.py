"""The Gallery tab as HTML, without the pictures: the search, and messages at the lower edge."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sdgen.html import render, short
from sdgen.ui import TEMPLATES
from sdgen.ui.gallery_search import KINDS

ALT_CHARS = 300  # of a prompt in the words for a picture that cannot be seen
NAME_CHARS = 60  # of a model or adapter in a list
TITLES = {"all": "All", "favourites": "Favourites", "bin": "Bin"}


@dataclass(frozen=True)
class Undo:
    """The button of a message that takes back what it tells."""

    action: str
    ids: Sequence[str]
    label: str = "Undo"


@dataclass(frozen=True)
class Download:
    """The link of a message that the page follows by itself, as it opens no window."""

    url: str
    label: str = "Download"


def form(models: Sequence[str], adapters: Sequence[str]) -> str:
    """The search. models, adapters: those that occur; a choice of one is none and has no box."""
    return render(
        TEMPLATES,
        "gallery.html",
        "form",
        kinds=[(kind, TITLES[kind]) for kind in KINDS],
        models=[(name, short(name, NAME_CHARS)) for name in models],
        adapters=[(name, short(name, NAME_CHARS)) for name in adapters],
    )


def toast(words: str, undo: Undo | None = None, download: Download | None = None) -> str:
    """A message at the lower edge; without words there is none."""
    if not words:
        return framed("")
    stamp = time.monotonic_ns()
    return render(
        TEMPLATES,
        "gallery.html",
        "toast",
        words=words,
        stamp=stamp,
        undo=undo,
        download=download,
    )


def framed(message: str) -> str:
    """The place of messages at the lower edge with one in it, HTML, or with none."""
    stamp = time.monotonic_ns()
    return render(TEMPLATES, "gallery.html", "framed", message=Markup(message), stamp=stamp)
