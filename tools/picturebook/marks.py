"""What the evaluation asks of the model, and how it counts the answers."""

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from tools.picturebook.captions import plain_caption
from tools.picturebook.judge import Judge, Verdict, shrink, verdicts
from tools.picturebook.scene import (
    PEOPLE,
    PLACES,
    POSES,
    TIMES,
    Scene,
    is_held_out,
    sample_any_scene,
    sample_figure,
    sample_held_out_scene,
    touches_held_out,
)

PARTS = ("subject", "colour", "place", "time", "all_four")


def held_out_scenes(count: int, seed: int = 1) -> list[Scene]:
    rng = random.Random(seed)
    return [sample_held_out_scene(rng) for _ in range(count)]


def pose_scenes(count: int, seed: int = 2) -> list[Scene]:
    """People in the four poses in turn, in held-out combinations."""
    rng, scenes = random.Random(seed), []
    while len(scenes) < count:
        figure = sample_figure(rng, rng.choice(PEOPLE), "centre")
        place, time = rng.choice(PLACES), rng.choice(TIMES)
        in_turn = figure.pose == POSES[len(scenes) % len(POSES)]
        if in_turn and is_held_out(figure.kind, figure.colour, place, time):
            scenes.append(Scene(place, time, (figure,)))
    return scenes


def pair_scenes(count: int, seed: int = 3) -> list[Scene]:
    """Two subjects of which at least one completes a held-out combination."""
    rng, scenes = random.Random(seed), []
    while len(scenes) < count:
        scene = sample_any_scene(rng)
        if len(scene.figures) == 2 and touches_held_out(scene):
            scenes.append(scene)
    return scenes


def generate(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    steps: int,
    guidance: float,
    batch: int = 16,
    first_seed: int = 0,
) -> np.ndarray:
    """uint8 [n, 256, 256, 3]; picture i is made with the seed first_seed + i."""
    pipeline.set_progress_bar_config(disable=True)
    pictures = []
    for start in range(0, len(prompts), batch):
        chosen = list(prompts[start : start + batch])
        seeds = range(first_seed + start, first_seed + start + len(chosen))
        made = pipeline(
            chosen,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
        ).images
        pictures.append((made * 255).round().astype(np.uint8))
    return np.concatenate(pictures)


def mark(
    pipeline: StableDiffusionPipeline,
    judge: Judge,
    scenes: list[Scene],
    steps: int,
    guidance: float,
) -> tuple[np.ndarray, list[Verdict]]:
    pictures = generate(pipeline, [plain_caption(s) for s in scenes], steps, guidance)
    return pictures, verdicts(judge, shrink(pictures), scenes)


def shares(results: list[Verdict]) -> dict[str, float]:
    """The share right of every part, poses only where there is one."""
    found = {part: sum(getattr(v, part) for v in results) / len(results) for part in PARTS}
    poses = [v.pose for v in results if v.pose is not None]
    return {**found, "pose": sum(poses) / len(poses)} if poses else found


def failures(scenes: list[Scene], results: list[Verdict]) -> Counter[str]:
    """How often each kind of subject, colour, place or time came out wrong."""
    wrong: Counter[str] = Counter()
    for scene, verdict in zip(scenes, results, strict=True):
        figure = scene.figures[0]
        named = {"subject": figure.kind, "colour": figure.colour}
        named |= {"place": scene.place, "time": scene.time}
        wrong.update(value for part, value in named.items() if not getattr(verdict, part))
    return wrong
