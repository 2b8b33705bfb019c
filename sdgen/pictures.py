"""Pictures on disk: whole or not there at all.

    pictures/2026-11-20/<name>.png             of the command line, and of an app with one user
    pictures/<owner>/2026-11-20/<name>.png     of everybody else
    pictures/bin/..., pictures/<owner>/bin/... deleted ones, by the day of their deletion

A file is written under a name that nobody lists, forced to the disk, and only then renamed. So
kill -9, a full disk or a power cut leave at worst a stump, which the next start removes.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from sdgen.atomic_write import make_folder, sync_folder
from sdgen.descriptors import patiently
from sdgen.errors import StorageFailed
from sdgen.owners import LOCAL

_STUMP_PREFIX, _STUMP_SUFFIX = ".sdgen-", ".tmp"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_NAME = re.compile(f"[0-7][{_ALPHABET}]{{25}}")  # 128 bits
_OWNER = re.compile(r"[0-9a-z_]{1,64}")
_BIN = "bin"
_RANDOM_BITS, _DIGEST_BITS = 80, 72
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class PictureFolder:
    """A folder that holds pictures of one owner and one day. deleted: it is part of the bin."""

    path: Path
    owner: str
    day: date
    deleted: bool


def pictures_folder(data_dir: Path, owner: str = LOCAL) -> Path:
    """The folder that holds an owner's days and bin; LOCAL's holds the other owners' too."""
    if owner == LOCAL:
        return data_dir / "pictures"
    if owner == _BIN or not _OWNER.fullmatch(owner):
        raise ValueError(f"{owner!r} is no owner")
    return data_dir / "pictures" / owner


def day_folder(data_dir: Path, when: datetime | None = None, owner: str = LOCAL) -> Path:
    """The folder for an owner's pictures of a day (UTC), by default today."""
    return pictures_folder(data_dir, owner) / _day(when)


def bin_folder(data_dir: Path, when: datetime | None = None, owner: str = LOCAL) -> Path:
    """The folder for the pictures that an owner deletes on a day (UTC), by default today."""
    return pictures_folder(data_dir, owner) / _BIN / _day(when)


def _day(when: datetime | None) -> str:
    return (when or datetime.now(UTC)).strftime("%Y-%m-%d")


def picture_folders(data_dir: Path) -> Iterator[PictureFolder]:
    """Every folder of pictures of everybody, in any order. Raises OSError."""
    top = data_dir / "pictures"
    owners = (name for name in _folders(top) if name != _BIN and _OWNER.fullmatch(name))
    for owner, folder in ((LOCAL, top), *((name, top / name) for name in owners if name != LOCAL)):
        for place, deleted in ((folder, False), (folder / _BIN, True)):
            for name in _folders(place):
                with contextlib.suppress(ValueError):
                    day = datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC).date()
                    yield PictureFolder(place / name, owner, day, deleted)


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def save_picture(folder: Path, png: bytes, name: str = "") -> Path:
    """Write a picture's file into `folder` (made if need be); its new path, once it is on disk.

    name: without the ending, by default a new one; a file that has it already is replaced.
    Raises StorageFailed: disk full, folder not writable, broken disk. Then nothing is left behind.
    """
    path = folder / f"{name or picture_name()}.png"
    try:
        patiently(partial(write_whole, path, png))
    except OSError as error:
        raise StorageFailed(_sentence(error)) from error
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, and its folder if need be: whole and on the disk, or not at all (OSError)."""
    # Two writers, or one after a killed one, never share a stump.
    stump = path.with_name(f"{_STUMP_PREFIX}{secrets.token_hex(8)}{_STUMP_SUFFIX}")
    make_folder(path.parent)
    try:
        _write_through(stump, data)
        stump.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            stump.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def picture_name() -> str:
    """A name without meaning that sorts by time: a ULID, in lower case."""
    return _ulid(time.time(), secrets.randbits(_RANDOM_BITS))


def job_picture_name(job_id: str, created: float, index: int) -> str:
    """The name of a job's picture, the same whenever the job is done; sorts by time, then index.

    It cannot be guessed by whoever does not know the job's id.
    """
    digest = hashlib.sha256(f"{job_id} {index}".encode()).digest()
    last = int.from_bytes(digest[: _DIGEST_BITS // 8], "big")
    return _ulid(created, (index & 0xFF) << _DIGEST_BITS | last)


def index_of_name(name: str) -> int:
    """The index that job_picture_name put into a name, if it gave it; 0 to 255."""
    return _number(name) >> _DIGEST_BITS & 0xFF


def is_picture_name(text: str) -> bool:
    """True for what picture_name and job_picture_name give."""
    return _NAME.fullmatch(text) is not None


def time_of_name(name: str) -> float:
    """When a name was given, in seconds since the epoch."""
    return (_number(name) >> _RANDOM_BITS) / 1000


def _number(name: str) -> int:
    number = 0
    for letter in name:
        number = number << 5 | _ALPHABET.index(letter)
    return number


def _ulid(when: float, last: int) -> str:
    number = (int(when * 1000) & (1 << 48) - 1) << _RANDOM_BITS | last
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def remove_stumps(data_dir: Path, older_than: float = 60.0) -> int:
    """Remove what writing left behind when it was killed; how many files that were.

    older_than: seconds; a younger stump may belong to a program that is writing right now.
    """
    removed = 0
    with contextlib.suppress(OSError):
        for folder in picture_folders(data_dir):
            removed += remove_stumps_in(folder.path, older_than)
    return removed


def remove_stumps_in(folder: Path, older_than: float = 60.0) -> int:
    """As remove_stumps, in one folder."""
    removed = 0
    with contextlib.suppress(OSError):
        for stump in folder.glob(f"{_STUMP_PREFIX}*{_STUMP_SUFFIX}"):
            with contextlib.suppress(OSError):
                if time.time() - stump.stat().st_mtime >= older_than:
                    stump.unlink()
                    removed += 1
    return removed


def _write_through(path: Path, data: bytes) -> None:
    """Write a new file with the user's normal mode and wait until the disk has it."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sentence(error: OSError) -> str:
    if error.errno in _FULL:
        return "The disk is full, so the picture could not be saved. Free some space, try again."
    if error.errno in _FORBIDDEN:
        return "The folder for pictures may not be written to. Choose another or allow it."
    return f"The picture could not be saved: {error.strerror or 'the disk does not answer'}."
