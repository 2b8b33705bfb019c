"""An app's queue over the fakes, and what two visitors ask of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sdgen.config import Settings
from sdgen.job import Job
from sdgen.owners import Visitor
from sdgen.queue import Order
from sdgen.studio import Studio
from tests.conftest import FakeEngine, FakeModelFiles, ask
from tests.studio_jobs import SECONDS

ANN, BOB = Visitor("a" * 20, "a" * 20), Visitor("b" * 20, "b" * 20)


@contextmanager
def app(data_dir: Path, engine: FakeEngine | None = None, **given: object) -> Iterator[Studio]:
    """A studio with its queue open, as one run of the app."""
    studio = Studio(
        Settings(data_dir=data_dir, credentials=False, **given),  # type: ignore[arg-type]  # a test's own
        engine or FakeEngine(),
        FakeModelFiles(),
    )
    try:
        studio.open_queue()
        yield studio
    finally:
        studio.close()


def wait_until(what: Callable[[], object]) -> None:
    """Return once it is so."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def wait_for_rounds(studio: Studio, engine: FakeEngine) -> None:
    """Return once the queue's thread has looked at everything, also at who watches: it has started
    two jobs of strangers one after the other, and between two starts it looks."""
    for _ in range(2):
        begun = len(engine.submitted)
        stranger = f"stranger{begun}"
        studio.submit([Order(ask(stranger))], Visitor(stranger, stranger), "keep")
        wait_until(lambda begun=begun: len(engine.submitted) > begun)  # type: ignore[misc]


def end_of(job: Job) -> object:
    """The event that a job ends with, once it has."""
    return list(job.events())[-1]


def submit(studio: Studio, visitor: Visitor = ANN, *prompts: str, **given: object) -> list[Job]:
    """One order for each prompt, or one that is always the same. given: fields of each."""
    orders = [Order(ask(prompt, **given)) for prompt in prompts or ("a red robot",)]
    return studio.submit(orders, visitor)


def prompts(studio: Studio, visitor: Visitor = ANN) -> list[str]:
    """The prompts of a visitor's jobs in the order of the queue."""
    return [job.prompt for job in studio.queue(visitor.owner).jobs]
