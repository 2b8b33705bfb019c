"""Programs for tests that kill a writer at any moment, or let it find the disk full.

They run in a process of their own: forks and a limit on all files are nothing for pytest's.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sdgen.errors import StorageFailed

REPOSITORY = Path(__file__).parent.parent
posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")


def run(program: str, *arguments: object) -> str:
    """What the Python text `program` prints, once it has ended well."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def say(*words: str) -> None:
    """A line on standard output that is out at once, even of a process that is then killed."""
    os.write(1, " ".join(words).encode() + b"\n")


def kill_writers(write: Callable[[int], Iterator[None]], rounds: int, longest: float) -> None:
    """Let `write` work in a process of its own, kill -9 it, and that again and again.

    write: gets the number of the round, works without end, and yields after each deed.
    longest: seconds that a writer has at most, after its first deed or from its start.
    """
    chance = random.Random(7)
    for turn in range(rounds):
        ready, told = os.pipe()
        writer = os.fork()
        if writer == 0:
            for _ in write(turn):
                os.write(told, b".")
        os.close(told)
        if turn % 3:  # else it may be killed before it is ready
            os.read(ready, 1)
        time.sleep(chance.uniform(0.01, longest))
        os.kill(writer, signal.SIGKILL)
        _, status = os.waitpid(writer, 0)
        assert os.WIFSIGNALED(status), "the writer ended by itself"
        os.close(ready)


def limited(limit: int, call: Callable[[], object]) -> bool:
    """True when `call` succeeds with files of at most `limit` bytes; a failure is one sentence."""
    import resource  # POSIX only

    failure = None
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        call()
    except StorageFailed as error:
        failure = error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert failure is None or str(failure).endswith("."), failure
    return failure is None
