"""A network that tells what a picture shows.

`python -m tools.picturebook.edition2.judge` trains it. It reads a picture into the same fields
(slots.py) that the text encoder reads out of a caption, and learns from drawings only, never from a
model's pictures, so it can mark these. `--test` measures it on drawings that it never saw.
"""

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tools.picturebook.edition2.pen import SIZE
from tools.picturebook.edition2.run import Run, average_of, parser_of
from tools.picturebook.edition2.scene import (
    PLACES,
    RELATIONS,
    SUBJECTS,
    TIMES,
    Scene,
    sample_any_scene,
)
from tools.picturebook.edition2.slots import FIELDS, FIGURES, PARTS, UNSAID, fields_of
from tools.picturebook.edition2.world import MINNAL_MURALI, draw, minnal_murali_scene

WEIGHTS = Path(__file__).with_name("judge.safetensors")
SIDE = 128  # pixels; pictures are reduced to this
STEPS, BATCH, RATE = 3_000, 48, 1.5e-3
WIDTHS = (3, 24, 48, 96, 128, 160)
HIDDEN = 384
SAVE_EVERY = 100
TESTED = 1000  # drawings
KIND_OF_FIRST = FIELDS - FIGURES * len(PARTS)  # the field of the first figure's kind
NAMES = ["place", "time", "relation", "figures", *list(PARTS) * FIGURES]  # of the fields
HIS_KIND = 1 + len(SUBJECTS)  # the judge's own value of "kind" for Minnal Murali
HIS_SHARE = 0.08  # of the drawings that it learns from
SIZES_OF_FIELDS = [1 + len(PLACES), 1 + len(TIMES), 1 + len(RELATIONS), 2 + FIGURES] + [
    1 + len(values) + (part == "kind") for _ in range(FIGURES) for part, values in PARTS.items()
]


class Judge(nn.Module):
    """RGB in [-1, 1], [b, 3, SIDE, SIDE] -> for each of the FIELDS, scores [b, values]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(WIDTHS):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        cells = (SIDE // 2 ** (len(WIDTHS) - 1)) ** 2
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[-1] * cells, HIDDEN))
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(HIDDEN, sum(SIZES_OF_FIELDS)))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        return list(torch.split(self.head(self.body(pictures)), SIZES_OF_FIELDS, dim=1))


def shrink(pictures: np.ndarray) -> Tensor:
    """uint8 [b, 512, 512, 3] -> [b, 3, SIDE, SIDE] in [-1, 1]."""
    x = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.avg_pool2d(x, SIZE // SIDE)


def drawn_small(scenes: list[Scene]) -> Tensor:
    return torch.cat([shrink(np.asarray(draw(scene)[0])[None]) for scene in scenes])


@torch.no_grad()
def read(judge: Judge, pictures: Tensor) -> Tensor:
    """The likeliest fields, [b, FIELDS]."""
    judge.eval()
    return torch.cat(
        [torch.stack([s.argmax(1) for s in judge(x)], 1) for x in torch.split(pictures, 64)]
    )


def seen_fields(scene: Scene) -> list[int]:
    """The fields of a scene, where Minnal Murali has a kind of his own."""
    kinds = [replace(f, kind="hero") if f.kind == MINNAL_MURALI else f for f in scene.figures]
    fields = fields_of(replace(scene, figures=tuple(kinds)))
    for i, figure in enumerate(scene.figures):
        if figure.kind == MINNAL_MURALI:
            fields[KIND_OF_FIRST + i * len(PARTS)] = HIS_KIND
    return fields


def lesson(rng: random.Random) -> Scene:
    """A scene of the kind that the judge learns from and is tested on."""
    return minnal_murali_scene(rng) if rng.random() < HIS_SHARE else sample_any_scene(rng)


@torch.no_grad()
def shows_him(judge: Judge, pictures: Tensor) -> list[bool]:
    """Whether each picture shows Minnal Murali."""
    found = read(judge, pictures)[:, KIND_OF_FIRST :: len(PARTS)]
    return (found == HIS_KIND).any(1).tolist()


def right(judge: Judge, pictures: Tensor, scenes: list[Scene]) -> Tensor:
    """bool [b, FIELDS]: which fields of each picture are as its scene has them."""
    return read(judge, pictures) == torch.tensor([seen_fields(scene) for scene in scenes])


def shares(correct: Tensor) -> dict[str, float]:
    """The share of pictures that are right about each kind of field, in all their figures."""
    found = {}
    for name in dict.fromkeys(NAMES):
        columns = [i for i, other in enumerate(NAMES) if other == name]
        found[name] = float(correct[:, columns].all(1).float().mean())
    four = [i for i, name in enumerate(NAMES) if name in ("kind", "colour", "place", "time")]
    found["all four"] = float(correct[:, four].all(1).float().mean())
    return found


def everything_right(correct: Tensor, fields: tuple[str, ...]) -> float:
    """The share of pictures that are right about all of the named fields at once."""
    columns = [i for i, name in enumerate(NAMES) if name in fields]
    return float(correct[:, columns].all(1).float().mean())


def loss_of(scores: list[Tensor], fields: Tensor) -> Tensor:
    """Cross entropy; a figure that is not there counts little."""
    losses = []
    for i, field_scores in enumerate(scores):
        each = F.cross_entropy(field_scores, fields[:, i], reduction="none")
        losses.append((each * torch.where(fields[:, i] == UNSAID, 0.4, 1.0)).mean())
    return torch.stack(losses).sum()


def load_judge(path: Path = WEIGHTS) -> Judge:
    judge = Judge()
    judge.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    return judge.eval()


def save_judge(judge: Judge, path: Path = WEIGHTS) -> None:
    """Float16; a batch norm's count of batches stays a whole number."""
    state = judge.state_dict()
    save_file({n: w.half() if w.is_floating_point() else w for n, w in state.items()}, path)


def main() -> None:
    parser = parser_of(__doc__, STEPS, BATCH, RATE)
    parser.add_argument("--test", action="store_true", help="only measure the one that is there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if not args.test:
        judge = Judge()
        run = Run(args.work_dir / "judge.pt", judge, ("head",), args.rate, 0.995)
        over = False
        while run.step < args.steps and not over:
            rng = random.Random(f"judge {run.step}")
            scenes = [lesson(rng) for _ in range(args.batch)]
            chance = torch.Generator().manual_seed(run.step)
            pictures = drawn_small(scenes)
            pictures = pictures + 0.05 * torch.randn(pictures.shape, generator=chance)
            fields = torch.tensor([seen_fields(scene) for scene in scenes])
            judge.train()
            run.learn(loss_of(judge(pictures), fields), args.steps)
            over = bool(args.minutes) and run.minutes() > args.minutes
            if run.step % SAVE_EVERY == 0 or over or run.step == args.steps:
                run.save()
        if run.step < args.steps:
            return
        judge.load_state_dict(average_of(run.path) | batch_norms(judge))
        save_judge(judge)
    rng = random.Random("judge's test")
    scenes = [lesson(rng) for _ in range(TESTED)]
    for name, share in shares(right(load_judge(), drawn_small(scenes), scenes)).items():
        print(f"{name}: {100 * share:.1f} %")


def batch_norms(judge: Judge) -> dict[str, Tensor]:
    """The running means of the batch norms: `running_average` averages parameters only."""
    return {k: v for k, v in judge.state_dict().items() if "running" in k or "tracked" in k}


if __name__ == "__main__":
    main()
