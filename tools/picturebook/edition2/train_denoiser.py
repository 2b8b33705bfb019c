"""Trains UNet and slot encoder, resumable: `python -m tools.picturebook.edition2.train_denoiser`.

Kill it whenever you like: a checkpoint is written every SAVE_EVERY steps, in one piece, and the same
step always has the same batch, so that it goes on as if nothing had happened. `--minutes` of the
processor's time end it early; `--trial` keeps to a name of its own and prints the errors.
"""

import argparse
import random
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tools.picturebook.edition2.denoiser import (
    Batch,
    clean_of,
    loss_of,
    new_noise_schedule,
    new_unet,
)
from tools.picturebook.edition2.latent_code import WORK_DIR, drawn, unseen_scenes
from tools.picturebook.edition2.pool import Pool
from tools.picturebook.edition2.slots import SlotEncoder, fields_of, leave_out
from tools.picturebook.latent_code import LatentCode
from tools.picturebook.muon import new_optimizers
from tools.picturebook.training import learning_rate, running_average

STEPS, BATCH, RATE = 24_000, 32, 1e-3
DRAWINGS = 60_000  # the pool at its largest
FIRST_DRAWINGS, DRAWINGS_A_STEP = 1024, 8  # it starts small, so that training starts at once
EARLY, EARLY_SHARE = 960, 0.15  # timesteps among the noisiest, where the words decide
LOW, LOW_SHARE = 250, 0.35  # and among the least noisy, where detail is made
AVERAGE_DECAY = 0.999
SAVE_EVERY = 50
MEASURED_AT = (20, 60, 120, 300, 500)


def sample_timesteps(size: int, chance: torch.Generator) -> Tensor:
    """[size]: uniform but for the shares of the noisiest and of the least noisy."""
    anywhere = torch.randint(1000, (size,), generator=chance)
    early = torch.randint(EARLY, 1000, (size,), generator=chance)
    low = torch.randint(LOW, (size,), generator=chance)
    lot = torch.rand(size, generator=chance)
    chosen = torch.where(lot < EARLY_SHARE, early, anywhere)
    return torch.where(lot > 1 - LOW_SHARE, low, chosen)


def batch_of(pool: Pool, step: int, size: int) -> Batch:
    """The same step always gives the same batch."""
    pool.grow_to(FIRST_DRAWINGS + DRAWINGS_A_STEP * step)
    chance = torch.Generator().manual_seed(step)
    there = min(pool.most, FIRST_DRAWINGS + DRAWINGS_A_STEP * step)
    latents, mask, scenes = pool.take(torch.randint(there, (size,), generator=chance))
    rng = random.Random(f"told {step}")
    return Batch(
        latents=latents,
        noise=torch.randn(latents.shape, generator=chance),
        mask=mask,
        timesteps=sample_timesteps(size, chance),
        fields=torch.tensor([fields_of(leave_out(scene, rng)) for scene in scenes]),
    )


class Errors:
    """Mean squared error of the predicted clean latents on unseen drawings, at MEASURED_AT."""

    def __init__(self, code: LatentCode, count: int = 48) -> None:
        scenes, rng = unseen_scenes(count), random.Random("told")
        self._latents = code.encode(drawn(scenes)[0])
        self._fields = torch.tensor([fields_of(leave_out(scene, rng)) for scene in scenes])
        chance = torch.Generator().manual_seed(5)
        self._noise = torch.randn(self._latents.shape, generator=chance)

    @torch.no_grad()
    def measure(self, networks: nn.Module, prediction: str) -> dict[int, float]:
        schedule, found = new_noise_schedule(), {}
        hidden = networks["slots"](self._fields)  # type: ignore[index]
        for t in MEASURED_AT:
            kept = schedule.alphas_cumprod[t]
            noisy = kept.sqrt() * self._latents + (1 - kept).sqrt() * self._noise
            output = networks["unet"](noisy, t, hidden, return_dict=False)[0]  # type: ignore[index]
            clean = clean_of(prediction, output, noisy, kept)
            found[t] = round(float((clean - self._latents).square().mean()), 4)
        return found


def new_networks() -> nn.ModuleDict:
    unet = new_unet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return nn.ModuleDict({"unet": unet, "slots": SlotEncoder()})


class Run:
    """Networks, optimizers, running average and step: what a checkpoint holds."""

    def __init__(self, path: Path, rate: float) -> None:
        torch.manual_seed(0)
        self.path, self.step = path, 0
        self.networks = new_networks()
        plain = ("conv_in", "conv_out", "slots.", "add_embedding")
        self.optimizers = new_optimizers(self.networks, rate, plain)
        self.average: AveragedModel = running_average(self.networks, AVERAGE_DECAY)
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.networks.load_state_dict(state["networks"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.average.load_state_dict(state["average"])
            self.step = state["step"]

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

    def learn(self, loss: Tensor, rate: float) -> None:
        for group in (g for optimizer in self.optimizers for g in optimizer.param_groups):
            group["lr"] = rate
        loss.backward()
        nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.average.update_parameters(self.networks)
        self.step += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=WORK_DIR)
    parser.add_argument("--steps", type=int, default=STEPS, help="where the cosine decay ends")
    parser.add_argument("--batch", type=int, default=BATCH, help="pictures a step")
    parser.add_argument("--rate", type=float, default=RATE, help="top learning rate")
    parser.add_argument("--prediction", default="sample", choices=("sample", "v_prediction"))
    parser.add_argument("--minutes", type=float, default=0, help="of the processor; 0: to the end")
    parser.add_argument("--trial", default="denoiser", help="name of the checkpoint")
    args = parser.parse_args()
    torch.set_num_threads(1)
    run = Run(args.work_dir / f"{args.trial}.pt", args.rate)
    pool, schedule = Pool(args.work_dir, DRAWINGS), new_noise_schedule(args.prediction)
    errors = Errors(LatentCode.load(args.work_dir))
    started, total = time.process_time(), 0.0
    print(f"from step {run.step}", flush=True)
    while run.step < args.steps:
        batch = batch_of(pool, run.step, args.batch)
        loss = loss_of(run.networks["unet"], run.networks["slots"], schedule, batch)
        run.learn(loss, learning_rate(run.step, args.steps, args.rate, warm_up=200))
        total += float(loss.detach())
        seconds = time.process_time() - started
        over = args.minutes and seconds > 60 * args.minutes
        if run.step % SAVE_EVERY == 0 or over:
            run.save()
            print(f"step {run.step} loss {total / SAVE_EVERY:.4f} {seconds:.0f} s", flush=True)
            total = 0.0
        if run.step % (10 * SAVE_EVERY) == 0 or over:
            found = errors.measure(run.average.module, args.prediction)
            print(f"step {run.step} unseen {found}", flush=True)
        if over:
            break


if __name__ == "__main__":
    main()
