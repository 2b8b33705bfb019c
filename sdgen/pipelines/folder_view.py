"""A model's folder as diffusers can read it, where its maker left more or other than that.

diffusers takes one variant for all parts, and believes a list of shards wherever it finds one. A
folder of several variants, or with a list of an earlier cutting, is shown to it as a folder of
links: settings as they are, weights under their plain names, lists made anew from the shards.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sdgen.errors import ModelUnavailable
from sdgen.model_formats import (
    ModelIndex,
    names_on_disk,
    plain_weight_name,
    shard_list_is_stale,
    variant_of,
)
from sdgen.safetensors_header import read_header

_SETTINGS = (".json", ".txt", ".model", ".jinja")


@contextmanager
def as_diffusers_reads(
    folder: Path, index: ModelIndex, weights: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[Path, str | None]]:
    """The folder and the variant with which from_pretrained reads just these weights.

    weights: the files to load of each part. The folder itself where that is enough, else one of
    links that is gone afterwards. Raises ModelUnavailable where links cannot be made.
    """
    variants = {part: variant_of(files) for part, files in weights.items()}
    variant = next((kind for kind in variants.values() if kind), None)
    if _reads_itself(folder, index, weights, variant):
        yield folder, variant
        return
    with tempfile.TemporaryDirectory(prefix="sdgen-model-") as scratch:
        place = Path(scratch)
        _link(folder / "model_index.json", place / "model_index.json")
        for part, names in names_on_disk(folder, index).items():
            (place / part).mkdir()
            for name in names:
                if name.endswith(_SETTINGS) and ".safetensors.index." not in name:
                    _link(folder / part / name, place / part / name)
            _link_weights(folder / part, place / part, weights.get(part, ()))
        yield place, None


def _reads_itself(
    folder: Path,
    index: ModelIndex,
    weights: Mapping[str, tuple[str, ...]],
    variant: str | None,
) -> bool:
    """True where diffusers, told one variant, comes to the same files by itself."""
    names = names_on_disk(folder, index)
    for part, files in weights.items():
        kind = variant_of(files)
        has_variant = variant is not None and any(
            variant_of((name,)) == variant for name in names.get(part, ())
        )
        if kind != (variant if has_variant else None):
            return False
        if shard_list_is_stale(folder / part, files):
            return False
    return True


def _link_weights(source: Path, target: Path, files: tuple[str, ...]) -> None:
    """Links under plain names, and a list of the shards where there are several."""
    weight_map: dict[str, str] = {}
    total = 0
    for name in files:
        plain = plain_weight_name(name)
        _link(source / name, target / plain)
        if len(files) > 1:
            header = read_header(source / name)
            weight_map |= dict.fromkeys(header, plain)
            total += sum(entry.end - entry.start for entry in header.values())
    if weight_map:
        stem = plain_weight_name(files[0]).partition("-")[0]
        listed = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (target / f"{stem}.safetensors.index.json").write_text(json.dumps(listed), encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    """A link to the file; a hard one where the system wants a privilege for others."""
    try:
        target.symlink_to(source.resolve())
    except OSError:
        try:
            os.link(source.resolve(), target)
        except OSError as error:
            raise ModelUnavailable(
                "The files of this model are of several variants or have an old list of shards, "
                "and links to them cannot be made here: keep one variant of each part, and delete "
                "the *.safetensors.index.json that belong to none."
            ) from error
