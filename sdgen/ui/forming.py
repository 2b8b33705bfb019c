"""How far a job is, as the page shows it: one frozen value, folded from the job's events."""

import base64
import io
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from PIL import Image

from sdgen.history import PictureRow
from sdgen.job import (
    Event,
    Failed,
    Finished,
    Job,
    Loading,
    Note,
    Preview,
    Progress,
    Queued,
    Saved,
    Stopped,
)
from sdgen.ui import messages

PREVIEW_QUALITY = 80  # WebP; a preview is a small soft picture that lives for a moment


@dataclass(frozen=True)
class Forming:
    """A job on its way. `saved[i]` and `previews[i]` belong to picture i of the request."""

    job_id: str
    prompt: str
    seed: int  # of picture 0; a sheet has one for all its cells
    ratio: str  # width/height of a picture, as CSS has it
    group: str = ""  # jobs of one group are shown side by side
    label: str = ""
    is_grid: bool = False
    words: str = "Starting"
    fraction: float | None = None  # of the work done; None: not known
    previews: tuple[str, ...] = ()  # data: URIs, "" where there is none yet
    saved: tuple[PictureRow | None, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""  # why it failed, for the user
    ended: bool = False
    was_seen_running: bool = False

    @property
    def pictures(self) -> tuple[PictureRow, ...]:
        """Those that are finished, in the order of their index."""
        return tuple(picture for picture in self.saved if picture is not None)

    @property
    def is_worth_showing(self) -> bool:
        """False for a job that was cancelled before it began."""
        return not self.ended or bool(self.pictures or self.problem) or self.was_seen_running

    def without(self, ids: Collection[str]) -> "Forming":
        """The same without pictures that were thrown away."""
        kept = (row if row is None or row.id not in ids else None for row in self.saved)
        return replace(self, saved=tuple(kept)) if ids else self


FindRow = Callable[[Saved], PictureRow | None]  # None: it was thrown away meanwhile


def begin(job: Job) -> Forming:
    """A job, before its first event."""
    request, grid = job.request, job.grid
    count = request.num_images if grid is None else 1
    columns, rows = 1, 1
    if grid is not None:
        columns, rows = grid.columns, grid.rows
    return Forming(
        job.id,
        request.prompt,
        request.seed,
        ratio=f"{request.width * columns}/{request.height * rows}",
        group=job.group,
        label=job.label,
        is_grid=grid is not None,
        previews=("",) * count,
        saved=(None,) * count,
    )


def advance(forming: Forming, event: Event, find_row: FindRow) -> Forming:
    """The value after one more event; `find_row` finds a saved picture in the gallery."""
    match event:
        case Queued(ahead):
            return replace(forming, words=messages.queue_words(ahead))
        case Loading():
            return replace(forming, words="Loading the model")
        case Progress(step, steps, seconds_left):
            words = messages.step_words(step, steps, seconds_left)
            return replace(forming, words=words, fraction=step / max(steps, 1))
        case Preview(images):
            uris = tuple(
                before if image is None else data_uri(image)
                for before, image in zip(forming.previews, images, strict=False)
            )
            return replace(forming, previews=uris + forming.previews[len(uris) :])
        case Note(text):
            if text in forming.notes:
                return forming
            return replace(forming, notes=(*forming.notes, text))
        case Saved(index):
            saved = list(forming.saved)
            saved[index] = find_row(event)
            return replace(forming, saved=tuple(saved))
        case Finished(result):
            count, noun = len(forming.pictures), "sheet" if forming.is_grid else "picture"
            words = messages.finished_words(count, result.seconds, noun)
            return replace(forming, words=words, fraction=1.0, ended=True)
        case Stopped():
            return replace(forming, words=messages.stopped_words(len(forming.pictures)), ended=True)
        case Failed(error):
            return replace(forming, words="Failed", problem=str(error), ended=True)
        case _:
            return forming


def in_groups(jobs: Iterable[Forming]) -> list[list[Forming]]:
    """The jobs that are shown side by side, together, where the first of them is."""
    groups: dict[str, list[Forming]] = {}
    for job in jobs:
        groups.setdefault(job.group or job.job_id, []).append(job)
    return list(groups.values())


def data_uri(image: Image.Image) -> str:
    """A small picture as text that an <img> can show without asking the server."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "WEBP", quality=PREVIEW_QUALITY, method=0)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
