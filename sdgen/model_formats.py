"""What a model on disk is, told from names and headers alone: diffusers folders and checkpoints.

Nothing here imports torch, runs code of a model or unpickles anything. A file is what its content
says, never what its suffix says.
"""

import json
import re
import statistics
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sdgen.errors import ModelUnavailable

HEADER_BYTES_MAX = 100_000_000  # the safetensors library's own limit
JSON_BYTES_MAX = 50_000_000  # model_index.json, configs, vocabularies are far below

CheckpointKind = Literal["sd1", "sd2", "sdxl"]

PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x04")  # torch's zip, and bare pickles
_WEIGHTS = re.compile(
    r"^(?:diffusion_pytorch_model|model)(?:\.(?P<variant>[A-Za-z]\w*))?"
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
        raise ModelUnavailable(
            f"'{folder.name}' holds no model_index.json, so it is not a model in diffusers' layout."
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
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"'{name}' cannot be read; the model is damaged.") from error
    if not isinstance(raw, dict):
        raise ModelUnavailable(f"'{name}' is not a JSON object.")
    return raw


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

    Empty when there is no whole set of safetensors files.
    """
    sets: dict[str | None, list[tuple[str, int]]] = {}
    for name in sorted(names):
        match = _WEIGHTS.match(name)
        if match:
            kind = match["variant"] or match["late_variant"]
            sets.setdefault(kind, []).append((name, int(match["parts"] or 1)))
    for kind in dict.fromkeys((variant, None)):
        files = sets.get(kind, [])
        single = [name for name, parts in files if parts == 1]
        if single:
            return (single[0],)
        shards = tuple(name for name, _ in files)
        if shards and len(shards) == files[0][1]:
            return shards
    return ()


def folder_variant(
    names: Mapping[str, Collection[str]], index: ModelIndex, wanted: str | None
) -> str | None:
    """The variant to load a model with; `names` are the file names of each of its parts.

    The wanted one where any part has it, else the plain one; "fp16" where plain files lack.
    """
    parts = [names.get(part, ()) for part in index.with_weights]
    for variant in dict.fromkeys((wanted, None, "fp16")):
        chosen = [choose_weights(part, variant) for part in parts]
        plain = [choose_weights(part, None) for part in parts]
        if all(chosen) and (variant is None or chosen != plain):
            return variant
    return None


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
    names = names_on_disk(folder, index)
    variant = folder_variant(names, index, wanted)
    return tuple(
        folder / part / name
        for part in sorted(index.with_weights)
        for name in choose_weights(names.get(part, ()), variant)
    )


def missing_parts(names: Mapping[str, Collection[str]], index: ModelIndex) -> tuple[str, ...]:
    """The parts of which a needed file is not among `names`, as `part (what)` for people."""
    missing = []
    for part, (_, kind) in index.components.items():
        have = set(names.get(part, ()))
        if _needs_weights(kind):
            weights = choose_weights(have, None) or choose_weights(have, "fp16")
            if "config.json" not in have:
                missing.append(f"{part} (config.json)")
            elif not weights:
                pickled = any(name.endswith(PICKLED) for name in have)
                missing.append(f"{part} (only pickled weights)" if pickled else f"{part} (weights)")
            elif len(weights) > 1 and not any(".safetensors.index." in name for name in have):
                missing.append(f"{part} (list of its shards)")
        elif "Tokenizer" in kind:
            if not have & _TOKENIZER_FILES:
                missing.append(f"{part} (vocabulary)")
        elif kind.endswith("Scheduler") and "scheduler_config.json" not in have:
            missing.append(f"{part} (scheduler_config.json)")
    return tuple(missing)


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


# --- single files ---------------------------------------------------------------------------


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a safetensors header: type name, shape, and its bytes in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int  # bytes from the begin of the file
    end: int


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors that a safetensors file says it holds, without reading them.

    Raises ModelUnavailable: pickled, not safetensors, damaged, or cut short.
    """
    name = path.name
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(8)
            length = int.from_bytes(first, "little")
            if len(first) < 8 or not 2 <= length <= HEADER_BYTES_MAX:
                raise ModelUnavailable(_no_safetensors(path, first))
            text = file.read(length)
    except OSError as error:
        raise ModelUnavailable(f"'{name}' cannot be read: {error.strerror}.") from error
    if len(text) < length:
        looks_pickled = first.startswith(_PICKLE_STARTS)
        raise ModelUnavailable(_no_safetensors(path, first) if looks_pickled else _cut_short(name))
    try:
        header = json.loads(text)
        entries = {
            key: TensorEntry(
                str(value["dtype"]),
                tuple(int(side) for side in value["shape"]),
                8 + length + int(value["data_offsets"][0]),
                8 + length + int(value["data_offsets"][1]),
            )
            for key, value in header.items()
            if key != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ModelUnavailable(
            f"'{name}' is not a safetensors file, or its header is damaged."
        ) from error
    if not entries:
        raise ModelUnavailable(f"'{name}' holds no tensors.")
    if max(entry.end for entry in entries.values()) != size:
        raise ModelUnavailable(_cut_short(name))
    return entries


def _no_safetensors(path: Path, first: bytes) -> str:
    if first.startswith(_PICKLE_STARTS) or path.suffix.lower() in PICKLED:
        return (
            f"'{path.name}' is a pickled checkpoint; sdgen reads safetensors only, because a "
            "pickled file can run any code. Look for the .safetensors version of it."
        )
    return f"'{path.name}' is not a safetensors file."


def _cut_short(name: str) -> str:
    return f"'{name}' is damaged or was not downloaded to its end; please fetch it again."


def checkpoint_kind(path: Path) -> CheckpointKind:
    """Which base model a single checkpoint file holds, from the names in its header.

    Raises ModelUnavailable, saying what it is instead (a LoRA, an inpainting model, one part ...).
    """
    entries = read_header(path)
    keys = entries.keys()
    name = path.name

    def holds(*starts: str) -> bool:
        return any(key.startswith(starts) for key in keys)

    if any(".lora_" in key or key.startswith("lora_") for key in keys):
        raise ModelUnavailable(f"'{name}' is a LoRA, not a base model; add it as a LoRA instead.")
    first = entries.get("model.diffusion_model.input_blocks.0.0.weight")
    if first is None:
        if holds("down_blocks.", "encoder.down", "first_stage_model.", "decoder.up"):
            raise ModelUnavailable(f"'{name}' is one part of a model, not a whole checkpoint.")
        raise ModelUnavailable(
            f"'{name}' is not a Stable Diffusion 1.x, 2.x or XL checkpoint; "
            "give such a model as a folder in diffusers' layout or as a Hub id."
        )
    if len(first.shape) != 4 or first.shape[1] != 4:
        raise ModelUnavailable(
            f"'{name}' needs a picture as input (inpainting or editing); sdgen draws from text."
        )
    if not holds("first_stage_model."):
        raise ModelUnavailable(f"'{name}' holds no VAE, so it cannot draw pictures by itself.")
    if holds("conditioner.embedders.1."):
        return "sdxl"
    if holds("conditioner."):
        raise ModelUnavailable(f"'{name}' is a refiner of SDXL, which needs a picture as input.")
    if holds("cond_stage_model.transformer."):
        return "sd1"
    if holds("cond_stage_model.model."):
        return "sd2"
    raise ModelUnavailable(f"'{name}' holds no text encoder, so it cannot read a prompt.")


def predicts_velocity(path: Path) -> bool:
    """Whether an SD 2.x checkpoint was trained on v-prediction (2.x at 768 px) or on noise.

    The file does not say. As in ComfyUI, the spread of one bias tells: above 0.09 is velocity.
    """
    key = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
    entry = read_header(path).get(key)
    if entry is None or entry.end - entry.start > 1_000_000:
        return False
    with path.open("rb") as file:
        file.seek(entry.start)
        raw = file.read(entry.end - entry.start)
    values = _floats(entry.dtype, raw)
    if not values:
        return False
    return statistics.pstdev(values) > 0.09


def _floats(dtype: str, raw: bytes) -> list[float]:
    match dtype:
        case "F32":
            return [value for (value,) in struct.iter_unpack("<f", raw)]
        case "F16":
            return [value for (value,) in struct.iter_unpack("<e", raw)]
        case "BF16":
            wide = b"".join(b"\x00\x00" + raw[i : i + 2] for i in range(0, len(raw), 2))
            return [value for (value,) in struct.iter_unpack("<f", wide)]
        case _:
            return []
