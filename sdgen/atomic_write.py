"""What makes a change in a folder outlive a power cut: the disk is told to remember the folder.

A file that was forced to the disk and then renamed is whole; that it has its new name at all stands
in its folder, and that the folder is there in the folder above (POSIX fsync; open(2), "Notes").
"""

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that the disk remembers them. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last. Windows cannot open folders, and needs it less."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
