"""What was found out about the photos before the first step, photo by photo, by name. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lora.dataset.example import Dataset, Example

Level = Literal["warning", "note"]  # look at it; said for completeness
Kind = Literal[
    "animated",
    "small",
    "blurred",
    "alike",
    "cropped",
    "no_caption",
    "long_caption",
    "two_captions",
    "no_trigger",
    "turned",
    "transparent",
    "converted",
]

# What a finding means, in the order in which reports tell them.
MEANINGS: Mapping[Kind, tuple[Level, str]] = {
    "small": ("warning", "smaller than the size of training: enlarging teaches softness"),
    "blurred": ("warning", "blurred: the adapter learns the blur too"),
    "alike": ("warning", "nearly the same as another: together they count twice"),
    "cropped": ("warning", "cropped by a good deal to fit; see that the subject stays whole"),
    "animated": ("warning", "animated: only its first frame is used"),
    "no_caption": ("warning", "without a caption: the trigger alone is used"),
    "long_caption": ("warning", "with a caption longer than the model reads: the end is unread"),
    "two_captions": ("warning", "with different captions in two files; the one beside it is used"),
    "no_trigger": ("note", "with a caption that lacked the trigger: it was put in front"),
    "turned": ("note", "turned upright, as the camera noted it"),
    "transparent": ("note", "transparent in places: that became white"),
    "converted": ("note", "in printing colours (CMYK): converted to RGB"),
}


@dataclass(frozen=True)
class Finding:
    """One thing about one photo. `detail` says how much, "" where there is nothing to add."""

    kind: Kind
    detail: str = ""

    @property
    def level(self) -> Level:
        """How much it matters."""
        return MEANINGS[self.kind][0]

    def __str__(self) -> str:
        return f"{MEANINGS[self.kind][1]}{f' ({self.detail})' if self.detail else ''}"


@dataclass(frozen=True)
class Photo:
    """A photo that came in: used when `example` is there, else left out for `reason`."""

    name: str  # short and printable, the only one of its kind in a report
    example: Example | None = None
    reason: str = ""  # a sentence
    findings: tuple[Finding, ...] = ()
    size: tuple[int, int] = (0, 0)  # pixels, upright, as it came in
    enlarged: float = 0.0  # times, to fill its bucket; above 1 it is upscaled
    cut: float = 0.0  # share of it that cropping takes away
    blur: float = 0.0  # 0 sharp to 1; see lora.dataset.likeness
    unread: str = ""  # the end of its caption that the model does not read

    @property
    def used(self) -> bool:
        """True when it will be trained on, or held out."""
        return self.example is not None


@dataclass(frozen=True)
class PhotoReport:
    """All that came in, and what became of it. `dataset` is written in `folder` already."""

    photos: tuple[Photo, ...]
    dataset: Dataset
    folder: Path
    trigger: str
    class_word: str
    resolution: int  # pixels; side of a square of the buckets' area
    findings: tuple[str, ...] = ()  # about all of them together; sentences
    ignored: tuple[tuple[str, str], ...] = ()  # files that are no photos: name, sentence
    similar: tuple[tuple[str, ...], ...] = ()  # names of photos that are nearly the same

    @property
    def used(self) -> tuple[Photo, ...]:
        """The photos of the dataset, in its order."""
        return tuple(photo for photo in self.photos if photo.used)

    @property
    def left_out(self) -> tuple[Photo, ...]:
        """The others, each with its reason."""
        return tuple(photo for photo in self.photos if not photo.used)

    @property
    def summary(self) -> str:
        """In one sentence: 29 photos in, 27 used, 2 left out."""
        count, used = len(self.photos), len(self.used)
        end = f"{count - used} left out" if count - used else "none left out"
        return f"{count} photo{'' if count == 1 else 's'} in, {used} used, {end}."

    def with_finding(self, kind: Kind) -> tuple[Photo, ...]:
        """The used photos of which this was found."""
        return tuple(
            photo for photo in self.used if any(found.kind == kind for found in photo.findings)
        )
