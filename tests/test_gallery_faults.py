"""kill -9 at any moment, and a disk that fills up at any write: files whole, rows that agree."""

from pathlib import Path

import pytest
from PIL import Image

from sdgen.gallery import Search
from sdgen.pictures import remove_stumps
from tests.fault_programs import posix, run
from tests.galleries import Pictures

pytestmark = posix

KILL_WRITERS = """
import sys
from pathlib import Path
from tests.fault_programs import kill_writers, say
from tests.galleries import Pictures

def write(turn):
    pictures = Pictures(Path(sys.argv[1]))
    pictures.gallery.synchronise()
    while True:
        kept, binned, back, gone = (pictures.add(side=64).id for _ in range(4))
        say("kept", kept)
        pictures.gallery.delete("me", [binned, back, gone])
        say("binned", binned)
        pictures.gallery.restore("me", [back])
        say("kept", back)
        pictures.gallery.erase("me", [gone])
        say("gone", gone)
        pictures.gallery.thumbnail(pictures.gallery.find(kept, "me"))
        yield

kill_writers(write, int(sys.argv[2]), longest=0.08)
"""


@pytest.mark.parametrize("rounds", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_kill_9_leaves_whole_files_and_rows_that_agree(tmp_path: Path, rounds: int) -> None:
    said = [line.split() for line in run(KILL_WRITERS, tmp_path, rounds).splitlines()]
    assert said
    remove_stumps(tmp_path, older_than=0)
    pictures = Pictures(tmp_path)
    assert pictures.history.set_aside is None
    pictures.gallery.synchronise()
    assert pictures.agrees()
    for path in (*tmp_path.rglob("*.png"), *tmp_path.rglob("*.webp")):
        with Image.open(path) as image:
            image.load()
    shown, binned = (
        {row.id for row in pictures.gallery.search("me", Search(bin=bin), limit=10_000).rows}
        for bin in (False, True)
    )
    told = {state: {name for what, name in said if what == state} for state in ("kept", "binned")}
    assert told["kept"] <= shown
    assert told["binned"] <= binned
    assert not {name for what, name in said if what == "gone"} & (shown | binned)


FULL_DISK = """
import sys
from pathlib import Path
from sdgen.gallery import Search, rebuild
from tests.fault_programs import limited
from tests.galleries import NOON, Pictures

def state():
    pages = [pictures.gallery.search("me", Search(bin=bin)) for bin in (False, True)]
    for row in (*pages[0].rows, *pages[1].rows):
        assert pictures.gallery.path(row).read_bytes() == originals[row.id]
    return pages

failed = passed = 0
for limit in range(0, 90_000, int(sys.argv[2])):
    pictures = Pictures(Path(sys.argv[1]) / str(limit))
    rows = [pictures.add(created=NOON + number, prompt="x " * 900) for number in range(4)]
    originals = {row.id: pictures.gallery.path(row).read_bytes() for row in rows}
    path, new = pictures.write(prompt="y " * 900)
    originals[new.id] = path.read_bytes()
    ids = [row.id for row in rows[:3]]
    for call in (
        lambda: pictures.gallery.record(new),
        lambda: pictures.gallery.favourite("me", ids, True),
        lambda: pictures.gallery.delete("me", ids),
        lambda: pictures.gallery.restore("me", ids[1:]),
    ):
        before, files = state(), pictures.files()
        if limited(limit, call):
            passed += 1
        else:
            failed += 1
            assert (state(), pictures.files()) == (before, files), limit
            call()  # with room again
        assert state() != before, limit
        assert pictures.agrees()
    row = pictures.gallery.find(new.id, "me")
    if not limited(limit, lambda: pictures.gallery.thumbnail(row)):
        pictures.gallery.thumbnail(row)
    after = state()
    pictures.close()
    if not limited(limit, lambda: rebuild(pictures.data_dir)):
        failed += 1
        pictures.open()
        assert state() == after, limit
        pictures.close()
        rebuild(pictures.data_dir)
    pictures.open()
    assert state() == after, limit
    assert not list(pictures.data_dir.glob("history.new*"))
    assert pictures.gallery.synchronise() == 0
    pictures.close()
print(failed, passed)
"""


@pytest.mark.parametrize("step", [30_000, pytest.param(3_000, marks=pytest.mark.slow)])
def test_a_disk_that_fills_up_at_any_write_loses_nothing(tmp_path: Path, step: int) -> None:
    failed, passed = map(int, run(FULL_DISK, tmp_path, step).split())
    assert failed > 60_000 / step
    assert passed > 60_000 / step
