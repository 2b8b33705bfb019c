"""Rows follow the files, limits hold, and the rows can be made anew."""

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sdgen.errors import StorageFailed
from sdgen.gallery import Search, free_bytes, rebuild
from sdgen.history import PictureRow
from sdgen.owners import LOCAL
from sdgen.pictures import bin_folder, day_folder, job_picture_name, picture_name
from tests.galleries import NOON, Pictures
from tests.history_rows import job

DAY = 86400.0
OWNERS = ("me", "you", LOCAL)


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[Pictures]:
    made = Pictures(tmp_path)
    yield made
    made.close()


def found(pictures: Pictures, owner: str = "me", bin: bool = False) -> list[PictureRow]:
    return list(pictures.gallery.search(owner, Search(bin=bin), limit=1000).rows)


# Bin


@pytest.mark.parametrize("owner", OWNERS)
def test_what_is_deleted_can_come_back(pictures: Pictures, owner: str) -> None:
    rows = [pictures.add(owner, NOON + number) for number in range(3)]
    pictures.gallery.favourite(owner, [rows[0].id], True)
    before = found(pictures, owner)
    files = pictures.files()
    ids = [rows[0].id, rows[2].id]
    assert set(pictures.gallery.delete(owner, [*ids, "none"])) == set(ids)
    assert pictures.gallery.delete(owner, ids) == ()
    assert [row.id for row in found(pictures, owner)] == [rows[1].id]
    binned = found(pictures, owner, bin=True)
    assert {row.id for row in binned} == set(ids)
    assert all(row.deleted and time.time() - row.deleted < 60 for row in binned)
    assert {pictures.gallery.path(row).parent for row in binned} == {
        bin_folder(pictures.data_dir, owner=owner)
    }
    assert pictures.agrees()
    assert set(pictures.gallery.restore(owner, [*ids, rows[1].id])) == set(ids)
    assert found(pictures, owner) == before
    assert pictures.files() == files


def test_only_the_bin_can_be_emptied(pictures: Pictures) -> None:
    kept, erased = pictures.add(), pictures.add(created=NOON + 1)
    pictures.gallery.delete("me", [erased.id])
    assert pictures.gallery.erase("me", [kept.id, erased.id, "none"]) == 1
    assert pictures.files() == {kept.path}
    assert pictures.gallery.find(erased.id, "me") is None
    assert pictures.gallery.restore("me", [erased.id]) == ()
    assert pictures.gallery.synchronise() == 0  # nor does it come back


def test_a_picture_whose_file_is_gone_leaves_when_it_is_deleted(pictures: Pictures) -> None:
    lost, kept = pictures.add(), pictures.add(created=NOON + 1)
    pictures.gallery.path(lost).unlink()
    assert pictures.gallery.delete("me", [lost.id, kept.id]) == (kept.id,)
    assert pictures.gallery.find(lost.id, "me") is None
    assert pictures.agrees()


def test_what_cannot_be_moved_stays_whole(pictures: Pictures) -> None:
    rows = [pictures.add(created=NOON + number * DAY) for number in range(3)]
    ids = [row.id for row in rows]
    pictures.gallery.delete("me", ids)
    before, files = found(pictures, bin=True), pictures.files()
    place = pictures.gallery.path(rows[0]).parent  # of the oldest: the others are moved by then
    place.rmdir()
    place.write_bytes(b"in the way")
    with pytest.raises(StorageFailed) as caught:
        pictures.gallery.restore("me", ids)
    assert str(pictures.data_dir) not in str(caught.value)
    place.unlink()
    assert found(pictures, bin=True) == before
    assert pictures.files() == files
    assert len(pictures.gallery.restore("me", ids)) == 3


def refuse(pictures: Pictures, change: str, picture_id: str) -> None:
    """From now on that row cannot be changed."""
    with pictures.history.writing() as db:
        db.execute(
            f"CREATE TRIGGER refused BEFORE {change} ON pictures WHEN old.id = '{picture_id}' "
            "BEGIN SELECT RAISE(FAIL, 'no'); END"
        )


def allow(pictures: Pictures) -> None:
    with pictures.history.writing() as db:
        db.execute("DROP TRIGGER refused")


@pytest.mark.parametrize("which", [0, 1, 2])
def test_rows_that_cannot_be_written_leave_the_files(pictures: Pictures, which: int) -> None:
    ids = [pictures.add(created=NOON + number).id for number in range(3)]
    for change in (pictures.gallery.delete, pictures.gallery.restore):
        before, binned, files = found(pictures), found(pictures, bin=True), pictures.files()
        refuse(pictures, "UPDATE", ids[which])
        with pytest.raises(StorageFailed):
            change("me", ids)
        assert (found(pictures), found(pictures, bin=True)) == (before, binned)
        assert pictures.files() == files
        allow(pictures)
        assert set(change("me", ids)) == set(ids)
        assert pictures.agrees()


