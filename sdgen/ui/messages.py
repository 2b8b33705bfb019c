"""From events and errors to words and HTML."""

import math
from collections.abc import Iterable

from markupsafe import Markup

from sdgen.html import render
from sdgen.ui import TEMPLATES

NO_COOKIE = (
    "Your browser keeps no cookie of this page, so the app cannot tell which pictures are yours. "
    "Allow cookies for it and load the page again."
)


def alert(text: str) -> str:
    """A message that a screen reader speaks at once; empty text clears the place."""
    if not text:
        return ""
    return render(TEMPLATES, "messages.html", "alert", text=text)


def notes(texts: tuple[str, ...]) -> str:
    """Remarks that are no errors, in the place of `alert`."""
    if not texts:
        return ""
    return render(TEMPLATES, "messages.html", "notes", texts=texts)


def undo(text: str, action: str, name: str) -> str:
    """A remark with a button that takes back what it tells; actions.js makes it an event."""
    return render(TEMPLATES, "messages.html", "undo", text=text, action=action, name=name)


def live(part: str, html: str = "") -> str:
    """The place of one part of sdgen.ui.live; html: what is there before the first message."""
    return render(TEMPLATES, "messages.html", "live", part=part, html=Markup(html))


def duration(seconds: float) -> str:
    """About how long, in words: "3 s", "2 min", "1.5 h"."""
    if not math.isfinite(seconds) or seconds < 1:
        return "1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(size_bytes: int) -> str:
    """A number of bytes in words: "2.8 GB", "35 MB", "180 kB"; "an unknown size" for zero."""
    if size_bytes <= 0:
        return "an unknown size"
    if size_bytes >= 995_000_000:
        return f"{size_bytes / 1e9:.1f} GB"
    if size_bytes >= 995_000:
        return f"{round(size_bytes / 1e6)} MB"
    return f"{max(1, round(size_bytes / 1e3))} kB"


def queue_words(ahead: int) -> str:
    """The place in the queue."""
    if ahead <= 0:
        return "Next in line"
    return f"Waiting: {ahead} {'request' if ahead == 1 else 'requests'} ahead"


def step_words(step: int, steps: int, seconds_left: float | None) -> str:
    """How far it is: "Step 5 of 12 · about 3 s left"."""
    words = f"Step {step} of {steps}"
    if seconds_left is not None and step < steps:
        words += f" · about {duration(seconds_left)} left"
    return words


def finished_words(pictures: int, seconds: float, noun: str = "picture") -> str:
    """What came out and how long it took."""
    return f"{_pictures(pictures, noun)} in {max(seconds, 0.1):.1f} s"


def stopped_words(pictures: int) -> str:
    """What is left after Stop."""
    return f"Stopped. {_pictures(pictures)} kept" if pictures else "Stopped"


def unknown_words(words: tuple[str, ...]) -> str:
    """The words of a prompt that the model never saw, as a sentence; "" where there is none."""
    if not words:
        return ""
    shown = ", ".join(f"“{word if len(word) <= 30 else word[:29] + '…'}”" for word in words[:6])
    more = f" and {len(words) - 6} more" if len(words) > 6 else ""
    return f"This model does not know {shown}{more}."


def hint(unknown: tuple[str, ...], tokens: int | None, budget: int, several: str = "") -> str:
    """The line under the prompt: unknown words, several prompts, and how much room is used."""
    return render(
        TEMPLATES,
        "messages.html",
        "hint",
        unknown=unknown_words(unknown),
        several=several,
        tokens=tokens,
        budget=budget,
    )


def status(text: str, kind: str) -> str:
    """A line that a screen reader tells when it changes. kind: its CSS class."""
    return render(TEMPLATES, "messages.html", "status", text=text, kind=kind)


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values as a list; those without a value are left out."""
    told = [(name, value) for name, value in rows if value]
    return render(TEMPLATES, "messages.html", "facts", rows=told)


def _pictures(count: int, noun: str = "picture") -> str:
    return f"{count} {noun if count == 1 else f'{noun}s'}"
