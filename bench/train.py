"""Training against diffusers' own DreamBooth LoRA recipe: `python -m bench.train`.

A is always the steps of diffusers' train_dreambooth_lora (bench.dreambooth), B one step of
lora.trainer with the same model, photos, resolution and batch. Each lives in a process of its own,
so that its peak of memory can be told; they take turns, one step each, on one thread; medians of
the thread's own seconds of work. Writes bench/RESULTS.md. On a GPU it measures SD 1.5 at 512 px and
SDXL at 1024 px instead.
"""

import argparse
import datetime
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch

from bench import models
from bench.dreambooth import RANK, DreamBooth
from bench.engine import _cpu_name, write

PHOTOS = Path(__file__).parent.parent / "lora" / "examples" / "minnal-murali" / "photos"
PROMPT = "Minnal Murali"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Seconds of arithmetic alone on an H200 for a photo: TFLOP forward and back over 790 TFLOP/s.
FLOORS = {"sd15": 1.71 / 790, "sdxl": 14.1 / 790}


@dataclass(frozen=True)
class Case:
    """One model at one size. defaults: our batch for its family, and photos of a step."""

    title: str
    name: str
    family: str
    side: int  # pixels


CASES = {
    "picturebook": Case("picturebook 256 px", "picturebook", "picturebook", 256),
    "full": Case("SD 1.5 full size 256 px", "sd15", "sd1", 256),
}
GPU_CASES = {
    "sd15": Case("SD 1.5 512 px", "sd15", "sd1", 512),
    "sdxl": Case("SDXL 1024 px", "sdxl", "sdxl", 1024),
}


# --- inside a child


def pipeline(case: Case) -> Any:
    """The case's model: the bundled one, or one with random weights."""
    if case.name == "picturebook":
        from bench.engine import _bundled

        return _bundled()
    return models.full_sdxl() if case.name == "sdxl" else models.full_sd15()


def theirs(case: Case, batch: int) -> Any:
    photos = sorted(PHOTOS.glob("*.png"))
    return DreamBooth(pipeline(case), photos, PROMPT, case.side, batch, DEVICE).step


def ours(case: Case, batch: int, same_adapter: bool, half: bool, folder: Path) -> Any:
    """same_adapter: of diffusers' rank and parts; else our defaults of the family. half: the frozen
    base in bfloat16, as on a GPU; the adapter is in float32 always."""
    from lora.base import Base
    from lora.cache import encode_photos
    from lora.config import TrainingRecipe, completed
    from lora.dataset import check
    from lora.trainer import Trainer
    from sdgen.models import find_model

    pipe = pipeline(case)
    dtype = torch.bfloat16 if half or DEVICE == "cuda" else torch.float32
    pipe.to(DEVICE, dtype)
    scheduler = diffusers.DDPMScheduler.from_config(pipe.scheduler.config)
    base = Base(
        pipe, find_model(case.name), case.family, dtype, torch.device(DEVICE), DEVICE, "",
        scheduler.alphas_cumprod.to(DEVICE), scheduler.config.prediction_type == "v_prediction",
    )  # fmt: skip
    for part in (base.unet, base.vae, *base.text_encoders):
        part.requires_grad_(False)
    dataset = check(PHOTOS, folder / "photos", PROMPT, "hero", case.side).dataset
    adapter = {"rank": RANK, "targets": ["attention"]} if same_adapter else {}
    wanted = TrainingRecipe.checked(
        name="bench", base=case.name, photos=str(PHOTOS), trigger=PROMPT, class_word="hero",
        resolution=case.side, batch_size=batch or None, prior_weight=0.0, **adapter,
    )  # fmt: skip  # no prior: diffusers' side has none either
    recipe = completed(wanted, base.family, len(dataset.examples))
    latents = encode_photos(base, dataset.examples, None)
    base.rest(text_too=False)
    trainer = Trainer(base, recipe, dataset.examples, latents)
    steps = iter(range(10**9))
    return lambda: trainer.step(next(steps))


