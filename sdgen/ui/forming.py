"""How far a job is, as the page shows it: one frozen value, folded from the job's events."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from sdgen.job import (
    Event,
    Failed,
    Finished,
    Loading,
    Note,
    Preview,
    Progress,
    Queued,
    Saved,
    Stopped,
)
from sdgen.request import GenerateRequest
from sdgen.ui import messages

PREVIEW_QUALITY = 80  # WebP; a preview is a small soft picture that lives for a moment


@dataclass(frozen=True)
class Picture:
    """One finished picture, as a browser window remembers it."""

    name: str  # of its file, below the pictures folder
    url: str  # where the browser gets it; "" where it is withheld
    seed: int
    prompt: str
    width: int  # pixels
    height: int  # pixels
    flagged: str = ""  # why the model's safety checker objects


@dataclass(frozen=True)
class Forming:
    """A job on its way. `saved[i]` and `previews[i]` belong to picture i of the request."""

    request: GenerateRequest
    words: str = "Starting"
    fraction: float | None = None  # of the work done; None: not known
    previews: tuple[str, ...] = ()  # data: URIs, "" where there is none yet
    saved: tuple[Picture | None, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""  # why it failed, for the user
    ended: bool = False

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Those that are finished, in the order of their index."""
        return tuple(picture for picture in self.saved if picture is not None)


Serve = Callable[[Path, str], Picture]  # makes a finished file visible; see page.Page.picture


def begin(request: GenerateRequest) -> Forming:
    """A job that was just accepted."""
    nothing: tuple[Picture | None, ...] = (None,) * request.num_images
    return Forming(request, previews=("",) * request.num_images, saved=nothing)


def advance(forming: Forming, event: Event, picture_of: Callable[[Saved], Picture]) -> Forming:
    """The value after one more event; `picture_of` makes a saved file visible to the browser."""
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
                forming.previews[i] if image is None else data_uri(image)
                for i, image in enumerate(images)
            )
            return replace(forming, previews=uris)
        case Note(text):
            if text in forming.notes:
                return forming
            return replace(forming, notes=(*forming.notes, text))
        case Saved(index):
            saved = list(forming.saved)
            saved[index] = picture_of(event)
            return replace(forming, saved=tuple(saved))
        case Finished(result):
            words = messages.finished_words(len(forming.pictures), result.seconds)
            return replace(forming, words=words, fraction=1.0, ended=True)
        case Stopped():
            return replace(forming, words=messages.stopped_words(len(forming.pictures)), ended=True)
        case Failed(error):
            return replace(forming, words="Failed", problem=str(error), ended=True)
        case _:
            return forming


def data_uri(image: Image.Image) -> str:
    """A small picture as text that an <img> can show without asking the server."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "WEBP", quality=PREVIEW_QUALITY, method=0)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
