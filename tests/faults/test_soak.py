"""Two thousand jobs, each of somebody new: what an app holds does not grow with what it did."""

import gc
import sys
import threading
from itertools import count
from pathlib import Path

import pytest

from sdgen.config import Settings
from sdgen.job import Saved
from sdgen.owners import Visitor, new_token, owner_of_token
from sdgen.queue import Order
from sdgen.studio import Studio
from tests.conftest import FakeModelFiles, ask
from tests.faults.fake_app import QuickEngine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

WARM, JOBS = 500, 2000
GROWTH = 4.0  # MiB in a thousand jobs; bench/queue.py measures what it is, over many more
AT_ONCE = 8


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident() -> float:
    """MiB"""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no memory")


def draw(studio: Studio, numbers: "count[int]", jobs: int) -> None:
    """So many jobs, some at a time, each of a new visitor who watches his own."""

    def one() -> None:
        for _ in range(jobs // AT_ONCE):
            number = next(numbers)
            owner = owner_of_token(new_token())
            with studio.watching(owner, lambda: None):
                (job,) = studio.submit(
                    [Order(ask(f"robot {number}", steps=1))], Visitor(owner, owner)
                )
                assert sum(isinstance(event, Saved) for event in job.events()) == 1

    threads = [threading.Thread(target=one) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_memory_files_and_threads_stay(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, credentials=False)
    engine = QuickEngine()
    studio = Studio(settings, engine, FakeModelFiles())
    numbers = count()
    try:
        draw(studio, numbers, WARM)
        gc.collect()
        before = resident(), open_files(), threading.active_count()
        draw(studio, numbers, JOBS)
        gc.collect()
        after = resident(), open_files(), threading.active_count()
        assert not studio.history.unfinished()
    finally:
        studio.close()
    print(f"\nMiB, files, threads: {before} -> {after}")
    assert after[1:] == before[1:]
    assert (after[0] - before[0]) / JOBS * 1000 <= GROWTH
