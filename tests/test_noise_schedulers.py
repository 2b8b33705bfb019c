"""The sampler menu: every name builds, fits the model's own configuration, and has a title."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, PNDMScheduler
from hypothesis import given
from hypothesis import strategies as st

from sdgen.errors import InvalidRequest
from sdgen.pipelines.noise_schedulers import noise_scheduler, set_steps, take_step
from sdgen.request import SAMPLERS, STEPS_MAX, Sampler
from sdgen.samplers import SAMPLER_TITLES, sampler_from_title, sampler_title
from tests.tiny_models import SD1_SCHEDULER, SD2_SCHEDULER

BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CONFIGS: dict[str, Mapping[str, Any]] = {
    "sd15": PNDMScheduler(**SD1_SCHEDULER).config,
    "sd21": DDIMScheduler(**SD2_SCHEDULER).config,
    "zero-snr": DDIMScheduler(
        **SD2_SCHEDULER, rescale_betas_zero_snr=True, timestep_spacing="trailing"
    ).config,
    "turbo": EulerDiscreteScheduler(**BETAS, timestep_spacing="trailing").config,
    "lcm": LCMScheduler(**BETAS).config,
}


def denoise(sampler: Sampler, config: Mapping[str, Any], steps: int) -> torch.Tensor:
    """How far off a model ends that always sees the picture [[1, -1], [0.5, 0]]: [1, 1, 2, 2]."""
    target = torch.tensor([[[[1.0, -1.0], [0.5, 0.0]]]])
    scheduler = noise_scheduler(sampler, config)
    timesteps = set_steps(scheduler, sampler, steps)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(target.shape, generator=generator) * scheduler.init_noise_sigma
    training = DDIMScheduler.from_config(config).alphas_cumprod
    for number, timestep in enumerate(timesteps):
        scaled = scheduler.scale_model_input(latents, timestep)
        alpha = training[int(timestep.round())]
        noise = (scaled - alpha.sqrt() * target) / (1 - alpha).sqrt()
        if scheduler.config.prediction_type == "v_prediction":
            noise = alpha.sqrt() * noise - (1 - alpha).sqrt() * target
        latents, denoised = take_step(scheduler, noise, timestep, latents, generator)
        assert latents.shape == target.shape
        assert denoised is not None, (sampler, number)
        assert denoised.shape == target.shape
    return latents - target


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_finds_what_the_model_sees(sampler: Sampler, name: str) -> None:
    error = denoise(sampler, CONFIGS[name], 20)
    assert float(error.abs().max()) < 0.15


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 50, STEPS_MAX])
def test_any_number_of_steps_ends_with_finite_numbers(sampler: Sampler, steps: int) -> None:
    for config in CONFIGS.values():
        scheduler = noise_scheduler(sampler, config)
        if sampler == "lcm" and steps > 50:
            with pytest.raises(InvalidRequest, match="LCM takes at most 50 steps"):
                set_steps(scheduler, sampler, steps)
            continue
        assert len(set_steps(scheduler, sampler, steps)) == steps
        assert bool(torch.isfinite(denoise(sampler, config, steps)).all())


def test_the_models_own_training_decides_what_it_predicts() -> None:
    for sampler in SAMPLERS:
        assert noise_scheduler(sampler, CONFIGS["sd15"]).config.prediction_type == "epsilon"
        velocity = noise_scheduler(sampler, CONFIGS["zero-snr"]).config
        assert velocity.prediction_type == "v_prediction"
        assert velocity.timestep_spacing == "trailing"
        assert velocity.rescale_betas_zero_snr


def test_a_menu_word_means_the_same_whatever_sampler_the_model_came_with() -> None:
    karras = dict(CONFIGS["sd15"]) | {
        "use_karras_sigmas": True,
        "algorithm_type": "sde-dpmsolver++",
    }
    assert not noise_scheduler("euler", karras).config.use_karras_sigmas
    plain = noise_scheduler("dpmpp_2m", karras).config
    assert (plain.use_karras_sigmas, plain.algorithm_type) == (False, "dpmsolver++")
    assert not noise_scheduler("ddim", CONFIGS["turbo"]).config.clip_sample


def test_pictures_do_not_share_their_noise_schedulers() -> None:
    one, other = (noise_scheduler("euler", CONFIGS["sd15"]) for _ in range(2))
    set_steps(one, "euler", 4)
    set_steps(other, "euler", 9)
    assert (len(one.timesteps), len(other.timesteps)) == (4, 9)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_titles_go_both_ways(sampler: Sampler) -> None:
    assert sampler_from_title(sampler_title(sampler)) == sampler
    assert sampler_from_title(sampler) == sampler
    assert sampler_from_title(sampler_title(sampler).lower()) == sampler


@pytest.mark.parametrize(
    ("title", "sampler"),
    [
        ("EulerAncestralDiscreteScheduler", "euler_a"),
        ("UniPCMultistepScheduler", "unipc"),
        ("dpm++ 2m karras", "dpmpp_2m_karras"),
        ("DPM++ SDE Karras", None),
        ("DPM++ 2M SDE Karras", None),
        ("Euler Karras", None),
        ("", None),
    ],
)
def test_titles_of_other_tools(title: str, sampler: Sampler | None) -> None:
    assert sampler_from_title(title) == sampler


@given(st.text(max_size=40))
def test_any_title_is_answered(title: str) -> None:
    assert sampler_from_title(title) in (None, *SAMPLER_TITLES)
