"""Lives one day of the app after the other over one data folder, each ended by kill -9.

python -m tests.faults.victim FOLDER KILLS SEED   prints what happened as JSON, or fails

Everything is imported once and no thread is started here, so a day begins with a fork and the
next one within milliseconds of the last one's end.
"""

import contextlib
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from tests.faults.checks import (
    Rows,
    check_adapters,
    check_all,
    check_picture,
    leftovers,
    picture_paths,
    rows_of,
)
from tests.faults.disk import Disk
from tests.faults.life import Life, teller

with contextlib.suppress(ImportError):  # so that no day has to import it again
    import c2pa  # noqa: F401

LONGEST = 0.25  # seconds; a day is cut off somewhere in them
# ... or in one of its first writes below a folder of the data folder: image writing, adapter
# upload, and everything, which is mostly history. With what is done most of all meanwhile.
WRITES = (("pictures", 40, ""), ("adapters", 60, "upload"), (".", 150, ""))
GRACE = 1.0  # seconds in which the n-th write comes, or is no longer waited for


class Ledger:
    """What the app said that it had done. It may have done more, never less."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}  # id -> owner
        self.saved: dict[str, tuple[str, int]] = {}  # picture -> job, seed
        self.ended: dict[str, str] = {}
        self.adapters: set[str] = set()
        self.removed: set[str] = set()
        self.uploads = 0
        self.binned: dict[str, bool | None] = {}  # None: it was being moved
        self.favourites: set[str] = set()
        self.order: dict[str, list[str] | None] = {}
        self.cancelling: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.killed_in: Counter[str] = Counter()

    def take(self, kind: str, *words: Any) -> None:
        """One line of the app."""
        self.counts[kind] += 1
        match kind:
            case "accepted":
                job, owner = words
                self.jobs[job] = owner
            case "saved":
                job, picture, seed = words
                self.saved[picture] = job, seed
            case "ended":
                job, end = words
                assert end != "Failed", f"job {job} failed"
                assert self.ended.setdefault(job, end) == end
            case "drawing":
                self._drawing(*words)
            case "uploaded":
                self.adapters.add(words[0])
                self.uploads += 1
            case "removing":
                self.adapters.discard(words[0])
            case "removed":
                self.removed.add(words[0])
            case "moving picture":
                self.binned |= dict.fromkeys(words[0])
            case "deleted" | "restored":
                self.binned |= dict.fromkeys(words[0], kind == "deleted")
            case "favourite":
                self.favourites |= set(words[0])
            case "moving":
                self.order[words[0]] = None
            case "order":
                self.order[words[0]] = words[1]
            case "found":
                self._found(*words)
            case "cancelling":
                self.cancelling.add(words[0])
            case "killed":
                call, _, file = words[0].partition(" ")
                top = file.partition("/data/")[2].partition("/")[0]
                self.killed_in[f"{call} {top or '.'}"] += 1
            case "refused":
                raise AssertionError(f"{words[0]} was refused: {words[1]}")

    def _drawing(self, job: str, seed: int, count: int) -> None:
        """No picture is drawn that somebody was told is kept, and no job that has its end."""
        assert job not in self.ended, f"job {job} has its end and is drawn once more"
        kept = {seed for of, seed in self.saved.values() if of == job}
        assert not kept & set(range(seed, seed + count)), (
            f"job {job}: a kept picture is drawn again"
        )

    def _found(self, owner: str, ids: list[str]) -> None:
        """After a start: the order of those that waited is the one that was told last."""
        before = self.order.get(owner)
        if before is not None:
            kept = [job for job in before if job in ids]
            assert [job for job in ids if job in kept] == kept, "the queue's order is another"
        missing = {
            job
            for job, of in self.jobs.items()
            if of == owner and job not in self.ended and job not in self.cancelling
        } - set(ids)
        self.order[owner] = None
        self.counts["not found again"] += len(missing)  # they ended untold; check() looks at them

    def check(self, rows: Rows) -> None:
        """Nothing that was told is lost."""
        for job in self.jobs:
            assert job in rows.jobs, f"the accepted job {job} is lost"
        for job, end in self.ended.items():
            states = {"Finished": "done", "Stopped": "stopped"}
            assert rows.jobs[job].state == states[end], f"job {job} was {end}"
        for picture, (job, seed) in self.saved.items():
            assert picture in rows.pictures, f"the finished picture {picture} is lost"
            assert rows.pictures[picture].seed == seed
            assert rows.pictures[picture].job == job
        for picture, deleted in self.binned.items():
            if deleted is not None:
                assert (rows.pictures[picture].deleted is not None) == deleted
        for picture in self.favourites:
            assert rows.pictures[picture].favourite


class Days:
    """One data folder, and all that was told about it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._data_dir, self._uploads = folder / "data", folder / "uploads"
        self._uploads.mkdir(parents=True)
        self._random = random.Random(seed)
        self.ledger = Ledger()
        self._checked_pictures: dict[Path, float] = {}
        self._checked_adapters: set[str] = set()
        self.ready: list[float] = []  # seconds from each start to an open queue

    def live(self, number: int, *, to_the_end: bool = False) -> None:
        """One day. It ends with SIGKILL, or to_the_end: in order."""
        at_a_write = not to_the_end and Disk.here() and number % 2 == 0
        where, writes, favoured = self._random.choice(WRITES)
        nth = self._random.randint(1, writes) if at_a_write else 0
        seconds = GRACE if at_a_write else self._random.uniform(0.0, LONGEST)
        reading, writing = os.pipe()
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._day(number, writing, nth, where, favoured if nth else "", to_the_end)
        os.close(writing)
        deadline = begun + (120.0 if to_the_end else seconds)
        rest = b""
        killed = False
        while True:
            left = deadline - time.monotonic()
            if left <= 0 and not killed:
                os.kill(child, signal.SIGKILL)
                killed = True
            if select.select([reading], [], [], max(left, 0.0) if not killed else None)[0]:
                piece = os.read(reading, 1 << 16)
                if not piece:
                    break
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    kind, *words = json.loads(line)
                    if kind == "ready":
                        self.ready.append(time.monotonic() - begun)
                    else:
                        self.ledger.take(kind, *words)
        os.close(reading)
        _, status = os.waitpid(child, 0)
        if to_the_end:
            assert status == 0, f"the last day ended with {status}"
        else:
            assert os.WIFSIGNALED(status), f"day {number} ended by itself with {status}"
            assert os.WTERMSIG(status) == signal.SIGKILL

    def _day(
        self, number: int, pipe: int, nth: int, where: str, favoured: str, to_the_end: bool
    ) -> None:
        """In the child; never returns."""
        try:
            tell = teller(pipe)
            if nth:
                Disk(self._data_dir / where).kill(nth, pipe)
            life = Life(self._data_dir, self._uploads, number, tell)
            tell("ready")
            if not to_the_end:
                life.go_on(favoured)
            life.end()
            os._exit(0)
        except BaseException:  # noqa: BLE001  # this process must not go on as its parent would
            traceback.print_exc()
            os._exit(1)

    def check(self) -> None:
        """After a kill: what is visible is whole, what was told is there."""
        rows = rows_of(self._data_dir)
        self.ledger.check(rows)
        expected = rows.expected()
        there = set()
        for path in picture_paths(self._data_dir):
            there.add(path.stem)
            changed = path.stat().st_mtime
            if self._checked_pictures.get(path) != changed:
                check_picture(path, expected)
                self._checked_pictures[path] = changed
        lost = set(self.ledger.saved) - there
        assert not lost, f"the files of finished pictures are lost: {lost}"
        adapters = check_adapters(self._data_dir, self._checked_adapters)
        missing = self.ledger.adapters - adapters
        assert not missing, f"uploaded adapters are lost: {missing}"
        assert not self.ledger.removed & adapters, "adapters that were removed are back"

    def end(self) -> dict[str, Any]:
        """A last day in peace; then all must be in order."""
        self.live(10**6, to_the_end=True)
        rows = check_all(self._data_dir)
        self.ledger.check(rows)
        for job in self.ledger.jobs:
            wanted = ("done", "stopped") if job in self.ledger.cancelling else ("done",)
            assert rows.jobs[job].state in wanted
        states = Counter(row.state for row in rows.jobs.values())
        again = sum(row.attempts > 1 for row in rows.jobs.values())
        return {"jobs": dict(states), "taken up again": again, "pictures": len(rows.pictures),
                "adapters": self.ledger.uploads}  # fmt: skip

    def age_leftovers(self) -> int:
        """Make stumps look a minute old, as those of an app are that died a while ago."""
        found = leftovers(self._data_dir)
        for path in found:
            os.utime(path, (time.time() - 120,) * 2)
        return len(found)

    def leftovers(self) -> list[str]:
        """What lies there that nobody needs."""
        return [str(path.relative_to(self._data_dir)) for path in leftovers(self._data_dir)]


def main() -> None:
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads must not fork"  # noqa: PTH208
    days = Days(folder, seed)
    checking: defaultdict[str, float] = defaultdict(float)
    for number in range(kills):
        days.live(number)
        begun = time.monotonic()
        days.check()
        checking["seconds"] += time.monotonic() - begun
    stumps = days.age_leftovers()
    told = days.end()
    print(
        json.dumps(
            told
            | {
                "kills": kills,
                "killed in": dict(days.ledger.killed_in.most_common()),
                "stumps": stumps,
                "stumps left": days.leftovers(),
                "told": dict(days.ledger.counts),
                "slowest start, seconds": round(max(days.ready), 3),
                "starts that came so far": len(days.ready),
                "checking, seconds": round(checking["seconds"], 1),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
