"""The model card: what the model knows, how it was made, and the figures that were measured."""

from pathlib import Path
from typing import Any

import torch

from tools.picturebook.scene import (
    COLOURS,
    HELD_OUT_SHARE,
    PLACES,
    POSES,
    SUBJECTS,
    TIMES,
)

CARD = """---
license: cc0-1.0
library_name: diffusers
pipeline_tag: text-to-image
tags: [stable-diffusion, picture-book, synthetic]
---

# picturebook

A small text-to-image model that draws flat picture-book scenes of 256 x 256 px in about
{seconds:.1f} s on two CPU cores. It is a `StableDiffusionPipeline` like any other:

    pipeline = StableDiffusionPipeline.from_pretrained("sdgen/assets/picturebook")
    pipeline("a red robot on a beach at sunset", num_inference_steps={steps},
             guidance_scale={guidance}).images[0]

Defaults: {steps} steps of DPM++ 2M (the scheduler that is saved with it), guidance {guidance}.

## What it knows

- Subjects: {subjects}.
- Colours: {colours}.
- Places: {places}.
- Times and weather: {times}.
- Poses of people: {poses}.
- One or two subjects in a picture (with two, the first named stands on the left), groups of flying
  cars, birds or balloons, left and right.

It knows nothing else. `words.json` lists every word that its captions contained; a word that is
not among them has no meaning to it.

## How it was made

Programs: `tools/picturebook/`. All {pictures:,} pictures were drawn by `world.py`, so no picture,
photo or text of anybody else went in. {held_out_percent:.1f} % of the combinations of subject,
colour, place and time were held out of training and are what the scores below ask for.

| part | what | how |
|---|---|---|
| tokenizer | byte-pair encoding, 800 tokens, lower case | merges learned from captions |
| VAE encoder | a linear code, 16 x 16 px to {channels} numbers | computed, not trained |
| VAE decoder | {decoder_size:.1f} M parameters | {decoder_steps:,} steps of 4 pictures |
| text encoder | CLIPTextModel, 3 layers, 128 wide | trained with the denoiser |
| denoiser | UNet, {unet_size:.1f} M parameters | {denoiser_steps:,} steps of 32, then 48 pictures |

v-prediction, Muon and AdamW with cosine decay, EMA, loss x 4 inside the subjects' boxes, an eighth
to a quarter of the timesteps among the noisiest 25 of 1,000, where the words decide. The last 400
steps of the decoder had noise on the latents. The first steps of decoder and denoiser were made
with AdamW alone and with a shorter noise schedule, and the learning rate was raised again on the
way, so a new run by the programs' defaults will not give the very same weights. Everything was
trained on two CPU cores, shared with other work, in about an hour and three quarters.

## Measured

By `python -m tools.picturebook.evaluate`, with a judge network that was trained on drawings only
(on unseen drawings of one subject it is right about the subject in {judge_subject:.1f} %, colour
{judge_colour:.1f} %, place {judge_place:.1f} %, time {judge_time:.1f} %, all four
{judge_all_four:.1f} %, pose {judge_pose:.1f} %; on two subjects, all four {judge_pairs:.1f} %).

| prompts | subject | colour | place | time | all four | pose |
|---|---|---|---|---|---|---|
| {prompts} with one subject | {held_out} |
| {quarter} of people in four poses | {poses_row} |
| {quarter} with two subjects | {pairs} |

All are held-out combinations. With two subjects, both must be right to count.

VAE: {psnr:.1f} dB on 200 unseen drawings, encoded and decoded.
A lone picture: {seconds:.2f} s on the machine of the measurement (two CPU cores).

## Failures

{failures}
- Two subjects: colours and shapes get mixed up more often than with one.
- Anything outside the lists above comes out as whatever is nearest, or at random.
- Fine detail (faces, windows, hands) is soft; text, counting and exact positions are beyond it.

Licence: CC0 1.0, see LICENSE.
"""


def _row(shares: dict[str, float]) -> str:
    parts = [f"{100 * shares[p]:.1f} %" for p in ("subject", "colour", "place", "time", "all_four")]
    return " | ".join([*parts, f"{100 * shares['pose']:.1f} %" if "pose" in shares else "-"])


def _millions(weights: dict[str, torch.Tensor], prefix: str = "") -> float:
    return sum(w.numel() for name, w in weights.items() if name.startswith(prefix)) / 1e6


def write_card(path: Path, figures: dict[str, Any], work_dir: Path) -> None:
    decoder = torch.load(work_dir / "decoder.pt", weights_only=True)
    denoiser = torch.load(work_dir / "denoiser.pt", weights_only=True)
    code = torch.load(work_dir / "latent_code.pt", weights_only=True)
    judge = {f"judge_{part}": 100 * share for part, share in figures["judge"].items()}
    worst = ", ".join(f"{name} ({count})" for name, count in figures["failures"])
    text = CARD.format(
        **judge,
        steps=figures["steps"],
        guidance=figures["guidance"],
        prompts=figures["prompts"],
        quarter=figures["prompts"] // 4,
        seconds=figures["seconds"],
        psnr=figures["psnr"],
        subjects=", ".join(SUBJECTS),
        colours=", ".join(COLOURS),
        places=", ".join(PLACES),
        times=", ".join(TIMES),
        poses=", ".join(POSES),
        pictures=figures["pictures"],
        held_out_percent=100 * HELD_OUT_SHARE,
        channels=len(code["mean"]),
        decoder_size=_millions(decoder["decoder"]),
        decoder_steps=decoder["step"],
        unet_size=_millions(denoiser["networks"], "unet."),
        denoiser_steps=denoiser["step"],
        held_out=_row(figures["held_out"]),
        poses_row=_row(figures["poses"]),
        pairs=_row(figures["pairs"]),
        failures=f"- Wrong most often, with the number of prompts: {worst or 'nothing'}.",
    )
    path.write_text(text)
