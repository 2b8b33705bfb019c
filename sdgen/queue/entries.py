"""A job in the queue's memory, and its way to a row of the history and back."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pydantic import ValidationError

from sdgen.grid import Grid
from sdgen.history import JobRow, Leave
from sdgen.job import Job, Progress, Queued
from sdgen.metadata import Enhancement
from sdgen.owners import Visitor
from sdgen.queue.order import Waiting
from sdgen.queue.run import PicturesRun
from sdgen.queue.views import Order, QueuedJob
from sdgen.request import GenerateRequest


@dataclass
class Entry:
    """A job that has not ended. run: None while it waits."""

    row: JobRow
    order: Order
    job: Job
    turns: str  # whose turn it takes
    run: PicturesRun | None = None
    told_ahead: int = -1  # what its watchers were told last

    def waiting(self) -> Waiting:
        """What its place in the queue depends on."""
        return Waiting(self.row.id, self.turns, self.row.place, self.row.created, self.row.group)

    def view(self, ahead: int, others_ahead: int) -> QueuedJob:
        """As its owner sees it."""
        request = self.order.request
        progress = self.job.newest(Progress)
        return QueuedJob(
            id=self.row.id,
            state="running" if self.run else "waiting",
            prompt=request.prompt,
            label=self.row.label,
            group=self.row.group,
            num_images=request.num_images,
            created=self.row.created,
            ahead=ahead,
            others_ahead=others_ahead,
            step=progress.step if progress else 0,
            steps=progress.steps if progress else request.steps * request.num_images,
            seconds_left=progress.seconds_left if progress else None,
        )

    def tell(self, ahead: int) -> None:
        """Tell its watchers how many will start before it, where that is news."""
        if ahead != self.told_ahead:
            self.told_ahead = ahead
            self.job.publish(Queued(ahead))


def seen_by(
    owner: str, running: Sequence[Entry], waiting: Sequence[Entry]
) -> tuple[QueuedJob, ...]:
    """An owner's jobs, running ones first. waiting: of everybody, in the order they will start."""
    mine = [entry.view(0, 0) for entry in running if entry.row.owner == owner]
    others = len(running) - len(mine)
    for ahead, entry in enumerate(waiting):
        if entry.row.owner == owner:
            mine.append(entry.view(ahead, others))
        else:
            others += 1
    return tuple(mine)


def work_of(order: Order) -> float:
    """What an order costs, in megapixel-steps."""
    request = order.request
    pixels = request.width * request.height * request.steps * request.num_images
    cells = 1
    if order.grid is not None:
        cells = len(order.grid.x.values) * (len(order.grid.y.values) if order.grid.y else 1)
    return pixels * cells / 1e6


def rows_of(
    orders: Sequence[Order],
    visitor: Visitor,
    *,
    after: float,
    leave: Leave,
    created: float,
    side_by_side: bool,
) -> list[JobRow]:
    """The rows of new jobs. after: the place of the visitor's last one. created: Unix seconds.

    side_by_side: they are one group.
    """
    group = uuid.uuid4().hex if side_by_side else ""
    return [
        JobRow(
            id=uuid.uuid4().hex,
            owner=visitor.owner,
            payer=visitor.payer,
            state="waiting",
            place=after + number,
            leave=leave,
            request=_written(order),
            created=created + number * 1e-6,  # so their order shows in it, too
            enhancement=json.dumps(asdict(order.enhancement)) if order.enhancement else "",
            grid=order.grid.model_dump_json() if order.grid else "",
            group=group,
            label=order.label,
            work=work_of(order),
        )
        for number, order in enumerate(orders, start=1)
    ]


def _written(order: Order) -> str:
    """The request as its row has it: of a picture that is not kept, no words are either."""
    request = order.request
    if not order.kept:
        request = request.model_copy(update={"prompt": "", "negative_prompt": ""})
    return request.model_dump_json()


def order_of(row: JobRow) -> Order | None:
    """The order that a row was written for; None where this version cannot read it."""
    try:
        return Order(
            GenerateRequest.model_validate_json(row.request),
            Enhancement(**json.loads(row.enhancement)) if row.enhancement else None,
            row.label,
            Grid.model_validate_json(row.grid) if row.grid else None,
        )
    except (ValidationError, ValueError, TypeError):
        return None
