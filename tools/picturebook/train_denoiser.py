"""Trains UNet and text encoder together, resumable: `python -m tools.picturebook.train_denoiser`.

On a machine with several cores, one single-threaded process a core that average their gradients
are faster and bear other people's load better than threads:
`torchrun --nproc-per-node 2 -m tools.picturebook.train_denoiser --batch 24`.

Most steps can be made with `--length 36`, which is a fifth faster: captions are hardly ever longer,
and the text encoder is causal, so what is cut off is padding. The last thousand or so must see the
full length, as it is what the pipeline feeds the denoiser.
"""

import argparse
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import CLIPTokenizer

from tools.picturebook.captions import caption
from tools.picturebook.data import load_scenes
from tools.picturebook.diffusion import (
    EMPTY_SHARE,
    Batch,
    loss_of,
    new_noise_schedule,
    new_text_encoder,
    new_unet,
)
from tools.picturebook.latent_code import box_masks
from tools.picturebook.muon import new_optimizers
from tools.picturebook.scene import Scene
from tools.picturebook.tokenizer import LENGTH
from tools.picturebook.training import learning_rate, running_average

KEPT_BACK = 1000  # pictures at the end that only the decoder's and the judge's tests see
AVERAGE_DECAY = 0.999
EARLY, EARLY_SHARE = 975, 0.25  # see sample_timesteps


class Pictures:
    """What training draws its batches from: latents, boxes and scenes of every picture."""

    def __init__(self, work_dir: Path, length: int) -> None:
        self._length = length
        self._latents = torch.from_numpy(np.load(work_dir / "latents.npy"))
        self._scenes, boxes = load_scenes(work_dir)
        self._masks = box_masks(boxes, 16)
        self._tokenizer = CLIPTokenizer.from_pretrained(work_dir / "tokenizer")

    def batch(self, step: int, rank: int, size: int) -> Batch:
        """The same (step, rank, size) always gives the same batch."""
        chance = torch.Generator().manual_seed(1_000_003 * step + rank)
        rows = torch.randint(len(self._scenes) - KEPT_BACK, (size,), generator=chance)
        latents = self._latents[rows].float()
        scenes = [self._scenes[int(row)] for row in rows]
        return Batch(
            latents=latents,
            noise=torch.randn(latents.shape, generator=chance),
            mask=self._masks[rows],
            timesteps=sample_timesteps(size, chance),
            tokens=self._tokens(scenes, random.Random(f"{step} {rank}")),
        )

    def _tokens(self, scenes: list[Scene], rng: random.Random) -> Tensor:
        texts = ["" if rng.random() < EMPTY_SHARE else caption(s, rng) for s in scenes]
        return self._tokenizer(
            texts,
            padding="max_length",
            max_length=self._length,
            truncation=True,
            return_tensors="pt",
        ).input_ids


def sample_timesteps(size: int, chance: torch.Generator) -> Tensor:
    """[size]: uniform, but EARLY_SHARE of them among the first that a sampler meets.

    Brightness and sky are decided there, and only there: a little later the noisy latents already
    tell the time of day, and nothing is left for the words to say.
    """
    anywhere = torch.randint(1000, (size,), generator=chance)
    early = torch.randint(EARLY, 1000, (size,), generator=chance)
    return torch.where(torch.rand(size, generator=chance) < EARLY_SHARE, early, anywhere)


def average_gradients(networks: nn.ModuleList) -> None:
    """The mean over all processes, as one message."""
    gradients = [p.grad for p in networks.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build/picturebook"))
    parser.add_argument("--steps", type=int, default=4200, help="where the cosine decay ends")
    parser.add_argument("--batch", type=int, default=48, help="pictures a step and process")
    parser.add_argument("--rate", type=float, default=1e-3, help="top learning rate")
    parser.add_argument("--length", type=int, default=LENGTH, help="tokens of a padded caption")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    rank, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        dist.init_process_group("gloo")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    pictures, schedule = Pictures(args.work_dir, args.length), new_noise_schedule()
    unet, text_encoder = new_unet(), new_text_encoder()
    networks = nn.ModuleDict({"unet": unet, "text_encoder": text_encoder})
    optimizers = new_optimizers(networks, args.rate, ("conv_in", "conv_out", "embeddings."))
    average = running_average(networks, AVERAGE_DECAY)
    checkpoint, step = args.work_dir / "denoiser.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        networks.load_state_dict(state["networks"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        average.load_state_dict(state["average"])
        step = state["step"]
    started, total = time.monotonic(), 0.0
    while step < args.steps:
        for group in (g for optimizer in optimizers for g in optimizer.param_groups):
            group["lr"] = learning_rate(step, args.steps, args.rate, warm_up=200)
        loss = loss_of(unet, text_encoder, schedule, pictures.batch(step, rank, args.batch))
        loss.backward()
        if processes > 1:
            average_gradients(networks)
        nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        average.update_parameters(networks)
        step += 1
        total += float(loss.detach())
        if rank == 0 and step % 50 == 0:
            seconds = time.monotonic() - started
            print(f"step {step} loss {total / 50:.4f} {seconds:.0f} s", flush=True)
            total = 0.0
        if rank == 0 and (step % 200 == 0 or step == args.steps):
            state = {
                "networks": networks.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            }
            unfinished = checkpoint.with_suffix(".new")
            torch.save({**state, "average": average.state_dict(), "step": step}, unfinished)
            unfinished.replace(checkpoint)


if __name__ == "__main__":
    main()
