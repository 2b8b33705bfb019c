"""LoRA adapters, different ones on every row, against plain diffusers: `python -m bench.lora`.

A is diffusers with PEFT on a pipeline of its own, B the bank and the engine on an equal one, or a
pass without adapters. One thread; A and B take turns; medians. Times are CPU seconds of this
process, so that other programs on the machine do not count. Writes bench/RESULTS.md.
"""

import argparse
import datetime
import gc
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import peft
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_log
from safetensors.torch import save_file

from bench import models
from bench.engine import STAND_IN, Row, _bundled, _cpu_name, table, write
from sdgen.config import Settings
from sdgen.engine import LocalEngine
from sdgen.models import ModelSpec, find_model
from sdgen.pipelines.device import DeviceChoice
from sdgen.pipelines.lora_bank import LoraBank
from sdgen.pipelines.noise_schedulers import noise_scheduler
from sdgen.pipelines.sd import SdPipeline
from sdgen.request import AdapterUse, GenerateRequest

CPU = torch.device("cpu")
CHOICE = DeviceChoice(CPU, torch.float32, "cpu")
RANK, USERS = 16, 8
MEMORY = 2**31  # bytes
WAIT = 3600.0  # seconds

Build = Callable[[], StableDiffusionPipeline]


def adapter_files(unet: Any, folder: Path, convolutions: bool = False) -> list[Path]:
    """USERS files of RANK on the UNet's attention (the usual kind), or on all its layers."""
    paths = []
    for number in range(USERS):
        torch.manual_seed(number)
        tensors = {}
        for name, module in unet.named_modules():
            attention = name.endswith(("to_q", "to_k", "to_v", "to_out.0"))
            if not isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
                continue
            if not (attention or convolutions):
                continue
            out, inner, *kernel = module.weight.shape
            down = torch.randn(RANK, inner, *kernel) / inner
            up = torch.randn(out, RANK, *(1 for _ in kernel)) * 0.2
            tensors |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
        paths.append(folder / f"{number}{'-all' if convolutions else ''}.safetensors")
        save_file(tensors, paths[-1])
    return paths


def cpu_seconds(action: Callable[[], object]) -> float:
    """What an action costs, over all threads of this process."""
    begun = time.process_time()
    action()
    return time.process_time() - begun


