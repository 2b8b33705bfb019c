"""Events reach every reader, in order, once, and a job has exactly one end."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.errors import GenerationFailed, OutOfMemory
from sdgen.job import (
    Event,
    Failed,
    Finished,
    GenerateResult,
    Heartbeat,
    Job,
    Note,
    Progress,
    Queued,
    Stopped,
)
from tests.conftest import ask

DONE = Finished(GenerateResult((), 1.0))
SECONDS = 30.0


def test_readers_get_all_that_lasts_and_the_end() -> None:
    job = Job(ask())
    for text in "abc":
        job.publish(Note(text))
    job.publish(DONE)
    expected = [Note("a"), Note("b"), Note("c"), DONE]
    assert list(job.events()) == expected
    assert list(job.events()) == expected  # and again, after the end


def test_of_progress_a_late_reader_sees_only_the_newest() -> None:
    job = Job(ask())
    for step in range(5):
        job.publish(Queued(5 - step))
        job.publish(Progress(step, 5, None))
    reader = job.events(heartbeat=0.001)
    assert [next(reader), next(reader)] == [Queued(1), Progress(4, 5, None)]
    assert next(reader) == Heartbeat()
    job.publish(DONE)
    assert next(reader) == DONE
    assert list(reader) == []


@given(
    events=st.lists(
        st.one_of(
            st.builds(Note, st.text(max_size=3)),
            st.builds(Progress, st.integers(0, 9), st.just(9), st.none()),
        ),
        max_size=20,
    )
)
def test_two_readers_and_a_late_one_agree_on_what_lasts(events: list[Event]) -> None:
    job = Job(ask())
    seen: list[list[Event]] = [[], [], []]

    def read(into: list[Event]) -> None:
        into += [event for event in job.events(heartbeat=1.0) if isinstance(event, Note | Finished)]

    threads = [threading.Thread(target=read, args=(seen[i],)) for i in range(2)]
    for thread in threads:
        thread.start()
    for event in [*events, DONE]:
        job.publish(event)
    for thread in threads:
        thread.join(SECONDS)
    read(seen[2])
    expected = [event for event in events if isinstance(event, Note)] + [DONE]
    assert seen == [expected] * 3


def test_progress_never_goes_back_for_a_reader() -> None:
    job = Job(ask())

    def work() -> None:
        for step in range(300):
            job.publish(Progress(step, 300, None))
        job.publish(DONE)

    thread = threading.Thread(target=work)
    thread.start()
    steps = [event.step for event in job.events() if isinstance(event, Progress)]
    thread.join(SECONDS)
    assert steps == sorted(set(steps))


def test_after_the_end_nothing_comes() -> None:
    job = Job(ask())
    job.publish(DONE)
    job.publish(Failed(GenerationFailed("late")))
    job.publish(Note("late"))
    assert job.end == DONE
    assert list(job.events()) == [DONE]


def test_a_quiet_job_sends_heartbeats() -> None:
    job = Job(ask())
    began = time.monotonic()
    reader = job.events(heartbeat=0.05)
    assert [next(reader) for _ in range(3)] == [Heartbeat()] * 3
    assert time.monotonic() - began > 0.1


def test_cancel_asks_once() -> None:
    asked: list[bool] = []
    job = Job(ask(), on_cancel=lambda: asked.append(True))
    before = job.cancelled
    job.cancel()
    job.cancel()
    assert (before, job.cancelled) == (False, True)
    assert asked == [True]
    Job(ask()).cancel()  # nobody to tell is fine


def test_the_result_is_the_end() -> None:
    job = Job(ask())
    with pytest.raises(TimeoutError, match=job.id):
        job.result(timeout=0.01)
    threading.Timer(0.02, job.publish, [DONE]).start()
    assert job.result(SECONDS) is DONE.result
    failed = Job(ask())
    failed.publish(Failed(OutOfMemory("Too large.")))
    with pytest.raises(OutOfMemory, match="Too large"):
        failed.result()
    stopped = Job(ask())
    stopped.publish(Stopped(GenerateResult((), 1.0)))
    with pytest.raises(GenerationFailed, match="Stopped"):
        stopped.result()


def test_ids_differ_unless_given() -> None:
    assert Job(ask()).id != Job(ask()).id
    assert Job(ask(), job_id="seven").id == "seven"
