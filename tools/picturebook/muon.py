"""Muon: momentum whose matrices are made orthogonal before each step.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon, with the scale of Liu et al. 2025
(arXiv 2502.16982), which lets it share AdamW's learning rate. Convolutions count as matrices of
[out, in * height * width].
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

MOMENTUM = 0.95
ROUNDS = 5  # of the Newton-Schulz iteration


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix whose singular values are all near 1; [rows, columns].

    Every round multiplies x by a polynomial of its Gram matrix, and so takes place among the small
    Gram matrices alone; x is multiplied once, at the end. In float32: a CPU that only emulates
    bfloat16 is three times slower with it.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    total = one = torch.eye(len(gram))
    for _ in range(ROUNDS):
        factor = a * one + b * gram + c * gram @ gram
        total = factor @ total
        gram = factor @ gram @ factor
    x = total @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """For weights of two or more dimensions; everything else belongs to AdamW.

    Where several processes train together, each makes its share of the matrices orthogonal.
    """

    def __init__(self, weights: Iterable[Tensor], lr: float) -> None:
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            updates = [self._update(weight) for weight in group["params"]]
            for weight, update in zip(group["params"], _shared_out(updates), strict=True):
                scale = 0.2 * max(update.shape) ** 0.5
                weight.add_(update.view_as(weight), alpha=-group["lr"] * scale)

    def _update(self, weight: Tensor) -> Tensor:
        """Nesterov momentum, [out, in]."""
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        momentum = state["momentum"].mul_(MOMENTUM).add_(weight.grad)
        return weight.grad.add(momentum, alpha=MOMENTUM).flatten(1)


def _shared_out(updates: list[Tensor]) -> list[Tensor]:
    """All updates made orthogonal; process r of n computes every n-th and gets the rest."""
    if not dist.is_initialized():
        return [orthogonal(update) for update in updates]
    rank, processes = dist.get_rank(), dist.get_world_size()
    flat = torch.zeros(sum(update.numel() for update in updates))
    parts = flat.split([update.numel() for update in updates])
    for i in range(rank, len(updates), processes):
        parts[i].copy_(orthogonal(updates[i]).flatten())
    dist.all_reduce(flat)
    return [part.view_as(update) for part, update in zip(parts, updates, strict=True)]


def new_optimizers(
    network: nn.Module, rate: float, plain: tuple[str, ...]
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices; AdamW for norms, biases and weights with a name part in `plain`."""
    inner = [
        weight
        for name, weight in network.named_parameters()
        if weight.dim() > 1 and not any(part in name for part in plain)
    ]
    chosen = {id(weight) for weight in inner}
    outer = [weight for weight in network.parameters() if id(weight) not in chosen]
    return [Muon(inner, rate), torch.optim.AdamW(outer, rate, weight_decay=1e-4, fused=True)]
