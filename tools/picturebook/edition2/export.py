"""Writes the trained parts as a diffusers folder: `python -m tools.picturebook.edition2.export`.

A `StableDiffusionPipeline` in float16 safetensors, every file under 10 MB, beside words.json and
preview.json. By default into the work folder: what the app ships is replaced only on purpose, with
`--target sdgen/assets/picturebook`, once the evaluation says that it is better.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from transformers import CLIPTokenizer

from tools.picturebook.edition2.captions import all_words
from tools.picturebook.edition2.denoiser import new_noise_schedule, new_unet
from tools.picturebook.edition2.run import WORK_DIR, average_of
from tools.picturebook.edition2.scene import COLOURS, PLACES, POSES, SUBJECTS, TIMES
from tools.picturebook.edition2.text import new_text_encoder
from tools.picturebook.edition2.vae import encoder_from_code, new_vae
from tools.picturebook.export import LICENSE, SHARD, write_preview
from tools.picturebook.latent_code import LatentCode

EXAMPLES = (
    "a red robot on a beach at sunset",
    "two cats under the moon",
    "a happy blue dragon flying over a castle in the fog",
    "an astronaut on a horse on the moon",
    "a yellow bird over the sea at sunset",
    "a sad penguin with an umbrella in the rain",
    "a pirate next to a turquoise whale, under water",
    "a wizard running through a forest at night",
)


def assemble(work_dir: Path) -> StableDiffusionPipeline:
    """The pipeline in float32 from the newest checkpoints of a work folder."""
    code, vae = LatentCode.load(work_dir), new_vae()
    encoder_from_code(vae, code)
    vae.decoder.load_state_dict(average_of(work_dir / "decoder.pt"))
    unet, text_encoder = new_unet(), new_text_encoder()
    unet.load_state_dict(average_of(work_dir / "denoiser.pt", "unet"))
    matched = work_dir / "matched.pt"
    text = matched if matched.exists() else work_dir / "text.pt"
    text_encoder.load_state_dict(average_of(text, "text_encoder"))
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
        text_encoder=text_encoder.eval(),
        tokenizer=CLIPTokenizer.from_pretrained(work_dir / "tokenizer"),
        unet=unet.eval(),
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


def export(work_dir: Path, target: Path) -> None:
    pipeline = assemble(work_dir).to(dtype=torch.float16)
    pipeline.save_pretrained(target, max_shard_size=SHARD)
    write_words(target)
    write_preview(target, LatentCode.load(work_dir))
    (target / "LICENSE").write_text(LICENSE)
    for path in target.rglob("*.safetensors"):
        path.chmod(0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=WORK_DIR)
    parser.add_argument("--target", type=Path, help="default: model/ in the work folder")
    args = parser.parse_args()
    target = args.target or args.work_dir / "model"
    export(args.work_dir, target)
    files = [path for path in target.rglob("*") if path.is_file()]
    sizes = sorted(((path.stat().st_size, path.name) for path in files), reverse=True)
    print(f"{len(files)} files, {sum(s for s, _ in sizes) / 1e6:.1f} MB, largest {sizes[0]}")


if __name__ == "__main__":
    main()
