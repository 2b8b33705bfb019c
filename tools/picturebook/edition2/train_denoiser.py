"""Trains UNet and slot encoder, resumable: `python -m tools.picturebook.edition2.train_denoiser`.

The same step always has the same batch, so that a run that was killed goes on as if nothing had
happened.
"""

import random

import torch
from torch import Tensor, nn

from tools.picturebook.edition2.denoiser import (
    Batch,
    clean_of,
    loss_of,
    new_noise_schedule,
    new_unet,
)
from tools.picturebook.edition2.latent_code import drawn, unseen_scenes
from tools.picturebook.edition2.pool import Pool
from tools.picturebook.edition2.run import Run, parser_of
from tools.picturebook.edition2.slots import SlotEncoder, fields_of, leave_out
from tools.picturebook.latent_code import LatentCode

STEPS, BATCH, RATE = 14_000, 32, 1e-3
DRAWINGS = 60_000  # the pool at its largest
FIRST_DRAWINGS, DRAWINGS_A_STEP = 1024, 8  # it starts small, so that training starts at once
EARLY, EARLY_SHARE = 960, 0.15  # timesteps among the noisiest, where the words decide
# And where detail is made. The last of ten steps is at 99, and what is predicted there is the
# picture, so that the least noisy 40 hardly matter.
LOW, LOW_SHARE = (40, 300), 0.35
AVERAGE_DECAY = 0.999
SAVE_EVERY = 25
MEASURED_AT = (20, 60, 120, 300, 500)


def sample_timesteps(size: int, chance: torch.Generator) -> Tensor:
    """[size]: uniform but for the shares of the noisiest and of the least noisy."""
    anywhere = torch.randint(1000, (size,), generator=chance)
    early = torch.randint(EARLY, 1000, (size,), generator=chance)
    low = torch.randint(*LOW, (size,), generator=chance)
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


def main() -> None:
    parser = parser_of(__doc__, STEPS, BATCH, RATE)
    parser.add_argument("--prediction", default="sample", choices=("sample", "v_prediction"))
    parser.add_argument("--name", default="denoiser", help="of the checkpoint, for trials")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = new_networks()
    plain = ("conv_in", "conv_out", "slots.", "add_embedding")
    run = Run(args.work_dir / f"{args.name}.pt", networks, plain, args.rate, AVERAGE_DECAY)
    pool, schedule = Pool(args.work_dir, DRAWINGS), new_noise_schedule(args.prediction)
    errors = Errors(LatentCode.load(args.work_dir))
    over = False
    while run.step < args.steps and not over:
        batch = batch_of(pool, run.step, args.batch)
        run.learn(loss_of(networks["unet"], networks["slots"], schedule, batch), args.steps)
        over = bool(args.minutes) and run.minutes() > args.minutes
        if run.step % SAVE_EVERY == 0 or over or run.step == args.steps:
            run.save()
        if run.step % (10 * SAVE_EVERY) == 0 or over or run.step == args.steps:
            found = errors.measure(run.average.module, args.prediction)
            print(f"step {run.step} unseen {found}", flush=True)


if __name__ == "__main__":
    main()
