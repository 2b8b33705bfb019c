"""Jobs of a studio over the fakes: held at a step, and read to their end."""

import threading
import time

from sdgen.job import Job, Saved
from tests.conftest import FakeEngine

SECONDS = 30.0  # no wait of a test is longer


def saved(job: Job) -> list[Saved]:
    """The pictures of a job, once it has ended."""
    return [event for event in job.events() if isinstance(event, Saved)]


def hold(engine: FakeEngine, after: int) -> threading.Event:
    """Let the engine take `after` steps and then wait: for the event, or for the job's cancel."""
    release = threading.Event()

    def wait(job: Job, step: int) -> None:
        deadline = time.monotonic() + SECONDS
        while engine.steps_taken >= after and not release.is_set() and not job.cancelled:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    engine.before_step = wait
    return release
