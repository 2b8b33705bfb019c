"""What a model was trained to predict, and from which noise levels: who says so, who is believed.

A checkpoint's weights do not tell whether it predicts the noise (epsilon) or the velocity (v,
Salimans and Ho 2022, arXiv 2202.00512), whether its last timestep is pure noise (zero terminal
SNR, Lin et al. 2023, arXiv 2305.08891), or whether it knows timesteps at all (EDM, Karras et al.
2022, arXiv 2206.00364). Drawn as the wrong one it gives noise. Of a single file, whoever comes
first here and says something is followed; who says otherwise is named in `notes`:

    1. marks: tensors named v_pred, ztsnr, edm_mean and edm_std, edm_vpred.sigma_max. They have no
       other use; ComfyUI, Forge and AUTOMATIC1111 follow them (comfy/supported_models.py, SDXL)
    2. NAME.yaml beside the file: what AUTOMATIC1111 and Forge read; somebody put it there for it
    3. modelspec.prediction_type in its header, where that is not epsilon (ModelSpec, Stability AI)
    4. scheduler_config.json beside the file
    5. modelspec.prediction_type where it is epsilon, which trainers write unasked
    6. for Stable Diffusion 2.x, the spread of one of its biases (`predicts_velocity`)
    7. epsilon

A folder in diffusers' layout says it in scheduler_config.json alone.
"""

import json
import math
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sdgen.checkpoint_kinds import CheckpointKind
from sdgen.safetensors_header import (
    SafetensorsHeader,
    TensorEntry,
    read_number,
    read_values,
    read_whole_header,
)

PredictionType = Literal["epsilon", "v_prediction", "sample", "flow_prediction"]

SETTINGS_BYTES_MAX = 1_000_000  # of a .yaml or a scheduler_config.json; real ones have a few kB
_TITLES: Mapping[PredictionType, str] = {
    "epsilon": "noise (epsilon)",
    "v_prediction": "velocity (v)",
    "sample": "the finished picture (sample)",
    "flow_prediction": "the flow (flow matching)",
}
_SPELLINGS: Mapping[str, PredictionType] = {  # squeezed to letters and digits
    "epsilon": "epsilon",
    "eps": "epsilon",
    "noise": "epsilon",
    "v": "v_prediction",
    "vpred": "v_prediction",
    "vprediction": "v_prediction",
    "velocity": "v_prediction",
    "x0": "sample",
    "sample": "sample",
    "flowprediction": "flow_prediction",
}
_ZERO_SNR_NAMES = ("rescale_betas_zero_snr", "zero_terminal_snr", "ztsnr", "zsnr")
# Of Playground 2.5's latents, from its vae/config.json; the file has them as edm_mean and edm_std.
_PLAYGROUND_MEAN = (-1.6574, 1.886, -1.383, 2.5155)
_PLAYGROUND_STD = (8.4927, 5.9022, 6.5498, 5.2299)
_VELOCITY_KEY = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"


@dataclass(frozen=True)
class EdmLevels:
    """Noise levels of a model that was trained on them directly and knows no timesteps."""

    sigma_min: float
    sigma_max: float
    sigma_data: float
    schedule: Literal["karras", "exponential"]


PLAYGROUND_LEVELS = EdmLevels(0.002, 80.0, 0.5, "karras")  # of its scheduler_config.json
COSXL_LEVELS = EdmLevels(0.002, 120.0, 1.0, "exponential")  # as diffusers documents for CosXL


@dataclass(frozen=True)
class Prediction:
    """What a model predicts, as it is believed; `notes` are sentences on who said otherwise."""

    type: PredictionType = "epsilon"
    zero_snr: bool = False
    edm: EdmLevels | None = None  # None: a thousand timesteps of a beta schedule
    betas: tuple[float, float] | None = None  # (start, end) of a scaled-linear schedule, if said
    latents_mean: tuple[float, ...] = ()  # of each channel, where latents are normalised by them
    latents_std: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Claim:
    """What one source says; None where it is silent."""

    who: str
    type: PredictionType | None = None
    zero_snr: bool | None = None
    edm: EdmLevels | None = None
    betas: tuple[float, float] | None = None


