"""Pictures on disk are whole or not there, whatever happens while they are written."""

import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from sdgen.errors import StorageFailed
from sdgen.pictures import (
    day_folder,
    list_pictures,
    picture_name,
    pictures_folder,
    remove_stumps,
    save_picture,
)

REPOSITORY = Path(__file__).parent.parent
posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")


def stumps(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"]


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a" / "b", b"content")
    assert path.read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


@posix
def test_others_may_read_it_as_the_user_decided(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        mode = save_picture(tmp_path, b"x").stat().st_mode
    finally:
        os.umask(before)
    assert stat.S_IMODE(mode) == 0o644


def test_names_sort_by_time_and_never_meet() -> None:
    names = []
    for _ in range(50):
        names.append(picture_name())
        time.sleep(0.0015)
    assert names == sorted(names)
    assert len({picture_name() for _ in range(1000)}) == 1000
    assert {len(name) for name in names} == {26}


def test_a_day_has_its_folder(tmp_path: Path) -> None:
    when = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)
    assert day_folder(tmp_path, when) == tmp_path / "pictures" / "2026-11-20"


def test_the_newest_come_first(tmp_path: Path) -> None:
    assert list_pictures(tmp_path) == []
    paths = []
    for day in (18, 19, 20):
        for _ in range(2):
            when = datetime(2026, 11, day, tzinfo=UTC)
            paths.append(save_picture(day_folder(tmp_path, when), b"x"))
            time.sleep(0.002)
    (pictures_folder(tmp_path) / "notes.txt").write_text("not a folder")
    assert list_pictures(tmp_path) == paths[::-1]
    assert list_pictures(tmp_path, limit=3) == paths[:2:-1]


def test_old_stumps_go_and_young_ones_stay(tmp_path: Path) -> None:
    kept = save_picture(day_folder(tmp_path), b"x")
    old, young = (kept.parent / f".sdgen-{name}.tmp" for name in ("old", "young"))
    others = kept.parent / "other.tmp"
    for path in (old, young, others):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    os.utime(others, (0, 0))
    assert remove_stumps(tmp_path) == 1
    assert set(kept.parent.iterdir()) == {kept, young, others}
    assert remove_stumps(tmp_path / "absent") == 0


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed) as caught:
        save_picture(tmp_path / "file" / "folder", b"x")
    assert str(tmp_path) not in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


@posix
@pytest.mark.skipif(os.name != "nt" and os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageFailed, match="may not be written"):
        save_picture(tmp_path, b"x")


@posix
def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path) -> None:
    kept = save_picture(tmp_path, b"x" * 5000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for limit in (0, 1, 4096, 9999):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            with pytest.raises(StorageFailed, match="disk is full"):
                save_picture(tmp_path, b"y" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == [kept]
    assert kept.read_bytes() == b"x" * 5000
    save_picture(tmp_path, b"y" * 10_000)


def test_many_writers_do_not_meet(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=lambda: [save_picture(tmp_path, b"x") for _ in range(20)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.glob("*.png"))) == 160
    assert not stumps(tmp_path)


KILL_WRITERS = """
import os, random, signal, sys, time
from pathlib import Path
from PIL import Image
from sdgen.job import GeneratedImage
from sdgen.metadata import encode_png, recipe_for
from sdgen.pictures import day_folder, save_picture
from tests.conftest import FAKE_INFO, ask
request = ask(width=256, height=256)
image = GeneratedImage(0, 7, Image.effect_noise((256, 256), 90).convert("RGB"), FAKE_INFO)
data = encode_png(image.image, recipe_for(request, image))
chance = random.Random(7)
for _ in range(20):
    writer = os.fork()
    if writer == 0:
        while True:
            path = save_picture(day_folder(Path(sys.argv[1])), data)
            os.write(1, path.name.encode() + b"\\n")
    time.sleep(chance.uniform(0.02, 0.07))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
"""


@posix
def test_kill_9_while_writing_leaves_no_damaged_picture(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILL_WRITERS, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    visible = list_pictures(tmp_path, limit=100_000)
    for path in visible:
        with Image.open(path) as image:
            image.load()
    said = set(done.stdout.split())
    assert said
    assert {path.name for path in visible} >= said  # what was said to be saved is there
    left = stumps(tmp_path)
    assert remove_stumps(tmp_path, older_than=0) == len(left)
    assert not stumps(tmp_path)
