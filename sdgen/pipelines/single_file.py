"""A single checkpoint file becomes a diffusers pipeline, whatever its layout's age.

diffusers reads the layout that CompVis' and Stability's code had in 2023. Files of before and
after name the text encoder or the VAE's attention otherwise; those names are made the usual ones
here. Settings and tokenizers come from a folder, the scheduler from what the file says it predicts.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sdgen.checkpoint_kinds import KIND_TITLES, CheckpointKind, kind_of
from sdgen.errors import ModelUnavailable
from sdgen.model_formats import read_index
from sdgen.models import PIPELINES, STEPPED_PIPELINES, settings_beside
from sdgen.pipelines.noise_schedulers import trained_scheduler
from sdgen.prediction import Prediction, file_prediction
from sdgen.safetensors_header import SafetensorsHeader, read_whole_header, size_in_words

_PLAYGROUND_SCALING = 0.5  # of latents that are normalised by mean and deviation
_DTYPES: Mapping[str, torch.dtype] = {  # as the safetensors format names them
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_CLIP_PARTS = r"(?=embeddings\.|encoder\.|final_layer_norm\.)"
_RENAMES: Mapping[CheckpointKind, tuple[tuple[re.Pattern[str], str], ...]] = {
    "sd1": (
        # Stability's newer code (sgm), then transformers' names of before 4.0 and after 5.6.
        (re.compile(r"^conditioner\.embedders\.0\."), "cond_stage_model."),
        (
            re.compile(rf"^cond_stage_model\.transformer\.{_CLIP_PARTS}"),
            "cond_stage_model.transformer.text_model.",
        ),
    ),
    "sd2": (
        (re.compile(r"^conditioner\.embedders\.0\."), "cond_stage_model."),
        (
            re.compile(rf"^cond_stage_model\.transformer\.{_CLIP_PARTS}"),
            "cond_stage_model.transformer.text_model.",
        ),
    ),
    "sdxl": (
        (
            re.compile(rf"^conditioner\.embedders\.0\.transformer\.{_CLIP_PARTS}"),
            "conditioner.embedders.0.transformer.text_model.",
        ),
    ),
}
_VAE = "first_stage_model."
_VAE_OF_DIFFUSERS = "decoder.up_blocks.0.resnets.0.norm1.weight"
# A VAE's one attention, as diffusers has named it: before 0.18 and since.
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_LDM_ATTENTION = {
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
    "group_norm": "norm",
}


def load_single_file(
    path: Path, settings_folder: Path, dtype: torch.dtype
) -> tuple[Any, tuple[str, ...]]:
    """The pipeline of a checkpoint on the CPU, and sentences on what in it does not agree.

    settings_folder: in diffusers' layout, its weights are not looked at. Raises ModelUnavailable
    where the file is no such checkpoint or the settings are another kind's; what diffusers and
    safetensors raise passes through.
    """
    header = read_whole_header(path)
    kind = kind_of(header, path.name)
    index = read_index(settings_folder)
    fits = index.pipeline in (STEPPED_PIPELINES if kind != "sdxl" else (PIPELINES[kind],))
    if not fits:
        raise ModelUnavailable(
            f"'{path.name}' is a {KIND_TITLES[kind]} checkpoint, and the settings beside it are "
            f"those of a {index.pipeline}."
        )
    prediction = file_prediction(path, header, kind, settings_beside(path, kind))
    notes = list(prediction.notes)
    if header.surplus:
        notes.append(
            f"The checkpoint has {size_in_words(header.surplus)} behind its end that belong to no "
            "tensor; they are left out."
        )
    tensors = usual_names(read_tensors(path, header), kind)
    given: dict[str, Any] = {"config": str(settings_folder), "local_files_only": True}
    parts = {
        "unet": diffusers.UNet2DConditionModel.from_single_file(
            tensors, subfolder="unet", dtype=dtype, **given
        ),
        "vae": diffusers.AutoencoderKL.from_single_file(
            _vae_tensors(tensors), subfolder="vae", dtype=dtype, **given
        ),
        "text_encoder": _text_encoder(CLIPTextModel, "text_encoder", tensors, dtype, given),
    }
    options: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
    if kind == "sdxl":
        parts["text_encoder_2"] = _text_encoder(
            CLIPTextModelWithProjection, "text_encoder_2", tensors, dtype, given
        )
    else:
        options |= {"safety_checker": None, "requires_safety_checker": False}
    pipe = getattr(diffusers, PIPELINES[kind]).from_pretrained(
        str(settings_folder),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **parts,
        **options,
    )
    pipe.scheduler = trained_scheduler(pipe.scheduler, prediction)
    _normalise_latents(pipe.vae, prediction)
    return pipe, tuple(notes)


def read_tensors(path: Path, header: SafetensorsHeader) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file by name; bytes behind its end are left out.

    Raises SafetensorError where its offsets make no sense.
    """
    if not header.surplus:
        return dict(load_file(path))
    content = torch.from_file(str(path), shared=False, size=header.end, dtype=torch.uint8)
    tensors: dict[str, torch.Tensor] = {}
    begin = min(entry.start for entry in header.tensors.values())
    by_place = sorted(header.tensors.items(), key=lambda item: (item[1].start, item[1].end))
    for key, entry in by_place:
        dtype = _DTYPES.get(entry.dtype)
        count = torch.Size(entry.shape).numel()
        if dtype is None or entry.start != begin or entry.end - begin != count * dtype.itemsize:
            raise SafetensorError(f"the place of {key} in the file makes no sense")
        begin = entry.end
        raw = content[entry.start : entry.end]
        if entry.start % dtype.itemsize:
            raw = raw.clone()  # a view must begin at a multiple of its item's size
        tensors[key] = raw.view(dtype).reshape(entry.shape)
    return tensors


