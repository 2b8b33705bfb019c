"""Pictures of a denoiser in training: `python -m tools.picturebook.edition2.look sheet.png`.

It is asked by its own slots, so no text encoder is needed, and decoded by the trained decoder
where there is one, else linearly, which shows the cells. Above every row of pictures stand the same
scenes as drawings, encoded and decoded in the same way.
"""

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image
from torch import Tensor

from tools.picturebook.edition2.crispness import edge_sharpness
from tools.picturebook.edition2.denoiser import SIDE, new_noise_schedule, new_unet
from tools.picturebook.edition2.evaluate import sheet
from tools.picturebook.edition2.latent_code import CHANNELS, drawn
from tools.picturebook.edition2.run import WORK_DIR, average_of, step_of
from tools.picturebook.edition2.scene import sample_held_out_scene
from tools.picturebook.edition2.slots import fields_of
from tools.picturebook.edition2.text import slot_encoder
from tools.picturebook.edition2.vae import new_vae
from tools.picturebook.latent_code import LatentCode


@torch.no_grad()
def sample(work_dir: Path, fields: Tensor, steps: int, guidance: float) -> Tensor:
    """Latents [b, CHANNELS, SIDE, SIDE] for fields [b, FIELDS], with the seed 0."""
    unet, slots = new_unet().eval(), slot_encoder(work_dir)
    unet.load_state_dict(average_of(work_dir / "denoiser.pt", "unet"))
    hidden = slots(torch.cat([torch.zeros_like(fields), fields]))
    scheduler = DPMSolverMultistepScheduler.from_config(
        new_noise_schedule().config, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(len(fields), CHANNELS, SIDE, SIDE, generator=chance)
    for t in scheduler.timesteps:
        empty, told = unet(torch.cat([x, x]), t, hidden, return_dict=False)[0].chunk(2)
        x = scheduler.step(empty + guidance * (told - empty), t, x, return_dict=False)[0]
    return x


def decoder_of(work_dir: Path) -> Callable[[Tensor], Tensor]:
    if not step_of(work_dir / "decoder.pt"):
        return LatentCode.load(work_dir).decode
    decoder = new_vae().decoder.eval()
    decoder.load_state_dict(average_of(work_dir / "decoder.pt"))
    return lambda latents: torch.cat([decoder(part) for part in torch.split(latents, 4)])


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheet", help="where to write the contact sheet (PNG)")
    parser.add_argument("--work-dir", type=Path, default=WORK_DIR)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=2.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random("look")
    scenes = [sample_held_out_scene(rng) for _ in range(args.count)]
    fields = torch.tensor([fields_of(scene) for scene in scenes])
    decode = decoder_of(args.work_dir)
    made = decode(sample(args.work_dir, fields, args.steps, args.guidance))
    real = decode(LatentCode.load(args.work_dir).encode(drawn(scenes)[0]))
    pictures = [
        ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        for x in (real, made)
    ]
    drawings, model = (edge_sharpness(kind) for kind in pictures)
    step = step_of(args.work_dir / "denoiser.pt")
    print(f"step {step}, edges: drawings through the code {drawings:.1f}, model {model:.1f}")
    rows = [sheet(kind[i : i + 8]) for i in range(0, args.count, 8) for kind in pictures]
    whole = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)))
    for i, row in enumerate(rows):
        whole.paste(row, (0, i * row.height))
    whole.save(args.sheet)


if __name__ == "__main__":
    main()