def file_prediction(
    path: Path, header: SafetensorsHeader, kind: CheckpointKind, beside: Path | None
) -> Prediction:
    """What a single checkpoint predicts. beside: the folder of its settings, if it has its own."""
    notes: list[str] = []
    spec = _modelspec(header.metadata)
    claims = [_marks(path, header, kind, notes), _yaml(path, notes)]
    claims += [spec] if spec.type != "epsilon" else []
    claims += [_scheduler_config(file) for file in _scheduler_configs(path, beside)]
    claims += [spec] if spec.type == "epsilon" else []
    if kind == "sd2" and _velocity_by_spread(path, header.tensors):
        claims.append(_Claim("", "v_prediction"))  # a guess, which contradicts nobody
    believed = next((claim for claim in claims if claim.type), _Claim("", "epsilon"))
    assert believed.type is not None
    for claim in claims:
        says_else = claim.type not in (None, believed.type) or (
            claim.type is not None and (claim.edm is None) != (believed.edm is None)
        )
        if says_else and claim.who and believed.who:
            notes.append(
                f"By {believed.who} it predicts {_words(believed)}, by {claim.who} "
                f"{_words(claim)}; the first is followed."
            )
    zero = next((claim for claim in claims if claim.zero_snr is not None), _Claim(""))
    is_zero = bool(zero.zero_snr) and believed.edm is None
    if is_zero and believed.type == "epsilon" and not zero.who.startswith(_SCHEDULER_CONFIG):
        # Pure noise holds nothing to tell epsilon from; ComfyUI reads ztsnr beside v_pred only.
        is_zero = False
        notes.append(
            f"By {zero.who} it has zero terminal SNR, which goes with predicting velocity (v), and "
            "nothing says that it does; that is left out."
        )
    mean, std = _latent_statistics(path, header.tensors) if _is_playground(header) else ((), ())
    return Prediction(
        type=believed.type,
        zero_snr=is_zero,
        edm=believed.edm,
        betas=next((claim.betas for claim in claims if claim.betas), None),
        latents_mean=mean if believed.edm else (),
        latents_std=std if believed.edm else (),
        notes=tuple(notes),
    )


def folder_prediction(folder: Path) -> Prediction:
    """What a model in diffusers' layout predicts; plain epsilon where its settings are silent."""
    claim = _scheduler_config(folder / "scheduler" / "scheduler_config.json")
    return Prediction(claim.type or "epsilon", bool(claim.zero_snr), claim.edm)


def predicts_velocity(path: Path) -> bool:
    """Whether an SD 2.x checkpoint was probably trained on v-prediction (2.x at 768 px).

    A guess, for files of which nothing says it. As in ComfyUI, the spread of one bias tells: above
    0.09 is velocity.
    """
    return _velocity_by_spread(path, read_whole_header(path).tensors)


