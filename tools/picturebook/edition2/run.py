"""What the training programs share: one resumable run, its learning rate, and its clock."""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tools.picturebook.muon import new_optimizers
from tools.picturebook.training import averaged, running_average

WORK_DIR = Path("build/picturebook2")
WARM_UP, DECAY = 100, 0.25


def learning_rate(step: int, steps: int, top: float) -> float:
    """Linear warm-up, then even, then a line down to 2 % of the top over the last DECAY of all
    steps: until there it does not matter how many steps there will be."""
    left = (steps - step) / (DECAY * steps)
    return top * min(1.0, (step + 1) / WARM_UP, 0.02 + 0.98 * left)


def parser_of(
    description: str | None, steps: int, batch: int, rate: float
) -> argparse.ArgumentParser:
    """The options that all training programs have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work-dir", type=Path, default=WORK_DIR)
    parser.add_argument("--steps", type=int, default=steps, help="where the learning rate ends")
    parser.add_argument("--batch", type=int, default=batch, help="examples a step")
    parser.add_argument("--rate", type=float, default=rate, help="top learning rate")
    parser.add_argument("--minutes", type=float, default=0, help="of the processor; 0: to the end")
    return parser


class Run:
    """Networks, optimizers, running average and step number: all that a checkpoint holds.

    It may be killed at any time: a checkpoint is written beside the old one and then renamed.
    """

    def __init__(
        self, path: Path, networks: nn.Module, plain: tuple[str, ...], rate: float, decay: float
    ) -> None:
        """plain: parts of the names of weights that are AdamW's, see muon.py."""
        self.path, self.networks, self.rate, self.step = path, networks, rate, 0
        self.optimizers = new_optimizers(networks, rate, plain)
        self.average: AveragedModel = running_average(networks, decay)
        self.losses: list[float] = []
        self._began = time.process_time()
        if path.exists():
            state = torch.load(path, weights_only=True)
            networks.load_state_dict(state["networks"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.average.load_state_dict(state["average"])
            self.step = state["step"]
        print(f"from step {self.step}", flush=True)

    def learn(self, loss: Tensor, steps: int) -> None:
        """One step of all optimizers; steps: where the learning rate ends."""
        for group in (g for optimizer in self.optimizers for g in optimizer.param_groups):
            group["lr"] = learning_rate(self.step, steps, self.rate)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.average.update_parameters(self.networks)
        self.step += 1
        self.losses.append(float(loss.detach()))

    def minutes(self) -> float:
        """Processor time since this program began."""
        return (time.process_time() - self._began) / 60

    def save(self) -> None:
        unfinished = self.path.with_suffix(".new")
        state = {
            "networks": self.networks.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average.state_dict(),
            "step": self.step,
        }
        torch.save(state, unfinished)
        unfinished.replace(self.path)
        mean = sum(self.losses) / max(1, len(self.losses))
        print(f"step {self.step} loss {mean:.4f} {self.minutes():.1f} min", flush=True)
        self.losses.clear()


def step_of(path: Path) -> int:
    """How far a checkpoint is; 0 where there is none."""
    if not path.exists():
        return 0
    step: int = torch.load(path, weights_only=True, mmap=True)["step"]
    return step


def average_of(path: Path, part: str = "") -> dict[str, Tensor]:
    """The averaged weights of a checkpoint, or of one of its networks, by the network's names."""
    state = averaged(torch.load(path, weights_only=True))
    prefix = f"{part}." if part else ""
    return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
