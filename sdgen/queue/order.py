"""Who is next: people take turns, each in the order that they gave their own jobs. Pure policy."""

import heapq
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Waiting:
    """What the order of a waiting job depends on."""

    id: str
    turns: str  # whose turn it takes; see Visitor.turns
    place: float  # among that person's jobs
    created: float
    group: str = ""  # jobs of one group start together


def in_turn(
    waiting: Sequence[Waiting],
    served: Mapping[str, float] = MappingProxyType({}),
    paused: Collection[str] = (),
) -> list[Waiting]:
    """The waiting jobs in the order in which they will start; those of the paused come last.

    served: when a job of each person started last. Whose turn is longest ago is next, so a
    newcomer waits for at most one job of each other. A group takes one turn.
    """
    own: dict[str, deque[Waiting]] = {}
    for job in sorted(waiting, key=lambda job: (job.place, job.created)):
        own.setdefault(job.turns, deque()).append(job)
    newest = max(served.values(), default=0.0)
    turns = [
        (turns in paused, served.get(turns, 0.0), min(job.created for job in jobs), turns)
        for turns, jobs in own.items()
    ]
    heapq.heapify(turns)
    order: list[Waiting] = []
    while turns:
        stopped, _, created, person = heapq.heappop(turns)
        jobs = own[person]
        order.append(jobs.popleft())
        while jobs and jobs[0].group and jobs[0].group == order[-1].group:
            order.append(jobs.popleft())
        if jobs:
            newest += 1.0
            heapq.heappush(turns, (stopped, newest, created, person))
    return order


def moved(mine: Collection[Waiting], job_id: str, by: int) -> dict[str, float]:
    """The places of one person's waiting jobs once a job has gone `by` places on (-1: earlier).

    Empty where the job is not among them, or has nowhere to go.
    """
    order = sorted(mine, key=lambda job: (job.place, job.created))
    at = next((at for at, job in enumerate(order) if job.id == job_id), None)
    if at is None or not 0 <= at + by < len(order):
        return {}
    places = sorted(job.place for job in order)
    order.insert(at + by, order.pop(at))
    return {job.id: place for job, place in zip(order, places, strict=True)}


def next_to_start(
    waiting: Sequence[Waiting],
    running: Mapping[str, int],
    running_groups: Collection[str],
    paused: Collection[str],
    served: Mapping[str, float] = MappingProxyType({}),
    *,
    max_running: int,
    room: int,
) -> Waiting | None:
    """The job to start now, or None.

    Somebody with nothing at work starts at once, and so does the rest of a group that has begun;
    a second job of the same person joins where `room` rows of the running batch are still worth
    filling. Nobody passes the one whose turn it is.
    """
    if sum(running.values()) >= max_running:
        return None
    for job in in_turn(waiting, served, paused):
        if job.turns in paused:
            return None
        begun = bool(job.group) and job.group in running_groups
        if begun or not running.get(job.turns) or room > 0:
            return job
    return None
