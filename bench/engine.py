"""The engine against plain diffusers, side by side in one process: `python -m bench.engine`.

A is always `pipe()` of diffusers, B the engine with the same modules, sampler, dtype and seeds.
One thread on a CPU; A and B take turns; medians. Writes bench/RESULTS.md. On a GPU the same
program runs full-size Stable Diffusion 1.5 at 512 px in bf16 and writes its own table.
"""

import argparse
import datetime
import gc
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import diffusers
import torch
from diffusers import StableDiffusionPipeline

from bench import models
from sdgen.config import Settings
from sdgen.engine import LocalEngine
from sdgen.job import Job
from sdgen.models import ModelSpec, find_model
from sdgen.pipelines.device import DeviceChoice
from sdgen.pipelines.noise_schedulers import noise_scheduler
from sdgen.pipelines.sd import SdPipeline
from sdgen.request import GenerateRequest

RESULTS = Path(__file__).parent / "RESULTS.md"
STAND_IN = "sd15"  # the table's entry under which a random-weight model runs
FLOOR_SECONDS = 0.064  # H200, SD 1.5, 512 px, 30 guided steps: arithmetic alone (790 TFLOP/s)


@dataclass(frozen=True)
class Row:
    """One line of the table. ratio: B over A in time (lower is better), or images/s (higher)."""

    what: str
    plain: str
    engine: str
    ratio: float
    goal: str


class Contest:
    """One model, driven by diffusers' own loop and by the engine."""

    def __init__(self, pipe: StableDiffusionPipeline, name: str, device: str, dtype: str) -> None:
        self.device = torch.device(device)
        choice = DeviceChoice(self.device, getattr(torch, dtype), device)
        self.pipe = pipe.to(choice.device, choice.dtype)
        self.name = name
        self._schedulers = pipe.scheduler.config
        self._folder = tempfile.TemporaryDirectory()
        settings = Settings(data_dir=Path(self._folder.name), max_queue=1000)

        def load(spec: ModelSpec) -> SdPipeline:
            return SdPipeline(self.pipe, spec, choice, "", safety=False)

        self.engine = LocalEngine(settings, load=load)

    def ask(self, **fields: object) -> GenerateRequest:
        return find_model(self.name).request(**fields)

    def plain(self, request: GenerateRequest) -> None:
        """The request by diffusers' own pipeline."""
        self.pipe.scheduler = noise_scheduler(request.sampler, self._schedulers)
        self.pipe(
            prompt=request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator().manual_seed(request.seed),
        )

    def close(self) -> None:
        self.engine.close()
        self._folder.cleanup()