def usual_names(
    tensors: Mapping[str, torch.Tensor], kind: CheckpointKind
) -> dict[str, torch.Tensor]:
    """The tensors under the names that diffusers' converter knows."""
    named: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        for pattern, to in _RENAMES[kind]:
            key = pattern.sub(to, key)
        if key.startswith("vae."):
            key = _VAE + key.removeprefix("vae.")
        if key.startswith(_VAE) and ".mid.attn_1." in key:
            head, _, tail = key.partition(".mid.attn_1.")
            stem, dot, ending = tail.rpartition(".")
            key = f"{head}.mid.attn_1.{_LDM_ATTENTION.get(stem, stem)}{dot}{ending}"
        named[key] = value
    return named


def _vae_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the VAE is made from: all of it, or its own part where that has diffusers' names."""
    if _VAE + _VAE_OF_DIFFUSERS not in tensors:
        return dict(tensors)
    own: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        if key.startswith(_VAE):
            name = key.removeprefix(_VAE)
            head, dot, tail = name.partition(".attentions.0.")
            stem, _, ending = tail.rpartition(".")
            if dot:
                name = f"{head}{dot}{_OLD_ATTENTION.get(stem, stem)}.{ending}"
                if value.ndim > 2:
                    value = value.flatten(1)  # a convolution of one pixel once
            own[name] = value
    return own


def _text_encoder(
    kind: Any, part: str, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype, given: Any
) -> Any:
    return create_diffusers_clip_model_from_ldm(
        kind, checkpoint=tensors, subfolder=part, torch_dtype=dtype, **given
    )


def _normalise_latents(vae: Any, prediction: Prediction) -> None:
    """The VAE's settings of Playground 2.5, whose latents have mean and deviation taken out."""
    if prediction.latents_mean:
        vae.register_to_config(
            latents_mean=list(prediction.latents_mean),
            latents_std=list(prediction.latents_std),
            scaling_factor=_PLAYGROUND_SCALING,
        )
