"""The tensors of a LoRA file, for the modules of a model in memory. We read them ourselves:
safetensors only, and nothing of the file but the tensors that the header promised."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import nn

from sdgen.adapters import unsupported
from sdgen.adapters.fit import REFUSED
from sdgen.adapters.header import read_header
from sdgen.adapters.keys import FileLayer, layers
from sdgen.adapters.names import Part
from sdgen.adapters.peft_settings import PeftSettings
from sdgen.errors import AdapterRefused, AdapterUnavailable
from sdgen.model_formats import TensorEntry
from sdgen.pipelines.lora_changes import Change
from sdgen.pipelines.lora_layers import LayerWeights
from sdgen.pipelines.lora_made import Made, Tensors, made_for
from sdgen.pipelines.lora_rows import PartWeights

_DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


def read_weights(
    path: Path,
    title: str,
    sha256: str,
    modules: Mapping[Part, Mapping[str, nn.Module]],
    device: torch.device,
    dtype: torch.dtype,
    settings: PeftSettings | None = None,
) -> dict[Part, PartWeights]:
    """What of the file applies to these modules, by part; at strength 1, alpha applied.

    title: for the user's eyes. sha256: of the file. modules: by part and name, names without
    "text_model.". settings: None, those in the file or beside it. Raises AdapterRefused: a kind
    that cannot be mixed, nothing that fits, numbers that are not finite in that dtype;
    AdapterUnavailable: it cannot be read.
    """
    pairs: dict[Part, dict[str, LayerWeights]] = {}
    changes: dict[Part, dict[str, tuple[Change, ...]]] = {}
    for layer, tensors in read_tensors(path, title, modules, settings):
        made = made_for(modules[layer.part][layer.module], layer, tensors, device, dtype)
        if made is None:
            continue
        if not _is_finite(made):
            raise AdapterRefused(
                f"The adapter '{title}' holds numbers that are not finite (NaN or infinity), so it "
                "would break every picture. Please fetch or train it again."
            )
        if made.pair is not None:
            pairs.setdefault(layer.part, {})[layer.module] = made.pair
        if made.changes:
            changes.setdefault(layer.part, {})[layer.module] = made.changes
    if not pairs and not changes:
        raise AdapterRefused(f"Nothing of the adapter '{title}' fits this model.")
    return {
        part: PartWeights(sha256, pairs.get(part, {}), changes.get(part, {}))
        for part in modules
        if part in pairs or part in changes
    }


def read_tensors(
    path: Path,
    title: str,
    modules: Mapping[Part, Mapping[str, nn.Module]],
    settings: PeftSettings | None = None,
) -> Iterator[tuple[FileLayer, Tensors]]:
    """All layers of which something applies to one of the modules, with their tensors by role, in
    float32 on the CPU. Raises AdapterRefused, AdapterUnavailable."""
    header = read_header(path)
    shapes = {
        f"{part}.{name}": tuple(module.weight.shape)
        for part, known in modules.items()
        for name, module in known.items()
        if isinstance(module.weight, torch.Tensor)
    }
    known_layers, _ = layers(header, shapes, settings)
    unmixed = next((layer.kind for layer in known_layers if layer.kind in REFUSED), None)
    known_layers = [layer for layer in known_layers if layer.roles.keys() - {"alpha"}]
    if not known_layers and unmixed is not None:
        raise AdapterRefused(unsupported(unmixed))
    try:
        with path.open("rb") as file:
            for layer in known_layers:
                yield (
                    layer,
                    {
                        role: _tensor(file, header.entries[key])
                        for role, key in layer.roles.items()
                        if role != "alpha"
                    },
                )
    except OSError as error:
        raise AdapterUnavailable(
            f"The adapter '{title}' cannot be read any more; please add it again."
        ) from error


def _is_finite(made: Made) -> bool:
    tensors = [] if made.pair is None else [made.pair.down, made.pair.up]
    for change in made.changes:
        for value in vars(change).values():
            tensors += value if isinstance(value, tuple) else [value]
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors if tensor is not None)


def _tensor(file: BinaryIO, entry: TensorEntry) -> torch.Tensor:
    """A copy in float32. Not mapped into memory: a file that shrinks must not end the process."""
    file.seek(entry.start)
    raw = bytearray(file.read(entry.end - entry.start))
    if len(raw) != entry.end - entry.start:
        raise OSError("the file became shorter")
    flat = torch.frombuffer(raw, dtype=_DTYPES[entry.dtype])
    return flat.reshape(entry.shape).to(torch.float32, copy=True)
