"""Adapters in words and HTML: the picker's lines, and a row for each chosen one."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sdgen.adapters import AdapterReport
from sdgen.html import render
from sdgen.request import SCALE_MAX
from sdgen.studio_adapters import AdapterCard
from sdgen.ui import TEMPLATES, messages
from sdgen.ui.form import ChosenAdapter
from sdgen.ui.triggers import has as has_trigger

CHIPS_MAX = 12  # trigger words that are shown of one adapter
LEFT_OUT_MAX = 20  # modules that are listed
FAMILIES = {"sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x", "sdxl": "SDXL"}
SLIDER_MAX = 2  # of an adapter's slider, until a strength beyond it is asked for
NOT_HERE = "This adapter is not on this machine any more."


def choices(cards: Sequence[AdapterCard], chosen: Sequence[ChosenAdapter]) -> list[tuple[str, str]]:
    """The picker's lines, as (what is shown, the adapter's name); without those chosen."""
    names = {each.name for each in chosen}
    return [(line(card), card.name) for card in cards if card.name not in names]


def line(card: AdapterCard) -> str:
    """One adapter in the picker: its title, and what is to be known before it is picked."""
    if not card.local:
        return f"{card.title} · to download"
    if card.verdict is not None and card.verdict.level == "refused":
        return f"{card.title} · does not fit"
    if card.verdict is not None and card.verdict.level == "warns":
        return f"{card.title} · {card.verdict.share:.0%} of it fits"
    return card.title


@dataclass(frozen=True)
class _Row:
    """One chosen adapter, as its row shows it."""

    name: str
    title: str
    level: str  # fits, warns or refused
    sentence: str
    usable: bool
    has_text: bool  # it touches a text encoder, which may have a strength of its own
    triggers: tuple[tuple[str, bool], ...]  # each with whether the prompt has it
    facts: Markup  # empty where nothing is known of the file
    left_out: tuple[tuple[str, str], ...]  # modules that will not apply, each with the reason
    slider_max: str = f"{SLIDER_MAX:g}"
    strength_max: str = f"{SCALE_MAX:g}"


def rows(chosen: Sequence[ChosenAdapter], cards: Sequence[AdapterCard], prompt: str) -> str:
    """The chosen adapters as HTML; adapters.js fills the strengths in."""
    if not chosen:
        return ""
    known = {card.name: card for card in cards}
    listed = [_row(each, known.get(each.name), prompt) for each in chosen]
    return render(TEMPLATES, "adapters.html", "rows", adapters=listed)


def _row(chosen: ChosenAdapter, card: AdapterCard | None, prompt: str) -> _Row:
    level, sentence = _verdict(card)
    report = card.report if card else None
    usable = report is not None and level != "refused"
    triggers = report.triggers[:CHIPS_MAX] if report else ()
    return _Row(
        name=chosen.name,
        title=card.title if card else chosen.name,
        level=level,
        sentence=sentence,
        usable=usable,
        has_text=bool(report and (report.parts.text_encoder or report.parts.text_encoder_2)),
        triggers=tuple((word, has_trigger(prompt, word)) for word in triggers),
        facts=Markup(_facts(report)) if report else Markup(),
        left_out=card.verdict.left_out[:LEFT_OUT_MAX] if card and card.verdict else (),
    )


def trigger_words(chosen: Sequence[ChosenAdapter], cards: Sequence[AdapterCard]) -> tuple[str, ...]:
    """All trigger words of the chosen adapters."""
    names = {each.name for each in chosen}
    reports = [card.report for card in cards if card.name in names]
    return tuple(word for report in reports if report for word in report.triggers)


def broken(files: Sequence[tuple[str, str]]) -> str:
    """The files that are no usable adapters, each with the reason; "" where there is none."""
    return render(TEMPLATES, "adapters.html", "broken", files=files) if files else ""


def _verdict(card: AdapterCard | None) -> tuple[str, str]:
    if card is None:
        return "refused", NOT_HERE
    if card.verdict is None:
        return "warns", "Not on this machine yet."
    return card.verdict.level, card.verdict.sentence


def _facts(report: AdapterReport) -> str:
    """What the file tells of itself, as HTML."""
    parts = report.parts
    touched = (
        (parts.attention, "attention"),
        (parts.feed_forward, "feed-forward"),
        (parts.convolutions, "convolutions"),
        (parts.other, "other"),
        (parts.text_encoder + parts.text_encoder_2, "text encoder"),
    )
    ranks = _range(report.ranks)
    alphas = _range(report.alphas) if report.alpha_is_told else "as rank"
    return messages.facts(
        (
            ("Made for", report.base or FAMILIES.get(report.family, "")),
            ("Rank", f"{ranks}, alpha {alphas}" if ranks else ""),
            ("Parts", ", ".join(f"{count} {name}" for count, name in touched if count)),
            ("Format", f"{report.kind}, {report.layout}"),
            ("Licence", report.licence or "not said"),
            ("From", source_words(report.source)),
            ("Size", messages.size(report.size_bytes)),
            ("Hash", report.sha256[:12]),
        )
    )


def source_words(source: str) -> str:
    """Where an adapter came from, for people."""
    kind, _, place = source.partition(":")
    words = {
        "bundled": "comes with sdgen",
        "upload": "added as a file",
        "file": "a file of this machine",
        "trained": "trained here",
    }
    return f"the Hub: {place}" if kind == "hub" else words.get(kind, "")


def _range(numbers: Sequence[float]) -> str:
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
