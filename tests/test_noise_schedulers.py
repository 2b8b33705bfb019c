"""The sampler menu: every name builds, fits the model's own configuration, and has a title."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
)
from hypothesis import given
from hypothesis import strategies as st

from sdgen.errors import InvalidRequest
from sdgen.pipelines.noise_schedulers import (
    noise_scheduler,
    sampler_problem,
    set_steps,
    take_step,
    trained_scheduler,
)
from sdgen.prediction import COSXL_LEVELS, PLAYGROUND_LEVELS, Prediction
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


# --- models that were trained otherwise -----------------------------------------------------

LEVELS = {
    "playground": EDMDPMSolverMultistepScheduler().config,
    "cosxl": EDMEulerScheduler(
        sigma_max=120.0,
        sigma_data=1.0,
        prediction_type="v_prediction",
        sigma_schedule="exponential",
    ).config,
}


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "dpmpp_2m_karras"])
def test_models_of_noise_levels_find_what_they_see(sampler: Sampler, name: str) -> None:
    """As `denoise`, with the preconditioning of EDM: arXiv 2206.00364, table 1."""
    target = torch.tensor([[[[1.0, -1.0], [0.5, 0.0]]]])
    scheduler = noise_scheduler(sampler, LEVELS[name])
    timesteps = set_steps(scheduler, sampler, 20)
    data, sign = scheduler.config.sigma_data, 1 if name == "playground" else -1
    latents = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    latents = latents * scheduler.init_noise_sigma
    generator = torch.Generator().manual_seed(1)
    for timestep in timesteps:
        sigma = (4 * timestep).exp()
        scheduler.scale_model_input(latents, timestep)
        skip = data**2 / (sigma**2 + data**2)
        out = sign * sigma * data / (sigma**2 + data**2).sqrt()
        seen = (target - skip * latents) / out
        latents, denoised = take_step(scheduler, seen, timestep, latents, generator)
        assert denoised is not None
        assert torch.allclose(denoised, target, atol=1e-2)
    assert torch.allclose(latents, target, atol=1e-2)


def test_samplers_that_need_timesteps_say_which_do_not() -> None:
    for sampler in ("euler_a", "ddim", "unipc", "lcm"):
        with pytest.raises(InvalidRequest) as caught:
            noise_scheduler(sampler, LEVELS["playground"])
        assert caught.value.field == "sampler"
        assert str(caught.value).endswith("choose Euler, DPM++ 2M or DPM++ 2M Karras.")


def test_one_step_is_too_few_for_exponential_levels() -> None:
    for sampler in ("euler", "dpmpp_2m"):
        with pytest.raises(InvalidRequest, match="at least 2 steps"):
            set_steps(noise_scheduler(sampler, LEVELS["cosxl"]), sampler, 1)
        assert len(set_steps(noise_scheduler(sampler, LEVELS["playground"]), sampler, 1)) == 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_noise_cannot_be_told_from_pure_noise(sampler: Sampler) -> None:
    config = dict(CONFIGS["zero-snr"]) | {"prediction_type": "epsilon"}
    if sampler in ("ddim", "lcm"):
        with pytest.raises(InvalidRequest, match="cannot begin at pure noise") as caught:
            set_steps(noise_scheduler(sampler, config), sampler, 5)
        assert caught.value.field == "sampler"
        return
    set_steps(noise_scheduler(sampler, config), sampler, 5)
    early = config | {"timestep_spacing": "leading"}
    assert len(set_steps(noise_scheduler("ddim", early), "ddim", 5)) == 5


def test_euler_a_cannot_draw_what_predicts_the_finished_picture() -> None:
    config = dict(CONFIGS["sd15"]) | {"prediction_type": "sample"}
    assert [name for name in SAMPLERS if sampler_problem(name, config)] == ["euler_a"]
    with pytest.raises(InvalidRequest, match="finished picture"):
        noise_scheduler("euler_a", config)


def test_settings_that_agree_stay_as_they_are() -> None:
    own = DDIMScheduler(**SD2_SCHEDULER)
    assert trained_scheduler(own, Prediction("v_prediction")) is own
    assert trained_scheduler(own, Prediction("v_prediction", betas=(0.00085, 0.012))) is own


def test_settings_that_do_not_agree_are_changed_in_just_that() -> None:
    for own in (PNDMScheduler(**SD1_SCHEDULER), EulerDiscreteScheduler(**BETAS)):
        zero = trained_scheduler(own, Prediction("v_prediction", zero_snr=True)).config
        assert (zero.prediction_type, zero.rescale_betas_zero_snr) == ("v_prediction", True)
        assert zero.timestep_spacing == "trailing"
        assert (zero.beta_start, zero.beta_end) == (0.00085, 0.012)
        assert zero.steps_offset == own.config.steps_offset
        plain = trained_scheduler(own, Prediction("v_prediction")).config
        assert plain.timestep_spacing == own.config.timestep_spacing
        assert not plain.get("rescale_betas_zero_snr")
    wide = trained_scheduler(DDIMScheduler(**SD2_SCHEDULER), Prediction(betas=(0.001, 0.02))).config
    assert (wide.beta_start, wide.beta_end, wide.prediction_type) == (0.001, 0.02, "epsilon")
    assert not wide.set_alpha_to_one  # as those settings had it
    zero_settings = DDIMScheduler(**SD2_SCHEDULER, rescale_betas_zero_snr=True)
    assert not trained_scheduler(zero_settings, Prediction()).config.rescale_betas_zero_snr


def test_timesteps_and_noise_levels_replace_each_other() -> None:
    own = EulerDiscreteScheduler(**BETAS)
    playground = trained_scheduler(own, Prediction(edm=PLAYGROUND_LEVELS))
    assert type(playground) is EDMDPMSolverMultistepScheduler
    assert (playground.config.sigma_max, playground.config.sigma_data) == (80.0, 0.5)
    cosxl = trained_scheduler(own, Prediction("v_prediction", edm=COSXL_LEVELS))
    assert type(cosxl) is EDMEulerScheduler
    assert (cosxl.config.sigma_schedule, cosxl.config.prediction_type) == (
        "exponential",
        "v_prediction",
    )
    assert trained_scheduler(cosxl, Prediction("v_prediction", edm=COSXL_LEVELS)) is cosxl
    assert trained_scheduler(cosxl, Prediction(edm=PLAYGROUND_LEVELS)) is not cosxl
    back = trained_scheduler(cosxl, Prediction("v_prediction"))
    assert (back.config.beta_end, back.config.prediction_type) == (0.012, "v_prediction")


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
