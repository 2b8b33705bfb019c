"""Does the built-in enhancer help? `python -m tools.picturebook.evaluate_enhance` says.

200 short prompts that leave something open, each drawn plain and enhanced at the same seed. The
judge marks what the user asked for in both: it must not fall by more than two points. Also told:
which share of a scene's parts (subject, colour, place, time, pose) the prompts name before and
after, and how often the picture shows the parts that were added.
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from bench.engine import write
from sdgen.enhance import Context
from sdgen.enhance.banks import PLACE_PHRASES, POSE_PHRASES, TIME_PHRASES
from sdgen.enhance.built_in import BuiltIn
from sdgen.models import bundled_models
from sdgen.tokens import BUDGET, Tokens
from tools.picturebook.captions import PLACE_WORDS, TIME_WORDS
from tools.picturebook.evaluate import GUIDANCE, STEPS
from tools.picturebook.export import ASSETS
from tools.picturebook.judge import Judge, Verdict, load_judge, shrink, verdicts
from tools.picturebook.marks import generate
from tools.picturebook.scene import PEOPLE, Scene, sample_any_scene

LOSS_MAX = 2.0  # points of the judge's score that enhancing may cost
PARTS = ("subject", "colour", "place", "time", "pose")


@dataclass(frozen=True)
class Short:
    """A short prompt: a scene, and the parts of it that the words name."""

    prompt: str
    scene: Scene
    named: frozenset[str]


def short_prompts(count: int, seed: int = 4) -> list[Short]:
    """Prompts with one subject and at most one of place and time, as people write them."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        scene = sample_any_scene(rng)
        if len(scene.figures) != 1 or scene.figures[0].count > 1:
            continue
        figure = replace(scene.figures[0], side="centre")
        named = {"subject"}
        words = figure.kind
        if rng.random() < 0.6:
            named.add("colour")
            words = f"{figure.colour} {words}"
        words = f"an {words}" if words[0] in "aeiou" else f"a {words}"
        lot = rng.random()
        if lot < 0.25:
            named.add("place")
            words += f" {PLACE_WORDS[scene.place][0]}"
        elif lot < 0.5:
            named.add("time")
            words += f" {TIME_WORDS[scene.time][0]}"
        found.append(Short(words, replace(scene, figures=(figure,)), frozenset(named)))
    return found


def told(short: Short, added: Sequence[str]) -> tuple[Scene, frozenset[str]]:
    """The scene that the enhanced prompt tells, and the parts that were added."""
    scene, parts = short.scene, set()
    for phrase in added:
        for part, bank in (
            ("place", PLACE_PHRASES),
            ("time", TIME_PHRASES),
            ("pose", POSE_PHRASES),
        ):
            name = next((name for name, phrases in bank.items() if phrase in phrases), "")
            if not name:
                continue
            parts.add(part)
            if part == "pose":
                scene = replace(scene, figures=(replace(scene.figures[0], pose=name),))
            else:
                scene = replace(scene, **{part: name})
    return scene, frozenset(parts)


def score(results: Sequence[Verdict], parts: Sequence[frozenset[str]]) -> float:
    """Per cent right of the named parts."""
    marks = [
        bool(getattr(verdict, part))
        for verdict, named in zip(results, parts, strict=True)
        for part in named
    ]
    return 100 * sum(marks) / max(len(marks), 1)


def filled(shorts: Sequence[Short], added: Sequence[frozenset[str]]) -> tuple[float, float]:
    """Per cent of the parts of a scene that the prompts name: before, after."""
    possible = sum(5 if short.scene.figures[0].kind in PEOPLE else 4 for short in shorts)
    before = sum(len(short.named) for short in shorts)
    after = sum(len(s.named | a) for s, a in zip(shorts, added, strict=True))
    return 100 * before / possible, 100 * after / possible


def judged(
    pipeline: StableDiffusionPipeline, judge: Judge, prompts: list[str], scenes: list[Scene],
    steps: int, guidance: float,
) -> list[Verdict]:  # fmt: skip
    return verdicts(judge, shrink(generate(pipeline, prompts, steps, guidance)), scenes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ASSETS)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    spec, tokens = bundled_models()["picturebook"], Tokens()
    context = Context(
        spec.name, BUDGET, lambda text: tokens.count(spec, text) or 0, words=spec.words
    )
    shorts = short_prompts(args.prompts)
    drafts = [BuiltIn().enhance(short.prompt, context) for short in shorts]
    tellings = [told(short, draft.added) for short, draft in zip(shorts, drafts, strict=True)]
    scenes, added = [scene for scene, _ in tellings], [parts for _, parts in tellings]
    before, after = filled(shorts, added)
    pipeline = StableDiffusionPipeline.from_pretrained(args.model, dtype=torch.float32)
    judge = load_judge()
    settings = args.steps, args.guidance
    named = [short.named for short in shorts]
    plain_scenes = [short.scene for short in shorts]
    plain = judged(pipeline, judge, [short.prompt for short in shorts], plain_scenes, *settings)
    rich = judged(pipeline, judge, [draft.text for draft in drafts], scenes, *settings)
    scores = score(plain, named), score(rich, named)
    verdict = "holds" if scores[1] >= scores[0] - LOSS_MAX else "does not hold"
    text = "\n".join(
        [
            f"`python -m tools.picturebook.evaluate_enhance`, {len(shorts)} short prompts, "
            f"{args.steps} steps, guidance {args.guidance}, the same seeds.",
            "",
            "| what | plain | enhanced |",
            "|---|---|---|",
            f"| judge: what the user asked for is there | {scores[0]:.1f} % | {scores[1]:.1f} % |",
            f"| parts of a scene that the prompt names | {before:.1f} % | {after:.1f} % |",
            f"| judge: what was added is there | | {score(rich, added):.1f} % |",
            "",
            f"Goal: what was asked for falls by no more than {LOSS_MAX:.0f} points: {verdict}.",
        ]
    )
    print(text)
    write("Enhance on picturebook", text)


if __name__ == "__main__":
    main()
