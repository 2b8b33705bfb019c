"""kill -9 at any moment, and a disk that fills up at any write: files whole, rows that agree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sdgen.gallery import Search
from sdgen.pictures import remove_stumps
from tests.galleries import Pictures

REPOSITORY = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")


def run(program: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


KILL_WRITERS = """
import os, random, signal, sys, time
from pathlib import Path
from tests.galleries import NOON, Pictures

folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(7)
for turn in range(rounds):
    ready, told = os.pipe()
    writer = os.fork()
    if writer == 0:
        pictures = Pictures(folder)
        pictures.gallery.synchronise()
        say = lambda *words: os.write(1, " ".join(words).encode() + b"\\n")
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
            os.write(told, b".")
    if turn % 3:  # else it may be killed before it is ready
        os.read(ready, 1)
    time.sleep(chance.uniform(0.01, 0.08))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    os.close(ready)
    os.close(told)
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
import dataclasses, resource, sys
from pathlib import Path
from sdgen.errors import StorageFailed
from sdgen.gallery import Search, rebuild
from tests.galleries import NOON, Pictures

hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

def limited(limit, call):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        call()
    except StorageFailed as error:
        assert str(error).endswith("."), error
        return False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return True

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
