"""The drawings that the denoiser learns from, drawn while it learns and kept as latents.

Drawing number i is the same on every machine: latents.npy and scenes.json can be lost, and are then
made anew as they are needed.
"""

import json
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from tools.picturebook.edition2.latent_code import CELL, CHANNELS, box_masks, drawn
from tools.picturebook.edition2.pen import SIZE
from tools.picturebook.edition2.scene import Figure, Scene, sample_scene
from tools.picturebook.latent_code import LatentCode

SIDE = SIZE // CELL
CHUNK = 64  # drawings that are made and written at once


def training_scene(number: int) -> Scene:
    return sample_scene(random.Random(f"training {number}"))


def scene_from_dict(record: dict) -> Scene:
    figures = tuple(Figure(**figure) for figure in record["figures"])
    return Scene(record["place"], record["time"], figures, record["relation"], record["jitter"])


class Pool:
    """At most `most` drawings; `grow_to` makes more of them."""

    def __init__(self, work_dir: Path, most: int) -> None:
        self._code = LatentCode.load(work_dir)
        self._latents_path, self._scenes_path = work_dir / "latents.npy", work_dir / "scenes.jsonl"
        if not self._latents_path.exists():
            self._scenes_path.unlink(missing_ok=True)
            open_memmap(self._latents_path, "w+", np.float16, (most, CHANNELS, SIDE, SIDE)).flush()
        self._latents = np.load(self._latents_path, mmap_mode="r+")
        self.most = len(self._latents)
        self._scenes: list[Scene] = []
        self._masks: list[Tensor] = []
        lines = self._scenes_path.read_text().splitlines() if self._scenes_path.exists() else []
        for line in lines[: len(lines) // CHUNK * CHUNK]:
            record = json.loads(line)
            self._keep(scene_from_dict(record), record["boxes"])

    def __len__(self) -> int:
        return len(self._scenes)

    def _keep(self, scene: Scene, boxes: list) -> None:
        self._scenes.append(scene)
        self._masks.append(box_masks([boxes])[0].bool())

    def grow_to(self, count: int) -> None:
        """Draws until there are `count`, rounded up to whole chunks."""
        while len(self) < min(count, self.most):
            start = len(self)
            scenes = [training_scene(i) for i in range(start, min(start + CHUNK, self.most))]
            pictures, boxes = drawn(scenes)
            self._latents[start : start + len(scenes)] = self._code.encode(pictures).numpy()
            self._latents.flush()
            with self._scenes_path.open("a") as file:
                for scene, figures in zip(scenes, boxes, strict=True):
                    file.write(json.dumps({**asdict(scene), "boxes": figures}) + "\n")
                    self._keep(scene, figures)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, list[Scene]]:
        """Latents [b, c, 16, 16], masks [b, 16, 16] and scenes of the chosen drawings."""
        latents = torch.from_numpy(self._latents[rows.numpy()]).float()
        masks = torch.stack([self._masks[int(row)] for row in rows]).float()
        return latents, masks, [self._scenes[int(row)] for row in rows]
