"""What a model on disk is, told from names and headers alone: folders in diffusers' layout.

Single files: safetensors_header.py, checkpoint_kinds.py and prediction.py, whose names for the
others are here as well. Nothing imports torch, runs code of a model or unpickles anything.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdgen.checkpoint_kinds import CheckpointKind, checkpoint_kind
from sdgen.errors import ModelUnavailable
from sdgen.prediction import predicts_velocity
from sdgen.safetensors_header import (
    PICKLED,
    TensorEntry,
    is_lfs_pointer,
    lfs_sentence,
    read_header,
)

__all__ = [
    "PICKLED",
    "CheckpointKind",
    "ModelIndex",
    "TensorEntry",
    "checkpoint_kind",
    "choose_weights",
    "folder_variant",
    "guidance_is_embedded",
    "matches_flow",
    "missing_parts",
    "missing_settings",
    "names_on_disk",
    "native_size",
    "parse_index",
    "part_weights",
    "plain_weight_name",
    "predicts_velocity",
    "read_header",
    "read_index",
    "read_json",
    "shard_list_is_stale",
    "variant_of",
    "weight_files",
    "without_checker",
]

JSON_BYTES_MAX = 50_000_000  # model_index.json, configs, vocabularies are far below
_WEIGHTS = re.compile(
    r"^(?P<stem>diffusion_pytorch_model|model)(?:\.(?P<variant>[A-Za-z]\w*))?"
    r"(?:-(?P<part>\d{5})-of-(?P<parts>\d{5}))?(?:\.(?P<late_variant>[A-Za-z]\w*))?\.safetensors$"
)
_COMPONENT_NAME = re.compile(r"[A-Za-z]\w*\Z")
_NEEDS_PICTURE = re.compile(
    "Img2Img|Inpaint|Upscal|Depth2Img|Pix2Pix|ControlNet|ImageVariation|Edit|Refiner"
)


@dataclass(frozen=True)
class ModelIndex:
    """A model_index.json: the pipeline class and its parts as name -> (library, class)."""

    pipeline: str
    components: Mapping[str, tuple[str, str]]

    @property
    def with_weights(self) -> tuple[str, ...]:
        """The parts that have weights, i.e. all but samplers, tokenizers and processors."""
        return tuple(name for name, (_, kind) in self.components.items() if _needs_weights(kind))


def read_index(folder: Path) -> ModelIndex:
    """The folder's model_index.json, checked.

    Raises ModelUnavailable: it is absent or unreadable, or names code that comes with the model.
    """
    path = folder / "model_index.json"
    if not path.is_file():
        files = sorted(file.name for file in folder.glob("*.safetensors"))
        more = f" It holds {files[0]}: give that file itself." if len(files) == 1 else ""
        raise ModelUnavailable(
            f"'{folder.name}' holds no model_index.json, so it is not a model in diffusers' "
            f"layout.{more}"
        )
    return parse_index(read_json(path), folder.name)


def parse_index(raw: Mapping[str, Any], name: str) -> ModelIndex:
    """A model_index.json's content, checked; `name` is what the errors call the model."""
    pipeline = raw.get("_class_name")
    own_code = ModelUnavailable(
        f"The model '{name}' wants to run code of its own, which sdgen never does."
    )
    if not isinstance(pipeline, str) or not _COMPONENT_NAME.match(pipeline):
        raise own_code
    if _NEEDS_PICTURE.search(pipeline):
        raise ModelUnavailable(
            f"The model '{name}' ({pipeline}) needs a picture as input; sdgen draws from text."
        )
    if "Video" in pipeline or "Audio" in pipeline:
        raise ModelUnavailable(f"The model '{name}' ({pipeline}) does not draw pictures.")
    components: dict[str, tuple[str, str]] = {}
    for part, value in raw.items():
        if part.startswith("_") or not isinstance(value, list):
            continue
        if value[:2] == [None, None]:
            continue  # a part that the model goes without
        if len(value) < 2 or not all(isinstance(item, str) for item in value[:2]):
            continue  # a plain setting that happens to be a list
        if not _COMPONENT_NAME.match(part) or not _COMPONENT_NAME.match(value[0]):
            raise own_code
        components[part] = (value[0], value[1])
    if not components:
        raise ModelUnavailable(f"The model_index.json of '{name}' names no parts of a model.")
    return ModelIndex(pipeline, components)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises ModelUnavailable when it is none."""
    name = path.name if path.name == "model_index.json" else f"{path.parent.name}/{path.name}"
    try:
        if path.stat().st_size > JSON_BYTES_MAX:
            raise ModelUnavailable(f"'{name}' is too large to be settings.")
        content = path.read_bytes()
        raw = json.loads(content.decode("utf-8"))
    except OSError as error:
        raise ModelUnavailable(f"'{name}' cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        if is_lfs_pointer(content):
            raise ModelUnavailable(lfs_sentence(name, content)) from error
        raise ModelUnavailable(f"'{name}' is not JSON; the model is damaged.") from error
    if not isinstance(raw, dict):
        raise ModelUnavailable(f"'{name}' is not a JSON object.")
    return raw


def without_checker(index: ModelIndex) -> ModelIndex:
    """The parts without the safety checker and what prepares pictures for it."""
    if "safety_checker" not in index.components:
        return index
    left_out = {"safety_checker", "feature_extractor"}
    parts = {part: kind for part, kind in index.components.items() if part not in left_out}
    return ModelIndex(index.pipeline, parts)


def missing_settings(folder: Path, index: ModelIndex) -> tuple[str, ...]:
    """What a folder lacks to be the settings and tokenizers of a single checkpoint."""
    left_out = {"safety_checker", "feature_extractor", "image_encoder"}
    parts = {part: kind for part, kind in index.components.items() if part not in left_out}
    names = {
        part: (*found, "model.safetensors") for part, found in names_on_disk(folder, index).items()
    }
    return missing_parts(names, ModelIndex(index.pipeline, parts))


def native_size(folder: Path, index: ModelIndex) -> tuple[int, int] | None:
    """Native (width, height) in pixels from the denoiser's and the VAE's configs, or None."""
    denoiser = next((part for part in ("unet", "transformer") if part in index.components), None)
    if denoiser is None or not (folder / denoiser / "config.json").is_file():
        return None
    sample = read_json(folder / denoiser / "config.json").get("sample_size")
    sides: list[Any] = sample if isinstance(sample, list) else [sample, sample]
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        return None
    height, width = (int(side) * _vae_factor(folder, index) for side in sides)
    return (width, height) if min(height, width) >= 64 and max(height, width) <= 2048 else None


def guidance_is_embedded(folder: Path, index: ModelIndex) -> bool:
    """True for a UNet that was distilled to take the guidance scale as an input (LCM)."""
    path = folder / "unet" / "config.json"
    if "unet" not in index.components or not path.is_file():
        return False
    return read_json(path).get("time_cond_proj_dim") is not None


def matches_flow(folder: Path, index: ModelIndex) -> bool:
    """True for a model trained by flow matching, which the samplers of the menu do not fit."""
    _, kind = index.components.get("scheduler", ("", ""))
    if kind.startswith("FlowMatch"):
        return True
    path = folder / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        return False
    config = read_json(path)
    return bool(config.get("use_flow_sigmas")) or config.get("prediction_type") == "flow_prediction"


def _vae_factor(folder: Path, index: ModelIndex) -> int:
    """Pixels of one latent's side; 8 where the VAE does not say."""
    path = folder / "vae" / "config.json"
    if "vae" in index.components and path.is_file():
        blocks = read_json(path).get("block_out_channels")
        if isinstance(blocks, list) and 1 <= len(blocks) <= 8:
            return int(2 ** (len(blocks) - 1))
    return 8


