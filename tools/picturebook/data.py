"""Draws the training pictures: `python -m tools.picturebook.data --work-dir build/picturebook`.

Writes pictures.npy (uint8 [n, 256, 256, 3]) and scenes.json (the scene and the boxes of each).
Captions are not stored: training words every scene anew at each visit.
"""

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from tools.picturebook.pen import SIZE
from tools.picturebook.scene import Figure, Scene, sample_scene
from tools.picturebook.world import Box, draw

CHUNK = 500  # pictures of one job


def scene_from_dict(record: dict) -> Scene:
    figures = tuple(Figure(**figure) for figure in record["figures"])
    return Scene(record["place"], record["time"], figures, record["jitter"])


def load_scenes(work_dir: Path) -> tuple[list[Scene], list[list[Box]]]:
    records = json.loads((work_dir / "scenes.json").read_text())
    return [scene_from_dict(r) for r in records], [r["boxes"] for r in records]


def load_pictures(work_dir: Path) -> np.ndarray:
    """uint8 [n, 256, 256, 3], read from disk as needed."""
    return np.load(work_dir / "pictures.npy", mmap_mode="r")


def _draw_chunk(job: tuple[str, int, int]) -> list[dict]:
    path, start, count = job
    pictures = np.load(path, mmap_mode="r+")
    records = []
    for i in range(start, min(start + count, len(pictures))):
        scene = sample_scene(random.Random(f"training {i}"))
        picture, boxes = draw(scene)
        pictures[i] = np.asarray(picture)
        records.append({**asdict(scene), "boxes": boxes})
    pictures.flush()
    return records


def draw_all(work_dir: Path, count: int, processes: int) -> Iterator[int]:
    """Draws everything; yields how many pictures are finished."""
    path = work_dir / "pictures.npy"
    open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, SIZE, SIZE, 3)).flush()
    jobs = [(str(path), start, CHUNK) for start in range(0, count, CHUNK)]
    records: list[dict] = []
    with Pool(processes) as pool:
        for chunk in pool.imap(_draw_chunk, jobs):
            records += chunk
            yield len(records)
    (work_dir / "scenes.json").write_text(json.dumps(records))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build/picturebook"))
    parser.add_argument("--count", type=int, default=40_000)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    for done in draw_all(args.work_dir, args.count, args.processes):
        print(f"{done} of {args.count} pictures", flush=True)


if __name__ == "__main__":
    main()
