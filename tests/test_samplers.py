"""What other programs call samplers and schedules: ours where we have it, else an honest note."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.metadata import form_fields, recipe_from_parameters
from sdgen.request import SAMPLERS, Sampler
from sdgen.samplers import NAME_CHARS, sampler_from_names, sampler_from_title

# Spellings in use, "sampler" or "sampler|schedule": AUTOMATIC1111 and Forge (titles, aliases),
# ComfyUI and SwarmUI, InvokeAI 2 to 6, NovelAI, Fooocus, Easy Diffusion, Draw Things, SD.Next,
# Stability's API, diffusers.
OURS: dict[Sampler, list[str]] = {
    "euler": [
        "Euler", "euler", "k_euler", "K_EULER", "sample_euler", "EulerDiscreteScheduler",
        "Euler|Automatic", "Euler|Uniform", "euler|normal", "euler|simple", "euler|sgm_uniform",
        "euler|ddim_uniform", "Euler|SGM Uniform", "k_euler|native", "Euler Trailing",
        "EulerDiscrete", "Euler Simple", "Euler|Normal", "Euler|Default",
    ],
    "euler_a": [
        "Euler a", "euler_a", "k_euler_a", "k_euler_ancestral", "K_EULER_ANCESTRAL",
        "euler_ancestral", "euler-ancestral", "Euler Ancestral", "Euler A Trailing",
        "EulerAncestralDiscreteScheduler", "sample_euler_ancestral", "euler_ancestral|normal",
        "Euler a|Automatic", "k_euler_ancestral|native", "euler_ancestral|simple", "EULER A",
    ],
    "ddim": [
        "DDIM", "ddim", "ddim_v3", "DDIMScheduler", "DDIM Trailing", "ddim|ddim_uniform",
        "ddim|normal", "DDIM|Automatic", "k_ddim",
    ],
    "dpmpp_2m": [
        "DPM++ 2M", "dpmpp_2m", "k_dpmpp_2m", "K_DPMPP_2M", "dpm++_2m", "sample_dpmpp_2m",
        "k_dpmpp_2", "dpmpp_2", "DPMSolverMultistepScheduler", "DPMSolver++", "DPM++ 2M Trailing",
        "dpmpp_2m|normal", "dpmpp_2m|simple", "DPM++ 2M|Uniform", "DPM++ 2M|Normal",
        "DPM++ 2M SGM Uniform", "dpmpp_2m|sgm_uniform", "dpm-solver++ 2M",
    ],
    "dpmpp_2m_karras": [
        "DPM++ 2M Karras", "dpmpp_2m_k", "dpmpp_2m_karras", "k_dpmpp_2m_ka", "DPM++ 2M (Karras)",
        "DPM++ 2M|Karras", "dpmpp_2m|karras", "DPM++ 2M|Automatic", "dpm++ 2m|automatic",
        "DPM++ 2M Karras|Karras", "DPM++ 2M Karras Karras", "DPM++ 2M Karras|Automatic",
        "k_dpmpp_2m|karras", "DPMSolverMultistepScheduler Karras", "DPM++ 2m karras",
        "DPMSolverMultistepSchedulerKarras",
    ],
    "unipc": [
        "UniPC", "unipc", "uni_pc", "uni_pc_bh2", "UniPCMultistepScheduler", "unipc_tu",
        "UniPC|Automatic", "uni_pc|normal", "UniPC Trailing", "uni_pc_bh2|simple",
    ],
    "lcm": ["LCM", "lcm", "LCMScheduler", "lcm|sgm_uniform", "LCM|Automatic", "lcm|lcm", "k_lcm"],
}  # fmt: skip
NOT_HERE = [
    "", "Default", "Heun", "k_heun", "heun_k", "heunpp2", "LMS", "k_lms", "lms_k", "LMS Karras",
    "DPM2", "DPM2 a", "k_dpm_2", "k_dpm_2_a", "kdpm_2", "kdpm_2_a_k", "DPM2 a Karras", "dpm_2",
    "DPM fast", "DPM adaptive", "dpm_fast", "DPM++ 2S a", "k_dpmpp_2s_ancestral", "dpmpp_2s_k",
    "DPM++ SDE", "DPM++ SDE Karras", "dpmpp_sde_k", "k_dpmpp_sde|karras", "dpmpp_sde_gpu|karras",
    "DPM++ 2M SDE", "dpmpp_2m_sde|karras", "dpmpp_2m_sde_gpu|karras", "DPM++ 2M SDE Karras",
    "DPM++ 2M SDE|Exponential", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "dpmpp_3m_k", "PLMS", "pndm",
    "DDPM", "ddpm|normal", "DEIS", "deis_k", "ipndm", "Restart", "TCD", "er_sde", "res_multistep",
    "euler_cfg_pp", "euler_ancestral_cfg_pp|normal", "dpmpp_2m_cfg_pp", "DDIM CFG++", "sa_solver",
    "Euler|Karras", "euler_k", "euler_ancestral|karras", "Euler|Exponential", "Euler|Beta",
    "DPM++ 2M|Exponential", "dpmpp_2m|beta", "DPM++ 2M AYS", "DPM++ 2M|Align Your Steps",
    "unipc_k", "unipc_snr", "unipc_tu_2", "dpm_solver_stability", "lcm|karras", "Euler A Substep",
    "DPMSolverSinglestepScheduler", "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler", "nai_smea_dyn", "DPM++ 2M Karras|Exponential",
    "DPM++ 2M|polyexponential",
]  # fmt: skip


def named(spelling: str) -> tuple[str, str]:
    sampler, _, schedule = spelling.partition("|")
    return sampler, schedule


def test_there_are_enough_spellings() -> None:
    assert sum(map(len, OURS.values())) >= 89
    assert set(OURS) == set(SAMPLERS)


@pytest.mark.parametrize(
    ("spelling", "ours"), [(each, ours) for ours, spelled in OURS.items() for each in spelled]
)
def test_what_we_can_draw_is_known(spelling: str, ours: Sampler) -> None:
    sampler, schedule = named(spelling)
    assert sampler_from_names(sampler, schedule).name == ours
    if not schedule:
        assert sampler_from_title(spelling) == ours
    middle = f", Schedule type: {schedule}" if schedule else ""
    recipe = recipe_from_parameters(f"x\nSteps: 9, Sampler: {sampler}{middle}, Seed: 1, CFG: 2")
    assert form_fields(recipe, set()).fields["sampler"] == ours


@pytest.mark.parametrize("spelling", NOT_HERE)
def test_what_we_cannot_draw_is_said(spelling: str) -> None:
    sampler, schedule = named(spelling)
    found = sampler_from_names(sampler, schedule)
    assert found.name not in SAMPLERS
    middle = f", Schedule type: {schedule}" if schedule else ""
    form = form_fields(
        recipe_from_parameters(f"x\nSteps: 9, Sampler: {sampler}{middle}, Seed: 1, CFG: 2"), set()
    )
    assert "sampler" not in form.fields
    assert not sampler or any(f"“{found.name}” is not known here" in note for note in form.notes)


def test_a_schedule_that_is_only_alike_is_said() -> None:
    for schedule in ("simple", "SGM Uniform", "ddim_uniform"):
        assert f"“{schedule}”" in sampler_from_names("euler", schedule).note
    for schedule in ("", "normal", "Automatic", "Uniform", "native"):
        assert sampler_from_names("euler", schedule).note == ""


@given(st.text(max_size=60), st.text(max_size=30))
def test_any_names_are_answered(sampler: str, schedule: str) -> None:
    assert len(sampler_from_names(sampler, schedule).name) <= 2 * NAME_CHARS
    sampler_from_title(sampler * 1000)
