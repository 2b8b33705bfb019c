"""Teaches the decoder to invert the latent code: `python -m tools.picturebook.train_decoder`.

Whole pictures, so that GroupNorm sees in training what it will see in use; loss: L1, L1 of the
differences between neighbouring pixels (edges), and the squared error. A checkpoint is written
every few hundred steps, and the program continues from it.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tools.picturebook.data import load_pictures
from tools.picturebook.latent_code import LatentCode, as_tensor, psnr
from tools.picturebook.muon import new_optimizers
from tools.picturebook.training import learning_rate, running_average
from tools.picturebook.vae import encoder_from_code, new_vae

NOISE = 0.25  # most noise added to a picture's latents, so that the denoiser's errors show less


def picture_loss(guess: Tensor, truth: Tensor) -> Tensor:
    difference = guess - truth
    edges = difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
    return 0.5 * difference.abs().mean() + 0.25 * edges + 10 * F.mse_loss(guess, truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build/picturebook"))
    parser.add_argument("--steps", type=int, default=3200)
    parser.add_argument("--batch", type=int, default=4, help="pictures a step")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="top learning rate")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    code, pictures = LatentCode.load(args.work_dir), load_pictures(args.work_dir)
    unseen = as_tensor(pictures[-64:])
    vae = new_vae()
    encoder_from_code(vae, code)
    with torch.no_grad():
        error = (vae.encode(unseen[:8]).latent_dist.mean - code.encode(unseen[:8])).abs().max()
    print(f"encoder agrees with the code to {float(error):.1e}", flush=True)
    decoder = vae.decoder
    optimizers = new_optimizers(decoder, args.rate, plain=("conv_out",))
    average = running_average(decoder, 0.997)
    checkpoint, step = args.work_dir / "decoder.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        decoder.load_state_dict(state["decoder"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        average.load_state_dict(state["average"])
        step = state["step"]
    started, total = time.monotonic(), 0.0
    while step < args.steps:
        for group in (g for optimizer in optimizers for g in optimizer.param_groups):
            group["lr"] = learning_rate(step, args.steps, args.rate)
        chosen = torch.Generator().manual_seed(step)
        rows = torch.randint(len(pictures) - 1000, (args.batch,), generator=chosen)
        truth = as_tensor(pictures[rows.numpy()])
        latents = code.encode(truth)
        deviation = NOISE * torch.rand(args.batch, 1, 1, 1, generator=chosen)
        latents = latents + deviation * torch.randn(latents.shape, generator=chosen)
        with torch.autocast("cpu", torch.bfloat16):
            guess = decoder(latents)
        loss = picture_loss(guess.float(), truth)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        average.update_parameters(decoder)
        step += 1
        total += float(loss.detach())
        if step % 50 == 0:
            print(
                f"step {step} loss {total / 50:.4f} {time.monotonic() - started:.0f} s", flush=True
            )
            total = 0.0
        if step % 100 == 0 or step == args.steps:
            with torch.no_grad():
                guesses = torch.cat([average.module(code.encode(u)) for u in unseen.split(8)])
            print(f"step {step} unseen pictures {psnr(guesses, unseen):.2f} dB", flush=True)
            state = {
                "decoder": decoder.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            }
            torch.save({**state, "average": average.state_dict(), "step": step}, checkpoint)


if __name__ == "__main__":
    main()
