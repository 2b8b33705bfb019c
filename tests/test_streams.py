"""Waiting for a job without a thread, and jobs that end with their caller."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from anyio import CapacityLimiter
from hypothesis import given, settings
from hypothesis import strategies as st

from sdgen.job import Event, Finished, GenerateResult, Heartbeat, Job, Note, Progress
from sdgen.ui.streams import events, owned
from tests.conftest import ask

NOTHING = Finished(GenerateResult((), 0.0))


async def collected(job: Job, heartbeat: float = 5.0) -> list[Event]:
    return [event async for event in events(job, heartbeat)]


def run(work: Callable[[], Awaitable[object]]) -> object:
    async def bounded() -> object:
        async with asyncio.timeout(20):
            return await work()

    return asyncio.run(bounded())


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 12))
def test_every_lasting_event_comes_once_and_in_order(pauses: list[int], before: int) -> None:
    job = Job(ask())
    notes: list[Event] = [Note(str(number)) for number in range(len(pauses))]
    for note in notes[:before]:
        job.publish(note)

    def publish() -> None:
        for note, pause in zip(notes[before:], pauses[before:], strict=True):
            time.sleep(pause / 1000)
            job.publish(note)
        job.publish(NOTHING)

    thread = threading.Thread(target=publish)
    thread.start()
    assert run(lambda: collected(job)) == [*notes, NOTHING]
    thread.join()


def test_two_readers_do_not_disturb_each_other() -> None:
    job = Job(ask())

    async def both() -> list[list[Event]]:
        read: list[list[Event]] = [[], []]

        async def reader(mine: list[Event]) -> None:
            async for event in events(job, 5.0):
                mine.append(event)

        readers = [asyncio.create_task(reader(mine)) for mine in read]
        for step in range(5):
            job.publish(Progress(step, 5, None))
            while any(len(mine) <= step for mine in read):  # the next one would replace it
                await asyncio.sleep(0)
        job.publish(NOTHING)
        await asyncio.gather(*readers)
        return read

    first, second = run(both)  # type: ignore[misc]
    assert first == second
    assert len(first) == 6


def test_silence_is_told_and_no_listener_is_left() -> None:
    job = Job(ask())

    async def some() -> list[Event]:
        seen: list[Event] = []
        async for event in events(job, 0.01):
            seen.append(event)
            if len(seen) == 3:
                break
        return seen

    assert run(some) == [Heartbeat()] * 3
    job.publish(Note("after the reader left"))  # whose loop is closed: nothing happens


def test_a_thousand_waiting_readers_take_no_thread() -> None:
    jobs = [Job(ask()) for _ in range(1000)]

    async def all_of_them() -> int:
        waiting = 0

        async def reader(job: Job) -> None:
            nonlocal waiting
            async for event in events(job, 5.0):
                waiting += isinstance(event, Note)

        for job in jobs:
            job.publish(Note("here"))
        readers = [asyncio.create_task(reader(job)) for job in jobs]
        while waiting < len(jobs):
            await asyncio.sleep(0)
        threads = threading.active_count()
        for job in jobs:
            job.publish(NOTHING)
        await asyncio.gather(*readers)
        return threads

    before = threading.active_count()
    assert run(all_of_them) == before


@pytest.mark.parametrize("leave_after", [0.0, 0.01, 0.03, 0.08, 0.15])
@pytest.mark.parametrize("by_cancelling", [True, False])
def test_a_job_ends_with_its_caller_whenever_that_leaves(
    leave_after: float, by_cancelling: bool
) -> None:
    job = Job(ask(), on_cancel=lambda: job.publish(NOTHING))
    started = threading.Event()

    def start() -> Job:
        started.set()
        time.sleep(0.05)
        return job

    async def call() -> None:
        async with owned(start, CapacityLimiter(1)) as mine:
            async for _ in events(mine, 0.01):
                if not by_cancelling:
                    raise ConnectionError

    async def caller() -> None:
        task = asyncio.create_task(call())
        await asyncio.sleep(leave_after)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while started.is_set() and job.end is None:  # cancelled by the thread, if by nobody else
            await asyncio.sleep(0.005)

    run(caller)
    assert job.cancelled == started.is_set()


def test_a_job_that_has_its_end_is_not_cancelled() -> None:
    job = Job(ask())
    job.publish(NOTHING)

    async def call() -> list[Event]:
        async with owned(lambda: job, CapacityLimiter(1)) as mine:
            return await collected(mine)

    assert run(call) == [NOTHING]
    assert not job.cancelled


def test_what_cannot_start_says_why() -> None:
    def start() -> Job:
        raise ValueError("not today")

    async def call() -> None:
        async with owned(start, CapacityLimiter(1)):
            pytest.fail("there is no job")

    with pytest.raises(ValueError, match="not today"):
        run(call)