def timed(action: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of an action, with the device's work done."""
    begun = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def interleaved(
    a: Callable[[], object],
    b: Callable[[], object],
    device: torch.device,
    repeats: int,
    warmed_up: Callable[[], None] = lambda: None,
) -> tuple[list[float], list[float]]:
    """Seconds of a and b, in turns, after one uncounted run of each and `warmed_up()`."""
    timed(a, device)
    timed(b, device)
    warmed_up()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        gc.collect()
        times[0].append(timed(a, device))
        times[1].append(timed(b, device))
    return times


def lone(contest: Contest, title: str, goal: float, repeats: int, **fields: object) -> Row:
    """One request alone: time of the engine over time of pipe()."""
    request = contest.ask(prompt="a red robot on a beach at sunset", seed=7, **fields)
    a, b = interleaved(
        lambda: contest.plain(request),
        lambda: contest.engine.submit(request).result(600),
        contest.device,
        repeats,
    )
    ratio = statistics.median(y / x for x, y in zip(a, b, strict=True))
    seconds = (statistics.median(a), statistics.median(b))
    return Row(title, f"{seconds[0]:.3f} s", f"{seconds[1]:.3f} s", ratio, f"<= {goal:.2f}")


def mixed_requests(contest: Contest, count: int, side: int) -> list[GenerateRequest]:
    """`count` requests that differ in all that may differ within one batch; 4 to 30 steps."""
    steps = [4, 30, 12, 20, 4, 25, 8, 16]
    guidance = [1.0, 7.5, 5.0, 3.0, 9.0, 7.0, 1.5, 4.0]
    samplers = ["euler", "dpmpp_2m", "euler_a", "ddim", "unipc", "dpmpp_2m_karras", "euler", "lcm"]
    return [
        contest.ask(
            prompt=f"request number {i}",
            seed=i,
            width=side,
            height=side,
            steps=steps[i % 8],
            guidance_scale=guidance[i % 8],
            sampler=samplers[i % 8],
        )
        for i in range(count)
    ]


def mixed(
    contest: Contest, title: str, goal: str, repeats: int, count: int, side: int
) -> tuple[Row, Row]:
    """Mixed requests at once: images/s, and p95 of the 4-step ones against first in, first out."""
    requests = mixed_requests(contest, count, side)
    waits: tuple[list[float], list[float]] = ([], [])

    def first_in_first_out() -> None:
        begun = time.perf_counter()
        for request in requests:
            contest.plain(request)
            if request.steps == 4:
                waits[0].append(time.perf_counter() - begun)

    def together() -> None:
        begun = time.perf_counter()
        jobs = [contest.engine.submit(request) for request in requests]
        done = [threading.Thread(target=_note_end, args=(j, begun, waits[1])) for j in jobs]
        for thread in done:
            thread.start()
        for thread in done:
            thread.join()

    def forget() -> None:
        waits[0].clear()
        waits[1].clear()

    a, b = interleaved(first_in_first_out, together, contest.device, repeats, forget)
    rate = statistics.median(x / y for x, y in zip(a, b, strict=True))
    per_second = [count / statistics.median(times) for times in (a, b)]
    tail = [_p95(times) for times in waits]
    return (
        Row(title, f"{per_second[0]:.2f} img/s", f"{per_second[1]:.2f} img/s", rate, goal),
        Row(
            f"{title}: p95 of the 4-step requests",
            f"{tail[0]:.2f} s",
            f"{tail[1]:.2f} s",
            tail[1] / tail[0],
            "<= 0.40",
        ),
    )


def _note_end(job: Job, begun: float, waits: list[float]) -> None:
    job.result(600)
    if job.request.steps == 4:
        waits.append(time.perf_counter() - begun)


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def picturebook(repeats: int) -> list[Row]:
    """The bundled model on this machine's CPU."""
    contest = Contest(_bundled(), "picturebook", "cpu", "float32")
    rows = [lone(contest, "picturebook 256 px, 12 steps, a lone request", 1.10, repeats)]
    rows += mixed(contest, "picturebook 256 px, 8 mixed requests", ">= 0.98", 5, 8, 256)
    contest.close()
    return rows


def small(repeats: int) -> list[Row]:
    """A small UNet on this machine's CPU: where sharing a pass pays most."""
    contest = Contest(models.small_sd(), STAND_IN, "cpu", "float32")
    rows = mixed(contest, "small UNet 64 px, 8 mixed requests", ">= 2.00", repeats, 8, 64)
    contest.close()
    return [*rows]


def full(repeats: int) -> list[Row]:
    """Stable Diffusion 1.5 in full size on this machine's CPU: where sharing pays nothing."""
    contest = Contest(models.full_sd15(), STAND_IN, "cpu", "float32")
    size = {"width": 256, "height": 256, "steps": 2}
    rows = [lone(contest, "SD 1.5 full size 256 px, 2 steps, a lone request", 1.02, 5, **size)]
    two = [contest.ask(prompt=f"{i}", seed=i, **size) for i in range(2)]
    a, b = interleaved(
        lambda: [contest.plain(request) for request in two],
        lambda: [job.result(600) for job in [contest.engine.submit(r) for r in two]],
        contest.device,
        min(repeats, 5),
    )
    ratio = statistics.median(x / y for x, y in zip(a, b, strict=True))
    rate = [f"{2 / statistics.median(times):.3f} img/s" for times in (a, b)]
    rows.append(Row("SD 1.5 full size 256 px, 2 at once", *rate, ratio, ">= 0.98"))
    contest.close()
    return rows


def on_gpu(repeats: int) -> list[Row]:
    """The table of a GPU: full-size Stable Diffusion 1.5, random weights, 512 px, bf16."""
    contest = Contest(models.full_sd15(), STAND_IN, "cuda", "bfloat16")
    size = {"width": 512, "height": 512, "steps": 30, "guidance_scale": 7.5}
    rows = [lone(contest, "SD 1.5 512 px bf16, 30 steps, a lone request", 1.02, repeats, **size)]
    rows += mixed(contest, "SD 1.5 512 px bf16, 16 mixed requests", ">= 0.98", 5, 16, 512)
    contest.close()
    return rows


def _bundled() -> StableDiffusionPipeline:
    source = find_model("picturebook").source
    pipe = StableDiffusionPipeline.from_pretrained(source.path, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | diffusers `pipe()` | sdgen | ratio | goal |", "|---|---|---|---|---|"]
    lines += [f"| {r.what} | {r.plain} | {r.engine} | **{r.ratio:.2f}** | {r.goal} |" for r in rows]
    return "\n".join(lines)


def write(section: str, text: str) -> None:
    """Put a section into RESULTS.md in place of its older self."""
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Measured\n"
    parts = old.split("\n## ")
    kept = [part for part in parts[1:] if not part.startswith(section)]
    RESULTS.write_text("\n## ".join([parts[0].rstrip() + "\n", *kept, f"{section}\n\n{text}\n"]))


PARTS = {"picturebook": picturebook, "small": small, "full": full}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="counted runs")
    parser.add_argument(
        "--only", choices=PARTS, help="one part of the CPU's table; full takes long"
    )
    given = parser.parse_args()
    versions = f"torch {torch.__version__}, diffusers {diffusers.__version__}"
    head = f"`python -m bench.engine`, {datetime.date.today().isoformat()}"
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        note = f"Arithmetic alone would take {FLOOR_SECONDS} s for the lone request on an H200."
        text = f"{head}, {name}, {versions}. {note}\n\n{table(on_gpu(given.repeats))}"
        write(f"Engine on {name}", text)
        print(text)
        return
    torch.set_num_threads(1)
    note = "Lone and p95 rows: time of sdgen over time of diffusers; img/s rows: the other way."
    for part in [given.only] if given.only else PARTS:
        rows = table(PARTS[part](given.repeats))
        where = f"one thread of {_cpu_name()}, {versions}. Medians of interleaved runs."
        text = f"{head}, {where} {note}\n\n{rows}"
        write(f"Engine on a CPU: {part}", text)
        print(text, flush=True)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    main()
