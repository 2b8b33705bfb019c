"""The data folder: made for its owner alone. Pictures, prompts and queue in it are private."""

import contextlib
import errno
import os
import secrets
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PROBE_BYTES = 64 * 1024  # what SQLite needs to open a database, and some more
GONE = (
    "The data folder is not there any more, so nothing can be drawn or found. Bring it back, or "
    "make an empty one in its place."
)


def make_data_folder(data_dir: Path) -> None:
    """Make the folder where there is none; one that somebody made stays as it is. Raises OSError.

    Folders above it are made as usual: they are not ours.
    """
    if data_dir.is_dir():
        return
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    data_dir.mkdir(mode=FOLDER_MODE, exist_ok=True)


def make_private(path: Path) -> None:
    """Have a file that its owner alone may read, empty where there was none. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), FILE_MODE))
    tighten(path)


def tighten(path: Path) -> None:
    """Take a file away from all but its owner, where it is there and ours to change."""
    if os.name == "nt":  # there folders decide
        return
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o077:
            path.chmod(FILE_MODE)


def has_no_room(folder: Path) -> bool:
    """True where a small file cannot be written as the disk is full; tried, as figures mislead."""
    probe = folder / f".sdgen-{secrets.token_hex(8)}.tmp"
    try:
        with probe.open("wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in NO_ROOM
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return False
