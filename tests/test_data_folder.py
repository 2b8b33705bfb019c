"""The data folder: its owner's alone; removed while the app runs; on a disk that is full."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from sdgen.config import Settings
from sdgen.data_folder import GONE, has_no_room, make_data_folder
from sdgen.errors import StorageFailed
from sdgen.gallery import Search
from sdgen.history import History
from sdgen.job import Finished
from sdgen.studio import Studio
from sdgen.web.health import Health
from tests.conftest import FakeEngine, FakeModelFiles, ask
from tests.fault_programs import posix, run
from tests.queue_apps import ANN, app, end_of, submit, wait_until


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def ready(studio: Studio, settings: Settings) -> tuple[int, bytes]:
    answer = Health(studio, settings, False)._readyz()
    return answer.status_code, bytes(answer.body)


def found(studio: Studio) -> int:
    return studio.gallery.search(ANN.owner, Search()).total


# --- whose it is


@posix
def test_what_is_made_is_the_owner_s_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with app(tmp_path / "above" / "data") as studio:
            assert isinstance(end_of(submit(studio)[0]), Finished)
            made = list((tmp_path / "above" / "data").glob("history.sqlite3*"))
            assert len(made) == 3  # the file, its log, and what its readers share
            assert {mode_of(path) for path in made} == {0o600}
            assert mode_of(tmp_path / "above" / "data") == 0o700
    finally:
        os.umask(before)


@posix
def test_a_history_that_others_could_read_is_tightened_and_a_folder_is_left(
    tmp_path: Path,
) -> None:
    with app(tmp_path):
        for path in tmp_path.glob("history.sqlite3*"):
            path.chmod(0o644)
        tmp_path.chmod(0o755)
        History(tmp_path).close()
        assert {mode_of(path) for path in tmp_path.glob("history.sqlite3*")} == {0o600}
    assert mode_of(tmp_path) == 0o755


@posix
def test_also_the_command_line_makes_it_private(tmp_path: Path, engine: FakeEngine) -> None:
    settings = Settings(data_dir=tmp_path / "data", credentials=False)
    studio = Studio(settings, engine, FakeModelFiles())
    studio.start(ask()).result(20)
    studio.close()
    assert mode_of(tmp_path / "data") == 0o700


# --- removed while the app runs


def test_a_folder_that_is_away_is_said_and_not_made_again(tmp_path: Path) -> None:
    data, away = tmp_path / "data", tmp_path / "away"
    settings = Settings(data_dir=data)
    with app(data) as studio:
        assert isinstance(end_of(submit(studio)[0]), Finished)
        assert ready(studio, settings)[0] == 200
        data.rename(away)
        status, told = ready(studio, settings)
        assert (status, GONE.encode() in told) == (503, True)
        assert studio.disk().sentence == GONE
        for deed in (lambda: submit(studio), lambda: found(studio)):
            with pytest.raises(StorageFailed, match="not there any more"):
                deed()
        assert not data.exists()
        away.rename(data)
        assert ready(studio, settings)[0] == 200
        assert found(studio) == 1
        assert isinstance(end_of(submit(studio)[0]), Finished)
        assert found(studio) == 2


def test_a_folder_that_was_deleted_is_begun_anew_once_there_is_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    held = FakeEngine()
    go_on: list[bool] = []
    held.before_step = lambda job, step: wait_until(lambda: go_on)
    with app(data, held, max_running=1) as studio:
        running, waiting = submit(studio, ANN, "first", "second")
        wait_until(lambda: studio.queue_counts == (1, 1))
        shutil.rmtree(data)
        assert studio.disk().full
        go_on.append(True)
        wait_until(lambda: studio.queue_counts == (2, 0))  # its picture had no place to go
        assert not data.exists()
        data.mkdir()
        for job in (running, waiting):
            assert isinstance(end_of(job), Finished)
        wait_until(lambda: not studio.disk().full)
        assert found(studio) == 2
        rows = [studio.find_job(job.id, ANN) for job in (running, waiting)]
        assert [told.row.state for told in rows if told] == ["done", "done"]
        with pytest.raises(StorageFailed, match="Another sdgen app"), app(data):
            pass  # the lock is held again, too


def test_a_history_that_was_deleted_is_made_anew_from_the_pictures(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with app(tmp_path) as studio:
        for seed in (1, 2):
            assert isinstance(end_of(submit(studio, seed=seed)[0]), Finished)
        (tmp_path / "history.sqlite3").unlink()
        status, told = ready(studio, settings)
        assert (status, b"made anew from the pictures" in told) == (503, True)
        wait_until(lambda: ready(studio, settings)[0] == 200)
        wait_until(lambda: found(studio) == 2)
        assert isinstance(end_of(submit(studio, seed=3)[0]), Finished)
        assert found(studio) == 3


def test_a_copy_put_in_its_place_is_read(tmp_path: Path) -> None:
    with app(tmp_path / "data") as studio:
        assert isinstance(end_of(submit(studio)[0]), Finished)
    shutil.copytree(tmp_path / "data", tmp_path / "backup")
    with app(tmp_path / "data") as studio:
        assert isinstance(end_of(submit(studio, seed=8)[0]), Finished)
        shutil.rmtree(tmp_path / "data")
        shutil.copytree(tmp_path / "backup", tmp_path / "data")
        wait_until(lambda: found(studio) == 1)
        assert isinstance(end_of(submit(studio, seed=9)[0]), Finished)
        assert found(studio) == 2


@posix
def test_a_disk_that_is_not_mounted_is_not_begun_anew(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk here")
    disk, data = tmp_path / "disk", tmp_path / "data"
    disk.mkdir()
    data.symlink_to(disk)
    empty = Path(tempfile.mkdtemp(dir=elsewhere))  # as what a mount leaves behind
    try:
        with app(data) as studio:
            end_of(submit(studio)[0])
            data.unlink()
            data.symlink_to(empty)
            assert studio.disk().sentence == GONE
            with pytest.raises(StorageFailed, match="not there any more"):
                submit(studio)
            assert list(empty.iterdir()) == []
            data.unlink()
            data.symlink_to(disk)
            assert found(studio) == 1
            assert isinstance(end_of(submit(studio)[0]), Finished)
    finally:
        shutil.rmtree(empty)


# --- a full disk

# No file may grow, as if the disk were full; the limit is lifted later, as if there were room.
ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from sdgen.errors import StorageFailed
from sdgen.gallery import Search
from sdgen.job import Finished
from tests.queue_apps import ANN, app, end_of, submit, wait_until
from tests.conftest import FakeEngine, FakeModelFiles
from sdgen.config import Settings
from sdgen.studio import Studio
data = Path(sys.argv[1])
with app(data) as studio:
    for seed in range(3):
        end_of(submit(studio, seed=seed)[0])
    rows = studio.gallery.search(ANN.owner, Search()).rows
    studio.gallery.delete(ANN.owner, [rows[0].id])
    if sys.argv[2] == "waiting":
        studio.pause(ANN.owner, True)
        submit(studio, seed=7)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
studio = Studio(Settings(data_dir=data, credentials=False), FakeEngine(), FakeModelFiles())
studio.open_queue(waits_for_room=True)
assert studio.alive()
disk = studio.disk()
assert disk.full and "The disk is full" in disk.sentence, disk
assert studio.gallery.search(ANN.owner, Search(bin=True)).total == 1
assert studio.gallery.search(ANN.owner, Search()).total == 2
try:
    submit(studio, seed=5)
except StorageFailed as error:
    assert "disk is full" in str(error).lower(), error
else:
    raise AssertionError("it was taken")
gone = studio.gallery.path(rows[0]).name
try:
    studio.gallery.empty_bin(ANN.owner)
except StorageFailed as error:
    print("rows wait:", error)
assert not list(data.rglob(gone))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
wait_until(lambda: not studio.disk().full)
if sys.argv[2] == "waiting":
    wait_until(lambda: studio.queue_counts == (1, 0))
    studio.pause(ANN.owner, False)
    wait_until(lambda: studio.queue_counts == (0, 0))
end_of(submit(studio, seed=5)[0])
wait_until(lambda: studio.gallery.search(ANN.owner, Search()).total
           == (4 if sys.argv[2] == "waiting" else 3))
studio.close()
print("good")
"""


@posix
@pytest.mark.parametrize("queue", ["empty", "waiting"])
def test_on_a_full_disk_pictures_are_seen_and_deleted_and_all_works_once_there_is_room(
    tmp_path: Path, queue: str
) -> None:
    assert run(ON_A_FULL_DISK, tmp_path, queue).splitlines()[-1] == "good"


ONLY_FULL = """
import resource, sys
from pathlib import Path
from sdgen.data_folder import has_no_room
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
assert has_no_room(Path(sys.argv[1]))
assert not has_no_room(Path(sys.argv[1]) / "nowhere")
assert not list(Path(sys.argv[1]).iterdir())
"""


@posix
def test_no_room_is_tried_and_told_from_other_troubles(tmp_path: Path) -> None:
    assert not has_no_room(tmp_path)
    run(ONLY_FULL, tmp_path)
    make_data_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
