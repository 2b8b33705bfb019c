"""What is refused at the door, at each limit exactly, and in which words."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from sdgen.config import Settings
from sdgen.errors import StorageFailed, TooMuch
from sdgen.queue.limits import HOUR, PUBLIC_WAITING, DiskState, Limits, disk_state

MB = 1_000_000


def test_whose_limits_they_are(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, max_queue=20, max_work_per_hour=7.5)
    assert Limits.of(settings, public=False) == Limits(20, 7.5)
    assert Limits.of(settings, public=True) == Limits(PUBLIC_WAITING, 7.5)
    short = settings.model_copy(update={"max_queue": 3})
    assert Limits.of(short, public=True) == Limits(3, 7.5), "never more than the queue takes"
    told = settings.model_copy(update={"max_waiting_per_user": 12})
    for public in (True, False):
        assert Limits.of(told, public=public) == Limits(12, 7.5), "the operator's word counts"
    assert (PUBLIC_WAITING, HOUR) == (8, 3600.0)


def test_a_person_s_share_of_the_queue_may_be_used_up() -> None:
    limits = Limits(waiting=3, work=0)
    limits.check(jobs=3, waiting=0, work=1e9, done=1e9)
    limits.check(jobs=1, waiting=2, work=0, done=0)
    with pytest.raises(TooMuch) as refused:
        limits.check(jobs=2, waiting=2, work=0, done=0)
    assert str(refused.value) == (
        "You have 2 jobs in the queue and ask for 2 more; at most 3 of one person fit."
    )


def test_a_person_s_share_of_work_may_be_used_up() -> None:
    limits = Limits(waiting=3, work=2.5)
    limits.check(jobs=1, waiting=0, work=1.5, done=1.0)
    with pytest.raises(TooMuch) as refused:
        limits.check(jobs=1, waiting=0, work=1.625, done=1.0)
    assert str(refused.value) == (
        "This asks for 1.6 megapixel-steps; 1.5 of the 2.5 that one person has in an hour are "
        "left. Fewer pictures, fewer steps or a smaller size would fit, or wait a little."
    )
    with pytest.raises(TooMuch, match=r"; 0\.0 of the 2\.5"):  # never less than nothing
        limits.check(jobs=1, waiting=0, work=0.5, done=4.0)
    Limits(waiting=3, work=0.5).check(jobs=1, waiting=0, work=0.5, done=0)
    with pytest.raises(TooMuch):
        Limits(waiting=3, work=0.5).check(jobs=1, waiting=0, work=0.75, done=0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The disk's room as the system tells it. seen: which places it was asked about."""
    told = SimpleNamespace(free=0, error=None, seen=[])

    def usage(place: Path) -> SimpleNamespace:
        told.seen.append(place)
        if told.error is not None:
            raise told.error
        return SimpleNamespace(free=told.free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return told


def test_the_room_that_is_left(tmp_path: Path, disk: SimpleNamespace) -> None:
    settings = Settings(data_dir=tmp_path / "new" / "data", disk_warn_mb=50, disk_reserve_mb=20)
    disk.free = 50 * MB
    assert disk_state(settings) == DiskState(50 * MB, full=False, sentence="")
    assert disk.seen == [tmp_path], "of the disk on which the folder will be"

    disk.free = 50 * MB - 1
    assert disk_state(settings) == DiskState(
        50 * MB - 1, full=False,
        sentence="The disk has only 49 MB left. Below 20 MB nothing new is drawn.",
    )  # fmt: skip
    disk.free = 20 * MB
    low = disk_state(settings)
    assert low.sentence.startswith("The disk has only 20 MB left. ")
    assert not low.full
    low.check()

    disk.free = 20 * MB - 1
    full = disk_state(settings)
    assert full == DiskState(
        20 * MB - 1, full=True,
        sentence="The disk has only 19 MB left, so nothing new is drawn until some is freed (at "
        "least 20 MB must be left).",
    )  # fmt: skip
    with pytest.raises(StorageFailed) as refused:
        full.check()
    assert str(refused.value) == full.sentence


def test_room_that_cannot_be_told_is_no_reason_to_refuse(
    tmp_path: Path, disk: SimpleNamespace
) -> None:
    disk.error = OSError("the disk does not answer")
    state = disk_state(Settings(data_dir=tmp_path))
    assert state == DiskState(None, full=False, sentence="")
    state.check()
