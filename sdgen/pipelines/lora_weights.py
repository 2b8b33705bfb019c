"""The tensors of a LoRA file, for the modules of a model in memory. We read them ourselves:
safetensors only, and nothing of the file but the tensors that the header promised."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from sdgen.adapters import unsupported
from sdgen.adapters.fit import MIXED
from sdgen.adapters.header import read_header
from sdgen.adapters.keys import FileLayer, layers
from sdgen.adapters.names import Part
from sdgen.errors import AdapterRefused, AdapterUnavailable
from sdgen.model_formats import TensorEntry
from sdgen.pipelines.lora_layers import LayerWeights, fitted
from sdgen.pipelines.lora_rows import PartWeights

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


def read_weights(
    path: Path,
    title: str,
    sha256: str,
    modules: Mapping[Part, Mapping[str, nn.Module]],
    device: torch.device,
    dtype: torch.dtype,
) -> dict[Part, PartWeights]:
    """What of the file applies to these modules, by part; at strength 1, alpha applied.

    title: for the user's eyes. sha256: of the file. modules: by part and name, names without
    "text_model.". Raises AdapterRefused: another kind than LoRA and LoCon, nothing that fits,
    numbers that are not finite in that dtype; AdapterUnavailable: it cannot be read.
    """
    found: dict[Part, dict[str, LayerWeights]] = {}
    for layer, down, up in read_pairs(path, title, modules):
        module = modules[layer.part][layer.module]
        weights = fitted(module, down.to(device, dtype), up.to(device, dtype))
        if weights is None:
            continue
        if not bool(torch.isfinite(weights.down).all() & torch.isfinite(weights.up).all()):
            raise AdapterRefused(
                f"The adapter '{title}' holds numbers that are not finite (NaN or infinity), so it "
                "would break every picture. Please fetch or train it again."
            )
        found.setdefault(layer.part, {})[layer.module] = weights
    if not found:
        raise AdapterRefused(f"Nothing of the adapter '{title}' fits this model.")
    return {part: PartWeights(sha256, by_name) for part, by_name in found.items()}


def read_pairs(
    path: Path, title: str, modules: Mapping[Part, Mapping[str, Any]]
) -> Iterator[tuple[FileLayer, torch.Tensor, torch.Tensor]]:
    """(layer, down, up) of all layers that name one of the modules, in float32 on the CPU.

    alpha / rank is in `up`, a middle of LoCon in `down`. Raises AdapterRefused, AdapterUnavailable.
    """
    header = read_header(path)
    names = [f"{part}.{name}" for part, known in modules.items() for name in known]
    known_layers, _ = layers(header, names)
    for layer in known_layers:
        if layer.kind not in MIXED:
            raise AdapterRefused(unsupported(layer.kind))
    try:
        with path.open("rb") as file:
            for layer in known_layers:
                down, up = (_tensor(file, header.entries[key]) for key in (layer.down, layer.up))
                if layer.mid is not None:
                    mid = _tensor(file, header.entries[layer.mid])  # [k, k, h, w]
                    down = torch.einsum("abhw,bi->aihw", mid, down.flatten(1))
                yield layer, down, up * layer.multiplier
    except OSError as error:
        raise AdapterUnavailable(
            f"The adapter '{title}' cannot be read any more; please add it again."
        ) from error


def _tensor(file: BinaryIO, entry: TensorEntry) -> torch.Tensor:
    """A copy in float32. Not mapped into memory: a file that shrinks must not end the process."""
    file.seek(entry.start)
    raw = bytearray(file.read(entry.end - entry.start))
    if len(raw) != entry.end - entry.start:
        raise OSError("the file became shorter")
    flat = torch.frombuffer(raw, dtype=_DTYPES[entry.dtype])
    return flat.reshape(entry.shape).to(torch.float32, copy=True)