# --- the weight files of a folder -----------------------------------------------------------


def choose_weights(names: Collection[str], variant: str | None) -> tuple[str, ...]:
    """Of one part's file names those to load: the variant's if there are any, else the plain ones.

    Empty when there is no whole set of safetensors files of either. One whole file goes before a
    whole set of shards. Leftovers of another cutting ("-of-00002" among "-of-00003") do not count.
    """
    sets = _weight_sets(names)
    for kind in dict.fromkeys((variant, None)):
        whole = [files for files in sets.get(kind, {}).values() if files]
        if whole:
            return min(whole, key=len)
    return ()


def part_weights(
    names: Mapping[str, Collection[str]], index: ModelIndex, wanted: str | None
) -> dict[str, tuple[str, ...]]:
    """The weight files to load of each part; `names` are the file names of all parts.

    Each part is looked at by itself: the wanted variant, else the plain files, else what there is
    (fp16, bf16, fp32, any other but those for training on, non_ema), for makers leave the plain
    files out, and mix. An empty tuple where a part has no whole set.
    """
    return {part: _part_weights(names.get(part, ()), wanted) for part in index.with_weights}


def _part_weights(names: Collection[str], wanted: str | None) -> tuple[str, ...]:
    others = sorted(kind for kind in _weight_sets(names) if kind and "non_ema" not in kind)
    for variant in dict.fromkeys((wanted, None, "fp16", "bf16", "fp32", *others)):
        if found := choose_weights(names, variant):
            return found
    return ()


def _weight_sets(
    names: Collection[str],
) -> dict[str | None, dict[tuple[str, int], tuple[str, ...]]]:
    """Variant -> (stem, number of files) -> those files, () where some of them are missing."""
    sets: dict[str | None, dict[tuple[str, int], tuple[str, ...]]] = {}
    for name in sorted(names):
        if match := _WEIGHTS.match(name):
            kind = match["variant"] or match["late_variant"]
            key = (match["stem"], int(match["parts"] or 1))
            of_kind = sets.setdefault(kind, {})
            of_kind[key] = (*of_kind.get(key, ()), name)
    return {
        kind: {key: files if len(files) == key[1] else () for key, files in groups.items()}
        for kind, groups in sets.items()
    }


