"""What a training process leaves beside a run's files: who keeps it, and how it ended.

RUN/keeper.lock  held while the training process or its keeper lives; the system lets go of it
RUN/exit.json    how it ended: its exit code, and who had asked it to stop
"""

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lora.runs import RunFolder, write_json

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NOBODY, USER, APP = "", "user", "app"  # who asked a training to stop


@dataclass(frozen=True)
class Exit:
    """How a training process ended. code: 0 is well, negative the signal that ended it."""

    code: int
    asked_by: str = NOBODY


def lock_run(folder: RunFolder) -> IO[bytes] | None:
    """The run's lock, held while the file is open here or in a child; None: others hold it."""
    file = _lock_path(folder).open("ab")
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def is_kept(folder: RunFolder) -> bool:
    """True while a training process that `python -m lora.jobs.keeper` started is alive."""
    if not _lock_path(folder).is_file():
        return False
    lock = lock_run(folder)
    if lock is None:
        return True
    lock.close()
    return False


def is_alive(pid: int) -> bool:
    """True while there is a process of that number."""
    if sys.platform == "win32":
        return False  # asking would end it there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_exit(folder: RunFolder, end: Exit) -> None:
    write_json(folder.path / "exit.json", {"code": end.code, "asked_by": end.asked_by})


def read_exit(folder: RunFolder) -> Exit | None:
    """How the last training process ended; None while it runs, or when nobody was there to see."""
    raw = _read(folder.path / "exit.json")
    code = raw.get("code")
    return Exit(code, str(raw.get("asked_by", ""))) if isinstance(code, int) else None


def forget_exit(folder: RunFolder) -> None:
    """Before another process begins."""
    with contextlib.suppress(FileNotFoundError):
        (folder.path / "exit.json").unlink()


def _lock_path(folder: RunFolder) -> Path:
    return folder.path / "keeper.lock"


def _read(path: Path) -> dict[str, object]:
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}
