"""A network that tells what a picture shows: `python -m tools.picturebook.judge` trains it.

It learns from drawn pictures only, never from a model's, and is right on at least 99 % of unseen
drawings, so it can mark a model's pictures. It also knows Minnal Murali, whom no base model may
learn, so that it can say whether an adapter draws him.
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tools.picturebook.muon import new_optimizers
from tools.picturebook.scene import (
    COLOURS,
    PEOPLE,
    PLACES,
    POSES,
    SUBJECTS,
    TIMES,
    Figure,
    Scene,
    sample_any_scene,
    sample_figure,
    sample_kind,
)
from tools.picturebook.training import learning_rate
from tools.picturebook.world import MINNAL_MURALI, draw, minnal_murali_scene

WEIGHTS = Path(__file__).with_name("judge.safetensors")
SIDE = 64  # pixels; pictures are reduced to this
TAUGHT = 30_000  # drawings it learns from
TESTED = 1000  # drawings it is tested on
HIS_SHARE = 0.08  # of the drawings, Minnal Murali's; a quarter of them beside somebody else
SEEN = (*SUBJECTS, MINNAL_MURALI)  # who can be present
POSING = (*PEOPLE, MINNAL_MURALI)
SIZES = {
    "place": len(PLACES),
    "time": len(TIMES),
    "present": len(SEEN),
    "colour": len(SUBJECTS) * len(COLOURS),
    "pose": len(POSING) * len(POSES),
}


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths, layers = (3, 24, 48, 96, 128), []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 192), nn.ReLU())
        self.head = nn.Linear(192, sum(SIZES.values()))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """RGB in [-1, 1], [b, 3, 64, 64] -> scores: place [b, 9], time [b, 5], present [b, 14],
        colour [b, 13, 10] of each subject, pose [b, 3, 4] of each person. Minnal Murali is the last
        of `present` and `pose`; his colours are always the same."""
        scores = self.head(self.body(pictures)).split(list(SIZES.values()), dim=1)
        named = dict(zip(SIZES, scores, strict=True))
        named["colour"] = named["colour"].unflatten(1, (len(SUBJECTS), len(COLOURS)))
        named["pose"] = named["pose"].unflatten(1, (len(POSING), len(POSES)))
        return named


@dataclass(frozen=True)
class Verdict:
    """Which parts of a scene a picture shows as it should; pose is None where nobody has one."""

    subject: bool
    colour: bool
    place: bool
    time: bool
    pose: bool | None

    @property
    def all_four(self) -> bool:
        return self.subject and self.colour and self.place and self.time


def shrink(pictures: np.ndarray) -> Tensor:
    """uint8 [b, 256, 256, 3] -> [b, 3, 64, 64] in [-1, 1]."""
    x = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.avg_pool2d(x, 256 // SIDE)


@torch.no_grad()
def verdicts(judge: Judge, pictures: Tensor, scenes: list[Scene]) -> list[Verdict]:
    """One verdict a picture. The subjects are right if exactly the scene's are the likeliest."""
    judge.eval()
    scores = judge(pictures.float())
    results = []
    for i, scene in enumerate(scenes):
        wanted = [SEEN.index(f.kind) for f in scene.figures]
        seen = scores["present"][i].topk(max(1, len(wanted))).indices.tolist()
        colours = [
            COLOURS[int(scores["colour"][i, k].argmax())] for k in sorted(seen) if k < len(SUBJECTS)
        ]
        coloured = sorted((SEEN.index(f.kind), f.colour) for f in _coloured(scene))
        poses = [
            POSES[int(scores["pose"][i, POSING.index(f.kind)].argmax())] == f.pose
            for f in scene.figures
            if f.pose
        ]
        results.append(
            Verdict(
                subject=not wanted or sorted(seen) == sorted(wanted),
                colour=not wanted or colours == [colour for _, colour in coloured],
                place=PLACES[int(scores["place"][i].argmax())] == scene.place,
                time=TIMES[int(scores["time"][i].argmax())] == scene.time,
                pose=all(poses) if poses else None,
            )
        )
    return results


def _coloured(scene: Scene) -> list[Figure]:
    """The figures that come in more than one colour."""
    return [figure for figure in scene.figures if figure.kind in SUBJECTS]


@torch.no_grad()
def shows(judge: Judge, pictures: Tensor, kind: str = MINNAL_MURALI) -> list[bool]:
    """Whether each picture shows him, her or it at all, whoever else is there."""
    judge.eval()
    return (judge(pictures.float())["present"][:, SEEN.index(kind)] > 0).tolist()


def loss_of(scores: dict[str, Tensor], scenes: list[Scene]) -> Tensor:
    present = torch.zeros_like(scores["present"])
    loss = F.cross_entropy(scores["place"], _indices([PLACES.index(s.place) for s in scenes]))
    loss = loss + F.cross_entropy(scores["time"], _indices([TIMES.index(s.time) for s in scenes]))
    found, colours, people, poses = [], [], [], []
    for i, scene in enumerate(scenes):
        for figure in scene.figures:
            kind = SEEN.index(figure.kind)
            present[i, kind] = 1
            if figure.kind in SUBJECTS:
                found.append(scores["colour"][i, kind])
                colours.append(COLOURS.index(figure.colour))
            if figure.pose:
                people.append(scores["pose"][i, POSING.index(figure.kind)])
                poses.append(POSES.index(figure.pose))
    loss = loss + 4 * F.binary_cross_entropy_with_logits(scores["present"], present)
    loss = loss + F.cross_entropy(torch.stack(found), _indices(colours))
    return loss + F.cross_entropy(torch.stack(people), _indices(poses))


