"""The data folder: made for its owner alone. Pictures, prompts and queue in it are private."""

import contextlib
import os
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600


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
