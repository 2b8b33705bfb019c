"""Captions: where they come from, and the trigger word that each has exactly once. No torch.

A caption may be typed, lie beside its photo as `photo.txt`, `photo.caption` or `photo.jpg.txt`
(kohya's layouts), or stand in the folder's metadata.jsonl or metadata.csv (the layout of diffusers
and datasets: `file_name` and `text`). Typed ones come first, then those beside the photo.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from lora.dataset.example import one_line
from lora.dataset.files import METADATA_NAMES, SourceFile
from sdgen.letters import as_words

TEXT_KEYS = ("text", "caption", "prompt", "description")  # of metadata, in this order
PLACEHOLDER = "[trigger]"  # as ai-toolkit's captions have it
BUDGET = 75  # tokens that CLIP reads: 77 less its start and end marks

CountTokens = Callable[[str], int | None]


@dataclass
class CaptionFiles:
    """The captions found in files, by the folder and the name they were written for."""

    beside: dict[tuple[str, str], str] = field(default_factory=dict)  # (folder, stem or name)
    listed: dict[tuple[str, str], str] = field(default_factory=dict)  # (folder, name)
    names: dict[tuple[str, str], str] = field(default_factory=dict)  # what we called them before
    problems: list[str] = field(default_factory=list)  # sentences

    def of(self, photo: SourceFile) -> tuple[str, bool]:
        """The caption for a photo, "" for none, and whether two files disagree on it."""
        beside = self.beside.get((photo.folder, photo.name)) or self.beside.get(
            (photo.folder, photo.stem), ""
        )
        listed = self.listed.get((photo.folder, photo.name), "")
        return beside or listed, bool(beside and listed and beside != listed)


def read_captions(files: Iterable[SourceFile]) -> CaptionFiles:
    """The captions of all caption files; what cannot be read becomes a problem, never an error."""
    found = CaptionFiles()
    for file in files:
        if file.kind != "caption" or file.refused:
            continue
        try:
            text = _decoded(file.read())
            if file.name.lower() in METADATA_NAMES:
                _read_listed(file, text, found)
            else:
                stem = file.name[: file.name.rindex(".")]
                found.beside[file.folder, stem] = one_line(text)
        except (OSError, ValueError, csv.Error) as error:
            reason = str(error) if isinstance(error, _Line) else "It cannot be read."
            found.problems.append(f"{file.name}: {reason}")
    return found


class _Line(ValueError):
    """A line of metadata that means nothing."""


def _decoded(data: bytes) -> str:
    """Text of unknown origin: UTF-16 with its mark, UTF-8 with or without, or else Latin-1."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _read_listed(file: SourceFile, text: str, found: CaptionFiles) -> None:
    """metadata.jsonl or metadata.csv; file names in it are relative to its folder."""
    if file.name.lower().endswith(".csv"):
        rows: list[object] = list(csv.DictReader(text.splitlines()))
    else:
        rows = []
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as error:
                    raise _Line(f"Line {number} is no JSON.") from error
    for number, row in enumerate(rows, start=1):
        name = row.get("file_name") if isinstance(row, Mapping) else None
        if not isinstance(row, Mapping) or not isinstance(name, str):
            raise _Line(f"Entry {number} has no file_name.")
        caption = next((row[key] for key in TEXT_KEYS if isinstance(row.get(key), str)), "")
        *inner, name = name.replace("\\", "/").split("/")
        folder = "/".join(part for part in (file.folder, *inner) if part not in ("", "."))
        found.listed[folder, name] = one_line(str(caption))
        if isinstance(row.get("name"), str):
            found.names[folder, name] = row["name"]


def has_trigger(caption: str, trigger: str) -> bool:
    """True when the trigger stands in the caption as words of its own, in upper or lower case."""
    return bool(trigger.split()) and as_words(trigger).search(caption) is not None


def with_trigger(caption: str, trigger: str, class_word: str = "") -> str:
    """The caption with the trigger in it, once.

    A caption that has it stays as it is. `[trigger]` is replaced by it. Otherwise it is put in
    front, followed by the class word where neither trigger nor caption have that: "sks", "dog" and
    "on a sofa" give "sks dog, on a sofa". Doing it twice changes nothing.
    """
    caption, trigger, class_word = one_line(caption), one_line(trigger), one_line(class_word)
    if PLACEHOLDER in caption:
        without = one_line(caption.replace(PLACEHOLDER, ""))
        if not has_trigger(without, trigger):
            caption = caption.replace(PLACEHOLDER, trigger, 1).replace(PLACEHOLDER, "")
        caption = one_line(caption.replace(PLACEHOLDER, ""))
    if not trigger or has_trigger(caption, trigger):
        return caption
    subject = trigger
    if class_word and not has_trigger(f"{trigger} {caption}", class_word):
        subject = f"{trigger} {class_word}"
    return one_line(f"{subject}, {caption}" if caption else subject)


def unread(caption: str, count_tokens: CountTokens, budget: int = BUDGET) -> str:
    """The words at the end of a caption that the text encoder does not read; "" for none."""
    words = caption.split()
    if (count_tokens(caption) or 0) <= budget:
        return ""
    low, high = 0, len(words)  # so many words fit; so many do not
    while high - low > 1:
        middle = (low + high) // 2
        if (count_tokens(" ".join(words[:middle])) or 0) <= budget:
            low = middle
        else:
            high = middle
    return " ".join(words[low:])
