"""The header of a LoRA file: names, types and shapes of its tensors, and its alphas. No weights.

Everything in a file was written by somebody else: sizes, names and offsets are checked before
anything is believed, and metadata is text that proves nothing. Which tensors are a LoRA's is not
known here: what else a file carries (embeddings of OneTrainer and others) does not spoil it.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from sdgen.adapters.header_text import BadHeader, read_header_text
from sdgen.errors import AdapterRefused
from sdgen.model_formats import PICKLED, TensorEntry

FILE_BYTES_MAX = 2_000_000_000  # unless the operator says otherwise (SDGEN_MAX_ADAPTER_MB)
HEADER_BYTES_MAX = 100_000_000  # the safetensors library's own limit
NUMBER_MAX = 2**47  # of a shape or an offset; beyond any file
WEIGHTS = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}  # bytes of one number
SCALARS = WEIGHTS | {"I64": 8, "I32": 4}  # alpha alone may be written as these

_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # zip, bare pickles
_UNPACK = {"F16": "<e", "F32": "<f", "F64": "<d", "I64": "<q", "I32": "<i"}


@dataclass(frozen=True)
class Header:
    """What one file says it holds; its structure is sound, its words are not trusted."""

    path: Path = field(repr=False)
    size_bytes: int
    entries: Mapping[str, TensorEntry] = field(repr=False)
    scalars: Mapping[str, float] = field(repr=False)  # of *.alpha: NaN where it is no one number
    metadata: Mapping[str, str] = field(repr=False)


def read_header(path: Path, bytes_max: int | None = None) -> Header:
    """The header of a safetensors file, checked. Whether it is a LoRA is not looked at here.

    bytes_max: of the whole file; None: as large as it is. Raises AdapterRefused: pickled, not
    safetensors, damaged, cut short, or beyond the limits.
    """
    try:
        if not path.is_file():
            raise AdapterRefused("This is not a file.")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = _text_length(path, file, size, bytes_max)
            try:
                raw, metadata = read_header_text(file, length)
            except BadHeader as error:
                raise AdapterRefused(str(error) or _DAMAGED) from error
            entries = _entries(raw, 8 + length, size)
            scalars = {
                key: _scalar(file, entry)
                for key, entry in entries.items()
                if key.endswith(".alpha")
            }
    except OSError as error:
        raise AdapterRefused(f"The file cannot be read: {error.strerror}.") from error
    return Header(path, size, entries, scalars, metadata)


def too_large(size: int, bytes_max: int) -> str:
    """Why a file of that many bytes is not taken, as a sentence."""
    return (
        f"The file has {size / 1e6:,.0f} MB; a LoRA of at most {bytes_max / 1e6:,.0f} MB is taken "
        "(the operator can change SDGEN_MAX_ADAPTER_MB)."
    )


def _text_length(path: Path, file: BinaryIO, size: int, bytes_max: int | None) -> int:
    """The bytes of the JSON text, which comes next in the file."""
    if size == 0:
        raise AdapterRefused("The file is empty.")
    if bytes_max is not None and size > bytes_max:
        raise AdapterRefused(too_large(size, bytes_max))
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
    file.seek(8)
    return length


_CUT_SHORT = "The file is damaged or was not copied to its end; please fetch it again."
_DAMAGED = "The header of the file is damaged, so it is no safetensors file."


def _entries(
    raw: Mapping[str, Mapping[str, object]], begin: int, size: int
) -> dict[str, TensorEntry]:
    """The tensors' entries, their offsets from the begin of the file. Raises AdapterRefused."""
    if not raw:
        raise AdapterRefused("The file holds no tensors.")
    entries = {key: _entry(key, value, begin) for key, value in raw.items()}
    place = begin
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != place:
            raise AdapterRefused("Tensors of the file overlap or leave holes; it is damaged.")
        place = entry.end
    if place > size:
        raise AdapterRefused(_CUT_SHORT)
    if place < size:
        raise AdapterRefused("The file goes on after its last tensor; it is damaged.")
    return entries


def _entry(key: str, value: Mapping[str, object], begin: int) -> TensorEntry:
    """One tensor's entry. Raises AdapterRefused."""
    kind, shape, offsets = (value.get(name) for name in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        raise AdapterRefused(_DAMAGED)
    numbers = [*shape, *offsets]
    if len(offsets) != 2 or len(numbers) > 10 or not all(_is_size(n) for n in numbers):
        raise AdapterRefused(_DAMAGED)
    start, end = offsets
    width = (SCALARS if key.endswith(".alpha") else WEIGHTS).get(kind)
    if end < start or (width is not None and end - start != math.prod(shape) * width):
        raise AdapterRefused(_DAMAGED)
    return TensorEntry(kind, tuple(shape), begin + start, begin + end)


def _is_size(number: object) -> bool:
    return type(number) is int and 0 <= number <= NUMBER_MAX


def _scalar(file: BinaryIO, entry: TensorEntry) -> float:
    """The value of a tensor of one number; NaN where it is none. Raises AdapterRefused."""
    if math.prod(entry.shape) != 1 or entry.dtype not in SCALARS:
        return math.nan
    file.seek(entry.start)
    raw = file.read(entry.end - entry.start)
    if len(raw) != entry.end - entry.start:
        raise AdapterRefused(_CUT_SHORT)
    if entry.dtype == "BF16":
        return float(struct.unpack("<f", b"\x00\x00" + raw)[0])
    return float(struct.unpack(_UNPACK[entry.dtype], raw)[0])
