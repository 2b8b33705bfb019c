"""What a checkpoint says it predicts: each source by itself, who is believed, what is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from sdgen.models import find_model, settings_beside
from sdgen.prediction import (
    COSXL_LEVELS,
    PLAYGROUND_LEVELS,
    EdmLevels,
    Prediction,
    file_prediction,
    folder_prediction,
    modelspec_size,
)
from sdgen.safetensors_header import read_whole_header
from tests.bare_models import SD1, SD2, SDXL, write_folder, write_tensors

V_PRED: dict[str, tuple[int, ...]] = {"v_pred": (0,)}  # empty, as NoobAI's and ComfyUI's are
ZERO_SNR: dict[str, tuple[int, ...]] = {"v_pred": (0,), "ztsnr": (0,)}
SPREAD = {  # of a bias by which a Stable Diffusion 2.x is guessed to predict velocity
    "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias": [0.5, -0.5] * 8
}
LDM_YAML = """
model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    {}
    linear_start: 0.00085
    linear_end: 0.0120
"""
SGM_YAML = """
model:
  target: sgm.models.diffusion.DiffusionEngine
  params:
    denoiser_config:
      target: sgm.modules.diffusionmodules.denoiser.DiscreteDenoiser
      params:
        scaling_config:
          target: sgm.modules.diffusionmodules.denoiser_scaling.{}
