"""The n-th write of a deed fails, for every n until none fails any more.

python -m tests.faults.writes FOLDER DEED ERROR once|on   prints what happened as JSON, or fails

"once" is a disk that does not answer for a moment, "on" one that stays full until it is healed.
disk.so must be preloaded. One process sees all failures of a deed, as a long-lived app does.
"""

import contextlib
import errno
import json
import logging
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sdgen.config import Settings
from sdgen.credentials import available, read_credentials
from sdgen.errors import StorageFailed
from sdgen.gallery import Search, rebuild
from sdgen.job import Failed, Finished, Job
from sdgen.owners import LOCAL_VISITOR
from sdgen.queue import Order
from sdgen.studio import Studio
from tests.conftest import FakeEngine, FakeModelFiles, ask
from tests.faults.checks import check_all, leftovers
from tests.faults.disk import Disk
from tests.faults.files import lora_file

MOST = 400  # writes of one deed; above it something goes on for ever
PATIENCE = 20.0  # seconds
ME = LOCAL_VISITOR
SENTENCE = re.compile(r"[A-Z][^\n]{20,300}\.")  # what a person is told
NOT_FOR_PEOPLE = re.compile(r"Errno|sqlite|Traceback|\wError\b|/data/")

Deed = Callable[[Studio, Path, str], None]


@contextmanager
def app(data_dir: Path, *, sign: bool = False) -> Iterator[Studio]:
    """One run of the app, its first round of upkeep behind it."""
    studio = Studio(Settings(data_dir=data_dir, credentials=sign), FakeEngine(), FakeModelFiles())
    try:
        studio.open_queue()
        wait_for_upkeep()
        yield studio
    finally:
        studio.close()


def wait_for_upkeep() -> None:
    """Return once the upkeep rests, until its next round: nobody else writes then."""
    deadline = time.monotonic() + PATIENCE
    while not any(name == "_upkeep" for name in resting("sdgen-upkeep")):
        assert time.monotonic() < deadline, "the upkeep has no end"
        time.sleep(0.001)


def resting(name: str) -> set[str]:
    """The functions in which a thread of that name waits for an event; none where it works."""
    thread = next((one for one in threading.enumerate() if one.name == name), None)
    frame = sys._current_frames().get(thread.ident or 0) if thread else None
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return set(names) if names[:2] == ["wait", "wait"] else set()


def finish(job: Job) -> None:
    """Wait for its end. Raises what it says."""
    end = list(job.events())[-1]
    if isinstance(end, Failed):
        raise end.error
    assert isinstance(end, Finished)


def draw(studio: Studio, folder: Path, name: str) -> None:
    """A job from submit to its end, of two pictures."""
    (job,) = studio.submit([Order(ask(f"a job {name}", num_images=2, steps=1))], ME, "keep")
    finish(job)


def draw_at_once(studio: Studio, folder: Path, name: str) -> None:
    """A picture of the command line."""
    finish(studio.start(ask(f"at once {name}", steps=1)))


def upload(studio: Studio, folder: Path, name: str) -> None:
    """A LoRA of a user."""
    number = int.from_bytes(name.encode(), "big") % 999983
    studio.add_adapter_file(lora_file(folder / "upload.safetensors", number), "mine.safetensors")


def newest(studio: Studio, *, binned: bool = False) -> str:
    """The id of a picture."""
    return studio.gallery.search(ME.owner, Search(bin=binned)).rows[0].id


def delete(studio: Studio, folder: Path, name: str) -> None:
    """A picture goes to the bin."""
    picture = newest(studio)
    assert studio.gallery.delete(ME.owner, [picture]) == (picture,)


def restore(studio: Studio, folder: Path, name: str) -> None:
    """A picture comes back."""
    picture = newest(studio, binned=True)
    assert studio.gallery.restore(ME.owner, [picture]) == (picture,)


def thumbnail(studio: Studio, folder: Path, name: str) -> None:
    """A picture is made small."""
    studio.gallery.thumbnail(studio.gallery.search(ME.owner, Search()).rows[0])


def write_rows(studio: Studio, folder: Path, name: str) -> None:
    """Everything that only writes rows."""
    studio.pause(ME.owner, True)
    orders = [Order(ask(f"{name} {number}", steps=1)) for number in range(3)]
    jobs = studio.submit(orders, ME, "keep")
    studio.move(jobs[2].id, ME.owner, -1)
    studio.gallery.favourite(ME.owner, [newest(studio)], True)
    studio.cancel_all(ME.owner)
    studio.history.forget_jobs(1.0)
    studio.pause(ME.owner, False)


DEEDS: dict[str, Deed] = {
    "job": draw,
    "picture": draw_at_once,
    "upload": upload,
    "delete": delete,
    "restore": restore,
    "thumbnail": thumbnail,
    "rows": write_rows,
}