def modelspec_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Native (width, height) in pixels from `modelspec.resolution` ("1024x1024"), or None."""
    match = re.fullmatch(
        r"\s*(\d{2,5})\s*(?:[x,]\s*(\d{2,5})\s*)?", metadata.get("modelspec.resolution", "").lower()
    )
    if match is None:
        return None
    width, height = int(match[1]), int(match[2] or match[1])
    fits = all(64 <= side <= 2048 and side % 8 == 0 for side in (width, height))
    return (width, height) if fits else None


# --- who says what --------------------------------------------------------------------------


def _marks(path: Path, header: SafetensorsHeader, kind: CheckpointKind, notes: list[str]) -> _Claim:
    """The tensors that are there to be found. `notes` gets what of them cannot be followed."""
    held = header.tensors.keys()
    zero_snr = True if "ztsnr" in held else None
    edm_marks = held & {"edm_mean", "edm_std", "edm_vpred.sigma_max"}
    if edm_marks and kind != "sdxl":
        notes.append(
            f"Its keys ({', '.join(sorted(edm_marks))}) are those of SDXL models trained by EDM, "
            "and it is none; they are left out."
        )
    elif _is_playground(header):
        return _Claim("its keys (edm_mean, edm_std)", "epsilon", None, PLAYGROUND_LEVELS)
    elif "edm_vpred.sigma_max" in held:
        levels = EdmLevels(
            _number(path, header, "edm_vpred.sigma_min", COSXL_LEVELS.sigma_min),
            _number(path, header, "edm_vpred.sigma_max", COSXL_LEVELS.sigma_max),
            COSXL_LEVELS.sigma_data,
            COSXL_LEVELS.schedule,
        )
        if levels.sigma_min >= levels.sigma_max:
            levels = COSXL_LEVELS
        return _Claim("its keys (edm_vpred.sigma_max)", "v_prediction", None, levels)
    elif edm_marks:
        notes.append(
            f"It has {', '.join(edm_marks)} without the other of edm_mean and edm_std; that is "
            "left out."
        )
    if "v_pred" in held:
        also = ", ztsnr" if zero_snr else ""
        return _Claim(f"its keys (v_pred{also})", "v_prediction", zero_snr)
    return _Claim("its keys (ztsnr)", None, zero_snr)


def _modelspec(metadata: Mapping[str, str]) -> _Claim:
    """The header's metadata: ModelSpec, with the name that ComfyUI gives it (predict_key)."""
    for name in ("modelspec.prediction_type", "modelspec.predict_key", "prediction_type"):
        if name in metadata:
            return _Claim(f"its header ({name})", _spelled(metadata[name]))
    architecture = metadata.get("modelspec.architecture", "").lower()
    who = "its header (modelspec.architecture)"
    if architecture.startswith("stable-diffusion-v2"):
        return _Claim(who, "v_prediction" if "-768-v" in architecture else "epsilon")
    return _Claim(who)


def _yaml(path: Path, notes: list[str]) -> _Claim:
    """NAME.yaml beside the file, in the form of CompVis' code or of Stability's newer one (sgm)."""
    file = next((path.with_suffix(end) for end in (".yaml", ".yml") if _is_small(path, end)), None)
    who = "the .yaml beside it"
    if file is None:
        return _Claim(who)
    import yaml  # type: ignore[import-untyped]

    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        notes.append("The .yaml beside it cannot be read and is left out.")
        return _Claim(who)
    model = _mapping(_mapping(raw).get("model"))
    params = _mapping(model.get("params"))
    if not params:
        return _Claim(who)  # another program's settings
    zero_snr = next((bool(params[name]) for name in _ZERO_SNR_NAMES if name in params), None)
    denoiser = _mapping(_mapping(params.get("denoiser_config")).get("params"))
    scaling = _mapping(denoiser.get("scaling_config"))
    target = str(scaling.get("target", ""))
    if target.endswith("VScalingWithEDMcNoise"):
        return _Claim(who, "v_prediction", None, _sgm_levels(params, COSXL_LEVELS))
    if target.endswith(".EDMScaling"):
        return _Claim(who, "epsilon", None, _sgm_levels(params, PLAYGROUND_LEVELS))
    if target.endswith(".VScaling"):
        return _Claim(who, "v_prediction", zero_snr)
    if target.endswith(".EpsScaling"):
        return _Claim(who, "epsilon", zero_snr)
    kind = _spelled(params["parameterization"]) if "parameterization" in params else None
    if kind is None and "LatentDiffusion" in str(model.get("target", "")):
        kind = "epsilon"  # the default of that code (ldm/models/diffusion/ddpm.py)
    betas = (params.get("linear_start"), params.get("linear_end"))
    said = [float(beta) for beta in betas if isinstance(beta, int | float)]
    sane = len(said) == 2 and 0 < said[0] < said[1] < 1
    return _Claim(who, kind, zero_snr, betas=(said[0], said[1]) if sane else None)


_SCHEDULER_CONFIG = "the scheduler_config.json beside it"


