"""What a caption says about a scene, as numbers, and as the vectors that the denoiser reads.

The denoiser never needs to see a sentence to learn to draw: it learns from `SlotEncoder`, which
puts what is told into SLOTS vectors at the end of the LENGTH that a text encoder gives out. The
text encoder (text.py) learns, apart from it and from captions alone, to give out these very
vectors: the end of a padded caption has seen all its words, since CLIP's attention looks back.
"""

import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tools.picturebook.edition2.scene import (
    ACCESSORIES,
    COLOURS,
    MOODS,
    MOST,
    PLACES,
    POSES,
    RELATIONS,
    SIZES,
    SUBJECTS,
    TIMES,
    Scene,
)

LENGTH = 77  # vectors that the denoiser reads, as many as a prompt has tokens
TEXT_WIDTH = 128
FIGURES = 3
SLOTS = 4 + FIGURES  # place, time, layout, everything at once, and the figures
UNSAID = 0  # of every field: the caption leaves it open, or there is none
PARTS: dict[str, tuple[str, ...]] = {  # what one figure's vector is the sum of
    "kind": SUBJECTS,
    "colour": COLOURS,
    "size": SIZES,
    "pose": POSES,
    "mood": MOODS,
    "accessory": ACCESSORIES,
    "count": tuple(str(n) for n in range(1, MOST + 1)),
}
FIELDS = 4 + FIGURES * len(PARTS)  # place, time, relation, number of figures; then the figures'


@dataclass(frozen=True)
class Chances:
    """How often a caption leaves something open."""

    nothing: float = 0.1  # says nothing at all, for classifier-free guidance
    place: float = 0.06
    time: float = 0.08
    colour: float = 0.06
    pose: float = 0.12


CHANCES = Chances()


def leave_out(scene: Scene, rng: random.Random, chances: Chances = CHANCES) -> Scene | None:
    """What a caption tells of the scene: "" or None is left open, and None says nothing at all."""
    if rng.random() < chances.nothing:
        return None
    figures = tuple(
        replace(
            figure,
            colour="" if rng.random() < chances.colour else figure.colour,
            pose=None if rng.random() < chances.pose else figure.pose,
        )
        for figure in scene.figures
    )
    return replace(
        scene,
        place="" if rng.random() < chances.place else scene.place,
        time="" if rng.random() < chances.time else scene.time,
        figures=figures,
    )


def fields_of(told: Scene | None) -> list[int]:
    """The FIELDS of what a caption tells, see `leave_out`."""
    if told is None:
        return [UNSAID] * FIELDS
    fields = [
        1 + PLACES.index(told.place) if told.place else UNSAID,
        1 + TIMES.index(told.time) if told.time else UNSAID,
        1 + RELATIONS.index(told.relation) if len(told.figures) > 1 else UNSAID,
        1 + len(told.figures),
    ]
    for figure in told.figures:
        said = {part: str(getattr(figure, part) or "") for part in PARTS}
        fields += [1 + v.index(said[p]) if said[p] else UNSAID for p, v in PARTS.items()]
    return fields + [UNSAID] * (FIELDS - len(fields))


class SlotEncoder(nn.Module):
    """fields [b, FIELDS] -> vectors [b, LENGTH, TEXT_WIDTH], all but the last SLOTS the same."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Embedding(1 + len(PLACES), TEXT_WIDTH)
        self.time = nn.Embedding(1 + len(TIMES), TEXT_WIDTH)
        self.relation = nn.Embedding(1 + len(RELATIONS), TEXT_WIDTH)
        self.figures = nn.Embedding(2 + FIGURES, TEXT_WIDTH)
        self.parts = nn.ModuleList(nn.Embedding(1 + len(v), TEXT_WIDTH) for v in PARTS.values())
        self.which = nn.Embedding(FIGURES, TEXT_WIDTH)
        self.role = nn.Embedding(SLOTS + 1, TEXT_WIDTH)
        self.mix = nn.Linear(SLOTS * TEXT_WIDTH, TEXT_WIDTH)
        self.norm = nn.LayerNorm(TEXT_WIDTH)

    def forward(self, fields: Tensor) -> Tensor:
        place, time = self.place(fields[:, 0]), self.time(fields[:, 1])
        layout = self.relation(fields[:, 2]) + self.figures(fields[:, 3])
        parts = fields[:, 4:].unflatten(1, (FIGURES, len(PARTS)))
        figures = self.which.weight + sum(
            embed(parts[..., i]) for i, embed in enumerate(self.parts)
        )
        several = torch.stack([place, time, layout, *figures.unbind(1)], 1)
        roles = self.role.weight
        everything = self.mix(torch.cat([several, layout[:, None]], 1).flatten(1))[:, None]
        slots = self.norm(torch.cat([several, everything], 1) + roles[:SLOTS])
        empty = self.norm(roles[SLOTS]).expand(len(fields), LENGTH - SLOTS, -1)
        return torch.cat([empty, slots], 1)
