"""What is asked of the queue, and what it tells of its jobs."""

from dataclasses import dataclass
from typing import Literal

from sdgen.grid import Grid
from sdgen.history import JobRow, PictureRow
from sdgen.metadata import Enhancement
from sdgen.request import GenerateRequest


@dataclass(frozen=True)
class Order:
    """One job that is asked for.

    enhancement: where its prompt came from. label: what it is called beside others of its group.
    grid: draw the request with these values, as one labelled sheet. kept: False: its picture is
    handed to whoever follows the job (ImageReady) and kept nowhere, nor are its words.
    """

    request: GenerateRequest
    enhancement: Enhancement | None = None
    label: str = ""
    grid: Grid | None = None
    kept: bool = True


@dataclass(frozen=True)
class QueuedJob:
    """One job that has not ended."""

    id: str
    state: Literal["waiting", "running"]
    prompt: str
    label: str
    group: str
    num_images: int
    created: float  # seconds since the epoch
    ahead: int = 0  # jobs that will start before it
    others_ahead: int = 0  # of them, those of others
    step: int = 0  # denoising steps done, of all its pictures
    steps: int = 0
    seconds_left: float | None = None  # None: not known


@dataclass(frozen=True)
class QueueView:
    """One person's queue: running jobs first, then waiting ones in their order."""

    jobs: tuple[QueuedJob, ...] = ()
    paused: bool = False

    @property
    def waiting(self) -> tuple[QueuedJob, ...]:
        """Those that have not started."""
        return tuple(job for job in self.jobs if job.state == "waiting")


@dataclass(frozen=True)
class JobTold:
    """One job, whether it waits, runs or has ended. queued: None once it has ended."""

    row: JobRow
    queued: QueuedJob | None
    pictures: tuple[PictureRow, ...]
