"""The photos' folder on disk, which other tools read too. No torch.

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
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora.dataset.errors import DatasetDamaged, PhotosRefused
from lora.dataset.example import Dataset, Example, one_line
from lora.runs import write_whole
from sdgen.errors import StorageFailed

METADATA = "metadata.jsonl"
HELD_OUT = "held_out"
_NAME_DIGITS = 24  # of the content's hash, in a file's name
_OURS = re.compile(rf"[0-9a-f]{{{_NAME_DIGITS}}}\.(png|txt)")


def content_hash(width: int, height: int, rgb: bytes) -> str:
    """SHA-256, hex, of a picture's size and its RGB bytes, row by row."""
    return hashlib.sha256(b"RGB %d %d\n" % (width, height) + rgb).hexdigest()


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
