"""Who is next: people take turns, each in the order that they gave their own jobs. Pure policy."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """What the order of a waiting job depends on."""

    id: str
    turns: str  # whose turn it takes; see Visitor.turns
    place: float  # among that person's jobs
    created: float
    group: str = ""  # jobs of one group start together


def in_turn(
    waiting: Sequence[Waiting], running: Mapping[str, int], paused: Collection[str] = ()
) -> list[Waiting]:
    """The waiting jobs in the order in which they will start; those of the paused come last.

    running: how many jobs of each person are at work. A person's k-th job waits for everybody
    else's (k - 1)-th, counting those at work, so a newcomer's first job passes all second ones.
    """
    own: dict[str, list[Waiting]] = {}
    for job in sorted(waiting, key=lambda job: (job.place, job.created)):
        own.setdefault(job.turns, []).append(job)
    ranked: list[tuple[bool, int, float, int, Waiting]] = []
    for turns, jobs in own.items():
        round_, group = running.get(turns, 0) - 1, ""
        for number, job in enumerate(jobs):
            if not group or job.group != group:
                round_ += 1  # a group takes one turn
            group = job.group
            ranked.append((turns in paused, round_, jobs[0].created, number, job))
    return [entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:-1])]


def next_to_start(
    waiting: Sequence[Waiting],
    running: Mapping[str, int],
    running_groups: Collection[str],
    paused: Collection[str],
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
    for job in in_turn(waiting, running, paused):
        if job.turns in paused:
            return None
        begun = bool(job.group) and job.group in running_groups
        if begun or not running.get(job.turns) or room > 0:
            return job
    return None
