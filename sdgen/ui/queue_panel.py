"""A person's queue as HTML: what waits, in which order, and the buttons that change it."""

from dataclasses import dataclass

from sdgen.html import render
from sdgen.queue import QueuedJob, QueueView
from sdgen.ui import TEMPLATES

SHOWN_CHARS = 300  # of a prompt; the line is cut by the page anyway


@dataclass(frozen=True)
class _Line:
    """One waiting job."""

    id: str
    prompt: str
    about: str  # what is particular of it, "" where nothing is


def panel(queue: QueueView) -> str:
    """The queue's panel; "" where nothing waits and nothing is held back."""
    if not queue.waiting and not queue.paused:
        return ""
    jobs = [_line(job) for job in queue.waiting]
    return render(
        TEMPLATES, "queue.html", "panel", words=words(queue), jobs=jobs, paused=queue.paused
    )


def words(queue: QueueView) -> str:
    """How much waits: "Yours: 3 waiting · 5 of others ahead"."""
    waiting = queue.waiting
    said = f"Yours: {len(waiting)} waiting" if waiting else "Yours: nothing waiting"
    if waiting and not queue.paused and waiting[0].others_ahead:
        said += f" · {waiting[0].others_ahead} of others ahead"
    return said


def _line(job: QueuedJob) -> _Line:
    about = [job.label] if job.label else []
    if job.num_images > 1:
        about.append(f"{job.num_images} pictures")
    return _Line(job.id, job.prompt[:SHOWN_CHARS], " · ".join(about))
