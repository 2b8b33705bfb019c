"""A network that tells what a picture shows: `python -m tools.picturebook.judge` trains it.

It learns from drawn pictures only, never from the model's, and is right on at least 99 % of unseen
drawings, so it can mark the model's pictures.
"""

import argparse
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.picturebook.data import load_pictures, load_scenes
from tools.picturebook.muon import new_optimizers
from tools.picturebook.scene import COLOURS, PEOPLE, PLACES, POSES, SUBJECTS, TIMES, Scene
from tools.picturebook.training import learning_rate

SIDE = 64  # pixels; pictures are reduced to this
TESTED = 1000  # pictures at the end of the data that no training sees
SIZES = {
    "place": len(PLACES),
    "time": len(TIMES),
    "present": len(SUBJECTS),
    "colour": len(SUBJECTS) * len(COLOURS),
    "pose": len(PEOPLE) * len(POSES),
}


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths, layers = (3, 24, 48, 96, 128), []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 256), nn.ReLU())
        self.head = nn.Linear(256, sum(SIZES.values()))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """RGB in [-1, 1], [b, 3, 64, 64] -> scores: place [b, 9], time [b, 5], present [b, 13],
        colour [b, 13, 10] of each subject, pose [b, 2, 4] of each person."""
        scores = self.head(self.body(pictures)).split(list(SIZES.values()), dim=1)
        named = dict(zip(SIZES, scores, strict=True))
        named["colour"] = named["colour"].unflatten(1, (len(SUBJECTS), len(COLOURS)))
        named["pose"] = named["pose"].unflatten(1, (len(PEOPLE), len(POSES)))
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
    scores = judge(pictures)
    results = []
    for i, scene in enumerate(scenes):
        wanted = [SUBJECTS.index(f.kind) for f in scene.figures]
        seen = scores["present"][i].topk(max(1, len(wanted))).indices.tolist()
        colours = [COLOURS[int(scores["colour"][i, k].argmax())] for k in sorted(seen)]
        right = [f.colour for f in sorted(scene.figures, key=lambda f: SUBJECTS.index(f.kind))]
        poses = [
            POSES[int(scores["pose"][i, PEOPLE.index(f.kind)].argmax())] == f.pose
            for f in scene.figures
            if f.pose
        ]
        results.append(
            Verdict(
                subject=not wanted or sorted(seen) == sorted(wanted),
                colour=not wanted or colours == right,
                place=PLACES[int(scores["place"][i].argmax())] == scene.place,
                time=TIMES[int(scores["time"][i].argmax())] == scene.time,
                pose=all(poses) if poses else None,
            )
        )
    return results


def loss_of(scores: dict[str, Tensor], scenes: list[Scene]) -> Tensor:
    present = torch.zeros_like(scores["present"])
    loss = F.cross_entropy(scores["place"], _indices([PLACES.index(s.place) for s in scenes]))
    loss = loss + F.cross_entropy(scores["time"], _indices([TIMES.index(s.time) for s in scenes]))
    found, colours, people, poses = [], [], [], []
    for i, scene in enumerate(scenes):
        for figure in scene.figures:
            kind = SUBJECTS.index(figure.kind)
            present[i, kind] = 1
            found.append(scores["colour"][i, kind])
            colours.append(COLOURS.index(figure.colour))
            if figure.pose:
                people.append(scores["pose"][i, PEOPLE.index(figure.kind)])
                poses.append(POSES.index(figure.pose))
    loss = loss + 4 * F.binary_cross_entropy_with_logits(scores["present"], present)
    loss = loss + F.cross_entropy(torch.stack(found), _indices(colours))
    return loss + F.cross_entropy(torch.stack(people), _indices(poses))


def _indices(numbers: list[int]) -> Tensor:
    return torch.tensor(numbers)


def load_judge(work_dir: Path) -> Judge:
    judge = Judge()
    judge.load_state_dict(torch.load(work_dir / "judge.pt", weights_only=True))
    return judge.eval()


def accuracy(judge: Judge, work_dir: Path) -> dict[str, float]:
    """Shares right on the unseen drawings: of every part where there is one subject, and of all
    four together where there are two."""
    pictures, (scenes, _) = load_pictures(work_dir)[-TESTED:], load_scenes(work_dir)
    results = verdicts(judge, shrink(pictures), scenes[-TESTED:])
    marked = list(zip(results, scenes[-TESTED:], strict=True))
    alone = [verdict for verdict, scene in marked if len(scene.figures) == 1]
    pairs = [verdict.all_four for verdict, scene in marked if len(scene.figures) == 2]
    poses = [verdict.pose for verdict in alone if verdict.pose is not None]
    shares = {
        part: sum(getattr(verdict, part) for verdict in alone) / len(alone)
        for part in ("subject", "colour", "place", "time", "all_four")
    }
    return {**shares, "pose": sum(poses) / len(poses), "pairs": sum(pairs) / len(pairs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build/picturebook"))
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scenes, _ = load_scenes(args.work_dir)
    stored = load_pictures(args.work_dir)
    small = torch.cat([shrink(stored[i : i + 500]) for i in range(0, len(stored), 500)])
    count = len(scenes) - TESTED
    judge = Judge()
    optimizers = new_optimizers(judge, 2e-3, plain=("head",))
    steps, step = args.passes * (count // args.batch), 0
    for _ in range(args.passes):
        judge.train()
        order = torch.randperm(count)
        for start in range(0, count - args.batch + 1, args.batch):
            for group in (g for optimizer in optimizers for g in optimizer.param_groups):
                group["lr"] = learning_rate(step, steps, 2e-3)
            rows = order[start : start + args.batch]
            pictures = small[rows] + 0.05 * torch.randn(len(rows), 3, SIDE, SIDE)
            with torch.autocast("cpu", torch.bfloat16):
                scores = judge(pictures)
            scores = {part: score.float() for part, score in scores.items()}
            loss = loss_of(scores, [scenes[int(row)] for row in rows])
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            step += 1
        print(f"{step} of {steps} steps, loss {float(loss.detach()):.3f}", flush=True)
        torch.save(judge.state_dict(), args.work_dir / "judge.pt")
        print(accuracy(judge, args.work_dir), flush=True)


if __name__ == "__main__":
    main()
