"""The head of a safetensors file: what tensors it says it holds, and its maker's notes.

Nothing is loaded and nothing unpickled. A file is what its content says, never what its suffix
says; one that is something else is called by its name, for "damaged, fetch it again" sends people
to fetch a web page twice. The format: github.com/huggingface/safetensors, README.
"""

import json
import math
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdgen.errors import ModelUnavailable

HEADER_BYTES_MAX = 100_000_000  # the safetensors library's own limit
PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_VALUES_BYTES_MAX = 1_000_000  # of a tensor whose numbers are looked at
_LOOK_BYTES = 2_000  # of a file that is no safetensors, to see what it is
_LFS_SIZE = re.compile(rb"^size (\d{1,18})\s*$", re.MULTILINE)
_MAGIC: tuple[tuple[bytes, str], ...] = (  # how files begin that people take for models
    (b"\x1f\x8b", "a gzip archive; unpack it and give what is inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it and give what is inside"),
    (b"Rar!", "a RAR archive; unpack it and give what is inside"),
    (b"\x89HDF", "an HDF5 file (Keras); look for the .safetensors version of it"),
    (b"\x89PNG", "a picture, not a model"),
    (b"\xff\xd8\xff", "a picture, not a model"),
    (b"%PDF", "a PDF, not a model"),
)


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a safetensors header: type name, shape, and its bytes in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int  # bytes from the begin of the file
    end: int


@dataclass(frozen=True)
class SafetensorsHeader:
    """What a safetensors file says of itself."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]  # `__metadata__`: modelspec.*, ss_* and what else its maker wrote
    size: int  # bytes of the file

    @property
    def end(self) -> int:
        """Bytes up to the end of the last tensor."""
        return max(entry.end for entry in self.tensors.values())

    @property
    def surplus(self) -> int:
        """Bytes behind the end of the last tensor; the safetensors library refuses any."""
        return self.size - self.end


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors that a safetensors file says it holds, without reading them.

    Raises ModelUnavailable as `read_whole_header`.
    """
    return dict(read_whole_header(path).tensors)