def test_what_is_erased_stays_away_whatever_happens_to_its_row(pictures: Pictures) -> None:
    row = pictures.add()
    pictures.gallery.delete("me", [row.id])
    refuse(pictures, "DELETE", row.id)
    with pytest.raises(StorageFailed):
        pictures.gallery.erase("me", [row.id])
    assert pictures.files() == set()
    allow(pictures)
    assert pictures.gallery.synchronise() == 1
    assert found(pictures, bin=True) == []


# Rows follow files


def test_a_file_without_a_row_gets_one(pictures: Pictures) -> None:
    rows = []
    for owner in OWNERS:
        rows.append(pictures.write(owner, flagged="why", prompt=f"of {owner}")[1])
    path, row = pictures.write(created=NOON + 1)
    target = bin_folder(pictures.data_dir, datetime(2026, 11, 21, tzinfo=UTC), "me")
    target.mkdir(parents=True)
    path.rename(target / path.name)
    assert pictures.gallery.synchronise() == 4
    for expected in rows:
        assert pictures.gallery.find(expected.id, expected.owner) == expected
    (binned,) = found(pictures, bin=True)
    midnight = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    lies = f"me/bin/2026-11-21/{row.id}.png"
    assert binned == dataclasses.replace(row, path=lies, deleted=midnight)
    assert pictures.agrees()
    assert pictures.gallery.synchronise() == 0


def test_what_is_no_picture_of_ours_is_left_alone(pictures: Pictures) -> None:
    path, _ = pictures.write()
    data = path.read_bytes()
    path.unlink()
    folder = path.parent
    others = {
        f"{picture_name()}.png": b"no picture",
        f"{picture_name()}.png ": data,
        f"{picture_name()}.jpg": data,
        "cat.png": data,
        f".{picture_name()}.png": data,
        f"{picture_name()}.png.png": data,
    }
    for name, content in others.items():
        (folder / name).write_bytes(content)
    (folder / f"{picture_name()}.png").mkdir()
    (folder.parent.parent / "Holidays" / "2026-11-20").mkdir(parents=True)
    (folder.parent.parent / "Holidays" / "2026-11-20" / f"{picture_name()}.png").write_bytes(data)
    files = pictures.files()
    assert pictures.gallery.synchronise() == 0
    assert pictures.gallery.search("me", Search()).total == 0
    assert pictures.files() == files


def test_a_row_without_a_file_goes(pictures: Pictures) -> None:
    lost, kept = pictures.add(), pictures.add(created=NOON + 1)
    pictures.gallery.path(lost).unlink()
    assert pictures.gallery.synchronise() == 1
    assert [row.id for row in found(pictures)] == [kept.id]
    shutil.rmtree(pictures.data_dir / "pictures")
    assert pictures.gallery.synchronise() == 1
    assert found(pictures) == []


def test_a_row_follows_its_file(pictures: Pictures) -> None:
    """As after a crash between moving files and writing that down, or after moving by hand."""
    deleted, restored, given, again = (pictures.add(created=NOON + n) for n in range(4))
    pictures.gallery.favourite("me", [deleted.id], True)
    pictures.gallery.delete("me", [restored.id, again.id])
    (when,) = (row.deleted for row in found(pictures, bin=True) if row.id == again.id)

    def moved(name: str, folder: Path) -> None:
        row = pictures.gallery.find(name, "me")
        assert row is not None
        folder.mkdir(parents=True, exist_ok=True)
        pictures.gallery.path(row).rename(folder / f"{name}.png")

    day = datetime(2026, 11, 20, tzinfo=UTC)
    moved(deleted.id, bin_folder(pictures.data_dir, day, "me"))
    moved(restored.id, day_folder(pictures.data_dir, day, "me"))
    moved(given.id, day_folder(pictures.data_dir, day, "you"))
    moved(again.id, bin_folder(pictures.data_dir, day, "me"))
    assert pictures.gallery.synchronise() == 4
    assert pictures.agrees()
    assert [row.id for row in found(pictures)] == [restored.id]
    assert [row.id for row in found(pictures, "you")] == [given.id]
    binned = {row.id: row for row in found(pictures, bin=True)}
    assert binned[deleted.id].deleted == day.timestamp()
    assert binned[deleted.id].favourite
    assert binned[again.id].deleted == when  # to the second, where that is known
    assert pictures.gallery.synchronise() == 0