def child(side: str, case: Case, batch: int, same_adapter: bool, half: bool) -> None:
    """A step for each line of standard input; answers with its seconds and the peak in GB.

    Seconds of one thread's work on a CPU, whatever else the machine does; wall seconds on a GPU.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if side == "theirs":
            step = theirs(case, batch)
        else:
            step = ours(case, batch, same_adapter, half, Path(folder))
        clock = time.perf_counter if DEVICE == "cuda" else time.process_time
        print("ready", flush=True)
        for _ in sys.stdin:
            begun = clock()
            step()
            if DEVICE == "cuda":
                torch.cuda.synchronize()
            print(clock() - begun, _peak_gb(), flush=True)


def _peak_gb() -> float:
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


# --- outside


class Side:
    """A child process that steps when asked."""

    def __init__(self, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.train", "--child", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()
        self.seconds: list[float] = []
        self.peak_gb = 0.0

    def step(self, counted: bool = True) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        seconds, peak = map(float, self._answer().split())
        self.peak_gb = peak
        if counted:
            self.seconds.append(seconds)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"The child ended: exit code {self._process.wait()}.")
        return line.strip()


def contest(
    key: str,
    title: str,
    batches: tuple[int, int],
    options: tuple[str, ...],
    goal: str,
    repeats: int,
) -> str:
    """A row of the table: photos a second of A and B in turns. batches: photos a step of each."""
    sides = [
        Side("theirs", key, str(batches[0])),
        Side("ours", key, str(batches[1]), *options),
    ]
    for turn in range(repeats + 1):
        for side in sides:
            side.step(counted=turn >= 1)
    for side in sides:
        side.close()
    a, b = sides
    ratio = statistics.median(
        (x / batches[0]) / (y / batches[1]) for x, y in zip(a.seconds, b.seconds, strict=True)
    )
    cells = [
        f"{statistics.median(side.seconds):.2f} s a step of {batch}, {side.peak_gb:.2f} GB"
        for side, batch in zip(sides, batches, strict=True)
    ]
    memory = "no more" if b.peak_gb <= a.peak_gb else f"{b.peak_gb / a.peak_gb:.2f}x"
    return f"| {title} | {cells[0]} | {cells[1]} | **{ratio:.2f}** | {goal} | {memory} |"


HEAD = (
    "| what | diffusers' recipe | sdgen | photos/s, times | goal | peak memory |\n"
    "|---|---|---|---|---|---|\n"
)


def on_cpu(key: str, repeats: int) -> str:
    """The table of one case on this machine's CPU."""
    from lora.config import FAMILY_DEFAULTS

    case = CASES[key]
    default = FAMILY_DEFAULTS[case.family].batch_size  # type: ignore[index]
    same = ("--same-adapter",)
    rows = [
        contest(
            key, f"{case.title}, batch 1, the same adapter", (1, 1), same, ">= 2 (1.5)", repeats
        ),
        contest(
            key,
            f"{case.title}, our defaults against its own",
            (1, default),
            (),
            ">= 3 (2)",
            repeats,
        ),
    ]
    if key == "picturebook":
        title = f"{case.title}, our defaults, its batch as ours"
        rows.append(contest(key, title, (default, default), (), "", repeats))
    else:
        title = f"{case.title}, batch 1, the same adapter, base in bfloat16"
        rows.append(contest(key, title, (1, 1), (*same, "--half"), "", repeats))
        title = f"{case.title}, our defaults against its own, base in bfloat16"
        rows.append(contest(key, title, (1, default), ("--half",), "", repeats))
    return HEAD + "\n".join(rows)


def on_gpu(repeats: int) -> str:
    """The table of a GPU: diffusers' steps in float32 beside ours, and the arithmetic alone."""
    from lora.config import FAMILY_DEFAULTS

    rows = []
    for key, case in GPU_CASES.items():
        default = FAMILY_DEFAULTS[case.family].batch_size  # type: ignore[index]
        for batch in (1, default):
            side = Side("ours", key, str(batch))
            for turn in range(repeats + 3):
                side.step(counted=turn >= 3)
            side.close()
            seconds, floor = statistics.median(side.seconds), FLOORS[key] * batch
            rows.append(
                f"| {case.title}, batch {batch} | {seconds:.4f} s | {side.peak_gb:.1f} GB | "
                f"{seconds / floor:.1f} times |"
            )
    plain = contest(
        "sd15", "SD 1.5 512 px, batch 1, the same adapter", (1, 1), True, ">= 2", repeats
    )
    return (
        "| what | a step | peak memory | over the arithmetic alone (H200) |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\n{HEAD}{plain}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="counted turns")
    parser.add_argument("--only", choices=CASES, help="one part of the CPU's table")
    parser.add_argument("--child", nargs=3, metavar=("SIDE", "CASE", "BATCH"), help="internal")
    parser.add_argument("--same-adapter", action="store_true", help="internal")
    parser.add_argument("--half", action="store_true", help="internal")
    given = parser.parse_args()
    if given.child:
        side, key, batch = given.child
        child(side, {**CASES, **GPU_CASES}[key], int(batch), given.same_adapter, given.half)
        return
    versions = f"torch {torch.__version__}, diffusers {diffusers.__version__}"
    head = f"`python -m bench.train`, {datetime.date.today().isoformat()}"
    if DEVICE == "cuda":
        name = torch.cuda.get_device_name()
        text = f"{head}, {name}, {versions}. Random weights.\n\n{on_gpu(max(given.repeats, 20))}"
        write(f"Training on {name}", text)
        print(text)
        return
    where = f"one thread of {platform.machine()}, {_cpu_name()}, {versions}"
    for key in [given.only] if given.only else CASES:
        text = (
            f"{head}, {where}. Steps in turns, medians of the thread's own seconds of work; each "
            "side in a process of its own. diffusers' recipe: train_dreambooth_lora's steps in "
            "float32 with the VAE and the text encoder in the loop, rank "
            f"{RANK}.\n\n{on_cpu(key, given.repeats)}"
        )
        write(f"Training on a CPU: {key}", text)
        print(text, flush=True)


if __name__ == "__main__":
    main()