def _scheduler_configs(path: Path, beside: Path | None) -> list[Path]:
    """Where a checkpoint's scheduler_config.json may lie: with its settings, or just beside it
    where no other checkpoint does."""
    places = [] if beside is None else [beside / "scheduler" / "scheduler_config.json"]
    loose = path.parent / "scheduler_config.json"
    if loose.is_file() and len([*path.parent.glob("*.safetensors")]) <= 1:
        places.append(loose)
    return places


def _scheduler_config(file: Path) -> _Claim:
    """What diffusers' scheduler settings say; silent where there are none that can be read."""
    try:
        if file.stat().st_size > SETTINGS_BYTES_MAX:
            return _Claim(_SCHEDULER_CONFIG)
        raw = _mapping(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return _Claim(_SCHEDULER_CONFIG)
    kind = _spelled(raw["prediction_type"]) if "prediction_type" in raw else None
    if raw.get("use_flow_sigmas") or str(raw.get("_class_name", "")).startswith("FlowMatch"):
        kind = "flow_prediction"
    if str(raw.get("_class_name", "")).startswith("EDM"):
        usual = PLAYGROUND_LEVELS  # as the defaults of diffusers' classes
        levels = EdmLevels(
            _positive(raw.get("sigma_min"), usual.sigma_min),
            _positive(raw.get("sigma_max"), usual.sigma_max),
            _positive(raw.get("sigma_data"), usual.sigma_data),
            "exponential" if raw.get("sigma_schedule") == "exponential" else "karras",
        )
        return _Claim(_SCHEDULER_CONFIG, kind or "epsilon", None, levels)
    zero_snr = raw.get("rescale_betas_zero_snr")
    return _Claim(_SCHEDULER_CONFIG, kind, zero_snr if isinstance(zero_snr, bool) else None)


# --- small things ---------------------------------------------------------------------------


def _words(claim: _Claim) -> str:
    assert claim.type is not None
    return f"{_TITLES[claim.type]} at noise levels (EDM)" if claim.edm else _TITLES[claim.type]


def _spelled(value: object) -> PredictionType | None:
    return _SPELLINGS.get(re.sub(r"[^a-z0-9]", "", str(value).lower()))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _positive(value: object, usual: float) -> float:
    fits = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return float(value) if fits else usual  # type: ignore[arg-type]  # mypy forgets what fits


def _sgm_levels(params: Mapping[str, Any], usual: EdmLevels) -> EdmLevels:
    """Noise levels out of sgm's sampler settings, where they are."""
    sampler = _mapping(_mapping(params.get("sampler_config")).get("params"))
    levels = _mapping(_mapping(sampler.get("discretization_config")).get("params"))
    return EdmLevels(
        _positive(levels.get("sigma_min"), usual.sigma_min),
        _positive(levels.get("sigma_max"), usual.sigma_max),
        usual.sigma_data,
        usual.schedule,
    )


def _is_small(path: Path, suffix: str) -> bool:
    """Whether there is a settings file of that suffix beside the checkpoint."""
    file = path.with_suffix(suffix)
    return file.is_file() and file.stat().st_size <= SETTINGS_BYTES_MAX


def _is_playground(header: SafetensorsHeader) -> bool:
    return header.tensors.keys() >= {"edm_mean", "edm_std"}


def _number(path: Path, header: SafetensorsHeader, key: str, usual: float) -> float:
    entry = header.tensors.get(key)
    found = None if entry is None else read_number(path, entry)
    return usual if found is None else found


def _latent_statistics(
    path: Path, tensors: Mapping[str, TensorEntry]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each latent channel; Playground's where the file's are not
    four plain numbers."""
    mean, std = (read_values(path, tensors[key]) for key in ("edm_mean", "edm_std"))
    sane = len(mean) == len(std) == 4 and all(map(math.isfinite, (*mean, *std))) and min(std) > 0
    return (mean, std) if sane else (_PLAYGROUND_MEAN, _PLAYGROUND_STD)


def _velocity_by_spread(path: Path, tensors: Mapping[str, TensorEntry]) -> bool:
    entry = tensors.get(_VELOCITY_KEY)
    values = () if entry is None else read_values(path, entry)
    return bool(values) and statistics.pstdev(values) > 0.09
