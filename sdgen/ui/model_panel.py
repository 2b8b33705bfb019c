"""The model picker in words: what each model is, costs and can draw; and its download."""

from collections.abc import Iterator

from sdgen.html import render
from sdgen.studio import ModelCard, Studio
from sdgen.ui import TEMPLATES, fetching, messages

SEED_PROMPTS = (  # what people drew in the two projects that this one follows
    "a futuristic city with flying cars",
    "a hero standing heroically with lightning in the background",
    "a dramatic scene of a hero running through a village during a storm",
    "a hero in his superhero costume, striking a powerful pose in front of a temple",
)
NOTATION = (
    ("(word:1.2)", "weighs more, below 1 less; (word) is 1.1, [word] is 0.91"),
    (r"\( \) \[ \]", "brackets that are meant as such"),
    ("BREAK", "the rest is read as a part of its own; long prompts are read in parts anyway"),
    ("[cat:dog:0.5]", "a cat for the first half of the steps, then a dog; 8 instead: 8 steps"),
    ("[hat:0.5] [hat::0.5]", "comes after half of the steps, goes after half"),
    ("[cat|dog]", "changes at every step"),
    ("<lora:name:0.8>", "an adapter and its strength"),
)
GENERAL_PROMPTS = (
    "a lighthouse on a cliff at dawn, oil painting",
    "portrait of an old sailor, soft window light",
)


def choices(cards: list[ModelCard]) -> list[tuple[str, str]]:
    """The picker's lines, as (what is shown, the model's name)."""
    return [
        (card.title if card.local else f"{card.title} · {where(card)}", card.name) for card in cards
    ]


def where(card: ModelCard) -> str:
    """Whether a model is on this machine, or what fetching it costs."""
    if card.local:
        return "on this machine"
    return f"{messages.size(card.download_bytes)} to download"


def download_label(card: ModelCard) -> str:
    """The words of the button that fetches a model."""
    return f"Download {messages.size(card.download_bytes)}"


def facts(card: ModelCard) -> str:
    """A model's licence, native size, and where its files are, as HTML."""
    rows = (
        ("Licence", card.licence),
        ("Native size", f"{card.width} × {card.height}"),
        ("Files", where(card)),
    )
    return messages.facts(rows)


def vocabulary(card: ModelCard) -> str:
    """What a small model can draw, in its own words, as HTML; "" where that is not known."""
    words = card.words
    if words is None:
        return ""
    groups = (
        ("Things", words.subjects),
        ("Colours", words.colours),
        ("Places", words.places),
        ("Times", words.times),
        ("Poses", words.poses),
    )
    known = [(title, group) for title, group in groups if group]
    return render(TEMPLATES, "models.html", "vocabulary", title=card.title, groups=known)


def notation() -> str:
    """What a prompt may hold besides words, as HTML."""
    return render(TEMPLATES, "models.html", "notation", signs=NOTATION)


def examples(card: ModelCard) -> str:
    """Prompts to start from, as buttons: the model's own where it has some."""
    prompts = card.words.examples if card.words else (*SEED_PROMPTS, *GENERAL_PROMPTS)
    return render(TEMPLATES, "models.html", "examples", prompts=list(dict.fromkeys(prompts)))


def unknown(card: ModelCard, prompt: str) -> tuple[str, ...]:
    """The words of a prompt that a model with own words never saw."""
    return card.words.unknown(prompt) if card.words else ()


def download(studio: Studio, name: str) -> Iterator[str]:
    """Fetch a model that somebody agreed to, as HTML of how far it is."""
    return fetching.progress(lambda report: studio.download(name, report), name)
