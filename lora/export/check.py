"""An exported file against the trained model: `python -m lora.export.check JOB.json`.

The exporting process writes what the trained model answered to fixed inputs. This program, in a
process of its own, loads the base again, reads each file with diffusers' own `load_lora_weights`,
asks the same, and prints how far the answers are apart, as JSON in its last line. So nothing of
the training is left that could hide a key that was dropped or an alpha that is wrong.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora.base import Base, load_base
from lora.config import TrainingRecipe
from lora.draws import generator
from lora.environment import child_environment
from lora.export.layouts import ExportFailed
from lora.export.loading import load_lora_file
from lora.loss import Text, predict
from sdgen.config import read_settings
from sdgen.errors import SdgenError

OUTPUT_ERROR = 1e-3  # RMS, of the trained model's output; fp16 rounds to 2^-11
OUTPUT_ERROR_BF16 = 5e-3  # where the model itself computes in bfloat16, which rounds to 2^-8
MOVE_ERROR = 0.02  # RMS, of what the adapter changes: a lost module or alpha shows here
SAME_BASE = 1e-4
TIMEOUT = 1800.0  # seconds
_TIMESTEPS = (250, 750)
_LATENT_SIDE = 32  # at most


@dataclass(frozen=True)
class FileCheck:
    """How far a file's effect is from the trained adapter's, RMS, the worst of all outputs."""

    name: str
    output_error: float  # relative to the trained model's output
    move_error: float  # relative to what the adapter changes in it
    modules: int  # that diffusers put an adapter into
    precision: str  # in which the model computed


@dataclass(frozen=True)
class Job:
    """What the checking process is to do. Paths; the files' names as they are in their folder."""

    base: str
    precision: str
    device: str
    probe: str
    prompts: tuple[str, ...]
    files: tuple[str, ...]
    modules: int  # that each file must fill


def answers(base: Base, prompts: Sequence[str]) -> dict[str, Tensor]:
    """What the model with whatever is in it says to fixed prompts, latents and timesteps.

    "noise" [b, c, h, w], "text" [b, n, d], and for SDXL "pooled" [b, p]; float32 on the CPU.
    """
    config = base.unet.config
    side = min(int(config.sample_size), _LATENT_SIDE)
    shape = (len(prompts), int(config.in_channels), side, side)
    latents = torch.randn(shape, generator=generator(0, "export check"))
    timesteps = torch.tensor([_TIMESTEPS[i % 2] for i in range(len(prompts))], device=base.device)
    with base.evaluating():
        with base.autocast():
            text, pooled = base.encode_text(prompts)
        ids: Tensor | None = None
        if pooled is not None:
            size = float(side * base.pipe.vae_scale_factor)
            sizes = torch.tensor([[size, size, 0.0, 0.0, size, size]], device=base.device)
            ids = sizes.expand(len(prompts), -1)
        noise = predict(base, latents.to(base.device), timesteps, Text(text, pooled), ids)
    said = {"noise": noise, "text": text} | ({} if pooled is None else {"pooled": pooled})
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in said.items()}


