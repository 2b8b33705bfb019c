"""Measures a model and prints the whole table: `python -m tools.picturebook.edition2.evaluate`.

Loads the folder with plain diffusers. The judge saw drawings only. Writes figures.json, sheet.png
(64 unpicked pictures, seeds 0 to 63) and beside.png (the same as drawings) into the work folder.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from tools.picturebook.edition2 import crispness, prompts
from tools.picturebook.edition2.judge import everything_right, load_judge, right, shares, shrink
from tools.picturebook.edition2.latent_code import drawn, unseen_scenes
from tools.picturebook.edition2.prompts import ASKED, Prompt
from tools.picturebook.edition2.run import WORK_DIR
from tools.picturebook.edition2.scene import Scene
from tools.picturebook.edition2.world import draw
from tools.picturebook.latent_code import psnr

STEPS, GUIDANCE = 10, 2.0  # the model's defaults, with the noise scheduler that it is saved with
SHEET = 64


def generate(
    pipeline: StableDiffusionPipeline,
    texts: Sequence[str],
    steps: int,
    guidance: float,
    batch: int = 8,
) -> np.ndarray:
    """uint8 [n, 512, 512, 3]; picture i is made with the seed i."""
    pipeline.set_progress_bar_config(disable=True)
    pictures = []
    for start in range(0, len(texts), batch):
        chosen = list(texts[start : start + batch])
        seeds = range(start, start + len(chosen))
        made = pipeline(
            chosen,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
        ).images
        pictures.append((made * 255).round().astype(np.uint8))
    return np.concatenate(pictures)


def drawings(scenes: list[Scene]) -> np.ndarray:
    return np.stack([np.asarray(draw(scene)[0]) for scene in scenes])


def attributes(
    pipeline: StableDiffusionPipeline, count: int, steps: int, guidance: float
) -> dict[str, dict[str, float]]:
    """For every row of ASKED, the share of pictures that are right, beside drawings' own share:
    what the judge does not see in a drawing, no model can show it."""
    judge, rows = load_judge(), {}
    for name, (ask, share, fields) in ASKED.items():
        asked: list[Prompt] = ask(max(1, int(count * share)))
        scenes = [scene for _, scene in asked]
        pictures = generate(pipeline, [text for text, _ in asked], steps, guidance)
        correct = right(judge, shrink(pictures), scenes)
        ceiling = right(judge, shrink(drawings(scenes)), scenes)
        found = shares(correct)
        rows[name] = {field: found[field] for field in fields}
        together = tuple(f for f in fields if f != "all four")
        rows[name]["all asked"] = everything_right(correct, together)
        rows[name]["drawings, all asked"] = everything_right(ceiling, together)
        print(
            name, {field: f"{100 * value:.1f} %" for field, value in rows[name].items()}, flush=True
        )
    return rows


def crispness_of(
    pipeline: StableDiffusionPipeline, count: int, steps: int, guidance: float
) -> dict[str, float]:
    asked = prompts.one_subject(count)
    made = generate(pipeline, [text for text, _ in asked], steps, guidance)
    real = drawings([scene for _, scene in asked])
    return {
        "edges, drawings": crispness.edge_sharpness(real),
        "edges, model": crispness.edge_sharpness(made),
        "blocks, drawings": crispness.blockiness(real),
        "blocks, model": crispness.blockiness(made),
        "told apart, 256 px crops": crispness.told_apart(made, real, crops=True),
        "told apart, whole": crispness.told_apart(made, real, crops=False),
    }


@torch.no_grad()
def reconstruction(pipeline: StableDiffusionPipeline, count: int) -> dict[str, float]:
    """Encode and decode drawings that no training saw."""
    vae, unseen = pipeline.vae, drawn(unseen_scenes(count, "reconstruction"))[0]
    decoded = torch.cat(
        [vae.decode(vae.encode(u).latent_dist.mode()).sample for u in torch.split(unseen, 4)]
    )
    pictures = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return {"dB": psnr(decoded, unseen), "edges": crispness.edge_sharpness(pictures),
            "blocks": crispness.blockiness(pictures)}  # fmt: skip


def seconds_of_one(pipeline: StableDiffusionPipeline, steps: int, guidance: float) -> float:
    """The median processor time of a lone picture on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    for _ in range(4):
        started = time.process_time()
        generate(pipeline, ["a red robot on a beach at sunset"], steps, guidance)
        times.append(time.process_time() - started)
    torch.set_num_threads(threads)
    return statistics.median(times[1:])


def sheet(pictures: np.ndarray, columns: int = 8, side: int = 256) -> Image.Image:
    rows = -(-len(pictures) // columns)
    image = Image.new("RGB", (columns * side, rows * side))
    for i, picture in enumerate(pictures):
        small = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
        image.paste(small, (i % columns * side, i // columns * side))
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=WORK_DIR)
    parser.add_argument("--model", type=Path, help="default: model/ in the work folder")
    parser.add_argument("--prompts", type=int, default=600)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--sheet-only", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = args.model or args.work_dir / "model"
    pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    settings = args.steps, args.guidance
    asked = [*prompts.in_many_words(SHEET // 2), *prompts.pairs(SHEET // 2)]
    sheet(generate(pipeline, [t for t, _ in asked], *settings)).save(args.work_dir / "sheet.png")
    sheet(drawings([scene for _, scene in asked])).save(args.work_dir / "beside.png")
    (args.work_dir / "sheet.txt").write_text("".join(f"{text}\n" for text, _ in asked))
    if args.sheet_only:
        return
    figures: dict[str, Any] = {
        "steps": args.steps,
        "guidance": args.guidance,
        "attributes": attributes(pipeline, args.prompts, *settings),
        "crispness": crispness_of(pipeline, args.prompts, *settings),
        "VAE": reconstruction(pipeline, 100),
        "processor seconds of one": seconds_of_one(pipeline, *settings),
    }
    print(json.dumps(figures, indent=1))
    (args.work_dir / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
