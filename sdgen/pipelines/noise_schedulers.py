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
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)

from sdgen.errors import InvalidRequest
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


def noise_scheduler(sampler: Sampler, config: Mapping[str, Any]) -> Any:
    """A fresh diffusers scheduler for `sampler`; `config` is `pipe.scheduler.config`.

    It holds the state of one picture's steps, so every picture needs its own.
    """
    scheduler_class, changes = _MENU[sampler]
    known = inspect.signature(scheduler_class).parameters
    fitting = {name: config[name] for name in config if name in known or name.startswith("_")}
    return scheduler_class.from_config(fitting, **changes)


def set_steps(scheduler: Any, sampler: Sampler, steps: int) -> torch.Tensor:
    """Prepare `scheduler` for `steps` steps from pure noise; its timesteps [steps], on the CPU.

    They stay on the CPU, like the noise levels: a step then never waits for a GPU.
    Raises InvalidRequest where this sampler cannot take that many steps.
    """
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
    return timesteps


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
    if isinstance(scheduler, DPMSolverMultistepScheduler | UniPCMultistepScheduler):
        return output.prev_sample, scheduler.model_outputs[-1]  # both predict x_0 itself
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
