"""Adapters in words and HTML: the picker's lines, and a row for each chosen one."""

from collections.abc import Sequence

from sdgen.request import SCALE_MAX
from sdgen.studio_adapters import AdapterCard
from sdgen.ui import messages, triggers
from sdgen.ui.form import ChosenAdapter
from sdgen.ui.messages import escape

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


def rows(chosen: Sequence[ChosenAdapter], cards: Sequence[AdapterCard], prompt: str) -> str:
    """The chosen adapters as HTML; adapters.js fills the strengths in."""
    known = {card.name: card for card in cards}
    listed = "".join(row(each, known.get(each.name), prompt) for each in chosen)
    return f'<ul class="sd-adapters" aria-label="Chosen adapters">{listed}</ul>' if listed else ""


def row(chosen: ChosenAdapter, card: AdapterCard | None, prompt: str) -> str:
    """One chosen adapter: verdict, strengths, trigger words, proof."""
    title = escape(card.title if card else chosen.name)
    level, sentence = _verdict(card)
    refused = level == "refused"
    parts = [
        f'<div class="sd-adapter-head"><b>{title}</b>'
        f'<button type="button" class="sd-icon" data-action="dismiss" '
        f'aria-label="Remove {title}">✕</button></div>',
        f'<p class="sd-verdict sd-{level}">{escape(sentence)}</p>',
    ]
    report = card.report if card else None
    if report is not None and not refused:
        has_text = bool(report.parts.text_encoder or report.parts.text_encoder_2)
        parts.append(_strength(title, "scale", "Strength"))
        if has_text:
            parts.append(
                '<label class="sd-apart"><input type="checkbox" data-part="apart">'
                "Another strength in the text encoder</label>"
            )
            parts.append(_strength(title, "text_scale", "Text"))
        parts.append(_chips(report.triggers, prompt))
        parts.append(
            '<div class="sd-adapter-foot"><button type="button" class="sd-button" '
            f'data-action="proof" aria-label="Proof strip of {title}" '
            'title="The same seed at strength 0, 0.5 and 1, side by side">Proof strip</button>'
            "</div>"
        )
    if card is not None and report is not None:
        parts.append(_about(card))
    return f'<li class="sd-adapter" data-name="{escape(chosen.name)}">{"".join(parts)}</li>'


def trigger_words(chosen: Sequence[ChosenAdapter], cards: Sequence[AdapterCard]) -> tuple[str, ...]:
    """All trigger words of the chosen adapters."""
    names = {each.name for each in chosen}
    reports = [card.report for card in cards if card.name in names]
    return tuple(word for report in reports if report for word in report.triggers)


def broken(files: Sequence[tuple[str, str]]) -> str:
    """The files that are no usable adapters, each with the reason; "" where there is none."""
    listed = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in files)
    if not listed:
        return ""
    return (
        f'<details class="sd-broken"><summary>Cannot be used: {len(files)}</summary>'
        f"<ul>{listed}</ul></details>"
    )


def _verdict(card: AdapterCard | None) -> tuple[str, str]:
    if card is None:
        return "refused", NOT_HERE
    if card.verdict is None:
        return "warns", "Not on this machine yet."
    return card.verdict.level, card.verdict.sentence


def _strength(title: str, part: str, label: str) -> str:
    where = "Strength in the text encoder" if part == "text_scale" else "Strength"
    name = f"{where} of {title}"
    step = f'step="0.05" data-part="{part}"'
    slider = f'min="-{SLIDER_MAX}" max="{SLIDER_MAX}" {step}'
    bounds = f'min="-{SCALE_MAX:g}" max="{SCALE_MAX:g}" {step}'
    text = ' sd-text-strength" hidden' if part == "text_scale" else '"'
    return (
        f'<div class="sd-strength{text}><span>{label}</span>'
        f'<input type="range" {slider} aria-label="{name}">'
        f'<input type="number" {bounds} aria-label="{name}, as a number"></div>'
    )


def _chips(words: Sequence[str], prompt: str) -> str:
    if not words:
        return ""
    buttons = "".join(
        f'<button type="button" class="sd-word" data-action="chip" data-word="{escape(word)}" '
        f'aria-pressed="{str(triggers.has(prompt, word)).lower()}">{escape(word)}</button>'
        for word in words[:CHIPS_MAX]
    )
    return f'<p class="sd-triggers"><span>Trigger words</span>{buttons}</p>'


def _about(card: AdapterCard) -> str:
    report = card.report
    if report is None:
        return ""
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
    facts = (
        ("Made for", report.base or FAMILIES.get(report.family, "")),
        ("Rank", f"{ranks}, alpha {alphas}" if ranks else ""),
        ("Parts", ", ".join(f"{count} {name}" for count, name in touched if count)),
        ("Format", f"{report.kind}, {report.layout}"),
        ("Licence", report.licence or "not said"),
        ("From", source_words(report.source)),
        ("Size", messages.size(report.size_bytes)),
        ("Hash", report.sha256[:12]),
    )
    listed = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts
        if value
    )
    left = card.verdict.left_out[:LEFT_OUT_MAX] if card.verdict else ()
    missing = "".join(f"<li>{escape(module)}: {escape(why)}</li>" for module, why in left)
    return (
        f'<details><summary>About this file</summary><dl class="sd-facts">{listed}</dl>'
        f"{f'<p>Will not apply:</p><ul>{missing}</ul>' if missing else ''}</details>"
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
