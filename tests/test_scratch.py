"""The app's folder for temporary files: its own, swept of the dead, and of copies and old files."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from sdgen import scratch
from sdgen.config import Settings
from sdgen.errors import StorageFailed
from sdgen.gallery import Gallery
from sdgen.history import History
from sdgen.owners import owner_of_login
from sdgen.pictures import pictures_folder
from tests.fault_programs import REPOSITORY, posix
from tests.web_studio import add_picture

OWNER = owner_of_login("ann")
HOLDS = """
import sys, time
from sdgen.scratch import own_folder
with own_folder() as folder:
    (folder / "upload.bin").write_bytes(b"x" * 100)
    print(folder, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go now."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv(scratch.VARIABLE, raising=False)
    return place


def process(parent: Path) -> tuple["subprocess.Popen[str]", Path]:
    """A program that has a folder, and that."""
    made = subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        cwd=REPOSITORY, env=os.environ | {"TMPDIR": str(parent)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert made.stdout is not None
    return made, Path(made.stdout.readline().strip())


@posix
def test_what_the_dead_left_goes_and_the_living_keep_theirs(parent: Path) -> None:
    dead, left = process(parent)
    living, kept = process(parent)
    try:
        assert (left / "upload.bin").exists()
        dead.send_signal(signal.SIGKILL)
        dead.communicate()
        foreign = parent / "sdgen-made-by-hand"
        foreign.mkdir()
        (foreign / "x").touch()
        with scratch.own_folder() as folder:
            assert folder.parent == parent
            assert not left.exists()
            assert (kept / "upload.bin").exists()
            assert (foreign / "x").exists(), "no lock says whose it is"
            assert os.environ[scratch.VARIABLE] == str(folder)
            assert folder.stat().st_mode & 0o077 == 0
        assert not folder.exists()
        assert scratch.VARIABLE not in os.environ
    finally:
        living.communicate("\n")
    assert living.returncode == 0
    assert not kept.exists()


@posix
def test_a_folder_in_the_making_and_a_link_are_left_alone(parent: Path, tmp_path: Path) -> None:
    making = parent / "sdgen-making"
    making.mkdir()
    (making / "app.lock").touch()  # not yet held, nor marked
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("app.lock", ".owned", "precious"):
        (elsewhere / name).touch()
    (parent / "sdgen-link").symlink_to(elsewhere)
    assert scratch.remove_dead(parent) == 0
    assert making.exists()
    assert (elsewhere / "precious").exists()


def test_a_folder_that_the_operator_names_holds_the_app_s_own(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named"
    monkeypatch.setenv(scratch.VARIABLE, str(named))
    with scratch.own_folder() as folder:
        assert folder.parent == named
        (named / "operators.txt").touch()
    assert os.environ[scratch.VARIABLE] == str(named)
    assert [path.name for path in named.iterdir()] == ["operators.txt"]


def test_where_nothing_has_room_it_is_said(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "file"
    nowhere.touch()
    monkeypatch.setenv(scratch.VARIABLE, str(nowhere))
    with pytest.raises(StorageFailed, match="no room for temporary files"):
        scratch.own_folder().__enter__()


def test_old_files_go_and_young_ones_stay(parent: Path) -> None:
    with scratch.own_folder() as folder:
        for name in ("a" * 64, "b" * 64):
            (folder / name).mkdir()
            (folder / name / "x.png").touch()
        (folder / "tmp123").touch()  # half an upload
        now = time.time()
        assert scratch.remove_old(folder, now) == 0
        assert scratch.remove_old(folder, now + scratch.LEFT_SECONDS + 60) == 1
        os.utime(folder / ("b" * 64) / "x.png")
        assert scratch.remove_old(folder, now + scratch.AGE_SECONDS + 60) == 2
        assert sorted(path.name for path in folder.iterdir()) == [".owned", "app.lock"]


@pytest.mark.parametrize("name", [".owned", "app.lock"])
def test_an_upload_that_is_called_as_the_app_s_own_files_counts_and_goes(
    parent: Path, name: str
) -> None:
    with scratch.own_folder() as folder:
        upload = folder / ("c" * 64) / name
        upload.parent.mkdir()
        upload.write_bytes(b"x" * 1000)
        assert scratch.used_bytes(folder) == 1000
        assert scratch.remove_old(folder, time.time() + scratch.AGE_SECONDS + 60) == 1
        assert sorted(path.name for path in folder.iterdir()) == [".owned", "app.lock"]


def test_a_folder_that_is_not_the_app_s_own_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert scratch.remove_old(tmp_path, time.time() + 10**9) == 0
    assert scratch.remove_parts(tmp_path) == 0
    assert (tmp_path / "x").exists()


# --- copies of pictures


@pytest.mark.parametrize("how", ["erase", "empty_bin", "tidy", "by_hand"])
def test_copies_go_with_their_picture_for_good(parent: Path, tmp_path: Path, how: str) -> None:
    data = tmp_path / "data"
    history = History(data)
    gallery = Gallery(data, history, bin_days=0, copies=scratch.HandedCopies())
    rows = [add_picture(data, gallery, OWNER, number) for number in (1, 2)]
    files = [pictures_folder(data) / row.path for row in rows]
    with scratch.own_folder() as folder:
        for number, (row, file) in enumerate(zip(rows, files, strict=True)):
            for name in (f"{row.id}.png", "as I called it.png"):
                place = folder / (f"{number}{name[0]}" * 8)
                place.mkdir(exist_ok=True)
                shutil.copy2(file, place / name)
        other = folder / "other.png"
        other.write_bytes(bytes(files[0].stat().st_size))  # as long, and another
        gallery.delete(OWNER, [rows[0].id])
        assert len(list(folder.rglob("*.png"))) == 5, "it can still come back"
        if how == "erase":
            assert gallery.erase(OWNER, [rows[0].id]) == 1
        elif how == "empty_bin":
            assert gallery.empty_bin(OWNER) == 1
        elif how == "tidy":
            assert gallery.tidy() == 1
        else:
            (row,) = gallery.rows(OWNER, [rows[0].id])
            gallery.path(row).unlink()
            gallery.synchronise()
        left = sorted(path.name for path in folder.rglob("*.png"))
        kept = ["as I called it.png"] if how == "by_hand" else []  # its bytes are not known then
        assert left == sorted([*kept, "as I called it.png", f"{rows[1].id}.png", "other.png"])
    history.close()


# --- room


def test_readiness_looks_at_its_disk(parent: Path, settings: Settings) -> None:
    assert scratch.shortage(settings) == ""
    huge = settings.model_copy(update={"temp_reserve_mb": 10**9})
    assert "temporary files" in scratch.shortage(huge)
    assert str(parent) not in scratch.shortage(huge)