def read_whole_header(path: Path, called: str = "") -> SafetensorsHeader:
    """The tensors and the metadata of a safetensors file, without reading its weights.

    called: what the errors call it; by default its name.
    Raises ModelUnavailable: pickled, a pointer, a web page or else no safetensors; damaged; cut
    short. Bytes behind its end are no error here: `surplus` counts them.
    """
    name = called or path.name
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(8)
            length = int.from_bytes(first, "little")
            if len(first) < 8 or not 2 <= length <= HEADER_BYTES_MAX:
                raise ModelUnavailable(_what_it_is(path, name, size))
            text = file.read(length)
    except OSError as error:
        raise ModelUnavailable(f"'{name}' cannot be read: {error.strerror}.") from error
    if len(text) < length:
        looks_pickled = first.startswith(_PICKLE_STARTS)
        whole = 8 + length
        raise ModelUnavailable(
            _what_it_is(path, name, size) if looks_pickled else _cut_short(name, size, whole)
        )
    try:
        raw = json.loads(text)
        notes = raw.get("__metadata__") or {}
        metadata = {str(key): str(value) for key, value in notes.items()}
        tensors = {
            key: TensorEntry(
                str(value["dtype"]),
                tuple(int(side) for side in value["shape"]),
                8 + length + int(value["data_offsets"][0]),
                8 + length + int(value["data_offsets"][1]),
            )
            for key, value in raw.items()
            if key != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ModelUnavailable(
            f"'{name}' is not a safetensors file, or its header is damaged."
        ) from error
    if not tensors:
        raise ModelUnavailable(f"'{name}' holds no tensors.")
    header = SafetensorsHeader(tensors, metadata, size)
    if header.end > size:
        raise ModelUnavailable(_cut_short(name, size, header.end))
    return header


def read_values(path: Path, entry: TensorEntry) -> tuple[float, ...]:
    """The numbers of one small tensor; () where it is not small or its type is not of floats."""
    length = entry.end - entry.start
    if not 0 < length <= _VALUES_BYTES_MAX:
        return ()
    try:
        with path.open("rb") as file:
            file.seek(entry.start)
            raw = file.read(length)
        match entry.dtype:
            case "F64":
                return tuple(value for (value,) in struct.iter_unpack("<d", raw))
            case "F32":
                return tuple(value for (value,) in struct.iter_unpack("<f", raw))
            case "F16":
                return tuple(value for (value,) in struct.iter_unpack("<e", raw))
            case "BF16":
                wide = b"".join(b"\x00\x00" + raw[i : i + 2] for i in range(0, len(raw), 2))
                return tuple(value for (value,) in struct.iter_unpack("<f", wide))
    except (OSError, struct.error):  # gone meanwhile; a length that does not fit the type
        return ()
    return ()


def read_number(path: Path, entry: TensorEntry) -> float | None:
    """The one positive number of a tensor; None where it holds no such number."""
    values = read_values(path, entry)
    if len(values) == 1 and math.isfinite(values[0]) and values[0] > 0:
        return values[0]
    return None


def size_in_words(count: int) -> str:
    """Bytes as people say them: "2.1 GB", "45 MB", "812 bytes"."""
    if count >= 100_000_000:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1_000_000 else f"{count:,} bytes"


def is_lfs_pointer(start: bytes) -> bool:
    """Whether a file that begins so is a Git LFS pointer.

    The format: github.com/git-lfs/git-lfs, docs/spec.md.
    """
    return start.startswith(b"version https://git-lfs.github.com/spec/")


def lfs_sentence(name: str, start: bytes) -> str:
    """What a Git LFS pointer is, how much it stands for, and what to do."""
    size = _LFS_SIZE.search(start)
    of = f" of {size_in_words(int(size[1]))}" if size else ""
    return (
        f"'{name}' is a Git LFS pointer{of}, not the file itself: run `git lfs pull` in its folder."
    )


def _what_it_is(path: Path, name: str, size: int) -> str:
    """What a file is that is no safetensors, as a sentence."""
    with path.open("rb") as file:
        start = file.read(_LOOK_BYTES)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        return f"'{name}' is empty; the download brought nothing. Please fetch it again."
    if is_lfs_pointer(start):
        return lfs_sentence(name, start)
    if not start.strip(b"\x00"):
        return (
            f"'{name}' begins with nothing but zeros: its place on the disk was taken and its "
            "content has not come. Please fetch it again."
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return (
            f"'{name}' is a web page, not a model: the site answered with an error or wanted a "
            "login. Please fetch it again."
        )
    if text.startswith((b"{", b"[")) and b"\x00" not in start:
        return (
            f"'{name}' is a JSON text, not a model: settings, or what a site answered instead of "
            "the file."
        )
    if start.startswith(b"GGUF"):
        return (
            f"'{name}' is a GGUF file: weights in few bits for other programs. sdgen reads "
            "safetensors in float16, bfloat16 or float32; look for that version of it."
        )
    if start.startswith(_PICKLE_STARTS) or path.suffix.lower() in PICKLED:
        if _is_plain_zip(path):
            return f"'{name}' is a zip archive; unpack it and give what is inside."
        return (
            f"'{name}' is a pickled checkpoint; sdgen reads safetensors only, because a "
            "pickled file can run any code. Look for the .safetensors version of it."
        )
    for magic, what in _MAGIC:
        if start.startswith(magic):
            return f"'{name}' is {what}."
    if size < 8 or (b"\x00" not in start and _is_text(start)):
        return f"'{name}' is not a safetensors file but {size_in_words(size)} of something else."
    return f"'{name}' is not a safetensors file."


def _is_plain_zip(path: Path) -> bool:
    """True for a zip archive that is not what torch.save makes."""
    try:
        with zipfile.ZipFile(path) as archive:
            return not any(name.endswith(".pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _is_text(start: bytes) -> bool:
    try:
        start[: len(start) - 4].decode("utf-8")  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True


def _cut_short(name: str, size: int, whole: int) -> str:
    here, needed = size_in_words(size), size_in_words(whole)
    there = f"{here} of {needed} are there" if here != needed else "its last bytes are missing"
    return f"'{name}' was not downloaded to its end: {there}; please fetch it again."
