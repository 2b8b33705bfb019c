"""One job's way through the engine to its pictures on disk."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sdgen.errors import (
    AdapterUnavailable,
    GenerationFailed,
    InvalidRequest,
    ModelUnavailable,
    PictureUnreadable,
    SdgenError,
    ShuttingDown,
    StorageFailed,
)
from sdgen.gallery import Gallery
from sdgen.history import JobRow, JobState
from sdgen.job import (
    Failed,
    Finished,
    GeneratedImage,
    GenerateResult,
    Heartbeat,
    ImageReady,
    Job,
    Loading,
    Note,
    Preview,
    Saved,
    Stopped,
)
from sdgen.keeping import PictureKeeper, Place
from sdgen.metadata import RecipeAdapter, read_recipe
from sdgen.pictures import day_folder, job_picture_name
from sdgen.queue.views import Order
from sdgen.request import GenerateRequest


@dataclass(frozen=True)
class Prepared:
    """A request with the engine's own names for model and adapters."""

    asked: GenerateRequest
    adapters: tuple[RecipeAdapter, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tools:
    """What a job needs to be drawn and kept.

    prepare: raises ModelUnavailable, AdapterUnavailable. submit: the engine's, with the name of the
    job; raises QueueFull.
    """

    data_dir: Path
    prepare: Callable[[GenerateRequest], Prepared]
    submit: Callable[[GenerateRequest, str], Job]
    keeper: PictureKeeper
    gallery: Callable[[], Gallery]


@dataclass(frozen=True)
class End:
    """How a job ended. seconds: since the engine took it."""

    state: JobState
    error: SdgenError | None = None
    seconds: float = 0.0

    @property
    def event(self) -> Finished | Stopped | Failed:
        """What watchers are told; the pictures they were told of before."""
        nothing = GenerateResult((), self.seconds)
        if self.error is not None:
            return Failed(self.error)
        return Stopped(nothing) if self.state == "stopped" else Finished(nothing)


class PicturesRun:
    """A request for pictures. Those that an earlier attempt has kept are not drawn again."""

    def __init__(
        self, order: Order, job: Job, row: JobRow, tools: Tools, place: Place | None = None
    ) -> None:
        """place: where the pictures go; None: into their owner's gallery, as those of this job."""
        self._order, self._job, self._row, self._tools = order, job, row, tools
        if place is None:
            created = datetime.fromtimestamp(row.created, UTC)
            place = Place(day_folder(tools.data_dir, created, row.owner), row.owner, job=job.id)
        self._place = place
        self._first = 0
        self._kept: set[int] = set()
        self._prepared = Prepared(order.request)
        self._inner: Job | None = None

    def begin(self) -> None:
        """Hand what is missing to the engine. Raises QueueFull, and what refuses it."""
        request = self._order.request
        if self._row.attempts:
            self._kept = {at for at in range(request.num_images) if self._find(at)}
        missing = [at for at in range(request.num_images) if at not in self._kept]
        if not missing:
            return
        self._first, count = missing[0], missing[-1] - missing[0] + 1
        self._prepared = self._tools.prepare(
            request.model_copy(update={"seed": request.seed + self._first, "num_images": count})
        )
        self._inner = self._tools.submit(self._prepared.asked, self._job.id)
        for note in self._prepared.notes:
            self._job.publish(Note(note))

    def follow(self) -> End:
        """Pass the engine's events on and keep the pictures as they come, to the end."""
        if self._inner is None:
            return End("done")
        if self._job.cancelled:
            self._inner.cancel()
        try:
            for event in self._inner.events():
                match event:
                    case ImageReady(image):
                        self._keep(replace(image, index=image.index + self._first))
                    case Preview(images, step):
                        before = (None,) * self._first
                        after = (None,) * (
                            self._order.request.num_images - self._first - len(images)
                        )
                        self._job.publish(Preview((*before, *images, *after), step))
                    case Loading():
                        self._job.publish(Loading(self._order.request.model))
                    case Heartbeat():
                        pass
                    case Finished(result):
                        return End("done", seconds=result.seconds)
                    case Stopped(result):
                        return End("stopped", seconds=result.seconds)
                    case Failed(error):
                        return End(state_of(error), error)
                    case _:
                        self._job.publish(event)
        except StorageFailed as error:
            self._inner.cancel()
            return End("failed", error)
        finally:
            if self._inner.end is None:
                self._inner.cancel()
        return End("failed", GenerationFailed("The engine ended without a word."))

    def cancel(self) -> None:
        """Stop within one step. Idempotent."""
        if self._inner is not None:
            self._inner.cancel()

    def _name(self, index: int) -> str:
        return job_picture_name(self._job.id, self._row.created, index)

    def _find(self, index: int) -> bool:
        """True where an earlier attempt kept that picture; it is listed, then."""
        path = self._place.folder / f"{self._name(index)}.png"
        gallery = self._tools.gallery()
        row = gallery.find(path.stem, self._row.owner)
        if row is None:  # the app was killed between the file and its row
            try:
                recipe = read_recipe(path)
            except PictureUnreadable:
                return False
            row = gallery.row_for(path, recipe, self._row.owner, job=self._job.id, index=index)
            gallery.record(row)
        self._job.publish(Saved(index, row.seed, gallery.path(row), row.flagged, row.id))
        return True

    def _keep(self, image: GeneratedImage) -> None:
        if image.index not in self._kept:
            self._save(image)

    def _save(self, image: GeneratedImage, grid: str = "") -> None:
        """Write a picture and tell of it. grid: of a sheet, its axes. Raises StorageFailed."""
        if not self._order.kept:
            self._job.publish(ImageReady(image))
            return
        place = replace(self._place, name=self._name(image.index))
        saved = self._tools.keeper.keep(
            self._order.request,
            image,
            self._prepared.adapters,
            place,
            lambda text: self._job.publish(Note(text)),
            self._order.enhancement,
            grid,
        )
        self._job.publish(saved)


def state_of(error: SdgenError) -> JobState:
    """Refused, where the request itself is the reason; stopped with the app; else failed."""
    if isinstance(error, ShuttingDown):
        return "stopped"
    refusals = (InvalidRequest, ModelUnavailable, AdapterUnavailable)
    return "refused" if isinstance(error, refusals) else "failed"