def _indices(numbers: list[int]) -> Tensor:
    return torch.tensor(numbers)


def load_judge(path: Path = WEIGHTS) -> Judge:
    judge = Judge()
    judge.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    return judge.eval()


def save_judge(judge: Judge, path: Path = WEIGHTS) -> None:
    """Float16; a batch norm's count of batches stays a whole number."""
    state = judge.state_dict()
    save_file({n: w.half() if w.is_floating_point() else w for n, w in state.items()}, path)


def his_scene(rng: random.Random) -> Scene:
    """Minnal Murali alone, or in one of four beside somebody else."""
    scene = minnal_murali_scene(rng)
    if rng.random() < 0.75:
        return scene
    sides = rng.sample(("left", "right"), 2)
    figures = [
        replace(scene.figures[0], side=sides[0]),
        sample_figure(rng, sample_kind(rng), sides[1]),
    ]
    return replace(scene, figures=tuple(sorted(figures, key=lambda figure: figure.side)))


def lesson(rng: random.Random) -> Scene:
    """A scene of the kind that the judge learns from and is tested on."""
    return his_scene(rng) if rng.random() < HIS_SHARE else sample_any_scene(rng)


def drawn(scenes: Sequence[Scene]) -> Tensor:
    """The scenes' drawings as the judge sees them, [n, 3, 64, 64], float16 to save memory."""
    pictures = torch.empty(len(scenes), 3, SIDE, SIDE, dtype=torch.float16)
    for i, scene in enumerate(scenes):
        pictures[i] = shrink(np.asarray(draw(scene)[0])[None])[0]
    return pictures


def accuracy(judge: Judge, count: int = TESTED) -> dict[str, float]:
    """Shares right on drawings that it never saw: of every part where there is one subject, of all
    four together where there are two; and how Minnal Murali and the hero are told apart."""
    scenes = [lesson(random.Random(f"tested {i}")) for i in range(count)]
    marked = list(zip(verdicts(judge, drawn(scenes), scenes), scenes, strict=True))
    alone = [verdict for verdict, scene in marked if len(scene.figures) == 1]
    pairs = [verdict.all_four for verdict, scene in marked if len(scene.figures) == 2]
    poses = [verdict.pose for verdict in alone if verdict.pose is not None]
    shares = {
        part: sum(getattr(verdict, part) for verdict in alone) / len(alone)
        for part in ("subject", "colour", "place", "time", "all_four")
    }
    rng = random.Random("him or a hero")
    his = [minnal_murali_scene(rng) for _ in range(count // 4)]
    heroes = [
        replace(scene, figures=(replace(scene.figures[0], kind="hero", colour=colour),))
        for scene, colour in zip(his, COLOURS * count, strict=False)
    ]
    seen, mistaken = shows(judge, drawn(his)), shows(judge, drawn(heroes))
    return {
        **shares,
        "pose": sum(poses) / len(poses),
        "pairs": sum(pairs) / len(pairs),
        "his_found": sum(seen) / len(seen),
        "heroes_mistaken_for_him": sum(mistaken) / len(mistaken),
    }


def teach(judge: Judge, pictures: Tensor, scenes: Sequence[Scene], passes: int, batch: int) -> None:
    """Train on the pictures, each seen `passes` times."""
    optimizers = new_optimizers(judge, 2e-3, plain=("head",))
    steps, step = passes * (len(scenes) // batch), 0
    for _ in range(passes):
        judge.train()
        order = torch.randperm(len(scenes))
        for start in range(0, len(scenes) - batch + 1, batch):
            for group in (g for optimizer in optimizers for g in optimizer.param_groups):
                group["lr"] = learning_rate(step, steps, 2e-3)
            rows = order[start : start + batch]
            seen = pictures[rows].float() + 0.05 * torch.randn(len(rows), 3, SIDE, SIDE)
            with torch.autocast("cpu", torch.bfloat16):
                scores = judge(seen)
            scores = {part: score.float() for part, score in scores.items()}
            loss = loss_of(scores, [scenes[int(row)] for row in rows])
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            step += 1
        print(f"{step} of {steps} steps, loss {float(loss.detach()):.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=TAUGHT)
    parser.add_argument("--passes", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--test", action="store_true", help="only measure the one that is there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if not args.test:
        scenes = [lesson(random.Random(f"judge {i}")) for i in range(args.pictures)]
        judge = Judge()
        teach(judge, drawn(scenes), scenes, args.passes, args.batch)
        save_judge(judge)
    for part, share in accuracy(load_judge()).items():
        print(f"{part}: {100 * share:.1f} %")


if __name__ == "__main__":
    main()
