"""What a LoRA file and the card beside it say in words: triggers, licence, strength, base model.

All of it is a stranger's text: cut to size, without control characters, believed in nothing that
shapes can tell.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdgen.letters import JOINERS
from sdgen.request import SCALE_MAX

TRIGGERS_MAX, TRIGGER_CHARS = 8, 80
TITLE_CHARS = 120
CARD_BYTES_MAX = 1_000_000
NEARLY_ALL = 0.9  # of the captions that a trigger stands in

# Tags that stand in many captions and name nobody.
_COMMON = frozenset(
    {
        "1girl",
        "1boy",
        "solo",
        "looking at viewer",
        "simple background",
        "white background",
        "no humans",
    }
)


@dataclass(frozen=True)
class Words:
    """What is said about an adapter; empty where nothing is."""

    title: str = ""
    triggers: tuple[str, ...] = ()
    licence: str = ""
    strength: float | None = None
    base: str = ""
    source: str = ""

    def or_else(self, other: "Words") -> "Words":
        """These words, and those of `other` where there are none."""
        given = {name: value for name, value in vars(self).items() if value not in ("", (), None)}
        return replace(other, **given)


def metadata_words(metadata: Mapping[str, str]) -> Words:
    """The words in a file's own metadata: sdgen's, ModelSpec's, those of kohya's sd-scripts."""

    def first(*keys: str) -> str:
        return next((clean(metadata[key]) for key in keys if clean(metadata.get(key))), "")

    recipe = _object(metadata.get("sdgen.recipe"))
    triggers = _triggers(metadata.get("sdgen.trigger")) or _triggers(
        metadata.get("modelspec.trigger_phrase")
    )
    if not triggers:
        triggers = _triggers(recipe.get("trigger"))
    return Words(
        title=first("modelspec.title", "ss_output_name"),
        triggers=triggers or _tag_triggers(metadata),
        licence=first("sdgen.licence", "modelspec.license"),
        strength=_strength(metadata.get("sdgen.strength")),
        base=clean(recipe.get("base"))
        or first(
            "sdgen.base", "ss_sd_model_name", "ss_base_model_version", "modelspec.architecture"
        ),
        source="trained" if recipe else "",
    )


def card_words(path: Path) -> Words:
    """The words in the files beside an adapter: <name>.json, <name>.md or README.md, <name>.txt.

    A file that cannot be read says nothing.
    """
    words = Words()
    for beside, read in (
        (path.with_suffix(".json"), _json_words),
        (path.with_suffix(".md"), markdown_words),
        (path.parent / "README.md", markdown_words),
        (path.with_suffix(".txt"), _text_words),
    ):
        if beside.name == "README.md" and len(list(path.parent.glob("*.safetensors"))) > 1:
            continue  # whose card is it?
        text = _read(beside)
        if text:
            words = words.or_else(read(text))
    return words


def _json_words(text: str) -> Words:
    """sdgen's own sidecar, or that of A1111 ("activation text", "preferred weight")."""
    raw = _object(text)
    told = raw.get("triggers")
    triggers = tuple(_triggers(told)) if isinstance(told, str) else ()
    if isinstance(told, list):
        triggers = _each_once([clean(word, TRIGGER_CHARS) for word in told])
    source = clean(raw.get("source"), 300)
    return Words(
        title=clean(raw.get("title")),
        triggers=triggers or _triggers(raw.get("activation text")),
        licence=clean(raw.get("licence")),
        strength=_strength(raw.get("strength") or raw.get("preferred weight")),
        base=clean(raw.get("base")),
        source=source if source == "upload" or source.startswith("hub:") else "",
    )


def markdown_words(text: str) -> Words:
    """A model card of the Hub: the front matter, and the trigger in diffusers' sentence."""
    front = re.match(r"---\s*\n(.*?)\n---\s*(\n|\Z)", text, re.DOTALL)
    fields: dict[str, str] = {}
    if front:
        for line in front[1].splitlines():
            match = re.match(r"(license|instance_prompt|base_model)\s*:\s*(.+)\Z", line)
            if match:
                fields.setdefault(match[1], match[2].strip().strip("'\""))
    triggers = _triggers(fields.get("instance_prompt"))
    if not triggers:
        said = re.search(r"use `([^`\n]{1,200})` to trigger", text)
        triggers = _triggers(said[1] if said else None)
    return Words(
        triggers=triggers,
        licence=clean(fields.get("license")),
        base=clean(fields.get("base_model")),
    )


def _text_words(text: str) -> Words:
    """A short text beside a file holds its trigger words; a long one is something else."""
    return Words(triggers=_triggers(text.strip())) if len(text) <= 400 else Words()


def clean(text: object, limit: int = TITLE_CHARS) -> str:
    """A stranger's text on one line, without control characters, cut to `limit`; "" for others."""
    if not isinstance(text, str):
        return ""
    line = " ".join(text[: 20 * limit].split())
    kept = (char for char in line if char.isprintable() or char in JOINERS)
    return "".join(kept)[:limit].strip(JOINERS + " ")


def _triggers(text: object) -> tuple[str, ...]:
    """Trigger words as people list them, apart by commas or lines."""
    if not isinstance(text, str):
        return ()
    return _each_once([clean(piece, TRIGGER_CHARS) for piece in re.split(r"[,;\n]", text[:4000])])


def _each_once(words: list[str]) -> tuple[str, ...]:
    """Each once whatever its case; nothing that would itself be a tag in a prompt."""
    found: dict[str, str] = {}
    for word in words:
        if word and not re.search(r"<\s*lora\s*:", word, re.IGNORECASE):
            found.setdefault(word.casefold(), word)
    return tuple(found.values())[:TRIGGERS_MAX]


def _tag_triggers(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The most frequent tag of kohya's ss_tag_frequency, if it stands in nearly all captions."""
    counts: Counter[str] = Counter()
    captions = 0
    folders = _object(metadata.get("ss_dataset_dirs"))
    for folder, tags in _object(metadata.get("ss_tag_frequency")).items():
        if not isinstance(tags, dict):
            continue
        own = {
            tag.strip(): count
            for tag, count in tags.items()
            if type(count) is int and 0 < count < 1_000_000
        }
        about = folders.get(folder)
        told = about.get("img_count") if isinstance(about, dict) else None
        captions += told if type(told) is int and told > 0 else max(own.values(), default=0)
        counts.update(own)
    for tag, count in counts.most_common():
        if captions < 3 or count < NEARLY_ALL * captions:
            break
        if tag.casefold() not in _COMMON:
            return _each_once([clean(tag, TRIGGER_CHARS)])
    return ()


def _strength(told: object) -> float | None:
    try:
        value = float(told) if isinstance(told, str | int | float) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 < abs(value) <= SCALE_MAX else None


def _object(text: object) -> dict[str, Any]:
    """A JSON object, or an empty one."""
    try:
        raw = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _read(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > CARD_BYTES_MAX:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
