"""Pictures on disk are whole or not there, whatever happens while they are written."""

import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdgen.errors import StorageFailed
from sdgen.gallery.files import picture_files
from sdgen.owners import ANYONE, LOCAL, owner_of_token
from sdgen.pictures import (
    bin_folder,
    day_folder,
    index_of_name,
    is_picture_name,
    job_picture_name,
    picture_folders,
    picture_name,
    pictures_folder,
    remove_stumps,
    save_picture,
    time_of_name,
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
    names: list[str] = []
    for _ in range(50):
        while names and int(time.time() * 1000) == round(time_of_name(names[-1]) * 1000):
            time.sleep(0.0001)  # names of one millisecond are in no order
        names.append(picture_name())
    assert names == sorted(names)
    assert len({picture_name() for _ in range(1000)}) == 1000
    assert {len(name) for name in names} == {26}


def test_names_of_a_job_come_again_and_sort_by_time_and_index() -> None:
    names = [
        job_picture_name("a", 1_000_000.0 + second, index)
        for second in range(3)
        for index in range(20)
    ]
    assert names == sorted(names)
    others = [job_picture_name("b", 1_000_000.0, index) for index in range(20)]
    assert len({*names, *others}) == 80
    assert names[0] == job_picture_name("a", 1_000_000.0, 0)
    assert [index_of_name(name) for name in others] == list(range(20))
    assert all(is_picture_name(name) for name in names)
    assert job_picture_name("a", 1_000_000.0, 1)[12:] != names[0][12:]


@given(st.floats(0, 2**48 / 1000 - 1), st.text(), st.integers(0, 255))
def test_a_name_tells_its_time(when: float, job: str, index: int) -> None:
    name = job_picture_name(job, when, index)
    assert abs(time_of_name(name) - when) <= 0.001
    assert abs(time_of_name(picture_name()) - time.time()) < 10


def test_what_is_no_name_of_ours() -> None:
    name = picture_name()
    for other in ("", name.upper(), name + "0", name[1:], "u" * 26, f"../{name[3:]}", name + "\n"):
        assert not is_picture_name(other)


def test_a_name_that_is_there_is_replaced_also_after_a_kill(tmp_path: Path) -> None:
    first = save_picture(tmp_path, b"x", "name")
    (tmp_path / ".sdgen-name.tmp").write_bytes(b"half")
    assert save_picture(tmp_path, b"y", "name") == first == tmp_path / "name.png"
    assert first.read_bytes() == b"y"


def test_a_day_has_its_folder(tmp_path: Path) -> None:
    when = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)
    mine = tmp_path / "pictures"
    assert day_folder(tmp_path, when) == mine / "2026-11-20"
    assert bin_folder(tmp_path, when) == mine / "bin" / "2026-11-20"
    assert day_folder(tmp_path, when, "0a1b") == mine / "0a1b" / "2026-11-20"
    assert bin_folder(tmp_path, when, "0a1b") == mine / "0a1b" / "bin" / "2026-11-20"


@pytest.mark.parametrize("owner", ["", "..", "bin", "a/b", "2026-11-20", "A", "a\n", "."])
def test_an_owner_is_never_a_way_out_or_into_anothers(tmp_path: Path, owner: str) -> None:
    with pytest.raises(ValueError, match="no owner"):
        pictures_folder(tmp_path, owner)


OWNERS = (LOCAL, ANYONE, owner_of_token("x"))


def test_every_folder_is_found_with_its_owner(tmp_path: Path) -> None:
    assert list(picture_folders(tmp_path)) == []
    when = datetime(2026, 11, 20, tzinfo=UTC)
    made = {(owner, deleted) for owner in OWNERS for deleted in (False, True)}
    for owner, deleted in made:
        (bin_folder if deleted else day_folder)(tmp_path, when, owner).mkdir(parents=True)
    top = pictures_folder(tmp_path)
    (top / "2026-13-77").mkdir()
    (top / "Holidays" / "2026-11-20").mkdir(parents=True)
    (top / "notes.txt").write_text("")
    found = list(picture_folders(tmp_path))
    assert {(folder.owner, folder.deleted) for folder in found} == made
    assert len(found) == len(made)
    assert {folder.day for folder in found} == {when.date()}


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("folder", [day_folder, bin_folder])
def test_old_stumps_go_and_young_ones_stay(
    tmp_path: Path, folder: Callable[..., Path], owner: str
) -> None:
    kept = save_picture(folder(tmp_path, owner=owner), b"x")
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
    visible = [pictures_folder(tmp_path) / file.path for file in picture_files(tmp_path)]
    for path in visible:
        with Image.open(path) as image:
            image.load()
    said = set(done.stdout.split())
    assert said
    assert {path.name for path in visible} >= said  # what was said to be saved is there
    left = stumps(tmp_path)
    assert remove_stumps(tmp_path, older_than=0) == len(left)
    assert not stumps(tmp_path)
