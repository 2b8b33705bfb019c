"""How far a request is: events, the Job that carries them, and the Engine protocol.

    Queued -> Progress, Preview, Note -> ImageReady (one an image) -> Finished | Stopped | Failed

A job has exactly one end. Any number of readers may follow it, from the start or later, without
disturbing each other: lasting events are kept, of Queued, Progress and Preview only the newest is.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from PIL import Image

from sdgen.errors import GenerationFailed, SdgenError
from sdgen.request import GenerateRequest

if TYPE_CHECKING:
    from sdgen.grid import Grid


@dataclass(frozen=True)
class RunInfo:
    """Where and how a picture was made; goes into its recipe."""

    model: str
    model_hash: str  # SHA-256 over the weights files, hex; "" where it is not known
    device: str  # "cpu", "cuda (NVIDIA H200)", ...
    dtype: str  # "float32", ...
    versions: tuple[tuple[str, str], ...]  # ("torch", "2.13.0"), ...
    shared: bool  # True: its steps ran in a batch with other requests' rows
    notes: tuple[str, ...] = ()  # fall-backs taken, e.g. "decoded in tiles"
    noise_scheduler: str = ""  # diffusers' class and its settings, as JSON; "" where not known
    attention: str = ""  # how the denoiser computes attention: diffusers' processor class
    threads: int = 0  # of a CPU, whose sums depend on them; 0 on other devices


@dataclass(frozen=True)
class GeneratedImage:
    """One finished picture, in memory."""

    index: int  # i of the request; its seed is request.seed + i
    seed: int
    image: Image.Image = field(repr=False)
    info: RunInfo
    flagged: str = ""  # a reason why the model's safety checker objects; "" = it does not


@dataclass(frozen=True)
class GenerateResult:
    """All that a request came to, images in the order of their index."""

    images: tuple[GeneratedImage, ...]
    seconds: float


@dataclass(frozen=True)
class Queued:
    """Waiting. `ahead`: requests that will start before this one."""

    ahead: int


@dataclass(frozen=True)
class Loading:
    """The model is being loaded for this request."""

    model: str


@dataclass(frozen=True)
class Progress:
    """Steps done, over all images: `step` of `steps`. `seconds_left` is None until it is known."""

    step: int
    steps: int
    seconds_left: float | None


@dataclass(frozen=True)
class Preview:
    """How the pictures look now, one small image each (None: not started or already ready)."""

    images: tuple[Image.Image | None, ...] = field(repr=False)
    step: int


@dataclass(frozen=True)
class Note:
    """A sentence the user should see, e.g. that the prompt is longer than the model reads."""

    text: str


@dataclass(frozen=True)
class ImageReady:
    """One picture of the request is finished."""

    image: GeneratedImage


@dataclass(frozen=True)
class Saved:
    """One picture is on disk (published by the studio, never by an engine)."""

    index: int
    seed: int
    path: Path
    flagged: str = ""
    picture_id: str = ""  # in the gallery; "" where it is in none


@dataclass(frozen=True)
class Heartbeat:
    """Nothing new; sent so that a reader can notice a closed page and keep a connection alive."""


@dataclass(frozen=True)
class Finished:
    """The end: all pictures are there."""

    result: GenerateResult


@dataclass(frozen=True)
class Stopped:
    """The end: cancelled. Pictures that were ready are kept."""

    result: GenerateResult


@dataclass(frozen=True)
class Failed:
    """The end: an error, in words for the user. Pictures that were ready are kept."""

    error: SdgenError


Event = (
    Queued
    | Loading
    | Progress
    | Preview
    | Note
    | ImageReady
    | Saved
    | Heartbeat
    | Finished
    | Stopped
    | Failed
)
Passing = TypeVar("Passing", Queued, Loading, Progress, Preview)
_TRANSIENT = (Queued, Loading, Progress, Preview)
_ENDS = (Finished, Stopped, Failed)


class Job:
    """One accepted request. Thread-safe; written by one publisher, read by any number."""

    def __init__(
        self,
        request: GenerateRequest,
        on_cancel: Callable[[], None] | None = None,
        job_id: str = "",
        group: str = "",
        label: str = "",
        grid: "Grid | None" = None,
    ) -> None:
        """group: jobs that are shown side by side share one. label: what this one is called.

        grid: its one picture is the sheet of that grid.
        """
        self.id = job_id or uuid.uuid4().hex
        self.request = request
        self.group = group
        self.label = label
        self.grid = grid
        self.created = time.time()  # seconds since the epoch
        self._on_cancel = on_cancel
        self._changed = threading.Condition()
        self._serial = 0
        self._lasting: list[tuple[int, Event]] = []
        self._newest: dict[type, tuple[int, Event]] = {}
        self._end: Finished | Stopped | Failed | None = None
        self._cancelled = threading.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """True once somebody asked to stop."""
        return self._cancelled.is_set()

    @property
    def end(self) -> Finished | Stopped | Failed | None:
        """The one final event, or None while it runs."""
        return self._end

    def newest(self, kind: type[Passing]) -> Passing | None:
        """The newest Queued, Loading, Progress or Preview; None before it and after the end."""
        with self._changed:
            found = self._newest.get(kind)
        return found[1] if found else None  # type: ignore[return-value]  # kept by its type

    def cancel(self) -> None:
        """Ask to stop; takes effect within one denoising step, also while waiting. Idempotent."""
        if not self._cancelled.is_set():
            self._cancelled.set()
            if self._on_cancel is not None:
                self._on_cancel()

    def publish(self, event: Event) -> None:
        """Append an event. After the end nothing more is taken."""
        with self._changed:
            if self._end is not None:
                return
            self._serial += 1
            if isinstance(event, _TRANSIENT):
                self._newest[type(event)] = (self._serial, event)
            else:
                self._lasting.append((self._serial, event))
            if isinstance(event, _ENDS):
                self._end = event
                self._newest.clear()
            self._changed.notify_all()
            listeners = tuple(self._listeners)
        for wake in listeners:
            wake()

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called after each event, in the publisher's thread; what ends that."""
        with self._changed:
            self._listeners.append(wake)

        def stop() -> None:
            with self._changed, contextlib.suppress(ValueError):
                self._listeners.remove(wake)

        return stop

    def after(self, seen: int) -> tuple[list[Event], int]:
        """The events since `seen`, 0 at first, and the `seen` for the next call. Never waits."""
        with self._changed:
            fresh = [pair for pair in self._lasting if pair[0] > seen]
            fresh += [pair for pair in self._newest.values() if pair[0] > seen]
            seen = self._serial
        return [event for _, event in sorted(fresh, key=lambda pair: pair[0])], seen

    def events(self, heartbeat: float = 0.3) -> Iterator[Event]:
        """All events so far, then each as it comes, up to and with the end.

        heartbeat: seconds; when nothing happens that long, a Heartbeat comes instead.
        """
        seen = 0
        while True:
            with self._changed:
                if self._serial == seen:
                    self._changed.wait(heartbeat)
            fresh, seen = self.after(seen)
            if not fresh:
                yield Heartbeat()
            for event in fresh:
                yield event
                if isinstance(event, _ENDS):
                    return

    def result(self, timeout: float | None = None) -> GenerateResult:
        """Wait for the end. Raises the job's own SdgenError, or TimeoutError after `timeout` s."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._end is None:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"job {self.id} is still running")
                self._changed.wait(left)
        if isinstance(self._end, Failed):
            raise self._end.error
        if isinstance(self._end, Stopped) and not self._end.result.images:
            raise GenerationFailed("Stopped before a picture was finished.")
        return self._end.result


@dataclass(frozen=True)
class EngineStatus:
    """What an engine is doing now, for the page and for programs."""

    running: int  # requests in the running batch
    waiting: int  # requests not started
    device: str
    dtype: str
    loaded: tuple[str, ...]  # models in memory
    notes: tuple[str, ...] = ()  # e.g. memory savings in use, and why
    rows: int = 0  # rows of the running batch
    room: int = 0  # further rows that are known to be worth adding to it


class Engine(Protocol):
    """The one seam between asking and drawing; tests put a fake here."""

    def submit(self, request: GenerateRequest, job_id: str = "") -> Job:
        """Queue a request. job_id: what its job is called, in the log too; "" for a new name.

        Raises QueueFull, ModelUnavailable, InvalidRequest or ShuttingDown.
        """

    def status(self) -> EngineStatus:
        """A snapshot, at once."""

    def close(self, grace: float = 5.0) -> None:
        """Take nothing new, stop what runs after its step, give up after `grace` seconds."""
