"""Checkpoints: whole or not there at all, and checked before they are trusted.

A checkpoint is written into a folder that nobody lists, forced to the disk, and only then renamed.
It holds nothing but what follows from recipe and step: two runs of the same recipe, one of them
killed and resumed, have the same bytes in it.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lora.runs import RunFolder, step_name
from sdgen.atomic_write import make_folder, sync_folder
from sdgen.errors import StorageFailed

ADAPTER, STATE, NUMBERS = "adapter.safetensors", "state.safetensors", "state.json"
KEPT_STATES = 2  # of the newest checkpoints; the older ones keep only the adapter


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on from a step."""

    step: int
    adapter: dict[str, torch.Tensor]  # what is drawn with: the average where there is one
    tensors: dict[str, torch.Tensor]  # optimizer.*, weights.* where they differ from the adapter
    numbers: dict[str, Any]  # the rest, fit for JSON


def save_checkpoint(run: RunFolder, checkpoint: Checkpoint, rank: int) -> Path:
    """Write a checkpoint; its folder, once it is on the disk. One that is there is replaced.

    Raises StorageFailed: disk full, folder not writable. Then nothing is left behind.
    """
    metadata = {"rank": str(rank), "alpha": str(rank), "step": str(checkpoint.step)}
    adapter = tensor_bytes(checkpoint.adapter, metadata)
    state = tensor_bytes(checkpoint.tensors)
    numbers = {
        "step": checkpoint.step,
        "adapter_sha256": hashlib.sha256(adapter).hexdigest(),
        "state_sha256": hashlib.sha256(state).hexdigest(),
        "numbers": checkpoint.numbers,
    }
    target = run.checkpoint(checkpoint.step)
    stump = run.checkpoints / f".{step_name(checkpoint.step)}.tmp"
    try:
        shutil.rmtree(stump, ignore_errors=True)
        make_folder(stump)
        _write(stump / ADAPTER, adapter)
        _write(stump / STATE, state)
        _write(stump / NUMBERS, json.dumps(numbers, indent=1).encode())
        sync_folder(stump)
        if target.exists():
            shutil.rmtree(target)
        stump.rename(target)
        sync_folder(run.checkpoints)
        _thin_out(run)
    except OSError as error:
        shutil.rmtree(stump, ignore_errors=True)
        raise StorageFailed(
            f"The checkpoint of step {checkpoint.step} could not be written: {error.strerror}. "
            "Free some space, then resume: nothing before it is lost."
        ) from error
    return target


def load_checkpoint(run: RunFolder, step: int) -> Checkpoint | None:
    """The checkpoint of a step with its state, or None where it is damaged or without."""
    folder = run.checkpoint(step)
    try:
        numbers = json.loads((folder / NUMBERS).read_bytes())
        for name, digest in ((ADAPTER, "adapter_sha256"), (STATE, "state_sha256")):
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != numbers[digest]:
                return None
        return Checkpoint(
            step=int(numbers["step"]),
            adapter=read_tensors(folder / ADAPTER),
            tensors=read_tensors(folder / STATE),
            numbers=numbers["numbers"],
        )
    except (OSError, ValueError, KeyError, SafetensorError):
        return None


def latest_checkpoint(run: RunFolder) -> Checkpoint | None:
    """The newest checkpoint that a run can go on from; damaged ones are passed over."""
    for step in reversed(run.saved_steps()):
        found = load_checkpoint(run, step)
        if found is not None:
            return found
    return None


def read_adapter(run: RunFolder, step: int) -> dict[str, torch.Tensor]:
    """The adapter after `step` steps. Raises StorageFailed where it is missing or damaged."""
    try:
        return read_tensors(run.checkpoint(step) / ADAPTER)
    except (OSError, SafetensorError) as error:
        raise StorageFailed(f"The checkpoint of step {step} is missing or damaged.") from error


def tensor_bytes(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> bytes:
    """A safetensors file whose bytes depend on its contents only.

    The library writes metadata in another order in each process; here they are sorted.
    """
    data: bytes = save(dict(tensors), dict(metadata) if metadata else None)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict


def prefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors with `prefix.` before their names."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with `prefix.`, without it."""
    mark = f"{prefix}."
    return {
        name.removeprefix(mark): tensor for name, tensor in tensors.items() if name.startswith(mark)
    }


def _thin_out(run: RunFolder) -> None:
    """Only the newest checkpoints keep the optimizer's state, which is thrice the adapter."""
    for step in run.saved_steps()[:-KEPT_STATES]:
        with contextlib.suppress(FileNotFoundError):
            (run.checkpoint(step) / STATE).unlink()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
