"""Who steps together next. Pure policy: plain numbers in, a list out, no torch.

A picture is one item; it takes one row of the forward pass, or two with guidance. The item that
waited longest leads; those that may share its pass (equal keys) join it, longest waiting first,
while rows are left. So every item moves at least once in ceil(all rows / max_rows) passes of its
key, and keys (models, sizes) take turns.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar


class BatchKey(NamedTuple):
    """Pictures with equal keys may share a pass. Steps, guidance and sampler are not in it."""

    model: str
    height: int  # pixels
    width: int  # pixels
    alone: str  # "" or, for an exact picture, its own id: it shares with nobody


class Batchable(Protocol):
    """What the policy needs to know of a picture on its way."""

    @property
    def key(self) -> BatchKey: ...
    @property
    def rows(self) -> int: ...
    @property
    def tick(self) -> int: ...


Item = TypeVar("Item", bound=Batchable)


def next_batch(running: Sequence[Item], max_rows: Callable[[BatchKey], int]) -> list[Item]:
    """The items that take the next step together; empty only if `running` is.

    running: in order of arrival; `tick` is when an item last moved, smaller is longer ago.
    max_rows: rows that a pass of a key may hold. The leader always fits, even with more rows.
    """
    if not running:
        return []
    by_age = sorted(running, key=lambda item: item.tick)  # stable: arrival breaks ties
    leader = by_age[0]
    rows_left = max_rows(leader.key) - leader.rows
    batch = [leader]
    for item in by_age[1:]:
        if item.key == leader.key and item.rows <= rows_left:
            batch.append(item)
            rows_left -= item.rows
    return batch


def best_row_count(seconds: dict[int, float], least_gain: float = 1.03) -> int:
    """The row count worth filling, from measured seconds per forward pass by row count.

    Walks up the counts and goes on while a row gets cheaper by `least_gain` or more against the
    best so far; where sharing never gains, the smallest count measured comes back.
    """
    counts = sorted(seconds)
    best = counts[0]
    for count in counts[1:]:
        if (seconds[best] / best) / (seconds[count] / count) >= least_gain:
            best = count
    return best
