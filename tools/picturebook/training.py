"""What every training program here shares: the learning rate's course and the weights' average."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def learning_rate(step: int, steps: int, top: float, warm_up: int = 100) -> float:
    """Linear warm-up, then a cosine down to 2 % of the top."""
    if step < warm_up:
        return top * (step + 1) / warm_up
    share = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return top * (0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2)


def running_average(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the weights, shorter at the start, so that the untrained
    weights are soon forgotten."""

    @torch.no_grad()
    def blend(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor) -> None:
        kept = min(decay, (1 + float(count)) / (10 + float(count)))
        torch._foreach_lerp_(list(averaged), list(current), 1 - kept)

    return AveragedModel(network, multi_avg_fn=blend)


def averaged(checkpoint: dict) -> dict[str, Tensor]:
    """The running average of a checkpoint, under the names of the network itself."""
    prefix = "module."
    return {k[len(prefix) :]: v for k, v in checkpoint["average"].items() if k.startswith(prefix)}
