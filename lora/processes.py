"""Several processes that share each batch, as `accelerate launch -m lora train` starts them.

Every process holds the whole model and adapter; each learns from its rows of a batch, and the
gradients are averaged before the optimizer moves. So all of them hold the same weights after every
step, and only the first one writes files.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import distributed


class Alone:
    """The only process."""

    rank, world = 0, 1

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Each tensor becomes its mean over all processes, in place."""

    def agree(self, flags: Sequence[bool]) -> list[bool]:
        """The first process's flags, in every process."""
        return list(flags)

    def wait(self) -> None:
        """Until all processes are here."""


class Together(Alone):
    """One of several processes."""

    def __init__(self) -> None:
        self.rank = distributed.get_rank()
        self.world = distributed.get_world_size()

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """One message for all of them, however many there are."""
        flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.world
        place = 0
        for tensor in tensors:
            tensor.copy_(flat[place : place + tensor.numel()].view_as(tensor))
            place += tensor.numel()

    def agree(self, flags: Sequence[bool]) -> list[bool]:
        """Sent from the first one to all."""
        sent = torch.tensor([float(flag) for flag in flags], device=_device())
        distributed.broadcast(sent, 0)
        return [bool(flag) for flag in sent.tolist()]

    def wait(self) -> None:
        distributed.barrier()


@contextmanager
def processes() -> Iterator[Alone]:
    """This process's place among those that a launcher started; Alone without a launcher."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Alone()
        return
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    try:
        yield Together()
    finally:
        state.destroy_process_group()


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