def in_turns(
    actions: Sequence[Callable[[], object]], repeats: int, warm_up: bool = True
) -> list[list[float]]:
    """CPU seconds of each action, in turns, after one uncounted run of each."""
    for action in actions if warm_up else ():
        action()
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(repeats):
        gc.collect()
        for found, action in zip(times, actions, strict=True):
            found.append(cpu_seconds(action))
    return times


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the quotients of neighbours."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def load(pipe: Any, path: Path, name: str) -> None:
    """A file into diffusers, by its own loader."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name=name)


def switch(repeats: int) -> list[Row]:
    """What stands between "another adapter" and the first step with it."""
    plain, ours = models.small_sd(), models.small_sd()
    with tempfile.TemporaryDirectory() as folder:
        paths = adapter_files(plain.unet, Path(folder))[:2]
        for number, path in enumerate(paths):
            load(plain, path, f"a{number}")
        bank = LoraBank({"unet": ours.unet}, CPU, torch.float32, MEMORY)
        uses = [[AdapterUse(name=str(path), scale=0.9 - n)] for n, path in enumerate(paths)]
        turn = 0

        def set_adapters() -> None:
            for number in (0, 1):
                plain.set_adapters([f"a{number}"], [0.9 - number])

        @torch.inference_mode()
        def resident() -> None:
            nonlocal turn
            for number in (0, 1):
                turn += 1  # a strength that was never used: nothing is prepared
                use = uses[number][0].model_copy(update={"scale": 1 - turn / 1e6})
                with bank.carrying("unet", [bank.adapters([use])] * 2):
                    pass

        def reload() -> None:
            for number, path in enumerate(paths):
                reloaded.unload_lora_weights()
                load(reloaded, path, f"a{number}")

        reloaded = models.small_sd()
        times = in_turns([set_adapters, reload, resident], repeats)
    milliseconds = [f"{statistics.median(found) * 500:.2f} ms" for found in times]
    what = "small UNet, rank 16, switch to a resident adapter"
    return [
        Row(f"{what}, against `set_adapters`", milliseconds[0], milliseconds[2],
            ratio(times[0], times[2]), ">= 5"),
        Row(f"{what}, against unload and load", milliseconds[1], milliseconds[2],
            ratio(times[1], times[2]), ">= 50"),
    ]  # fmt: skip


def eight_rows(
    pipe: StableDiffusionPipeline,
    title: str,
    side: int,
    repeats: int,
    *,
    convolutions: bool = False,
    warm_up: bool = True,
) -> Row:
    """One pass of eight rows: eight adapters over none."""
    unet = pipe.unet
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(USERS, unet.config.in_channels, side, side, generator=generator)
    text = torch.randn(USERS, 77, unet.config.cross_attention_dim, generator=generator)
    times = torch.linspace(900, 100, USERS)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        bank = LoraBank({"unet": unet}, CPU, torch.float32, MEMORY)
        paths = adapter_files(unet, Path(folder), convolutions)
        sets = [bank.adapters([AdapterUse(name=str(path), scale=0.8)]) for path in paths]

        def base() -> None:
            unet(latents, times, encoder_hidden_states=text)

        def adapted() -> None:
            with bank.carrying("unet", sets):
                unet(latents, times, encoder_hidden_states=text)

        a, b = in_turns([base, adapted], repeats, warm_up)
    kind = "all layers" if convolutions else "attention"
    return Row(
        f"{title}, 8 rows, rank 16 on {kind}: 8 adapters against none",
        f"{statistics.median(a):.3f} s",
        f"{statistics.median(b):.3f} s",
        ratio(b, a),
        "<= 1.25 (1.50 at most)",
    )


def eight_users(build: Build, title: str, model: str, side: int, goal: str, repeats: int) -> Row:
    """Eight requests with eight adapters: images/s of the engine over plain diffusers."""
    plain, ours = build(), build()
    schedulers = plain.scheduler.config
    with tempfile.TemporaryDirectory() as folder:
        paths = adapter_files(ours.unet, Path(folder))
        for number, path in enumerate(paths):
            load(plain, path, f"a{number}")

        def loaded(spec: ModelSpec) -> SdPipeline:
            return SdPipeline(ours, spec, CHOICE, "", safety=False)

        settings = Settings(data_dir=Path(folder), max_queue=100)
        engine = LocalEngine(settings, load=loaded)
        requests = [user(model, number, path, side) for number, path in enumerate(paths)]

        def one_by_one() -> None:
            for number, request in enumerate(requests):
                plain.set_adapters([f"a{number}"], [request.adapters[0].scale])
                plain.scheduler = noise_scheduler(request.sampler, schedulers)
                plain(
                    prompt=request.prompt,
                    width=side,
                    height=side,
                    num_inference_steps=request.steps,
                    guidance_scale=request.guidance_scale,
                    generator=torch.Generator().manual_seed(request.seed),
                )

        def together() -> None:
            for job in [engine.submit(request) for request in requests]:
                job.result(WAIT)

        a, b = in_turns([one_by_one, together], repeats)
        engine.close()
    rates = [f"{USERS / statistics.median(found):.2f} img/s" for found in (a, b)]
    return Row(f"{title}, 8 users with 8 adapters", *rates, ratio(a, b), goal)


def user(model: str, number: int, adapter: Path, side: int) -> GenerateRequest:
    """One user's request: steps, guidance and sampler of its own, as in bench.engine."""
    samplers = ["euler", "dpmpp_2m", "euler_a", "ddim", "unipc", "dpmpp_2m_karras", "euler", "lcm"]
    return find_model(model).request(
        prompt=f"request number {number}",
        seed=number,
        width=side,
        height=side,
        steps=[4, 30, 12, 20, 4, 25, 8, 16][number],
        guidance_scale=[1.0, 7.5, 5.0, 3.0, 9.0, 7.0, 1.5, 4.0][number],
        sampler=samplers[number],
        adapters=(AdapterUse(name=str(adapter), scale=0.8),),
    )


def rows_picturebook(repeats: int) -> list[Row]:
    """The cost of eight different adapters in a pass of the bundled model."""
    return [
        eight_rows(_bundled(), "picturebook 256 px", 16, repeats),
        eight_rows(_bundled(), "picturebook 256 px", 16, repeats, convolutions=True),
    ]


def rows_full(repeats: int) -> list[Row]:
    """The same for Stable Diffusion 1.5 in full size; needs 7 GB and some minutes."""
    pipe = models.full_sd15()
    return [eight_rows(pipe, "SD 1.5 full size 256 px", 32, min(repeats, 3), warm_up=False)]


def users(repeats: int) -> list[Row]:
    """Throughput where sharing pays most, and where it pays least."""
    return [
        eight_users(models.small_sd, "small UNet 64 px", STAND_IN, 64, ">= 2.00", repeats),
        eight_users(_bundled, "picturebook 256 px", "picturebook", 256, ">= 0.98", min(repeats, 3)),
    ]


PARTS = {
    "switch": switch,
    "rows of picturebook": rows_picturebook,
    "users": users,
    "rows of SD 1.5": rows_full,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="counted runs")
    parser.add_argument("--only", choices=PARTS, help="one part")
    given = parser.parse_args()
    torch.set_num_threads(1)
    diffusers_log.set_verbosity_error()
    logging.getLogger("peft").setLevel(logging.ERROR)
    versions = (
        f"torch {torch.__version__}, diffusers {diffusers.__version__}, peft {peft.__version__}"
    )
    note = (
        "CPU seconds, medians of interleaved runs. Switches and img/s: times faster; rows of a "
        "pass: time with adapters over time without."
    )
    for part in [given.only] if given.only else PARTS:
        head = f"`python -m bench.lora`, {datetime.date.today().isoformat()}"
        rows = table(PARTS[part](given.repeats)).replace("diffusers `pipe()`", "compared with")
        text = f"{head}, one thread of {_cpu_name()}, {versions}. {note}\n\n{rows}"
        write(f"LoRA: {part}", text)
        print(text, flush=True)


if __name__ == "__main__":
    main()
