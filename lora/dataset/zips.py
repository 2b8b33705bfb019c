"""The files of a zip that a stranger may have made.

Members are read by hand into memory: no name becomes a path, links and zips inside are left out by
name, and reading ends where more comes out than photos have. What counts is what is really read,
not what the zip claims.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from lora.dataset.errors import PhotosRefused
from lora.dataset.files import (
    HEAD_BYTES,
    SourceFile,
    check_count,
    display,
    is_junk,
    kind_of,
    why_not,
)

BYTES_MAX = 200_000_000  # unpacked, of all members together
RATIO_MAX = 100  # unpacked bytes for a packed one
_RATIO_FROM = 100_000  # bytes; what is smaller may be packed as well as it likes
_CHUNK = 1 << 16
_DIRECTORY_BYTES_MAX = 1_000_000  # of the zip's list of members; 600 with long names need a tenth
_UNPACKING_FAILS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # what zipfile raises for ways of packing that it does not know
    RuntimeError,
    ValueError,
)


def zip_files(path: Path, prefix: str = "") -> Iterator[SourceFile]:
    """The members of a zip in order, folders and the systems' own files left out.

    prefix: put before the members' folders. Raises PhotosRefused: damaged, or a bomb; OSError.
    """
    read = _Counted()
    found: list[SourceFile] = []
    try:
        with (
            path.open("rb", buffering=0) as raw,
            _Bounded(raw) as bounded,
            zipfile.ZipFile(bounded) as archive,
        ):
            for info in archive.infolist():
                parts = info.filename.replace("\\", "/").split("/")
                if info.is_dir() or is_junk(parts):
                    continue
                found.append(_member(archive, info, parts, prefix, read))
                check_count(found)
                yield found[-1]
    except (*_UNPACKING_FAILS, IndexError, UnicodeDecodeError) as error:
        raise PhotosRefused(f"The zip '{display(path.name)}' is damaged.") from error


class _Counted:
    """How much has been unpacked, of all members together."""

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, count: int) -> None:
        self._bytes += count
        if self._bytes > BYTES_MAX:
            raise PhotosRefused(
                f"The zip holds more than {BYTES_MAX // 1_000_000} MB; pack smaller photos, or "
                "give a folder."
            )


class _Bounded(io.BufferedReader):
    """A file of which only so much is read at once: zipfile takes a whole list of members."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = _DIRECTORY_BYTES_MAX + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        if len(data) == most:
            raise PhotosRefused("The zip's list of files is too long; pack the photos alone.")
        return data


def _member(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    parts: Sequence[str],
    prefix: str,
    read: _Counted,
) -> SourceFile:
    """One member, unpacked if it may be. Raises PhotosRefused when it is a bomb."""
    name, folder = parts[-1], prefix + "/".join(parts[:-1])
    refused = _why_not_opened(info, parts)
    if refused:
        return SourceFile(folder, name, kind_of(name), refused)
    try:
        with archive.open(info) as stream:
            head = stream.read(HEAD_BYTES)
            kind = kind_of(name, head)
            refused = why_not(name, head, info.file_size)
            if refused:
                return SourceFile(folder, name, kind, refused)
            return SourceFile(folder, name, kind, data=_unpacked(head, stream, info, read))
    except (*_UNPACKING_FAILS, OSError):
        return SourceFile(folder, name, kind_of(name), "It is damaged inside the zip.")


def _why_not_opened(info: zipfile.ZipInfo, parts: Sequence[str]) -> str:
    mode = info.external_attr >> 16
    if ".." in parts or parts[0] == "" or parts[0].endswith(":"):
        return "Its name points out of the zip."
    if stat.S_ISLNK(mode):
        return "It is a link to another file."
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "It is no file."
    return "It is locked with a password." if info.flag_bits & 0x1 else ""


def _unpacked(head: bytes, stream: IO[bytes], info: zipfile.ZipInfo, read: _Counted) -> bytes:
    """The whole member. Raises PhotosRefused as soon as it is too much."""
    data = bytearray(head)
    read.add(len(head))
    while chunk := stream.read(_CHUNK):
        data += chunk
        read.add(len(chunk))
        if len(data) > max(_RATIO_FROM, RATIO_MAX * info.compress_size):
            raise PhotosRefused(
                f"'{display(info.filename)}' in the zip is packed more than {RATIO_MAX} times "
                "smaller than it is. Photos are not; nothing of the zip was used."
            )
    return bytes(data)
