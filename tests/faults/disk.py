"""A disk that fails when it is told to: disk.c, built once and preloaded into a process of its own.

Nothing of ours is patched: Python, SQLite and c2pa call the C library, and the C library is what
answers with "no space left on device".
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FAIL_ONCE, FAIL_ON, KILL = 0, 1, 2


def build(folder: Path) -> Path | None:
    """The library, compiled into `folder`; None where there is no C compiler for it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    made = folder / "disk.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(HERE / "disk.c"), "-ldl"]
    subprocess.run(command, check=True, timeout=120)
    return made


def environment(library: Path | None) -> dict[str, str]:
    """Of a process that forks, or whose disk is to fail: one thread, until it starts others."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    preload = {"LD_PRELOAD": str(library)} if library else {}
    return {**os.environ, **threads, **preload}


def told_by(program: str, *arguments: object, library: Path | None, timeout: float) -> Any:
    """What a program of this folder says at its end, as JSON; it has to end well. timeout: s."""
    command = [sys.executable, "-m", f"tests.faults.{program}", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(library), capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


class Disk:
    """The disk of this process, below one folder. Only where disk.so is preloaded."""

    def __init__(self, folder: Path) -> None:
        self._library = ctypes.CDLL(None)
        self._library.disk_last.restype = ctypes.c_char_p
        self._library.disk_calls.restype = ctypes.c_long
        self._library.disk_failures.restype = ctypes.c_long
        self._library.disk_arm.argtypes = [ctypes.c_long, *[ctypes.c_int] * 3]
        self._library.disk_watch(os.fsencode(folder.resolve()))

    @staticmethod
    def here() -> bool:
        """True where it is preloaded into this process."""
        return hasattr(ctypes.CDLL(None), "disk_watch")

    def fail(self, nth: int, error: int, *, lasting: bool) -> None:
        """From now the nth write fails with that errno; lasting: all after it too."""
        self._library.disk_arm(nth, FAIL_ON if lasting else FAIL_ONCE, error, -1)

    def kill(self, nth: int, report: int) -> None:
        """From now the nth write is the last thing that this process does.

        report: a file descriptor, which is told where that was.
        """
        self._library.disk_arm(nth, KILL, 0, report)

    def record(self, to: int) -> None:
        """From now each call that goes well is a line of JSON there: [call, path, ...].

        to: a file descriptor; -1: no more.
        """
        self._library.disk_record(to)

    def heal(self) -> None:
        """All goes well again."""
        self._library.disk_heal()

    @property
    def failures(self) -> int:
        """How many writes failed since it was told to fail."""
        return int(self._library.disk_failures())

    @property
    def calls(self) -> int:
        """How many writes there were since then, those that failed included."""
        return int(self._library.disk_calls())

    @property
    def last(self) -> str:
        """The write that failed first: call and file."""
        return os.fsdecode(self._library.disk_last())
