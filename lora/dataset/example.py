"""A photo with its caption, and the photos of a training, as values. No torch."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lora.dataset.buckets import Box, Size
from sdgen.letters import JOINERS

LONGEST_CAPTION = 2000  # characters; far more than any text encoder reads


@dataclass(frozen=True)
class Example:
    """A photo and its caption, ready to be trained on."""

    id: str  # SHA-256, hex, of the decoded pixels (content_hash)
    name: str  # what the person called the file; for reports only
    path: Path  # PNG: upright, RGB
    caption: str  # one line
    width: int  # pixels of the PNG
    height: int
    bucket: Size  # size it is trained at
    crop: Box  # what of the PNG is kept; has the bucket's ratio
    fingerprint: str = ""  # perceptual hash, hex; "" for none


@dataclass(frozen=True)
class Dataset:
    """Photos to train on, and those held out to judge with."""

    examples: tuple[Example, ...]
    held_out: tuple[Example, ...] = ()

    def with_captions(self, captions: Mapping[str, str]) -> "Dataset":
        """The same with other captions, by Example.id; captions not named stay."""

        def changed(examples: Iterable[Example]) -> tuple[Example, ...]:
            return tuple(
                replace(one, caption=one_line(captions.get(one.id, one.caption)))
                for one in examples
            )

        return Dataset(changed(self.examples), changed(self.held_out))


def one_line(text: str) -> str:
    """A caption as it is stored: one line, composed characters, nothing that does not print."""
    text = text.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair
    kept = "".join(char for char in text if char.isprintable() or char.isspace() or char in JOINERS)
    line = " ".join(unicodedata.normalize("NFC", kept).split())
    return line[:LONGEST_CAPTION].strip()
