"""The sampler menu, built: a name becomes a diffusers noise scheduler that fits the model.

Everything about how the model was trained (betas, epsilon or v-prediction, zero terminal SNR,
timestep spacing) comes from the model's own scheduler configuration; a sampler adds only the rule
by which latents move.

    euler, euler_a    Karras et al. 2022, arXiv 2206.00364, Algorithm 2 without churn; with
                      ancestral noise as in k-diffusion
    ddim              Song et al. 2020, arXiv 2010.02502, eta = 0
    dpmpp_2m          Lu et al. 2022, arXiv 2211.01095, multistep, second order; dpmpp_2m_karras
                      takes the noise levels of arXiv 2206.00364, equation 5
    unipc             Zhao et al. 2023, arXiv 2302.04867
    lcm               Luo et al. 2023, arXiv 2310.04378; for models distilled for it

Models trained by EDM (Playground 2.5, CosXL; arXiv 2206.00364) know noise levels and no timesteps:
for them Euler and DPM++ 2M are other classes, and there are no others.
"""

import inspect
import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)

from sdgen.errors import InvalidRequest
from sdgen.prediction import Prediction
from sdgen.request import Sampler
from sdgen.samplers import sampler_title

_DPMPP_2M: dict[str, object] = {
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
}
_PLAIN: dict[
    str, object
] = {  # noise levels as the model has them, whatever its own scheduler did with them
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}
_UNCLIPPED: dict[str, object] = {
    "clip_sample": False,
    "thresholding": False,
}  # latents are not pixels in [-1, 1]

_SD_BETAS: dict[str, object] = {  # of Stable Diffusion's training
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}

_MENU: dict[Sampler, tuple[Any, dict[str, object]]] = {
    "euler": (EulerDiscreteScheduler, _PLAIN),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "ddim": (DDIMScheduler, _UNCLIPPED),
    "dpmpp_2m": (DPMSolverMultistepScheduler, _DPMPP_2M | _PLAIN),
    "dpmpp_2m_karras": (
        DPMSolverMultistepScheduler,
        _DPMPP_2M | _PLAIN | {"use_karras_sigmas": True},
    ),
    "unipc": (UniPCMultistepScheduler, _PLAIN),
    "lcm": (LCMScheduler, _UNCLIPPED),
}


_PREDICT_X0 = (  # keep what the model outputs as the finished latents
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
)
_EDM_MENU: dict[Sampler, tuple[Any, dict[str, object]]] = {  # levels as the model has them
    "euler": (EDMEulerScheduler, {}),
    "dpmpp_2m": (EDMDPMSolverMultistepScheduler, _DPMPP_2M | {"thresholding": False}),
    "dpmpp_2m_karras": (
        EDMDPMSolverMultistepScheduler,
        _DPMPP_2M | {"thresholding": False, "sigma_schedule": "karras"},
    ),
}


def noise_scheduler(sampler: Sampler, config: Mapping[str, Any]) -> Any:
    """A fresh diffusers scheduler for `sampler`; `config` is `pipe.scheduler.config`.

    It holds the state of one picture's steps, so every picture needs its own.
    Raises InvalidRequest where the sampler cannot draw with such a model: see `sampler_problem`.
    """
    if problem := sampler_problem(sampler, config):
        raise InvalidRequest("sampler", problem)
    scheduler_class, changes = (_EDM_MENU if is_edm(config) else _MENU)[sampler]
    known = inspect.signature(scheduler_class).parameters
    fitting = {name: config[name] for name in config if name in known or name.startswith("_")}
    return scheduler_class.from_config(fitting, **changes)


def sampler_problem(sampler: Sampler, config: Mapping[str, Any]) -> str:
    """Why a sampler of the menu cannot draw with a model of these scheduler settings; "" where it
    can."""
    title = sampler_title(sampler)
    if is_edm(config):
        if sampler in _EDM_MENU:
            return ""
        others = [sampler_title(name) for name in _EDM_MENU]
        return (
            f"The sampler {title} needs timesteps, and this model was trained on noise levels "
            f"(EDM); choose {', '.join(others[:-1])} or {others[-1]}."
        )
    if config.get("prediction_type") == "sample" and sampler == "euler_a":
        return f"The sampler {title} cannot draw with a model that predicts the finished picture."
    return ""


def is_edm(config: Mapping[str, Any]) -> bool:
    """True for the settings of a model that was trained on noise levels, by EDM."""
    return "sigma_data" in config


