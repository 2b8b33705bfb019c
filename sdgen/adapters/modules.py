"""The Linear, convolution and norm modules of a base model, and the shapes of their weights.

Taken from the headers of its files where they are on this machine, else from the table of its
family, so that a model has its verdict before it is fetched.
"""

import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdgen.adapters.names import PARTS
from sdgen.errors import ModelUnavailable
from sdgen.model_formats import (
    CheckpointKind,
    checkpoint_kind,
    names_on_disk,
    part_weights,
    read_header,
    read_index,
)
from sdgen.models import ASSETS, FileSource, FolderSource, HubSource, ModelSpec, hub_folder

Modules = Mapping[str, tuple[int, ...]]  # "unet.conv_in" -> shape of its weight
TABLES = ASSETS / "modules.json"  # made by tools/adapters/module_tables.py
FAMILIES: tuple[CheckpointKind, ...] = ("sd1", "sd2", "sdxl")

_FAMILY_OF: Mapping[str, CheckpointKind] = {  # models of the table, by repository
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "sd1",
    "SimianLuo/LCM_Dreamshaper_v7": "sd1",
    "stabilityai/sd-turbo": "sd2",
    "stabilityai/stable-diffusion-xl-base-1.0": "sdxl",
    "stabilityai/sdxl-turbo": "sdxl",
}


def model_modules(spec: ModelSpec, hub_cache: Path | None = None) -> Modules | None:
    """The modules of a model with their part before their names; None where nobody knows yet.

    Raises ModelUnavailable where a model on this machine is damaged.
    """
    match spec.source:
        case FileSource(path):
            return family_modules(checkpoint_kind(path))
        case FolderSource(path):
            return folder_modules(path, None)
        case HubSource() as source:
            folder = hub_folder(source, hub_cache)
            if folder is not None:
                try:
                    found = folder_modules(folder, source.variant)
                except ModelUnavailable:
                    found = {}  # half a download
                if any(name.startswith("unet.") for name in found):
                    return found
            family = _FAMILY_OF.get(source.repo)
            return None if family is None else family_modules(family)


def folder_modules(folder: Path, variant: str | None) -> Modules:
    """The modules of a model in diffusers' layout. Raises ModelUnavailable."""
    index = read_index(folder)
    chosen = part_weights(names_on_disk(folder, index), index, variant)
    found: dict[str, tuple[int, ...]] = {}
    for part in PARTS:
        for name in chosen.get(part, ()):
            file = folder / part / name
            status = file.stat()
            shapes = _shapes(file, status.st_mtime_ns, status.st_size)
            found |= {f"{part}.{module}": shape for module, shape in shapes.items()}
    return found


@functools.lru_cache(maxsize=64)
def _shapes(file: Path, mtime_ns: int, size: int) -> Mapping[str, tuple[int, ...]]:
    """Shapes of the weights of one file; time of change and size are there for the cache."""
    return {
        key.removesuffix(".weight").removeprefix("text_model."): entry.shape
        for key, entry in read_header(file).items()
        if key.endswith(".weight") and len(entry.shape) in (1, 2, 4) and "embedding.w" not in key
    }


@functools.cache
def family_modules(family: CheckpointKind) -> Modules:
    """The modules of Stable Diffusion 1.x, 2.x or XL, from the table."""
    raw: dict[str, list[Any]] = json.loads(TABLES.read_text(encoding="utf-8"))
    return {name: tuple(shape) for shape, names in raw[family] for name in unfold(names)}


def unfold(names: list[str]) -> Iterator[str]:
    """Names from their short forms: "a.{0-1}.b{1,3}" stands for four names."""
    for name in names:
        parts = re.split(r"\{([\d,-]+)\}", name)
        choices = [_numbers(part) if place % 2 else [part] for place, part in enumerate(parts)]
        yield from ("".join(choice) for choice in itertools.product(*choices))


def _numbers(text: str) -> list[str]:
    found = []
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        found += [str(n) for n in range(int(first), int(last if dash else first) + 1)]
    return found


def family_of(spec: ModelSpec) -> CheckpointKind | None:
    """The family of a model, as far as its name or its files tell; None for all others.

    Raises ModelUnavailable when a model on this machine is damaged.
    """
    match spec.source:
        case FileSource(path):
            return checkpoint_kind(path)
        case HubSource(repo) if repo in _FAMILY_OF:
            return _FAMILY_OF[repo]
    return family_of_modules(model_modules(spec) or {})


def family_of_modules(modules: Modules) -> CheckpointKind | None:
    """The family whose UNet has just these modules and shapes, or None."""
    unet = _unet(modules)
    return next((kind for kind in FAMILIES if unet and _unet(family_modules(kind)) == unet), None)


def _unet(modules: Modules) -> Modules:
    return {name: shape for name, shape in modules.items() if name.startswith("unet.")}
