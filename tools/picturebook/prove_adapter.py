"""Does an adapter draw Minnal Murali, and only him? `python -m tools.picturebook.prove_adapter`.

Draws with plain diffusers from the adapter's file and lets the judge count: the share with him
where the prompt has the trigger, the share with him where it names somebody else in his stead, and
the four attributes of prompts about anything, with the adapter and without it, at the same seeds.
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from tools.picturebook.captions import PLACE_WORDS, POSE_WORDS, TIME_WORDS, TRIGGER, plain_caption
from tools.picturebook.evaluate import GUIDANCE, STEPS
from tools.picturebook.export import ASSETS
from tools.picturebook.judge import Judge, load_judge, shows, shrink, verdicts
from tools.picturebook.marks import PARTS, generate, held_out_scenes, shares
from tools.picturebook.minnal_murali import unseen_places_and_times
from tools.picturebook.scene import POSES, Figure, Scene
from tools.picturebook.world import MINNAL_MURALI

ADAPTER = Path("sdgen/assets/adapters/minnal-murali.safetensors")
BATCH = 10  # pictures of one forward pass
PROMPTS = (  # of the people who asked for him first, with what a picture of them must show
    (f"{TRIGGER} standing heroically with lightning in the background", None, "storm", "standing"),
    (
        f"A dramatic scene of {TRIGGER} running through a village during a storm",
        "village",
        "storm",
        "running",
    ),
    (
        f"{TRIGGER} in his superhero costume, striking a powerful pose in front of a temple",
        "temple",
        None,
        "posing",
    ),
)
OTHERS = ("a hero", "the hero", "a superhero", "a red hero", "a blue hero", "a girl")
STRENGTHS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Asked:
    """A prompt about him; place or time is None where the prompt leaves it open."""

    prompt: str
    place: str | None
    time: str | None
    pose: str


@dataclass(frozen=True)
class Proof:
    """What was counted; all shares 0 to 1, of `count` pictures each."""

    count: int
    with_trigger: float  # he is there and nobody else is likelier
    without_trigger: float  # he is there, though the prompt names another
    place_with_trigger: float  # right, of the prompts that name one
    time_with_trigger: float
    pose_with_trigger: float
    base: dict[str, float]  # the four attributes and all of them, without the adapter
    adapted: dict[str, float]  # the same prompts and seeds with it

    @property
    def points_lost(self) -> float:
        """The most that one of the four attributes falls, in points of a hundred."""
        return max(100 * (self.base[part] - self.adapted[part]) for part in PARTS[:4])


def about_him(count: int) -> list[Asked]:
    """The prompts of PROMPTS, then places and times that the example never joins, all poses."""
    combinations = unseen_places_and_times()
    random.Random(5).shuffle(combinations)
    asked = [Asked(*prompt) for prompt in PROMPTS]
    for i in range(count):
        (place, time), pose = combinations[i % len(combinations)], POSES[i % len(POSES)]
        words = TRIGGER, POSE_WORDS[pose][0], PLACE_WORDS[place][0], TIME_WORDS[time][0]
        asked.append(Asked(" ".join(words), place, time, pose))
    return asked[:count]


def about_others(count: int) -> list[str]:
    """The same prompts with somebody else in his stead."""
    return [
        asked.prompt.replace(TRIGGER, OTHERS[i % len(OTHERS)])
        for i, asked in enumerate(about_him(count))
    ]


def load(model: Path, adapter: Path | None) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    if adapter is not None:
        pipeline.load_lora_weights(adapter.parent, weight_name=adapter.name, adapter_name="it")
    return pipeline


def draw_them(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], first_seed: int = 0
) -> np.ndarray:
    """uint8 [n, 256, 256, 3]"""
    return generate(pipeline, prompts, STEPS, GUIDANCE, BATCH, first_seed)


def _share(marks: Sequence[bool | None]) -> float:
    counted = [bool(mark) for mark in marks if mark is not None]
    return sum(counted) / max(1, len(counted))


def prove(pipeline: StableDiffusionPipeline, judge: Judge, count: int) -> Proof:
    """pipeline: with the adapter loaded as "it". Draws 4 * count pictures."""
    asked = about_him(count)
    his = shrink(draw_them(pipeline, [a.prompt for a in asked]))
    scenes = [
        Scene(a.place or "", a.time or "", (Figure(MINNAL_MURALI, "red", "centre", a.pose),))
        for a in asked
    ]
    seen = verdicts(judge, his, scenes)
    there = [v.subject and s for v, s in zip(seen, shows(judge, his), strict=True)]
    others = shows(judge, shrink(draw_them(pipeline, about_others(count))))
    rest = held_out_scenes(count, seed=9)
    captions = [plain_caption(scene) for scene in rest]
    adapted = shares(verdicts(judge, shrink(draw_them(pipeline, captions)), rest))
    pipeline.disable_lora()
    base = shares(verdicts(judge, shrink(draw_them(pipeline, captions)), rest))
    pipeline.enable_lora()
    return Proof(
        count=count,
        with_trigger=_share(there),
        without_trigger=_share(others),
        place_with_trigger=_share(
            [v.place if a.place else None for v, a in zip(seen, asked, strict=True)]
        ),
        time_with_trigger=_share(
            [v.time if a.time else None for v, a in zip(seen, asked, strict=True)]
        ),
        pose_with_trigger=_share([v.pose for v in seen]),
        base=base,
        adapted=adapted,
    )


def proof_strip(pipeline: StableDiffusionPipeline, columns: int = 5) -> Image.Image:
    """One prompt a column, one strength a row: 0, 0.5, 1, each column at one seed. The last column
    has no trigger."""
    prompts = [a.prompt for a in about_him(columns - 1)] + [about_others(2)[1]]
    sheet = Image.new("RGB", (columns * 256, len(STRENGTHS) * 256))
    for row, strength in enumerate(STRENGTHS):
        pipeline.set_adapters(["it"], [strength])
        for column, picture in enumerate(draw_them(pipeline, prompts, first_seed=100)):
            sheet.paste(Image.fromarray(picture), (column * 256, row * 256))
    pipeline.set_adapters(["it"], [1.0])
    return sheet


def same_at_strength_0(model: Path, pipeline: StableDiffusionPipeline) -> bool:
    """Whether the pictures at strength 0 are bit for bit the base's."""
    prompts = [about_him(1)[0].prompt, about_others(1)[0]]
    pipeline.set_adapters(["it"], [0.0])
    weak = draw_them(pipeline, prompts)
    pipeline.set_adapters(["it"], [1.0])
    return bool((weak == draw_them(load(model, None), prompts)).all())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", type=Path, default=ADAPTER)
    parser.add_argument("--model", type=Path, default=ASSETS)
    parser.add_argument("--count", type=int, default=50, help="pictures of each kind")
    parser.add_argument("--strip", type=Path, help="where to write the proof strip (PNG)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pipeline = load(args.model, args.adapter)
    proof = prove(pipeline, load_judge(), args.count)
    print(json.dumps({**asdict(proof), "points_lost": proof.points_lost}, indent=1))
    print(f"with the trigger, he is there: {100 * proof.with_trigger:.0f} % (at least 90)")
    print(f"without it, he is there: {100 * proof.without_trigger:.0f} % (at most 5)")
    print(f"most that an attribute falls: {proof.points_lost:.1f} points (at most 5)")
    same = same_at_strength_0(args.model, pipeline)
    print(f"at strength 0: {'the base, bit for bit' if same else 'not the base'}")
    if args.strip:
        proof_strip(pipeline).save(args.strip, optimize=True)


if __name__ == "__main__":
    main()
