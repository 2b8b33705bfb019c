"""The header of a LoRA file: names, types and shapes of its tensors, and its alphas. No weights.

Everything in a file was written by somebody else: sizes, names and offsets are checked before
anything is believed, and metadata is text that proves nothing.
"""

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from sdgen.errors import AdapterRefused
from sdgen.model_formats import PICKLED, TensorEntry

FILE_BYTES_MAX = 512_000_000
HEADER_BYTES_MAX = 2_000_000
TENSORS_MAX = 5_000
KEY_CHARS_MAX = 300  # characters
WEIGHTS = {"F16": 2, "BF16": 2, "F32": 4}  # bytes of one number
SCALARS = WEIGHTS | {"F64": 8, "I64": 8, "I32": 4}  # alpha alone may be written as these

_KEY = re.compile(r"[A-Za-z0-9_.:/-]+\Z")
_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # zip, bare pickles
_UNPACK = {"F16": "<e", "F32": "<f", "F64": "<d", "I64": "<q", "I32": "<i"}


@dataclass(frozen=True)
class Header:
    """What one file says it holds; its structure is sound, its words are not trusted."""

    path: Path = field(repr=False)
    size_bytes: int
    entries: Mapping[str, TensorEntry] = field(repr=False)
    scalars: Mapping[str, float] = field(repr=False)  # value of each tensor named *.alpha
    metadata: Mapping[str, str] = field(repr=False)


def read_header(path: Path) -> Header:
    """The header of a safetensors file, checked. Whether it is a LoRA is not looked at here.

    Raises AdapterRefused: pickled, not safetensors, damaged, cut short, or beyond the limits.
    """
    try:
        if not path.is_file():
            raise AdapterRefused("This is not a file.")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            raw, begin = _raw_header(path, file, size)
            entries, metadata = _parse(raw, begin, size)
            scalars = {
                key: _scalar(file, entry)
                for key, entry in entries.items()
                if key.endswith(".alpha")
            }
    except OSError as error:
        raise AdapterRefused(f"The file cannot be read: {error.strerror}.") from error
    return Header(path, size, entries, scalars, metadata)


def _raw_header(path: Path, file: BinaryIO, size: int) -> tuple[bytes, int]:
    """The JSON text and the offset at which the tensors begin."""
    if size == 0:
        raise AdapterRefused("The file is empty.")
    if size > FILE_BYTES_MAX:
        raise AdapterRefused(
            f"The file has {size / 1e6:,.0f} MB; a LoRA of at most "
            f"{FILE_BYTES_MAX / 1e6:.0f} MB is taken."
        )
    first = file.read(8)
    length = int.from_bytes(first, "little")
    is_json = file.read(1) == b"{"
    # The length of a sound header may look like the begin of a pickle, so the header counts first.
    if (first.startswith(_STARTS) or path.suffix.lower() in PICKLED) and (
        not is_json or 8 + length > size
    ):
        raise AdapterRefused(
            "This is a pickled file, which can run any code when it is opened; sdgen reads "
            "safetensors only. Look for the .safetensors version of it."
        )
    if len(first) < 8 or length < 2 or not is_json:
        raise AdapterRefused("This is not a safetensors file.")
    if 8 + length > size:
        raise AdapterRefused(_CUT_SHORT)
    if length > HEADER_BYTES_MAX:
        raise AdapterRefused(
            f"The header has {length / 1e6:,.1f} MB; at most {HEADER_BYTES_MAX / 1e6:.0f} MB "
            "are taken."
        )
    return b"{" + file.read(length - 1), 8 + length


_CUT_SHORT = "The file is damaged or was not copied to its end; please fetch it again."
_DAMAGED = "The header of the file is damaged, so it is no safetensors file."


def _parse(raw: bytes, begin: int, size: int) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise AdapterRefused(_DAMAGED) from error
    if not isinstance(header, dict):
        raise AdapterRefused(_DAMAGED)
    words = header.pop("__metadata__", {})
    if not isinstance(words, dict):
        raise AdapterRefused(_DAMAGED)
    if not header:
        raise AdapterRefused("The file holds no tensors.")
    if len(header) > TENSORS_MAX:
        raise AdapterRefused(f"The file holds {len(header):,} tensors; {TENSORS_MAX:,} are taken.")
    entries = {key: _entry(key, value, begin) for key, value in header.items()}
    place = begin
    for entry in sorted(entries.values(), key=lambda entry: entry.start):
        if entry.start != place:
            raise AdapterRefused("Tensors of the file overlap or leave holes; it is damaged.")
        place = entry.end
    if place > size:
        raise AdapterRefused(_CUT_SHORT)
    if place < size:
        raise AdapterRefused("The file goes on after its last tensor; it is damaged.")
    return entries, {key: value for key, value in words.items() if isinstance(value, str)}


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _entry(key: str, value: Any, begin: int) -> TensorEntry:
    """One tensor's entry, its offsets from the begin of the file. Raises AdapterRefused."""
    if len(key) > KEY_CHARS_MAX or not _KEY.match(key):
        raise AdapterRefused("The file has tensors whose names no LoRA has.")
    try:
        kind, shape, (start, end) = value["dtype"], value["shape"], value["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise AdapterRefused(_DAMAGED) from error
    numbers = [*shape, start, end] if isinstance(shape, list) else [None]
    if not isinstance(kind, str) or len(numbers) > 10 or not all(_is_size(n) for n in numbers):
        raise AdapterRefused(_DAMAGED)
    width = (SCALARS if key.endswith(".alpha") else WEIGHTS).get(kind)
    if width is None:
        raise AdapterRefused(
            f"The file holds numbers of type {_short(kind)}; F16, BF16 and F32 are taken."
        )
    count = math.prod(shape)
    if count == 0:
        raise AdapterRefused("The file holds empty tensors, so it is no LoRA.")
    if end - start != count * width:
        raise AdapterRefused(_DAMAGED)
    return TensorEntry(kind, tuple(shape), begin + start, begin + end)


def _is_size(number: object) -> bool:
    return type(number) is int and 0 <= number <= FILE_BYTES_MAX


def _short(text: str) -> str:
    return "".join(char for char in text if char.isalnum() or char == "_")[:20] or "unknown"


def _scalar(file: BinaryIO, entry: TensorEntry) -> float:
    """The value of a tensor of one number. Raises AdapterRefused: more of them, not finite."""
    if math.prod(entry.shape) != 1:
        raise AdapterRefused("An alpha of the file is no single number; the file is damaged.")
    file.seek(entry.start)
    raw = file.read(entry.end - entry.start)
    if len(raw) != entry.end - entry.start:
        raise AdapterRefused(_CUT_SHORT)
    if entry.dtype == "BF16":
        value = struct.unpack("<f", b"\x00\x00" + raw)[0]
    else:
        value = struct.unpack(_UNPACK[entry.dtype], raw)[0]
    if not math.isfinite(value):
        raise AdapterRefused("An alpha of the file is not a finite number.")
    return float(value)