def write_probe(path: Path, plain: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> None:
    """Keep both answers for the checking process. Raises ExportFailed when they are equal."""
    if all(torch.equal(plain[name], trained[name]) for name in plain):
        raise ExportFailed("The adapter changes nothing at this step; there is nothing to export.")
    tensors = {f"plain.{name}": tensor for name, tensor in plain.items()}
    tensors |= {f"trained.{name}": tensor for name, tensor in trained.items()}
    save_file(tensors, path)


def check_files(job: Job, folder: Path) -> list[FileCheck]:
    """Run the check in a fresh process; folder: for its job file.

    Raises ExportFailed where a file differs, or could not be checked.
    """
    path = folder / "job.json"
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lora.export.check", str(path)],
            env=child_environment(os.environ),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ExportFailed("The check of the exported files did not end in time.") from error
    lines = done.stdout.strip().splitlines()
    try:
        said = json.loads(lines[-1]) if lines else {}
    except ValueError:
        said = {}
    if done.returncode != 0 or "files" not in said:
        cause = said.get("error") or f"the checking process ended with code {done.returncode}"
        failed = ExportFailed(f"The exported files could not be checked: {cause}")
        failed.add_note(done.stderr[-4000:])
        raise failed
    checks = [FileCheck(**one) for one in said["files"]]
    for one in checks:
        _judge(one, job.modules)
    return checks


def _judge(check: FileCheck, modules: int) -> None:
    """Raises ExportFailed when the file is not what was trained."""
    bound = OUTPUT_ERROR_BF16 if check.precision == "bfloat16" else OUTPUT_ERROR
    if check.modules != modules:
        raise ExportFailed(
            f"The exported file {check.name} is wrong: diffusers finds {check.modules} of its "
            f"{modules} modules. Nothing was kept; this is a defect of sdgen, please report it."
        )
    if not (check.output_error <= bound and check.move_error <= max(MOVE_ERROR, 4 * bound)):
        raise ExportFailed(
            f"The exported file {check.name} is wrong: its output differs from the trained "
            f"model's by {check.output_error:.1e} (at most {bound:.0e}). Nothing was kept; this is "
            "a defect of sdgen, please report it."
        )


def relative(got: Tensor, wanted: Tensor, scale: Tensor) -> float:
    """RMS of the difference over the RMS of `scale`; infinite where numbers are broken."""
    error = (got - wanted).square().mean().sqrt() / scale.square().mean().sqrt().clamp_min(1e-20)
    return float(error) if bool(torch.isfinite(error)) else float("inf")


def errors(
    got: Mapping[str, Tensor], plain: Mapping[str, Tensor], trained: Mapping[str, Tensor]
) -> tuple[float, float]:
    """The worst relative errors of all outputs: of the output, and of the adapter's move."""
    outputs, moves = [], []
    for name, wanted in trained.items():
        outputs.append(relative(got[name], wanted, wanted))
        if not torch.equal(wanted, plain[name]):
            moves.append(relative(got[name], wanted, wanted - plain[name]))
    return max(outputs), max(moves, default=float("inf"))


def count_adapters(pipe: Any) -> int:
    """The modules of the pipeline that hold an adapter now."""
    parts = (getattr(pipe, name, None) for name in ("unet", "text_encoder", "text_encoder_2"))
    return sum(
        isinstance(module, BaseTunerLayer)
        for part in parts
        if part is not None
        for module in part.modules()
    )


def _check(job: Job) -> list[FileCheck]:
    """In the fresh process: all files, one after the other, on one base."""
    recipe = TrainingRecipe.checked(
        name="check", base=job.base, photos="", trigger="x", precision=job.precision
    )
    base = load_base(recipe, read_settings().model_copy(update={"device": job.device}))
    kept = load_file(job.probe)
    plain = {n.removeprefix("plain."): t for n, t in kept.items() if n.startswith("plain.")}
    trained = {n.removeprefix("trained."): t for n, t in kept.items() if n.startswith("trained.")}
    found = []
    for path in map(Path, job.files):
        now = answers(base, job.prompts)
        same = SAME_BASE if job.precision == "float32" else OUTPUT_ERROR_BF16
        if any(relative(now[name], plain[name], plain[name]) > same for name in plain):
            raise ExportFailed("the base answers otherwise than it did while training.")
        load_lora_file(base.pipe, path, "check")
        got = answers(base, job.prompts)
        output, move = errors(got, plain, trained)
        modules = count_adapters(base.pipe)
        found.append(FileCheck(path.name, output, move, modules, job.precision))
        base.pipe.unload_lora_weights()
    return found


def main(path: Path) -> int:
    """The program: prints {"files": [...]} or {"error": "..."}; 0 when all could be compared."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    job = Job(**{**raw, "prompts": tuple(raw["prompts"]), "files": tuple(raw["files"])})
    try:
        said: dict[str, object] = {"files": [asdict(one) for one in _check(job)]}
    except SdgenError as error:
        said = {"error": str(error)}
    sys.stdout.write(json.dumps(said) + "\n")
    return 0 if "files" in said else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