def test_a_copy_of_a_picture_is_not_listed_twice(pictures: Pictures) -> None:
    row = pictures.add()
    day = datetime(2026, 11, 25, tzinfo=UTC)
    copy = day_folder(pictures.data_dir, day, "you") / f"{row.id}.png"
    copy.parent.mkdir(parents=True)
    shutil.copy(pictures.gallery.path(row), copy)
    for _ in range(2):
        assert pictures.gallery.synchronise() == 0
        assert found(pictures) == [row]
        assert found(pictures, "you") == []


def test_a_picture_found_before_its_job_wrote_it_down_is_its_jobs(pictures: Pictures) -> None:
    name = job_picture_name("j", NOON, 2)
    _, row = pictures.write(name=name)
    assert pictures.gallery.synchronise() == 1
    mine = dataclasses.replace(row, job="j", index=2)
    pictures.gallery.record(mine)
    assert found(pictures) == pictures.history.pictures_of_job("j") == [mine]


@pytest.mark.parametrize("by", ["synchronise", "rebuild"])
def test_a_picture_s_name_tells_whose_job_s_it_is(pictures: Pictures, by: str) -> None:
    jobs = [
        job(name, created=NOON + after) for name, after in zip("abc", (0.0, 0.0, 0.9), strict=True)
    ]
    pictures.history.add_jobs(jobs)
    for of in jobs:
        for index in (0, 15):
            pictures.write(name=job_picture_name(of.id, of.created, index))
    pictures.write(name=job_picture_name("d", NOON, 0))  # a job that nobody knows any more
    pictures.write()
    if by == "rebuild":
        pictures.close()
        rebuild(pictures.data_dir)
        pictures.open()
    assert pictures.gallery.synchronise() == (8 if by == "synchronise" else 0)
    for of in jobs:
        assert [row.index for row in pictures.history.pictures_of_job(of.id)] == [0, 15]
    assert len(pictures.history.pictures_of_job("d")) == 0
    assert len(found(pictures)) == 8


def test_a_name_that_is_none_of_ours_stays_while_its_file_does(pictures: Pictures) -> None:
    path, row = pictures.write(name="by-hand")
    pictures.gallery.record(row)
    assert pictures.gallery.synchronise() == 0
    assert found(pictures) == [row]
    path.unlink()
    assert pictures.gallery.synchronise() == 1


# Limits


def test_the_bin_is_emptied_in_time(pictures: Pictures) -> None:
    old, young, kept = (pictures.add(created=NOON + number) for number in range(3))
    pictures.gallery.favourite("me", [old.id], True)
    pictures.gallery.delete("me", [old.id, young.id])
    with pictures.history.writing() as db:
        for row, days in ((old, 30.1), (young, 29.9)):
            deleted = time.time() - days * DAY
            db.execute("UPDATE pictures SET deleted = ? WHERE id = ?", (deleted, row.id))
    assert pictures.gallery.tidy() == 1
    assert pictures.gallery.find(old.id, "me") is None
    assert [row.id for row in found(pictures, bin=True)] == [young.id]
    assert [row.id for row in found(pictures)] == [kept.id]
    assert pictures.agrees()


def test_old_pictures_go_where_the_operator_wants_it(pictures: Pictures) -> None:
    now = time.time()
    ages = {number: pictures.add(created=now - number * DAY) for number in (1, 9, 11, 20)}
    pictures.gallery.favourite("me", [ages[20].id], True)
    assert pictures.gallery.tidy() == 0
    assert pictures.gallery.tidy(keep_days=10) == 1
    assert {row.id for row in found(pictures)} == {ages[1].id, ages[9].id, ages[20].id}
    assert pictures.agrees()


def test_the_oldest_go_above_the_size_that_the_operator_wants(pictures: Pictures) -> None:
    rows = [pictures.add(OWNERS[number % 3], NOON + number) for number in range(6)]
    size = rows[0].size_bytes
    sizes = {row.id: row.size_bytes for row in rows}
    pictures.gallery.favourite(rows[0].owner, [rows[0].id], True)
    pictures.gallery.delete(rows[5].owner, [rows[5].id])
    assert pictures.gallery.tidy(keep_bytes=sum(sizes.values())) == 0
    assert pictures.gallery.tidy(keep_bytes=sum(sizes.values()) - 1) == 1  # what is in the bin
    assert pictures.gallery.find(rows[5].id, rows[5].owner) is None
    assert pictures.gallery.tidy(keep_bytes=int(size * 3.5)) == 2  # then the oldest
    left = {row.id for row in rows if pictures.gallery.find(row.id, row.owner)}
    assert left == {rows[0].id, rows[3].id, rows[4].id}
    assert pictures.gallery.tidy(keep_bytes=1) == 2
    assert pictures.files() == {rows[0].path}  # favourites never