class Trials:
    """One deed with each of its writes failing in turn."""

    def __init__(self, folder: Path, error: int, *, lasting: bool) -> None:
        self._folder, self._data_dir = folder, folder / "data"
        self._error, self._lasting = error, lasting
        self._disk = Disk(self._data_dir)
        self._looked_at: dict[Path, float] = {}
        self.said: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self.silent = 0  # failures that nobody was told of, as they did no harm

    def deed(self, deed: Deed) -> int:
        """In one folder, which grows; how many writes there are."""
        with app(self._data_dir) as studio:
            for number in range(3):
                draw(studio, self._folder, f"before {number}")
            if deed is restore:
                delete(studio, self._folder, "")
        for nth in range(1, MOST):
            with app(self._data_dir) as studio:
                if deed is restore and not studio.gallery.search(ME.owner, Search(bin=True)).rows:
                    delete(studio, self._folder, "")
                if deed is thumbnail:
                    draw(studio, self._folder, f"another {nth}")
                failed = self._with_fault(nth, partial(deed, studio, self._folder, f"{nth}"))
                studio.pause(ME.owner, False)
                draw(studio, self._folder, f"after {nth}")  # the app is alive
                if deed is restore:
                    delete(studio, self._folder, "")
                if deed is upload:
                    assert studio.broken_adapters() == []
                deed(studio, self._folder, f"{nth} again")
                self._rest(studio)
            self._check()
            if not failed:
                return nth - 1
        raise AssertionError("it never came to an end")

    def first_start(self) -> int:
        """In a new folder each time: the start of the app, a signed picture, the app's end."""

        def start() -> None:
            with app(self._data_dir, sign=True) as studio:
                draw(studio, self._folder, "first")

        for nth in range(1, MOST):
            self._data_dir = self._folder / f"{nth}" / "data"
            self._disk = Disk(self._data_dir)
            failed = self._with_fault(nth, start)
            with app(self._data_dir, sign=True) as studio:
                draw(studio, self._folder, "second")
                self._rest(studio)
                newest_path = studio.gallery.path(studio.gallery.search(ME.owner, Search()).rows[0])
            if available():
                assert read_credentials(newest_path.read_bytes()).state == "intact"
            self._check()
            if not failed:
                return nth - 1
        raise AssertionError("it never came to an end")

    def rebuild(self) -> int:
        """The rows anew; the old ones stay until the new ones are whole."""
        with app(self._data_dir) as studio:
            for number in range(3):
                draw(studio, self._folder, f"before {number}")
            studio.gallery.favourite(ME.owner, [newest(studio)], True)
        for nth in range(1, MOST):
            failed = self._with_fault(nth, lambda: rebuild(self._data_dir) and None)
            with app(self._data_dir) as studio:
                assert studio.gallery.search(ME.owner, Search()).total == 6
                assert studio.gallery.search(ME.owner, Search(favourites=True)).total == 1
            self._check()
            assert rebuild(self._data_dir).favourites_kept == 1
            if not failed:
                return nth - 1
        raise AssertionError("it never came to an end")

    def _with_fault(self, nth: int, deed: Callable[[], None]) -> bool:
        """The deed while the nth write fails; False where it has fewer. All is well afterwards."""
        self._disk.fail(nth, self._error, lasting=self._lasting)
        told = ""
        try:
            deed()
        except StorageFailed as error:
            told = str(error)
        finally:
            self._disk.heal()
        if not self._disk.failures:
            assert not told, f"a fault without a reason: {told}"
            return False
        call, _, path = self._disk.last.partition(" ")
        self.struck[f"{call} {Path(path).relative_to(self._data_dir).parts[:1] or '.'}"] += 1
        if told:
            assert SENTENCE.fullmatch(told), told
            assert not NOT_FOR_PEOPLE.search(told), told
            self.said[told] += 1
        else:
            self.silent += 1
        return True

    def _rest(self, studio: Studio) -> None:
        """Wait until every job has its end on disk, and files and rows agree."""
        deadline = time.monotonic() + PATIENCE
        while studio.history.unfinished():
            assert time.monotonic() < deadline, "a job has no end"
            time.sleep(0.01)
        studio.gallery.synchronise()

    def _check(self) -> None:
        """After the app's end, everything is whole, and nothing is left over."""
        check_all(self._data_dir, strict=False, looked_at=self._looked_at)
        if not self._lasting:  # a disk that refuses everything refuses also to tidy up
            assert leftovers(self._data_dir) == []
        for path in leftovers(self._data_dir):
            path.unlink()


def main() -> None:
    folder, name, error, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
    logging.disable(logging.CRITICAL)
    trials = Trials(folder, getattr(errno, error), lasting=how == "on")
    special = {"start": trials.first_start, "rebuild": trials.rebuild}
    writes = special[name]() if name in special else trials.deed(DEEDS[name])
    told = {"writes": writes, "silent": trials.silent, "said": dict(trials.said),
            "struck": dict(trials.struck.most_common())}  # fmt: skip
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
