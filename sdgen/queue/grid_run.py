"""A grid's way through the engine: many requests, one labelled sheet."""

import threading
import time
from collections import deque
from dataclasses import dataclass

from PIL import Image

from sdgen.errors import GenerationFailed, QueueFull, SdgenError
from sdgen.grid import Grid, cells, sheet
from sdgen.history import JobRow
from sdgen.job import (
    Failed,
    Finished,
    GeneratedImage,
    ImageReady,
    Job,
    Loading,
    Note,
    Preview,
    Progress,
    Stopped,
)
from sdgen.keeping import Place
from sdgen.queue.run import End, PicturesRun, Tools, state_of
from sdgen.queue.views import Order
from sdgen.request import GenerateRequest

AT_ONCE = 8  # cells of one grid in the engine together
WAKE = 0.5  # seconds; a cell's event comes at once, this only bounds a missed one
MOSAIC = 64  # pixels of a cell in the preview


@dataclass
class _Cell:
    """One request of the grid on its way."""

    row: int
    column: int
    job: Job
    steps: int
    seen: int = 0
    step: int = 0


class GridRun(PicturesRun):
    """A grid. Its sheet is one picture; an earlier attempt's is not drawn again."""

    def __init__(
        self,
        order: Order,
        job: Job,
        row: JobRow,
        tools: Tools,
        grid: Grid,
        place: Place | None = None,
    ) -> None:
        """place: as of PicturesRun. Raises InvalidRequest for a cell that cannot be."""
        super().__init__(order, job, row, tools, place)
        self._grid = grid
        self._cells = cells(order.request, grid)
        self._waiting: deque[tuple[int, int, GenerateRequest]] = deque(
            (y, x, cell) for y, line in enumerate(self._cells) for x, cell in enumerate(line)
        )
        self._working: list[_Cell] = []
        self._ready: dict[tuple[int, int], GeneratedImage] = {}
        self._steps_done = 0
        self._steps = sum(cell.steps for line in self._cells for cell in line)
        self._changed = threading.Event()
        self._begun = 0.0

    def begin(self) -> None:
        """Hand the first cells to the engine."""
        if self._row.attempts and self._find(0):
            self._waiting.clear()
            return
        self._prepared = self._tools.prepare(self._order.request)
        self._begun = time.monotonic()
        self._start_one()
        for note in self._prepared.notes:
            self._job.publish(Note(note))

    def follow(self) -> End:
        """Cells as they come, then the sheet."""
        if not self._working:
            return End("done")
        try:
            while self._fill():
                self._changed.wait(WAKE)
                self._changed.clear()
                for cell in list(self._working):
                    self._read(cell)
            if self._job.cancelled or len(self._ready) < len(self._cells) * len(self._cells[0]):
                return End("stopped", seconds=time.monotonic() - self._begun)
            self._keep_sheet()
        except SdgenError as error:
            return End(state_of(error), error)
        finally:
            self.cancel()
        return End("done", seconds=time.monotonic() - self._begun)

    def cancel(self) -> None:
        """Stop within one step what the engine has; a cancelled job hands nothing more over."""
        for cell in list(self._working):
            cell.job.cancel()

    def _start_one(self) -> None:
        """Raises QueueFull, and what refuses the cell."""
        row, column, request = self._waiting[0]
        job = self._tools.submit(self._tools.prepare(request).asked, self._job.id)
        job.listen(self._changed.set)
        self._waiting.popleft()
        self._working.append(_Cell(row, column, job, request.steps))

    def _fill(self) -> bool:
        """Hand cells over as long as there is room; False once none is waiting or at work."""
        while self._waiting and len(self._working) < AT_ONCE and not self._job.cancelled:
            try:
                self._start_one()
            except QueueFull:  # of others' work: a moment later, again
                break
        if self._job.cancelled:
            self._waiting.clear()
            self.cancel()
        return bool(self._waiting or self._working)

    def _read(self, cell: _Cell) -> None:
        """A cell's news. Raises its error."""
        events, cell.seen = cell.job.after(cell.seen)
        for event in events:
            match event:
                case ImageReady(image):
                    self._ready[cell.row, cell.column] = image
                    self._job.publish(Preview((self._mosaic(),), self._done))
                case Progress(step):
                    cell.step = step
                    self._report()
                case Loading():
                    self._job.publish(Loading(self._order.request.model))
                case Finished():
                    self._steps_done += cell.steps
                    self._working.remove(cell)
                    self._report()
                case Stopped():
                    self._working.remove(cell)
                case Failed(error):
                    self._working.remove(cell)
                    raise error
                case Note():
                    self._job.publish(event)
                case _:
                    pass

    @property
    def _done(self) -> int:
        return min(self._steps, self._steps_done + sum(cell.step for cell in self._working))

    def _report(self) -> None:
        done = self._done
        seconds = time.monotonic() - self._begun
        left = seconds / done * (self._steps - done) if done else None
        self._job.publish(Progress(done, self._steps, left))

    def _mosaic(self) -> Image.Image:
        """The cells that are ready, small, in their places."""
        made = Image.new("RGB", (MOSAIC * len(self._cells[0]), MOSAIC * len(self._cells)), "#888")
        for (row, column), ready in self._ready.items():
            small = ready.image.copy()
            small.thumbnail((MOSAIC, MOSAIC))
            made.paste(small, (column * MOSAIC, row * MOSAIC))
        return made

    def _keep_sheet(self) -> None:
        """Raises StorageFailed, and GenerationFailed where the sheet cannot be made."""
        lines = [
            [self._ready[y, x].image for x in range(len(line))]
            for y, line in enumerate(self._cells)
        ]
        first = self._ready[0, 0]
        flagged = next((cell.flagged for cell in self._ready.values() if cell.flagged), "")
        try:
            image = sheet(lines, self._grid, self._order.request)
        except (OSError, ValueError, MemoryError) as error:
            raise GenerationFailed("The sheet of the grid could not be put together.") from error
        made = GeneratedImage(0, self._order.request.seed, image, first.info, flagged)
        self._save(made, self._grid.model_dump_json())


def run_of(
    order: Order, job: Job, row: JobRow, tools: Tools, place: Place | None = None
) -> PicturesRun:
    """The way of an order. place: as of PicturesRun. Raises InvalidRequest for a cell of a grid
    that cannot be."""
    if order.grid is None:
        return PicturesRun(order, job, row, tools, place)
    return GridRun(order, job, row, tools, order.grid, place)
