"""The Gallery tab as HTML, without the pictures: search, bar of what is selected, messages.

Buttons carry `data-action`; gallery.js and gallery_search.js turn presses into events.
"""

import time
from collections.abc import Sequence

from sdgen.ui.gallery_search import KINDS
from sdgen.ui.messages import escape

LABEL_CHARS = 80  # of a prompt in a label; screen readers read it to the end
ALT_CHARS = 300  # of a prompt in the words for a picture that cannot be seen
NAME_CHARS = 60  # of a model or adapter in a list
ICONS = {
    "star": '<path d="m10 2 2.5 5.2 5.7.8-4.1 4 1 5.7-5.1-2.7-5.1 2.7 1-5.7-4.1-4 5.7-.8Z"/>',
    "search": '<circle cx="8.5" cy="8.5" r="5.5"/><path d="m13 13 5 5"/>',
    "filters": '<path d="M3 5h14M6 10h8M8.5 15h3"/>',
    "refresh": '<path d="M16.5 10a6.5 6.5 0 1 1-2-4.7M15 2v4h-4"/>',
    "bin": '<path d="M3 5h14M8 5V3h4v2M5 5l1 12h8l1-12M8.5 8.5v5M11.5 8.5v5"/>',
    "zip": '<path d="M10 3v9m-4-4 4 4 4-4M3 16h14"/>',
    "compare": '<path d="M10 2v16M3 5h4v10H3M17 5h-4v10h4"/>',
    "back": '<path d="M4 8h8a4 4 0 0 1 0 8H8M7 4 3 8l4 4"/>',
}
TITLES = {"all": "All", "favourites": "Favourites", "bin": "Bin"}


def form(models: Sequence[str], adapters: Sequence[str]) -> str:
    """The search. models, adapters: those that occur; a choice of one is none and has no box."""
    segments = "".join(
        f'<label><input type="radio" name="only" value="{kind}"{" checked" * (kind == "all")}>'
        f"<span>{TITLES[kind]}</span></label>"
        for kind in KINDS
    )
    more = ""
    if len(models) > 1:
        more += _select("model", "Model", "All models", models)
    if adapters:
        more += _select("adapter", "Adapter", "With or without", adapters)
    return (
        '<form class="sd-find" role="search" aria-label="Your pictures">'
        f'<label class="sd-find-words"><span class="sd-unseen">Words of the prompt</span>'
        f'{icon("search")}<input type="search" name="words" placeholder="Search prompts" '
        'maxlength="300" autocomplete="off" enterkeyhint="search"></label>'
        f'<fieldset class="sd-segments"><legend class="sd-unseen">Which pictures</legend>{segments}'
        '</fieldset><button type="button" class="sd-button sd-filters" data-action="filters" '
        f'aria-expanded="false" aria-controls="sd-find-more">{icon("filters")}<span>Filters</span>'
        f'</button><div class="sd-find-more" id="sd-find-more">{more}'
        '<label>From <input type="date" name="since"></label>'
        '<label>To <input type="date" name="until"></label>'
        '<button type="button" class="sd-button" data-action="clear" hidden>Clear</button>'
        "</div></form>"
    )


def selection_bar(kind: str) -> str:
    """The bar of what can be done with the selected pictures; gallery.js shows it."""
    if kind == "bin":
        deeds = _deed("restore", "back", "Restore") + _deed(
            "ask", "bin", "Delete for good", name="erase"
        )
    else:
        on = kind != "favourites"
        deeds = (
            _deed("star", "star", "Favourite" if on else "No favourite", on=on)
            + _deed("pack", "zip", "Download", title="The original files as one zip")
            + _deed("compare", "compare", "Compare", title="Select exactly two to compare them")
            + _deed("discard", "bin", "Delete")
        )
    return (
        '<div class="sd-selection" role="group" aria-label="Selected pictures" hidden>'
        f'<p role="status"></p><div class="sd-deeds">{deeds}</div>'
        '<button type="button" class="sd-icon" data-action="none" '
        'aria-label="Clear the selection">✕</button></div>'
    )


def _deed(
    action: str, sign: str, words: str, *, on: bool = True, title: str = "", name: str = ""
) -> str:
    marks = f' title="{title}"' if title else ""
    marks += f' data-name="{name}"' if name else ""
    marks += "" if on else ' data-on="false"'
    return (
        f'<button type="button" class="sd-button" data-action="{action}"{marks}>{icon(sign)}'
        f"<span>{words}</span></button>"
    )


def question(deed: str, title: str, words: str) -> str:
    """The question before pictures are deleted for good. deed: the event of a yes."""
    return (
        f'<dialog class="sd-ask" id="sd-ask-{deed}" aria-labelledby="sd-ask-{deed}-title">'
        f'<h2 id="sd-ask-{deed}-title">{title}</h2><p>{words} This cannot be undone.</p>'
        '<div class="sd-actions">'
        '<button type="button" class="sd-button" data-action="close">Keep them</button>'
        f'<button type="button" class="sd-button sd-danger" data-action="{deed}">Delete for good'
        "</button></div></dialog>"
    )


def button(action: str, words: str, marks: str = "", *, primary: bool = False) -> str:
    """A button of an empty list. marks: further attributes."""
    look = " sd-primary" if primary else ""
    return (
        f'<button type="button" class="sd-button{look}" data-action="{action}" {marks}>{words}'
        "</button>"
    )


def toast(words: str, deeds: str = "") -> str:
    """A message at the lower edge. deeds: HTML of buttons that belong to it."""
    return framed(f"<p>{escape(words)}</p>{deeds}" if words else "")


def framed(message: str) -> str:
    """The place of messages at the lower edge with one in it, HTML, or with none."""
    if not message:
        return '<div class="sd-toast" role="status"></div>'
    stamp = time.monotonic_ns()  # the same words again are a new message
    return f'<div class="sd-toast" role="status" data-said="{stamp}">{message}</div>'


def undo(action: str, ids: Sequence[str], label: str) -> str:
    """A button of a message that takes back what it tells."""
    named = f'data-ids="{escape(" ".join(ids))}"'
    return f'<button type="button" class="sd-link" data-action="{action}" {named}>{label}</button>'


def download(url: str, label: str) -> str:
    """A link that the page follows by itself, for what does not open in a window."""
    return f'<a class="sd-link" href="{escape(url)}" download data-go>{escape(label)}</a>'


def icon(name: str) -> str:
    """A small drawing in the colour of the text."""
    return f'<svg class="sd-svg" viewBox="0 0 20 20" aria-hidden="true">{ICONS[name]}</svg>'


def short(prompt: str, chars: int = LABEL_CHARS) -> str:
    """A prompt's beginning, in one line."""
    words = " ".join(prompt.split())
    return words if len(words) <= chars else f"{words[: chars - 1].rstrip()}…"


def _select(name: str, label: str, nothing: str, options: Sequence[str]) -> str:
    listed = "".join(
        f'<option value="{escape(option)}">{escape(short(option, NAME_CHARS))}</option>'
        for option in options
    )
    return (
        f'<label>{label} <select name="{name}"><option value="">{nothing}</option>{listed}'
        "</select></label>"
    )