def trained_scheduler(own: Any, prediction: Prediction) -> Any:
    """The scheduler of a model's settings, made to say what the model was trained on.

    own: of the settings folder; itself where it says the same already. Zero terminal SNR needs
    steps from the last timestep on, so it goes with trailing spacing (arXiv 2305.08891, section
    3.3).
    """
    config = own.config
    if (edm := prediction.edm) is not None:
        levels: dict[str, object] = {
            "sigma_min": edm.sigma_min,
            "sigma_max": edm.sigma_max,
            "sigma_data": edm.sigma_data,
            "sigma_schedule": edm.schedule,
            "prediction_type": prediction.type,
        }
        if all(config.get(name) == value for name, value in levels.items()):
            return own
        if edm.schedule == "karras":
            return EDMDPMSolverMultistepScheduler(**levels)
        return EDMEulerScheduler(**levels)
    if is_edm(config):
        own = EulerDiscreteScheduler(**_SD_BETAS)
        config = own.config
    changes: dict[str, object] = {}
    if config.get("prediction_type", "epsilon") != prediction.type:
        changes["prediction_type"] = prediction.type
    if bool(config.get("rescale_betas_zero_snr")) != prediction.zero_snr:
        changes["rescale_betas_zero_snr"] = prediction.zero_snr
        if prediction.zero_snr:
            changes["timestep_spacing"] = "trailing"
    if prediction.betas is not None:
        start, end = prediction.betas
        if (config.get("beta_start"), config.get("beta_end")) != (start, end):
            changes |= {"beta_start": start, "beta_end": end, "beta_schedule": "scaled_linear"}
    if not changes:
        return own
    scheduler_class = type(own)
    if not changes.keys() <= inspect.signature(scheduler_class).parameters.keys():
        scheduler_class = DDIMScheduler  # has a setting for each of them
        changes |= _UNCLIPPED
    return scheduler_class.from_config(config, **changes)


def set_steps(scheduler: Any, sampler: Sampler, steps: int) -> torch.Tensor:
    """Prepare `scheduler` for `steps` steps from pure noise; its timesteps [steps], on the CPU.

    They stay on the CPU, like the noise levels: a step then never waits for a GPU.
    Raises InvalidRequest where this sampler cannot take that many steps, or cannot begin at pure
    noise.
    """
    if steps < 2 and scheduler.config.get("sigma_schedule") == "exponential":
        raise InvalidRequest(
            "steps", "This model needs at least 2 steps: its noise levels fall from one to another."
        )
    try:
        scheduler.set_timesteps(steps, device="cpu")
    except ValueError as error:
        limit = scheduler.config.get("original_inference_steps")
        at_most = f"at most {limit} steps" if limit and steps > limit else "fewer steps"
        raise InvalidRequest(
            "steps", f"The sampler {sampler_title(sampler)} takes {at_most} with this model."
        ) from error
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # it need not search the first timestep among its own
    timesteps: torch.Tensor = scheduler.timesteps
    if scheduler.config.get("prediction_type") == "epsilon" and _begins_at_pure_noise(scheduler):
        raise InvalidRequest(
            "sampler",
            f"The sampler {sampler_title(sampler)} cannot begin at pure noise (zero terminal SNR) "
            "with a model that predicts noise; choose Euler or DPM++ 2M.",
        )
    return timesteps


def _begins_at_pure_noise(scheduler: Any) -> bool:
    """True where the first timestep holds nothing of a picture, so that epsilon tells nothing.

    diffusers' Euler, DPM++ and UniPC keep a trace there (2**-24); its DDIM and LCM divide by zero.
    """
    if not scheduler.config.get("rescale_betas_zero_snr"):
        return False
    first = int(scheduler.timesteps[0])
    return bool(scheduler.alphas_cumprod[first] == 0)


def take_step(
    scheduler: Any,
    prediction: torch.Tensor,
    timestep: torch.Tensor,
    latents: torch.Tensor,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """x_t -> x_{t-1}: the next latents, and the estimate of the finished ones made on the way.

    prediction, latents: [1, c, h, w]; timestep: the next of `set_steps`; generator: where the
    sampler draws its noise, if it does.
    """
    if isinstance(scheduler, UniPCMultistepScheduler):  # draws no noise, takes no generator
        output = scheduler.step(prediction, timestep, latents)
    else:
        output = scheduler.step(prediction, timestep, latents, generator=generator)
    if isinstance(scheduler, _PREDICT_X0):
        return output.prev_sample, scheduler.model_outputs[-1]
    if isinstance(scheduler, LCMScheduler):
        return output.prev_sample, output.denoised
    return output.prev_sample, output.pred_original_sample


def described(scheduler: Any) -> str:
    """A noise scheduler's class and settings as JSON with sorted keys; "" for none."""
    if scheduler is None:
        return ""
    settings: dict[str, object] = {"class": type(scheduler).__name__}
    for name, value in scheduler.config.items():
        if not name.startswith("_") and value is not None:
            finite = not isinstance(value, float) or math.isfinite(value)
            settings[name] = value if finite else str(value)  # JSON has no infinity
    return json.dumps(settings, sort_keys=True, default=str)
