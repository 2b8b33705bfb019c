"""The fast recipe, four steps: `python -m tools.picturebook.edition2.distill`, after the denoiser.

Latent consistency distillation (Luo et al. 2023, arXiv 2310.04378) of the finished denoiser into
a LoRA for the sampler "lcm" at guidance 1: what the teacher would do with GUIDANCE is learned in,
so a step needs one row and not two. Writes `fast.safetensors` into the work folder.
"""

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils.state_dict_utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from tools.picturebook.edition2.denoiser import new_noise_schedule, new_unet
from tools.picturebook.edition2.evaluate import GUIDANCE
from tools.picturebook.edition2.pool import Pool
from tools.picturebook.edition2.run import Run, average_of, parser_of
from tools.picturebook.edition2.slots import Chances, fields_of, leave_out
from tools.picturebook.edition2.text import slot_encoder
from tools.picturebook.edition2.train_denoiser import DRAWINGS

STEPS, BATCH, RATE = 1_500, 16, 5e-4
RANK = 16
JUMP = 50  # timesteps between two points of the teacher's path
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out",
           "conv1", "conv2", "conv_shortcut", "conv"]  # fmt: skip
TOLD = Chances(nothing=0.0)
SAVE_EVERY = 25


def new_student(teacher: dict[str, Tensor]) -> UNet2DConditionModel:
    """The teacher with an adapter that does nothing yet; only the adapter learns."""
    unet = new_unet()
    unet.load_state_dict(teacher)
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS))
    return unet


@torch.no_grad()
def teachers_step(
    unet: UNet2DConditionModel,
    noisy: Tensor,
    timesteps: Tensor,
    hidden: tuple[Tensor, Tensor],
    kept: Tensor,
) -> tuple[Tensor, Tensor]:
    """One DDIM step of JUMP timesteps towards the clean latents, with guidance.

    noisy [b, c, 16, 16] at timesteps [b]; hidden: told and empty; kept: alphas_cumprod [1000].
    Returns the latents there, and the timesteps [b], -1 where they are clean.
    """
    unet.disable_adapters()
    told, empty = (unet(noisy, timesteps, h, return_dict=False)[0] for h in hidden)
    unet.enable_adapters()
    clean = empty + GUIDANCE * (told - empty)
    before = (timesteps - JUMP).clamp(min=-1)
    now = kept[timesteps][:, None, None, None]
    then = torch.where(before < 0, 1.0, kept[before.clamp(min=0)])[:, None, None, None]
    noise = (noisy - now.sqrt() * clean) / (1 - now).sqrt()
    return then.sqrt() * clean + (1 - then).sqrt() * noise, before


def loss_of(
    unet: UNet2DConditionModel, latents: Tensor, noise: Tensor, timesteps: Tensor,
    hidden: tuple[Tensor, Tensor], kept: Tensor,
) -> Tensor:  # fmt: skip
    """How far the student's clean latents at one point of the teacher's path are from its own at
    the next. (LCM's boundary scalings are within a thousandth of 0 and 1 from JUMP on.)"""
    now = kept[timesteps][:, None, None, None]
    noisy = now.sqrt() * latents + (1 - now).sqrt() * noise
    ahead, before = teachers_step(unet, noisy, timesteps, hidden, kept)
    with torch.no_grad():
        aim = unet(ahead, before.clamp(min=0), hidden[0], return_dict=False)[0]
        aim = torch.where((before < 0)[:, None, None, None], ahead, aim)
    guess = unet(noisy, timesteps, hidden[0], return_dict=False)[0]
    return F.smooth_l1_loss(guess, aim, beta=0.1)


def save_adapter(unet: UNet2DConditionModel, folder: Path) -> None:
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    halves = {name: weight.half() for name, weight in layers.items()}
    StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=halves, weight_name="fast.safetensors"
    )


def main() -> None:
    args = parser_of(__doc__, STEPS, BATCH, RATE).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    unet = new_student(average_of(args.work_dir / "denoiser.pt", "unet"))
    slots, kept = slot_encoder(args.work_dir), new_noise_schedule().alphas_cumprod
    adapter = nn.ParameterList([p for p in unet.parameters() if p.requires_grad])
    run = Run(args.work_dir / "distilled.pt", adapter, ("",), args.rate, 0.99)
    pool = Pool(args.work_dir, DRAWINGS)
    pool.grow_to(4096)
    over = False
    while run.step < args.steps and not over:
        chance, rng = torch.Generator().manual_seed(run.step), random.Random(f"fast {run.step}")
        rows = torch.randint(len(pool), (args.batch,), generator=chance)
        latents, _, scenes = pool.take(rows)
        fields = torch.tensor([fields_of(leave_out(scene, rng, TOLD)) for scene in scenes])
        with torch.no_grad():
            hidden = slots(fields), slots(torch.zeros_like(fields))
        noise = torch.randn(latents.shape, generator=chance)
        timesteps = JUMP * torch.randint(1, 1000 // JUMP + 1, (args.batch,), generator=chance) - 1
        run.learn(loss_of(unet, latents, noise, timesteps, hidden, kept), args.steps)
        over = bool(args.minutes) and run.minutes() > args.minutes
        if run.step % SAVE_EVERY == 0 or over or run.step == args.steps:
            run.save()
    adapter.load_state_dict(average_of(run.path))
    save_adapter(unet, args.work_dir)


if __name__ == "__main__":
    main()
