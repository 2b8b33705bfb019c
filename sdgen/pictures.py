"""Pictures on disk: whole or not there at all.

A file is written under a name that nobody lists, forced to the disk, and only then renamed. So
kill -9, a full disk or a power cut leave at worst a stump, which the next start removes.
"""

import contextlib
import errno
import os
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from sdgen.errors import StorageFailed

_STUMP_PREFIX, _STUMP_SUFFIX = ".sdgen-", ".tmp"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def pictures_folder(data_dir: Path) -> Path:
    """The folder that holds one folder of pictures for each day."""
    return data_dir / "pictures"


def day_folder(data_dir: Path, when: datetime | None = None) -> Path:
    """The folder for the pictures of a day (UTC), by default today: pictures/YYYY-MM-DD."""
    return pictures_folder(data_dir) / (when or datetime.now(UTC)).strftime("%Y-%m-%d")


def save_picture(folder: Path, png: bytes) -> Path:
    """Write a picture's file into `folder` (made if need be); its new path, once it is on disk.

    Raises StorageFailed: disk full, folder not writable, broken disk. Then nothing is left behind.
    """
    name = picture_name()
    stump = folder / f"{_STUMP_PREFIX}{name}{_STUMP_SUFFIX}"
    path = folder / f"{name}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _write_through(stump, png)
            stump.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                stump.unlink(missing_ok=True)
            raise
        sync_folder(folder)
    except OSError as error:
        raise StorageFailed(_sentence(error)) from error
    return path


def picture_name() -> str:
    """A name without meaning that sorts by time: a ULID, in lower case."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def list_pictures(data_dir: Path, limit: int = 100) -> list[Path]:
    """The newest pictures of the data folder, newest first."""
    found: list[Path] = []
    try:
        days = sorted(pictures_folder(data_dir).iterdir(), reverse=True)
        for day in days:
            if len(found) < limit and day.is_dir():
                found += sorted(day.glob("[!.]*.png"), reverse=True)
    except OSError:
        return found[:limit]  # no folder yet, or one that may not be read: nothing to show
    return found[:limit]


def remove_stumps(data_dir: Path, older_than: float = 60.0) -> int:
    """Remove what writing left behind when it was killed; how many files that were.

    older_than: seconds; a younger stump may belong to a program that is writing right now.
    """
    removed = 0
    with contextlib.suppress(OSError):
        for stump in pictures_folder(data_dir).glob(f"*/{_STUMP_PREFIX}*{_STUMP_SUFFIX}"):
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


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last. Windows cannot open folders, and needs it less."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sentence(error: OSError) -> str:
    if error.errno in _FULL:
        return "The disk is full, so the picture could not be saved. Free some space, try again."
    if error.errno in _FORBIDDEN:
        return "The folder for pictures may not be written to. Choose another or allow it."
    return f"The picture could not be saved: {error.strerror or 'the disk does not answer'}."
