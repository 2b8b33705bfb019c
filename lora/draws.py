"""Every random draw of a training run as a pure function of (seed, step, sample).

No generator is carried from step to step. So a run that was killed and resumed draws what the run
that was not would have drawn, whatever else the process did, and two processes that share a batch
draw what one process would have drawn for all of it. All draws are made on the CPU, in float32.

step: optimizer steps done before. sample: the place of a row in the whole batch of a step, over
all processes and accumulated parts.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence

import torch

Size = tuple[int, int]  # width, height of a bucket, pixels


def generator(seed: int, *place: object) -> torch.Generator:
    """A fresh CPU generator that depends on nothing but the arguments."""
    text = "/".join(str(part) for part in (seed, *place))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    return torch.Generator("cpu").manual_seed(number)


def epoch_order(seed: int, epoch: int, buckets: Mapping[Size, Sequence[int]]) -> list[int]:
    """The order of the photos in one round through all of them, each once.

    buckets: size -> indices of its photos. Photos of one size are neighbours, so that a batch
    rarely holds two sizes; the order of the sizes and the order within each are shuffled.
    """
    rng = generator(seed, "order", epoch)
    groups = list(buckets.values())
    order: list[int] = []
    for group in torch.randperm(len(groups), generator=rng).tolist():
        members = groups[group]
        shuffled = torch.randperm(len(members), generator=rng).tolist()
        order += [members[place] for place in shuffled]
    return order


def photos_of_step(
    seed: int, step: int, batch: int, buckets: Mapping[Size, Sequence[int]]
) -> list[int]:
    """The photos of a step's whole batch, by index; rounds follow each other without a gap."""
    count = sum(len(members) for members in buckets.values())
    first = step * batch
    orders: dict[int, list[int]] = {}
    found: list[int] = []
    for place in range(first, first + batch):
        epoch, index = divmod(place, count)
        if epoch not in orders:
            orders[epoch] = epoch_order(seed, epoch, buckets)
        found.append(orders[epoch][index])
    return found


def timestep(seed: int, step: int, sample: int, batch: int, train_timesteps: int) -> int:
    """The timestep of a row, 0 to train_timesteps - 1, uniform over steps.

    The rows of a step are spread evenly from a random start, which takes variance out of the
    gradient: Kingma et al. 2021, arXiv 2107.00630, appendix I.1.
    """
    start = torch.rand((), generator=generator(seed, "timestep", step), dtype=torch.float64).item()
    share = (start + sample / batch) % 1.0
    return min(math.floor(share * train_timesteps), train_timesteps - 1)


def noise(
    seed: int, step: int, sample: int, shape: Sequence[int], offset: float = 0.0
) -> torch.Tensor:
    """Noise [c, h, w] of a row; offset: strength of one more draw per channel (noise offset)."""
    rng = generator(seed, "noise", step, sample)
    drawn = torch.randn(tuple(shape), generator=rng)
    if offset:
        drawn = drawn + offset * torch.randn((shape[0], 1, 1), generator=rng)
    return drawn


def posterior_noise(seed: int, step: int, sample: int, shape: Sequence[int]) -> torch.Tensor:
    """Noise [c, h, w] that picks a row's latents from what the VAE holds possible."""
    return torch.randn(tuple(shape), generator=generator(seed, "posterior", step, sample))


def caption_dropped(seed: int, step: int, sample: int, share: float) -> bool:
    """True where a row is trained without its caption; happens to `share` of all rows."""
    if share <= 0:
        return False
    drawn = torch.rand((), generator=generator(seed, "caption", step, sample)).item()
    return drawn < share


def prior_prompt(seed: int, step: int, sample: int, count: int) -> int:
    """Which of the prior's prompts a row is held to the base at: half the time the first."""
    rng = generator(seed, "prior", step, sample)
    if count == 1 or torch.rand((), generator=rng).item() < 0.5:
        return 0
    return int(torch.randint(1, count, (), generator=rng))
