"""What moves the adapter's weights: optimizer, learning rates, the weights' running average."""

import contextlib
import importlib
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lora.config import CompleteRecipe, InvalidRecipe


def make_optimizer(
    recipe: CompleteRecipe,
    unet: Sequence[torch.nn.Parameter],
    text: Sequence[torch.nn.Parameter],
) -> torch.optim.Optimizer:
    """The recipe's optimizer with one group for the UNet and, where it is trained, one for text.

    Raises InvalidRecipe when its package is not installed.
    """
    groups: list[dict[str, Any]] = [{"params": list(unet), "lr": recipe.learning_rate}]
    if text:
        groups.append({"params": list(text), "lr": recipe.text_learning_rate})
    if recipe.optimizer == "prodigy":
        package = _package("prodigy", "prodigyopt")
        with contextlib.redirect_stdout(sys.stderr):  # it prints, and stdout is for results
            prodigy: torch.optim.Optimizer = package.Prodigy(
                groups,
                weight_decay=recipe.weight_decay,
                use_bias_correction=True,
                safeguard_warmup=True,
            )
        return prodigy
    if recipe.optimizer == "adamw8bit":
        package = _package("adamw8bit", "bitsandbytes")
        eight: torch.optim.Optimizer = package.optim.AdamW8bit(
            groups, weight_decay=recipe.weight_decay
        )
        return eight
    fused = all(weights.device.type in ("cpu", "cuda") for weights in (*unet, *text))
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=fused)


def rate_share(step: int, steps: int, warm_up: float) -> float:
    """The share of the full learning rate at a step: a straight rise, then half a cosine to 0."""
    rising = math.ceil(warm_up * steps)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(steps - rising, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def set_rates(optimizer: torch.optim.Optimizer, full: Sequence[float], share: float) -> None:
    """Give each group its full rate times the share."""
    for group, rate in zip(optimizer.param_groups, full, strict=False):
        group["lr"] = rate * share


class Average:
    """The exponential moving average of weights; younger runs look less far back."""

    def __init__(self, weights: Mapping[str, torch.Tensor], decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in weights.items()}

    @torch.no_grad()
    def follow(self, weights: Mapping[str, torch.Tensor], step: int) -> None:
        """Take in the weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in weights.items():
            self.weights[name].lerp_(value.detach(), 1 - decay)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """All tensors of the optimizer's state by name, copies on the CPU."""
    state = optimizer.state_dict()
    found: dict[str, torch.Tensor] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                found[f"state.{index}.{name}"] = value
    for index, group in enumerate(state["param_groups"]):
        for name, value in group.items():
            if isinstance(value, torch.Tensor):
                found[f"group.{index}.{name}"] = value
    return {name: value.detach().to("cpu", copy=True) for name, value in found.items()}


def optimizer_numbers(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """All the rest of the optimizer's state, fit for JSON, which keeps floats exactly."""
    state = optimizer.state_dict()
    return {
        "state": {
            str(index): {name: v for name, v in values.items() if _plain(v)}
            for index, values in state["state"].items()
        },
        "groups": [
            {name: v for name, v in group.items() if _plain(v) and name != "params"}
            for group in state["param_groups"]
        ],
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, torch.Tensor],
    numbers: Mapping[str, Any],
) -> None:
    """Put back what `optimizer_tensors` and `optimizer_numbers` gave."""
    whole = optimizer.state_dict()
    whole["state"] = {int(index): dict(values) for index, values in numbers["state"].items()}
    for group, values in zip(whole["param_groups"], numbers["groups"], strict=True):
        for name, value in values.items():
            was = group.get(name)
            group[name] = tuple(value) if isinstance(was, tuple) else value
    for name, tensor in tensors.items():
        kind, index, key = name.split(".", 2)
        if kind == "state":
            whole["state"].setdefault(int(index), {})[key] = tensor.clone()
        else:
            whole["param_groups"][int(index)][key] = tensor.clone()
    optimizer.load_state_dict(whole)


def _plain(value: object) -> bool:
    """True for what JSON keeps as it is."""
    if isinstance(value, list | tuple):
        return all(_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)


def _package(optimizer: str, package: str) -> Any:
    """A package that only this optimizer needs. Raises InvalidRecipe where it is missing."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InvalidRecipe(
            "optimizer",
            f"The optimizer '{optimizer}' needs the Python package {package}: "
            f"pip install {package}.",
        ) from error
