"""Who watches whose queue, and since when nobody does; jobs that ended lately stay to be shown."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sdgen.job import Job
from sdgen.queue.watchers import REMEMBERED, REMEMBERED_JOBS, REMEMBERED_PEOPLE, Watchers
from tests.conftest import ask


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watchers(clock: Clock) -> Watchers:
    return Watchers(clock)


@contextmanager
def watching(watchers: Watchers, owner: str = "ann") -> Iterator[list[str]]:
    woken: list[str] = []
    with watchers.watching(owner, lambda: woken.append(owner)):
        yield woken


def test_who_is_expected_and_does_not_come_has_left(watchers: Watchers, clock: Clock) -> None:
    assert watchers.left(0.0) == set()
    watchers.expect("ann")
    assert watchers.left(0.0) == {"ann"}
    clock.now += 59.0
    assert watchers.left(60.0) == set()
    clock.now += 1.0
    assert watchers.left(60.0) == {"ann"}
    watchers.forget("ann")
    assert watchers.left(0.0) == set()


def test_who_watches_has_not_left_however_long(watchers: Watchers, clock: Clock) -> None:
    watchers.expect("ann")
    with watching(watchers):
        assert watchers.left(0.0) == set(), "who comes takes back that nobody was there"
        watchers.expect("ann")
        clock.now += 1e6
        assert watchers.left(0.0) == set()
    assert watchers.left(0.0) == {"ann"}, "from the moment at which the last one leaves"
    assert watchers.left(1.0) == set()


def test_the_last_of_several_to_leave_counts(watchers: Watchers) -> None:
    with watching(watchers):
        with watching(watchers):
            pass
        assert watchers.left(0.0) == set()
    assert watchers.left(0.0) == {"ann"}


def test_an_owner_s_watchers_are_woken_and_nobody_else_s(watchers: Watchers) -> None:
    with watching(watchers) as one, watching(watchers) as two, watching(watchers, "bob") as other:
        watchers.wake("ann")
        watchers.wake("nobody")
        assert (one, two, other) == (["ann"], ["ann"], [])
        watchers.wake_all()
        assert (one, two, other) == (["ann"] * 2, ["ann"] * 2, ["bob"])
    watchers.wake_all()
    assert len(one) == 2


def test_the_last_jobs_of_a_person_are_kept_for_a_while(watchers: Watchers, clock: Clock) -> None:
    jobs = [Job(ask()) for _ in range(REMEMBERED_JOBS + 1)]
    for job in jobs:
        watchers.ended("ann", job)
        clock.now += 1.0
    assert watchers.ended_lately("ann") == tuple(jobs[1:]), "oldest first"
    assert watchers.ended_lately("bob") == ()
    clock.now += REMEMBERED - 4.0
    assert watchers.ended_lately("ann") == tuple(jobs[-4:])
    clock.now += 10.0
    assert watchers.ended_lately("ann") == ()


def test_the_person_served_longest_ago_is_forgotten_first(watchers: Watchers) -> None:
    job = Job(ask())
    for number in range(REMEMBERED_PEOPLE):
        watchers.ended(f"person{number}", job)
    watchers.ended("person0", job)
    watchers.ended("new", job)
    assert watchers.ended_lately("person1") == ()
    assert watchers.ended_lately("person0") == (job, job)
    assert watchers.ended_lately("person2") == watchers.ended_lately("new") == (job,)