def variant_of(weights: Collection[str]) -> str | None:
    """The variant of one part's weight files; None for the plain ones."""
    match = next((found for name in weights if (found := _WEIGHTS.match(name))), None)
    return (match["variant"] or match["late_variant"]) if match else None


def plain_weight_name(name: str) -> str:
    """A weight file's name without its variant: "model.bf16.safetensors" -> "model.safetensors"."""
    match = _WEIGHTS.match(name)
    if match is None:
        return name
    shard = f"-{match['part']}-of-{match['parts']}" if match["parts"] else ""
    return f"{match['stem']}{shard}.safetensors"


def folder_variant(
    names: Mapping[str, Collection[str]], index: ModelIndex, wanted: str | None
) -> str | None:
    """The variant that a model is loaded with; `names` are the file names of each of its parts.

    None: the plain files. Parts that lack it have plain ones, or another: see `part_weights`.
    """
    chosen = part_weights(names, index, wanted)
    return next((kind for files in chosen.values() if (kind := variant_of(files))), None)


def names_on_disk(folder: Path, index: ModelIndex) -> dict[str, tuple[str, ...]]:
    """File names of each part, as they are on disk; links whose target is gone do not count."""
    found: dict[str, tuple[str, ...]] = {}
    for part in index.components:
        place = folder / part
        if place.is_dir():
            found[part] = tuple(sorted(file.name for file in place.iterdir() if file.is_file()))
    return found


def weight_files(folder: Path, index: ModelIndex, wanted: str | None = None) -> tuple[Path, ...]:
    """All weight files that loading will read, in a stable order."""
    chosen = part_weights(names_on_disk(folder, index), index, wanted)
    return tuple(folder / part / name for part in sorted(chosen) for name in chosen[part])


def shard_list_is_stale(place: Path, weights: Collection[str]) -> bool:
    """True where a part's list of shards is not that of its weight files, or lacks for them.

    place: the part's folder; weights: the files to load, as `part_weights` has them. A list that
    names other files is left behind when a part is saved again, whole or in another cutting.
    diffusers believes any list that it finds.
    """
    kind = variant_of(weights)
    if kind is not None:  # its list has had several names, so none is believed
        marks = (set(file.name.split(".")) for file in place.glob("*.json"))
        return len(weights) > 1 or any({"index", kind} <= mark for mark in marks)
    lists = sorted(place.glob("*.safetensors.index.json"))
    if len(weights) == 1 or not lists:
        return bool(lists) or len(weights) > 1
    for file in lists:
        try:
            raw = read_json(file)
        except ModelUnavailable:
            return True
        named = raw.get("weight_map")
        if not isinstance(named, dict) or not isinstance(raw.get("metadata"), dict):
            return True
        if set(map(str, named.values())) != set(weights):
            return True
    return False


def missing_parts(names: Mapping[str, Collection[str]], index: ModelIndex) -> tuple[str, ...]:
    """The parts of which a needed file is not among `names`, as `part (what)` for people."""
    missing = []
    for part, (_, kind) in index.components.items():
        have = set(names.get(part, ()))
        if _needs_weights(kind):
            weights = _part_weights(have, None)
            if "config.json" not in have:
                missing.append(f"{part} (config.json)")
            elif not weights:
                missing.append(f"{part} ({_what_lacks(have)})")
            elif len(weights) > 1 and not any(".safetensors.index." in name for name in have):
                missing.append(f"{part} (list of its shards)")
        elif "Tokenizer" in kind:
            if not have & _TOKENIZER_FILES:
                missing.append(f"{part} (vocabulary)")
        elif kind.endswith("Scheduler") and "scheduler_config.json" not in have:
            missing.append(f"{part} (scheduler_config.json)")
    return tuple(missing)


def _what_lacks(have: Collection[str]) -> str:
    """Why a part's file names hold no whole set of weights."""
    counts = Counter[tuple[str | None, str, int]]()
    for name in have:
        if (match := _WEIGHTS.match(name)) and match["parts"]:
            kind = match["variant"] or match["late_variant"]
            counts[kind, match["stem"], int(match["parts"])] += 1
    if counts:
        best = max(counts, key=lambda key: counts[key] / key[2])
        return f"{counts[best]} of its {best[2]} shards are there"
    return "only pickled weights" if any(name.endswith(PICKLED) for name in have) else "weights"


_TOKENIZER_FILES = {
    "vocab.json",
    "vocab.txt",
    "tokenizer.json",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.model",
    "sentencepiece.bpe.model",
}


def _needs_weights(kind: str) -> bool:
    return not (
        kind.endswith("Scheduler")
        or "Tokenizer" in kind
        or "Processor" in kind
        or "FeatureExtractor" in kind
    )
