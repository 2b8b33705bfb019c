"""Which photos are held out: never trained on, so that a checkpoint can be judged by them."""

import hashlib

from lora.dataset.example import Dataset, Example
from lora.dataset.likeness import alike

FROM = 12  # photos; with fewer every one is needed for training


def default_count(photos: int) -> int:
    """How many of so many photos are held out: 2 to 4 of 12 or more, else none."""
    return 0 if photos < FROM else min(4, photos // 6)


def split(dataset: Dataset, count: int | None, seed: int) -> Dataset:
    """The dataset with `count` photos held out (None: default_count), the others to train on.

    The choice follows from seed and photos alone, not from their order or names. A photo that is
    nearly the same as another is not chosen, since the model would have seen it; so there may be
    fewer than asked for. One photo at least is left to train on.
    """
    everything = (*dataset.examples, *dataset.held_out)
    wanted = default_count(len(everything)) if count is None else count
    twins = {
        everything[place].id
        for group in alike([example.fingerprint for example in everything])
        for place in group
    }
    drawn = sorted(
        (example for example in everything if example.id not in twins),
        key=lambda example: hashlib.sha256(f"{seed}:{example.id}".encode()).digest(),
    )
    chosen = {example.id for example in drawn[: max(0, min(wanted, len(everything) - 1))]}

    def part(held_out: bool) -> tuple[Example, ...]:
        return tuple(example for example in everything if (example.id in chosen) == held_out)

    return Dataset(part(held_out=False), part(held_out=True))
