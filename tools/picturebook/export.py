"""Writes the trained parts as a diffusers folder: `python -m tools.picturebook.export`.

A `StableDiffusionPipeline` in float16 safetensors, every file under 10 MB, beside words.json,
preview.json and LICENSE; `evaluate` adds the model card. Nothing half-written is ever in place:
the folder is made beside the old one and then renamed.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from torch import nn
from transformers import CLIPTokenizer

from tools.picturebook.captions import all_words
from tools.picturebook.diffusion import new_noise_schedule, new_text_encoder, new_unet
from tools.picturebook.latent_code import LatentCode
from tools.picturebook.scene import COLOURS, PLACES, POSES, SUBJECTS, TIMES
from tools.picturebook.training import averaged
from tools.picturebook.vae import encoder_from_code, new_vae

ASSETS = Path("sdgen/assets/picturebook")
SHARD = "9MB"
LICENSE = """CC0 1.0 Universal

The person who associated a work with this deed has dedicated the work to the public domain by
waiving all of his or her rights to the work worldwide under copyright law, including all related
and neighboring rights, to the extent allowed by law. You can copy, modify, distribute and perform
the work, even for commercial purposes, all without asking permission.

The work: the weights and every other file of this folder. Full legal text:
https://creativecommons.org/publicdomain/zero/1.0/legalcode
"""
EXAMPLES = (
    "a red robot on a beach at sunset",
    "a futuristic city with flying cars",
    "the hero standing heroically with lightning in the background",
    "a dramatic scene of the hero running through a village during a storm",
    "the hero in his superhero costume, striking a powerful pose in front of a temple",
    "a blue cat on a rooftop at night",
    "a yellow rocket in the desert under the stars",
    "a girl running through a forest in the snow",
)


def assemble(work_dir: Path) -> StableDiffusionPipeline:
    """The pipeline in float32 from the newest checkpoints of a work folder."""
    code, vae = LatentCode.load(work_dir), new_vae()
    encoder_from_code(vae, code)
    decoder = torch.load(work_dir / "decoder.pt", weights_only=True)
    vae.decoder.load_state_dict(averaged(decoder))
    networks = nn.ModuleDict({"unet": new_unet(), "text_encoder": new_text_encoder()})
    networks.load_state_dict(averaged(torch.load(work_dir / "denoiser.pt", weights_only=True)))
    noise = new_noise_schedule().config
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=noise.num_train_timesteps,
        beta_start=noise.beta_start,
        beta_end=noise.beta_end,
        beta_schedule=noise.beta_schedule,
        prediction_type=noise.prediction_type,
        timestep_spacing="trailing",
        steps_offset=1,  # what StableDiffusionPipeline asks for
    )
    return StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=networks["text_encoder"].eval(),
        tokenizer=CLIPTokenizer.from_pretrained(work_dir / "tokenizer"),
        unet=networks["unet"].eval(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def write_words(folder: Path) -> None:
    words = {
        "subjects": SUBJECTS,
        "colours": COLOURS,
        "places": PLACES,
        "times": TIMES,
        "poses": POSES,
        "words": all_words(),
        "examples": EXAMPLES,
    }
    (folder / "words.json").write_text(json.dumps(words, indent=1) + "\n")


def write_preview(folder: Path, code: LatentCode) -> None:
    factors, bias = code.rgb_factors()
    preview = {
        "latent_rgb_factors": [[round(x, 5) for x in row] for row in factors.tolist()],
        "latent_rgb_bias": [round(x, 5) for x in bias.tolist()],
    }
    (folder / "preview.json").write_text(json.dumps(preview, indent=1) + "\n")


def export(work_dir: Path, target: Path) -> None:
    fresh, old = target.with_name(target.name + ".new"), target.with_name(target.name + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    pipeline = assemble(work_dir).to(dtype=torch.float16)
    pipeline.save_pretrained(fresh, max_shard_size=SHARD)
    write_words(fresh)
    write_preview(fresh, LatentCode.load(work_dir))
    (fresh / "LICENSE").write_text(LICENSE)
    for path in fresh.rglob("*.safetensors"):
        path.chmod(0o644)
    card = target / "README.md"
    if card.exists():
        shutil.copy(card, fresh / card.name)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build/picturebook"))
    parser.add_argument("--target", type=Path, default=ASSETS)
    args = parser.parse_args()
    export(args.work_dir, args.target)
    files = [path for path in args.target.rglob("*") if path.is_file()]
    sizes = sorted(((path.stat().st_size, path.name) for path in files), reverse=True)
    print(f"{len(files)} files, {sum(s for s, _ in sizes) / 1e6:.1f} MB, largest {sizes[0]}")


if __name__ == "__main__":
    main()