def test_empty_folders_and_stumps_go(pictures: Pictures) -> None:
    row = pictures.add()
    thumb = pictures.gallery.thumbnail(row)
    stump = thumb.with_name(".sdgen-x.tmp")
    stump.write_bytes(b"half")
    os.utime(stump, (0, 0))
    empty = day_folder(pictures.data_dir, datetime(2020, 1, 1, tzinfo=UTC), "me")
    today = day_folder(pictures.data_dir, owner="me")
    for folder in (empty, today):
        folder.mkdir(parents=True, exist_ok=True)
    pictures.gallery.tidy()
    assert not empty.exists()
    assert not stump.exists()
    assert today.is_dir()
    assert thumb.is_file()
    assert pictures.files() == {row.path}


@pytest.mark.parametrize("name", ["", "by-hand"])
def test_thumbnails_of_what_is_not_here_any_more_go(pictures: Pictures, name: str) -> None:
    path, row = pictures.write(name=name)
    pictures.gallery.record(row)
    kept, binned = pictures.add(created=NOON + 1), pictures.add(created=NOON + 2)
    lost = pictures.gallery.thumbnail(row)
    stay = [pictures.gallery.thumbnail(one) for one in (kept, binned)]
    pictures.gallery.delete("me", [binned.id])
    pictures.gallery.tidy()
    assert all(thumb.is_file() for thumb in (lost, *stay))
    path.unlink()
    left = lost.read_bytes()
    assert pictures.gallery.synchronise() == 1
    lost.write_bytes(left)  # as one that was being made just then, when the app was killed
    pictures.gallery.tidy()
    assert not lost.exists()
    assert all(thumb.is_file() for thumb in stay)


def test_there_is_room_or_not(tmp_path: Path) -> None:
    assert 0 < free_bytes(tmp_path / "not" / "yet") <= shutil.disk_usage(tmp_path).total


# The rows anew


def some_of_all(pictures: Pictures) -> list[PictureRow]:
    rows = [pictures.add(owner, NOON + number) for number in range(3) for owner in OWNERS]
    pictures.gallery.favourite("me", [rows[0].id], True)
    pictures.gallery.delete("me", [rows[3].id])
    marked = dataclasses.replace(pictures.write()[1], job="j", index=4, flagged="told by the row")
    pictures.gallery.record(marked)
    pictures.history.add_jobs([job("j"), job("k")])
    pictures.history.end_job("k", "done", 5.0)
    pictures.history.set_paused("me", True)
    return rows


def everything(pictures: Pictures) -> object:
    with pictures.history.reading() as db:
        return [
            db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for table in ("pictures", "jobs", "paused")
        ]


def test_rebuilt_rows_are_as_they_were(pictures: Pictures) -> None:
    some_of_all(pictures)
    foreign = day_folder(pictures.data_dir, owner="me") / f"{picture_name()}.png"
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_bytes(b"x")
    before = everything(pictures)
    pictures.close()
    told = rebuild(pictures.data_dir)
    assert (told.pictures, told.unreadable) == (10, 1)
    assert (told.jobs_kept, told.favourites_kept) == (2, 1)
    pictures.open()
    assert everything(pictures) == before
    assert not list(pictures.data_dir.glob("history.new*"))


LOSSES: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "damaged": lambda path: path.write_bytes(b"no database" * 500),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("by", [rebuild, lambda data_dir: None])
def test_pictures_are_found_again_without_any_row(
    pictures: Pictures, loss: str, by: Callable[[Path], object]
) -> None:
    some_of_all(pictures)
    ids = {(row.owner, row.id, row.path) for owner in OWNERS for row in found(pictures, owner)}
    pictures.close()
    LOSSES[loss](pictures.data_dir / "history.sqlite3")
    by(pictures.data_dir)  # the one or the other: a start does as much
    pictures.open()
    pictures.gallery.synchronise()
    assert ids == {
        (row.owner, row.id, row.path) for owner in OWNERS for row in found(pictures, owner)
    }
    assert pictures.agrees()


def test_a_newer_file_is_not_rebuilt(pictures: Pictures) -> None:
    pictures.add()
    with pictures.history.writing() as db:
        db.execute("PRAGMA user_version = 999")
    pictures.close()
    path = pictures.data_dir / "history.sqlite3"
    before = path.read_bytes()
    with pytest.raises(StorageFailed, match="newer version"):
        rebuild(pictures.data_dir)
    assert path.read_bytes() == before
