"""Photos with captions as values, and their folder on disk, which other tools read too. No torch.

    FOLDER/0f1e...png      a photo: upright, RGB, without EXIF; named by its content
    FOLDER/0f1e...txt      its caption in one line, as kohya's tools read it
    FOLDER/metadata.jsonl  {"file_name": ..., "text": ...}, as diffusers' scripts read it by
                           datasets' imagefolder; the other fields are ours
    FOLDER/held_out/       the same for photos that are never trained on; kohya's tools do not look
                           into folders of a folder, datasets does

metadata.jsonl is written last: a folder without it is unfinished.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lora.dataset.buckets import Box, Size
from lora.dataset.errors import DatasetDamaged, PhotosRefused
from lora.runs import write_whole
from sdgen.errors import StorageFailed

METADATA = "metadata.jsonl"
HELD_OUT = "held_out"
LONGEST_CAPTION = 2000  # characters; far more than any text encoder reads
_JOINERS = "\u200c\u200d"  # do not print, but spell words in many scripts
_NAME_DIGITS = 24  # of the content's hash, in a file's name
_OURS = re.compile(rf"[0-9a-f]{{{_NAME_DIGITS}}}\.(png|txt)")


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

    @property
    def caption_id(self) -> str:
        """SHA-256, hex, of the caption: keeps a caption and its photo together in every batch."""
        return caption_hash(self.caption)


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


def content_hash(width: int, height: int, rgb: bytes) -> str:
    """SHA-256, hex, of a picture's size and its RGB bytes, row by row."""
    return hashlib.sha256(b"RGB %d %d\n" % (width, height) + rgb).hexdigest()


def caption_hash(caption: str) -> str:
    """SHA-256, hex, of a caption in UTF-8."""
    return hashlib.sha256(caption.encode("utf-8")).hexdigest()


def one_line(text: str) -> str:
    """A caption as it is stored: one line, composed characters, nothing that does not print."""
    text = text.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair
    kept = "".join(
        char for char in text if char.isprintable() or char.isspace() or char in _JOINERS
    )
    line = " ".join(unicodedata.normalize("NFC", kept).split())
    return line[:LONGEST_CAPTION].strip()


def stored_name(content: str) -> str:
    """The file name, without its end, of a photo with that content hash."""
    return content[:_NAME_DIGITS]


def write_dataset(dataset: Dataset, folder: Path) -> Dataset:
    """Write photos and captions into `folder` (made if need be); the dataset as it lies there.

    What an earlier dataset left in the folder is replaced; files that are not ours stay. Raises
    PhotosRefused when there is nothing to train on, DatasetDamaged when a photo is gone,
    StorageFailed when the folder cannot be written.
    """
    if not dataset.examples:
        raise PhotosRefused("None of the photos can be used, so there is nothing to train on.")
    try:
        (folder / METADATA).unlink(missing_ok=True)
        held_out = _write_examples(dataset.held_out, folder / HELD_OUT)
        examples = _write_examples(dataset.examples, folder)
        _clean(folder / HELD_OUT, held_out)
        _clean(folder, examples)
    except OSError as error:
        raise StorageFailed(
            f"The photos could not be stored: {error.strerror or 'the disk does not answer'}."
        ) from error
    return Dataset(examples, held_out)


def clear_dataset(folder: Path) -> None:
    """Remove what an earlier dataset left in `folder`; files that are not ours stay.

    Raises StorageFailed.
    """
    try:
        for place in (folder, folder / HELD_OUT):
            (place / METADATA).unlink(missing_ok=True)
            _clean(place, ())
    except OSError as error:
        raise StorageFailed(
            f"Earlier photos could not be removed: {error.strerror or 'the disk does not answer'}."
        ) from error


def load_dataset(folder: Path) -> Dataset:
    """The dataset that write_dataset left in `folder`.

    Reads no pixels: lora.dataset.pixels compares them with Example.id. Raises DatasetDamaged when
    something is missing or was changed.
    """
    held_out = folder / HELD_OUT
    return Dataset(
        _read_examples(folder), _read_examples(held_out) if (held_out / METADATA).is_file() else ()
    )


def _write_examples(examples: tuple[Example, ...], folder: Path) -> tuple[Example, ...]:
    if not examples and not folder.is_dir():
        return ()
    folder.mkdir(parents=True, exist_ok=True)
    stored, lines = [], []
    for example in examples:
        path = folder / f"{stored_name(example.id)}.png"
        _copy(example, path)
        write_whole(path.with_suffix(".txt"), f"{example.caption}\n".encode(), sync=False)
        stored.append(replace(example, path=path))
        lines.append(json.dumps(_row(stored[-1]), ensure_ascii=False))
    if lines:
        write_whole(folder / METADATA, "".join(f"{line}\n" for line in lines).encode())
    else:
        (folder / METADATA).unlink(missing_ok=True)
    return tuple(stored)


def _copy(example: Example, path: Path) -> None:
    if path == example.path or path.is_file():  # named by its content: it is the same
        return
    if not example.path.is_file():
        raise DatasetDamaged(f"The photo '{example.name}' is gone from where it was prepared.")
    stump = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        shutil.copyfile(example.path, stump)
        stump.replace(path)
    except OSError:
        stump.unlink(missing_ok=True)
        raise


def _clean(folder: Path, keep: tuple[Example, ...]) -> None:
    """Remove what an earlier dataset wrote here and this one does not have."""
    if not folder.is_dir():
        return
    names = {example.path.stem for example in keep}
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.stem not in names:
            path.unlink()


def _row(example: Example) -> dict[str, object]:
    return {
        "file_name": example.path.name,
        "text": example.caption,
        "name": example.name,
        "sha256": example.id,
        "width": example.width,
        "height": example.height,
        "bucket": example.bucket,
        "crop": example.crop,
        "fingerprint": example.fingerprint,
    }


def _read_examples(folder: Path) -> tuple[Example, ...]:
    try:
        text = (folder / METADATA).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetDamaged(
            f"The photos were not prepared to the end: {METADATA} is missing or unreadable."
        ) from error
    return tuple(
        _example(folder, number, line)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    )


def _example(folder: Path, number: int, line: str) -> Example:
    """One line of metadata.jsonl. Raises DatasetDamaged."""
    try:
        row: dict[str, Any] = json.loads(line)
        left, top, right, bottom = (float(side) for side in row["crop"])
        bucket_width, bucket_height = (int(side) for side in row["bucket"])
        example = Example(
            id=str(row["sha256"]),
            name=str(row["name"]),
            path=folder / str(row["file_name"]),
            caption=str(row["text"]),
            width=int(row["width"]),
            height=int(row["height"]),
            bucket=(bucket_width, bucket_height),
            crop=(left, top, right, bottom),
            fingerprint=str(row.get("fingerprint", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetDamaged(f"Line {number} of {METADATA} is damaged.") from error
    if example.path.name != f"{stored_name(example.id)}.png" or not example.path.is_file():
        raise DatasetDamaged(f"The photo '{example.name}' is missing from the prepared ones.")
    sidecar = example.path.with_suffix(".txt")
    try:
        same = not sidecar.is_file() or one_line(sidecar.read_text("utf-8")) == example.caption
    except (OSError, UnicodeDecodeError):
        same = False
    if not same:
        raise DatasetDamaged(
            f"The caption of '{example.name}' was changed in {sidecar.name} but not in "
            f"{METADATA}. A run keeps the captions it began with; start a new one for others."
        )
    return example
