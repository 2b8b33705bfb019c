"""Measures the exported model and writes its card: `python -m tools.picturebook.evaluate`.

Loads the folder with plain diffusers. The judge saw drawings only; the prompts' combinations of
subject, colour, place and time were held out of the model's training.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image

from tools.picturebook.card import write_card
from tools.picturebook.data import load_pictures
from tools.picturebook.export import ASSETS, EXAMPLES
from tools.picturebook.judge import TESTED, accuracy, load_judge
from tools.picturebook.latent_code import as_tensor, psnr
from tools.picturebook.marks import (
    failures,
    generate,
    held_out_scenes,
    mark,
    pair_scenes,
    pose_scenes,
    shares,
)

STEPS = 12  # the model's defaults, with the DPM++ 2M noise scheduler that it is saved with
GUIDANCE = 3.0


@torch.no_grad()
def reconstruction(vae: AutoencoderKL, work_dir: Path, count: int = 200) -> float:
    """Decibels of encode and decode on drawings that no training saw."""
    unseen = as_tensor(load_pictures(work_dir)[-TESTED:][:count])
    decoded = [vae.decode(vae.encode(u).latent_dist.sample()).sample for u in unseen.split(8)]
    return psnr(torch.cat(decoded), unseen)


def seconds_of_one(pipeline: StableDiffusionPipeline, steps: int, guidance: float) -> float:
    """The median time of a lone picture."""
    times = []
    for seed in range(6):
        started = time.perf_counter()
        generate(pipeline, EXAMPLES[:1], steps, guidance, first_seed=seed)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build/picturebook"))
    parser.add_argument("--model", type=Path, default=ASSETS)
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--no-card", action="store_true", help="print only")
    args = parser.parse_args()
    pipeline = StableDiffusionPipeline.from_pretrained(args.model, dtype=torch.float32)
    judge = load_judge()
    settings = args.steps, args.guidance
    held_out = held_out_scenes(args.prompts)
    pictures, results = mark(pipeline, judge, held_out, *settings)
    poses = pose_scenes(args.prompts // 4)
    pairs = pair_scenes(args.prompts // 4)
    figures = {
        "steps": args.steps,
        "guidance": args.guidance,
        "prompts": args.prompts,
        "pictures": len(load_pictures(args.work_dir)),
        "held_out": shares(results),
        "poses": shares(mark(pipeline, judge, poses, *settings)[1]),
        "pairs": shares(mark(pipeline, judge, pairs, *settings)[1]),
        "failures": failures(held_out, results).most_common(8),
        "psnr": reconstruction(pipeline.vae, args.work_dir),
        "judge": accuracy(judge),
        "seconds": seconds_of_one(pipeline, *settings),
    }
    print(json.dumps(figures, indent=1))
    (args.work_dir / "figures.json").write_text(json.dumps(figures, indent=1))
    sheet = Image.new("RGB", (8 * 256, 5 * 256))
    for i, picture in enumerate(pictures[:40]):
        sheet.paste(Image.fromarray(picture), (i % 8 * 256, i // 8 * 256))
    sheet.save(args.work_dir / "evaluated.png")
    if not args.no_card:
        write_card(args.model / "README.md", figures, args.work_dir)


if __name__ == "__main__":
    main()
