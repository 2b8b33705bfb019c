"""Teaches the decoder to invert the code: `python -m tools.picturebook.edition2.train_decoder`.

Every step draws new whole pictures, so that GroupNorm sees in training what it will see in use, and
nothing need be kept. Loss: L1, L1 of the differences between neighbouring pixels (edges), and the
squared error.
"""

import random

import torch
import torch.nn.functional as F
from torch import Tensor

from tools.picturebook.edition2.latent_code import drawn, unseen_scenes
from tools.picturebook.edition2.run import Run, parser_of
from tools.picturebook.edition2.scene import sample_any_scene
from tools.picturebook.edition2.vae import encoder_from_code, new_vae
from tools.picturebook.latent_code import LatentCode, psnr

STEPS, BATCH, RATE = 8_000, 2, 1.5e-3
NOISE = 0.2  # most noise added to a picture's latents, so that the denoiser's errors show less
SAVE_EVERY = 100
AVERAGE_DECAY = 0.998


def picture_loss(guess: Tensor, truth: Tensor) -> Tensor:
    difference = guess - truth
    edges = difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
    return 0.5 * difference.abs().mean() + 0.25 * edges + 10 * F.mse_loss(guess, truth)


def example(code: LatentCode, step: int, size: int) -> tuple[Tensor, Tensor]:
    """Latents, half of them with noise, and the pictures that they should become."""
    rng, chance = random.Random(f"decoder {step}"), torch.Generator().manual_seed(step)
    truth = drawn([sample_any_scene(rng) for _ in range(size)])[0]
    deviation = NOISE * (2 * torch.rand(size, 1, 1, 1, generator=chance) - 1).clamp(min=0)
    latents = code.encode(truth)
    return latents + deviation * torch.randn(latents.shape, generator=chance), truth


def main() -> None:
    args = parser_of(__doc__, STEPS, BATCH, RATE).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    code = LatentCode.load(args.work_dir)
    unseen = drawn(unseen_scenes(24))[0]
    vae = new_vae()
    encoder_from_code(vae, code)
    with torch.no_grad():
        error = (vae.encode(unseen[:4]).latent_dist.mean - code.encode(unseen[:4])).abs().max()
    print(f"encoder agrees with the code to {float(error):.1e}", flush=True)
    decoder = vae.decoder.to(memory_format=torch.channels_last)
    run = Run(args.work_dir / "decoder.pt", decoder, ("conv_out",), args.rate, AVERAGE_DECAY)
    over = False
    while run.step < args.steps and not over:
        latents, truth = example(code, run.step, args.batch)
        guess = decoder(latents.contiguous(memory_format=torch.channels_last))
        run.learn(picture_loss(guess, truth), args.steps)
        over = bool(args.minutes) and run.minutes() > args.minutes
        if run.step % SAVE_EVERY == 0 or over or run.step == args.steps:
            run.save()
            with torch.no_grad():
                guesses = [run.average.module(code.encode(u)) for u in unseen.split(4)]
            print(f"step {run.step} unseen {psnr(torch.cat(guesses), unseen):.2f} dB", flush=True)


if __name__ == "__main__":
    main()