"""


def checkpoint(folder: Path, shapes: Any = SDXL, **given: Any) -> Path:
    return write_tensors(folder / "own.safetensors", shapes, **given)


def put_scheduler(path: Path, beside: bool = True, **config: object) -> None:
    """A folder of settings beside a checkpoint, or around it, with these scheduler settings."""
    folder = path.with_suffix("") if beside else path.parent
    write_folder(folder, "StableDiffusionXLPipeline", "EulerDiscreteScheduler")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))


def told(path: Path, kind: Any = "sdxl") -> Prediction:
    header = read_whole_header(path)
    return file_prediction(path, header, kind, settings_beside(path, kind))


# --- each source by itself ------------------------------------------------------------------


def test_a_checkpoint_that_says_nothing_predicts_noise(tmp_path: Path) -> None:
    assert told(checkpoint(tmp_path)) == Prediction()


def test_marks_among_the_tensors_tell(tmp_path: Path) -> None:
    assert told(checkpoint(tmp_path, SDXL | V_PRED)) == Prediction("v_prediction")
    assert told(checkpoint(tmp_path, SDXL | ZERO_SNR)) == Prediction("v_prediction", zero_snr=True)
    assert told(checkpoint(tmp_path, SD1 | ZERO_SNR), "sd1").zero_snr


@pytest.mark.parametrize("key", ["modelspec.prediction_type", "modelspec.predict_key"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("v", "v_prediction"),
        ("v_pred", "v_prediction"),
        ("v-prediction", "v_prediction"),
        ("V_PREDICTION", "v_prediction"),
        ("epsilon", "epsilon"),
        ("eps", "epsilon"),
        ("", "epsilon"),
        ("who knows", "epsilon"),
    ],
)
def test_the_header_tells(tmp_path: Path, key: str, value: str, kind: str) -> None:
    assert told(checkpoint(tmp_path, metadata={key: value})) == Prediction(kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("stable-diffusion-v2-768-v", "v_prediction"),
        ("stable-diffusion-v2-512", "epsilon"),
        ("stable-diffusion-v1", "epsilon"),
    ],
)
def test_the_architecture_tells_of_stable_diffusion_2(
    tmp_path: Path, architecture: str, kind: str
) -> None:
    path = checkpoint(tmp_path, SD2, metadata={"modelspec.architecture": architecture})
    assert told(path, "sd2").type == kind


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('parameterization: "v"', "v_prediction"),
        ("parameterization: v", "v_prediction"),
        ("parameterization: eps", "epsilon"),
        ("use_ema: False", "epsilon"),
    ],
)
@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_a_yaml_beside_it_tells(tmp_path: Path, line: str, kind: str, suffix: str) -> None:
    path = checkpoint(tmp_path, SD1)
    path.with_suffix(suffix).write_text(LDM_YAML.format(line))
    found = told(path, "sd1")
    assert (found.type, found.betas, found.notes) == (kind, (0.00085, 0.012), ())


@pytest.mark.parametrize("name", ["rescale_betas_zero_snr", "zero_terminal_snr", "ztsnr", "zsnr"])
def test_a_yaml_beside_it_tells_of_zero_terminal_snr(tmp_path: Path, name: str) -> None:
    path = checkpoint(tmp_path, SD1)
    yaml = LDM_YAML.format(f"parameterization: v\n    {name}: true")
    path.with_suffix(".yaml").write_text(yaml)
    assert told(path, "sd1").zero_snr


@pytest.mark.parametrize(
    ("scaling", "found"),
    [
        ("EpsScaling", Prediction()),
        ("VScaling", Prediction("v_prediction")),
        ("VScalingWithEDMcNoise", Prediction("v_prediction", edm=COSXL_LEVELS)),
        ("EDMScaling", Prediction(edm=PLAYGROUND_LEVELS)),
        ("SomethingElse", Prediction()),
    ],
)
def test_a_yaml_of_stabilitys_newer_code_tells(
    tmp_path: Path, scaling: str, found: Prediction
) -> None:
    path = checkpoint(tmp_path)
    path.with_suffix(".yaml").write_text(SGM_YAML.format(scaling))
    assert told(path) == found


@pytest.mark.parametrize("text", ["", "- a list", "a: b", "model: 3", "model: {params: 4}"])
def test_a_yaml_of_another_kind_says_nothing(tmp_path: Path, text: str) -> None:
    path = checkpoint(tmp_path, SDXL | V_PRED)
    path.with_suffix(".yaml").write_text(text)
    assert told(path) == Prediction("v_prediction")


@pytest.mark.parametrize("content", [b"{ [", b"\xff\xfe\x00", b"[" * 20_000, b"!!python/none x"])
def test_a_yaml_that_cannot_be_read_is_said(tmp_path: Path, content: bytes) -> None:
    path = checkpoint(tmp_path, SDXL | V_PRED)
    path.with_suffix(".yaml").write_bytes(content)
    found = told(path)
    assert found.type == "v_prediction"
    assert found.notes == ("The .yaml beside it cannot be read and is left out.",)


@pytest.mark.parametrize("beside", [True, False])
def test_scheduler_settings_beside_or_around_it_tell(tmp_path: Path, beside: bool) -> None:
    home = tmp_path / "repository"
    if not beside:
        put_scheduler(home / "x", beside, prediction_type="v_prediction")
    home.mkdir(exist_ok=True)
    path = checkpoint(home)
    if beside:
        put_scheduler(path, beside, prediction_type="v_prediction", rescale_betas_zero_snr=True)
    assert told(path) == Prediction("v_prediction", zero_snr=beside)


def test_the_folder_around_it_must_be_of_its_kind(tmp_path: Path) -> None:
    put_scheduler(tmp_path / "home" / "x", False, prediction_type="v_prediction")
    path = checkpoint(tmp_path / "home", SD1)
    assert settings_beside(path, "sd1") is None
    assert told(path, "sd1") == Prediction()


def test_a_loose_scheduler_config_counts_where_it_can_mean_but_one(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    (tmp_path / "scheduler_config.json").write_text('{"prediction_type": "v_prediction"}')
    assert told(path).type == "v_prediction"
    write_tensors(tmp_path / "another.safetensors", SDXL)
    assert told(path).type == "epsilon"


def test_playground_is_told_by_its_means_and_deviations(tmp_path: Path) -> None:
    values = {"edm_mean": [1.0, 2.0, 3.0, 4.0], "edm_std": [5.0, 6.0, 7.0, 8.0]}
    found = told(checkpoint(tmp_path, values=values))
    assert (found.type, found.edm) == ("epsilon", PLAYGROUND_LEVELS)
    assert (found.latents_mean, found.latents_std) == ((1, 2, 3, 4), (5, 6, 7, 8))
    usual = told(checkpoint(tmp_path, SDXL | {"edm_mean": (1, 4), "edm_std": (1, 4)}))
    assert usual.latents_std == (8.4927, 5.9022, 6.5498, 5.2299)  # zeros are no deviations
    assert told(checkpoint(tmp_path, values={"edm_mean": [0.0]})).edm is None


def test_cosxl_is_told_by_its_noise_levels(tmp_path: Path) -> None:
    values = {"edm_vpred.sigma_max": [80.0], "edm_vpred.sigma_min": [0.0625]}
    found = told(checkpoint(tmp_path, values=values))
    assert found == Prediction("v_prediction", edm=EdmLevels(0.0625, 80.0, 1.0, "exponential"))
    for wrong in ([0.0], [float("nan")], [-1.0], [1.0, 2.0], [0.001]):
        path = checkpoint(tmp_path, values={"edm_vpred.sigma_max": wrong})
        assert told(path).edm == COSXL_LEVELS


def test_a_folder_tells_by_its_scheduler(tmp_path: Path) -> None:
    put_scheduler(tmp_path / "x", prediction_type="v_prediction", rescale_betas_zero_snr=True)
    assert folder_prediction(tmp_path / "x") == Prediction("v_prediction", zero_snr=True)
    assert folder_prediction(tmp_path / "no such") == Prediction()
    put_scheduler(tmp_path / "e", _class_name="EDMEulerScheduler", sigma_max=99.0)
    assert folder_prediction(tmp_path / "e").edm == EdmLevels(0.002, 99.0, 0.5, "karras")


@pytest.mark.parametrize("content", ["{", "[]", "[" * 20_000, '{"prediction_type": 3}'])
def test_scheduler_settings_that_cannot_be_read_say_nothing(tmp_path: Path, content: str) -> None:
    put_scheduler(tmp_path / "x")
    (tmp_path / "x" / "scheduler" / "scheduler_config.json").write_text(content)
    assert folder_prediction(tmp_path / "x") == Prediction()


# --- who is believed ------------------------------------------------------------------------


def all_say(folder: Path, marks: str, yaml: str, header: str, settings: str) -> Path:
    """A checkpoint about which each source says "v", "eps" or nothing ("")."""
    path = checkpoint(
        folder,
        SDXL | (V_PRED if marks else {}),
        metadata={"modelspec.prediction_type": header} if header else {},
    )
    if yaml:
        path.with_suffix(".yaml").write_text(LDM_YAML.format(f"parameterization: {yaml}"))
    long = {"v": "v_prediction", "eps": "epsilon"}
    put_scheduler(path, **({"prediction_type": long[settings]} if settings else {}))
    return path


@pytest.mark.parametrize(
    ("marks", "yaml", "header", "settings", "kind", "believed", "against"),
    [
        ("v", "eps", "eps", "eps", "v_prediction", "its keys", ["yaml", "scheduler", "header"]),
        ("v", "", "", "eps", "v_prediction", "its keys", ["scheduler"]),
        ("", "eps", "v", "v", "epsilon", "the .yaml", ["header", "scheduler"]),
        ("", "v", "eps", "eps", "v_prediction", "the .yaml", ["scheduler", "header"]),
        ("", "", "v", "eps", "v_prediction", "its header", ["scheduler"]),
        ("", "", "eps", "v", "v_prediction", "the scheduler_config", ["header"]),
        ("", "", "eps", "", "epsilon", "", []),
        ("v", "v", "v", "v", "v_prediction", "", []),
    ],
)
def test_who_is_believed_and_who_is_named(
    tmp_path: Path,
    marks: str,
    yaml: str,
    header: str,
    settings: str,
    kind: str,
    believed: str,
    against: list[str],
) -> None:
    found = told(all_say(tmp_path, marks, yaml, header, settings))
    assert found.type == kind
    assert len(found.notes) == len(against)
    for note, other in zip(found.notes, against, strict=True):
        assert note.startswith(f"By {believed}")
        assert other in note.partition(", by ")[2]
        assert note.endswith("the first is followed.")


def test_a_guess_comes_last_and_contradicts_nobody(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, SD2, values=SPREAD)
    assert told(path, "sd2") == Prediction("v_prediction")
    put_scheduler(path, prediction_type="epsilon")
    assert told(path, "sd2") == Prediction("epsilon")
    header = {"modelspec.prediction_type": "epsilon"}
    assert (
        told(checkpoint(tmp_path / "own", SD2, values=SPREAD, metadata=header), "sd2").notes == ()
    )


def test_only_stable_diffusion_2_is_guessed(tmp_path: Path) -> None:
    assert told(checkpoint(tmp_path, SD1, values=SPREAD), "sd1") == Prediction()
    assert told(checkpoint(tmp_path, SDXL, values=SPREAD)) == Prediction()


def test_a_yaml_of_compvis_code_that_names_nothing_means_its_default(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, SD1, metadata={"modelspec.prediction_type": "v"})
    path.with_suffix(".yaml").write_text(LDM_YAML.format("use_ema: False"))
    found = told(path, "sd1")
    assert found.type == "epsilon"
    assert "its header" in found.notes[0]


def test_zero_terminal_snr_without_velocity_is_left_out_and_said(tmp_path: Path) -> None:
    found = told(checkpoint(tmp_path, SDXL | {"ztsnr": (0,)}))
    assert (found.type, found.zero_snr) == ("epsilon", False)
    assert "zero terminal SNR" in found.notes[0]
    v = checkpoint(tmp_path, SDXL | {"ztsnr": (0,)}, metadata={"modelspec.prediction_type": "v"})
    assert told(v) == Prediction("v_prediction", zero_snr=True)


def test_edm_marks_where_they_cannot_belong_are_left_out_and_said(tmp_path: Path) -> None:
    found = told(checkpoint(tmp_path, SD1, values={"edm_mean": [0.0], "edm_std": [1.0]}), "sd1")
    assert (found.edm, found.latents_mean) == (None, ())
    assert "edm_mean" in found.notes[0]


def test_timesteps_against_noise_levels_is_a_contradiction(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, values={"edm_mean": [0.0] * 4, "edm_std": [1.0] * 4})
    put_scheduler(path, prediction_type="epsilon")
    assert "(EDM)" in told(path).notes[0]


# --- what follows for its defaults ----------------------------------------------------------


def test_the_sampler_suits_what_it_predicts(tmp_path: Path) -> None:
    zero = find_model(str(checkpoint(tmp_path, SDXL | ZERO_SNR)))
    assert (zero.sampler, zero.guidance_scale) == ("euler", 5.0)
    plain = find_model(str(checkpoint(tmp_path, SDXL | V_PRED)))
    assert (plain.sampler, plain.guidance_scale) == ("dpmpp_2m", 7.0)
    values = {"edm_mean": [0.0] * 4, "edm_std": [1.0] * 4}
    playground = find_model(str(checkpoint(tmp_path, values=values)))
    assert (playground.sampler, playground.guidance_scale) == ("dpmpp_2m_karras", 3.0)
    cosxl = find_model(str(checkpoint(tmp_path, values={"edm_vpred.sigma_max": [120.0]})))
    assert cosxl.sampler == "euler"


def test_a_folder_of_noise_levels_starts_with_a_sampler_that_fits(tmp_path: Path) -> None:
    put_scheduler(tmp_path / "x", _class_name="EDMDPMSolverMultistepScheduler")
    assert find_model(str(tmp_path / "x")).sampler == "dpmpp_2m_karras"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024x1024", (1024, 1024)),
        ("832x1216", (832, 1216)),
        ("768", (768, 768)),
        ("512, 640", (512, 640)),
        ("", None),
        ("big", None),
        ("1023x1024", None),
        ("8x8", None),
        ("99999x99999", None),
    ],
)
def test_the_header_tells_the_size(tmp_path: Path, text: str, size: tuple[int, int] | None) -> None:
    assert modelspec_size({"modelspec.resolution": text}) == size
    spec = find_model(str(checkpoint(tmp_path, metadata={"modelspec.resolution": text})))
    assert (spec.width, spec.height) == (size or (1024, 1024))
