"""Single checkpoints as the field has them, drawn like diffusers given the right settings.

Each is a small model with random weights in one file. What is compared are the latents that reach
the VAE's decoder: they hold all that prediction, noise levels, text encoders and VAE settings do.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
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
from safetensors.torch import load_file, save_file

from sdgen.config import Settings
from sdgen.errors import InvalidRequest, ModelUnavailable
from sdgen.models import find_model
from sdgen.pipelines.loading import load_pipeline
from sdgen.pipelines.sd import SdPipeline
from sdgen.request import GenerateRequest
from tests.sd_steps import pixels, run
from tests.tiny_models import SD1_SCHEDULER, SD2_SCHEDULER, saved, sd1, sd2
from tests.tiny_sdxl import SDXL_SCHEDULER, checkpoint, sdxl
from tests.whole_runs import go_on, request

CONFIGS: dict[str, dict[str, Any]] = {  # as the settings beside the checkpoints have them
    "sd1": SD1_SCHEDULER | {"timestep_spacing": "leading"},
    "sd2": SD2_SCHEDULER | {"timestep_spacing": "leading"},
    "sdxl": SDXL_SCHEDULER,
}
MARKS = {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
ZERO_SNR = {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}
SAMPLERS: dict[str, tuple[Any, dict[str, Any]]] = {  # what diffusers is given for each of ours
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "ddim": (DDIMScheduler, {"clip_sample": False}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {"clip_sample": False}),
}
CLIP = "cond_stage_model.transformer.text_model."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings and one plain checkpoint of each kind; tests copy them."""
    folder = tmp_path_factory.mktemp("kinds")
    for name in ("sd1", "sd2", "sdxl"):
        pipe = plain_pipe(name)
        saved(pipe, folder / name)
        checkpoint(pipe, folder / f"{name}.safetensors")
        for weights in (folder / name).rglob("*.safetensors"):
            weights.unlink()
    return folder


@cache
def plain_pipe(kind: str) -> Any:
    """diffusers' pipeline of that kind; whoever changes its scheduler puts it back."""
    return {"sd1": sd1, "sd2": sd2, "sdxl": sdxl}[kind]()


def unchanged(tensors: Any) -> Any:
    return tensors


def written(
    home: Path,
    folder: Path,
    kind: str,
    changes: Any = unchanged,
    metadata: dict[str, str] | None = None,
    **scheduler: object,
) -> Path:
    """A checkpoint with settings beside it. changes: of its tensors; scheduler: of its settings,
    where None takes a setting away."""
    path = folder / "own.safetensors"
    shutil.copytree(home / kind, folder / "own")
    save_file(changes(load_file(home / f"{kind}.safetensors")), path, metadata)
    config = folder / "own" / "scheduler" / "scheduler_config.json"
    told = json.loads(config.read_text()) | scheduler
    config.write_text(json.dumps({key: value for key, value in told.items() if value is not None}))
    return path


def loaded(path: Path, settings: Settings) -> Any:
    return load_pipeline(find_model(str(path)), settings, settings.data_dir / "cache")


@contextmanager
def decoder_input(pipe: Any) -> Iterator[list[torch.Tensor]]:
    """What the VAE's decoder is given meanwhile."""
    seen: list[torch.Tensor] = []
    hook = pipe.vae.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        yield seen
    finally:
        hook.remove()


def ours(pipeline: Any, asked: GenerateRequest) -> torch.Tensor:
    pipe = pipeline.pipe if isinstance(pipeline, SdPipeline) else pipeline._pipe
    with decoder_input(pipe) as seen:
        if isinstance(pipeline, SdPipeline):
            pixels(pipeline, run(pipeline, pipeline.encode(asked)))
        else:
            pipeline.check(asked)
            pipeline.run(asked, 0, go_on)
    return seen[-1]


def theirs(pipe: Any, scheduler: Any, asked: GenerateRequest) -> torch.Tensor:
    """What diffusers' own pipeline comes to with that scheduler."""
    own, pipe.scheduler = pipe.scheduler, scheduler
    try:
        with decoder_input(pipe) as seen:
            pipe(
                asked.prompt,
                height=asked.height,
                width=asked.width,
                num_inference_steps=asked.steps,
                guidance_scale=asked.guidance_scale,
                generator=torch.Generator("cpu").manual_seed(asked.seed),
            )
    finally:
        pipe.scheduler = own
    return seen[-1]


def assert_alike(one: torch.Tensor, other: torch.Tensor) -> None:
    """Equal to a relative error of 1e-5."""
    assert float((one - other).norm() / other.norm()) <= 1e-5


def assert_unlike(one: torch.Tensor, other: torch.Tensor) -> None:
    assert float((one - other).norm() / other.norm()) > 1e-2


# --- what it predicts -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sdxl", "sd1"])
def test_velocity_with_zero_terminal_snr_is_drawn_right_by_every_sampler(
    home: Path, tmp_path: Path, settings: Settings, kind: str
) -> None:
    pipeline = loaded(written(home, tmp_path, kind, lambda t: t | MARKS), settings)
    config = CONFIGS[kind] | ZERO_SNR
    for sampler, (scheduler_class, changes) in SAMPLERS.items():
        asked = request(sampler=sampler)
        right = scheduler_class.from_config(config, **changes)
        expected = theirs(plain_pipe(kind), right, asked)
        assert_alike(ours(pipeline, asked), expected)
        if sampler == "euler":
            wrong = scheduler_class.from_config(config, prediction_type="epsilon")
            assert_unlike(theirs(plain_pipe(kind), wrong, asked), expected)
    assert len(pipeline.notes) == 1  # the settings beside it say epsilon


def yaml_beside(path: Path) -> None:
    text = "model: {target: ldm.LatentDiffusion, params: {parameterization: v}}"
    path.with_suffix(".yaml").write_text(text)


@pytest.mark.parametrize("source", ["marks", "yaml", "header", "settings", "around"])
@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_velocity_is_drawn_right_whoever_tells_it(
    home: Path, tmp_path: Path, settings: Settings, kind: str, source: str
) -> None:
    settings_say: dict[str, object] = {"prediction_type": "epsilon"}
    marks = {"v_pred": torch.tensor([])} if source == "marks" else {}
    if source in ("settings", "around"):
        settings_say = {"prediction_type": "v_prediction"}
    header = {"modelspec.prediction_type": "v"} if source == "header" else None
    path = written(home, tmp_path, kind, lambda t: t | marks, header, **settings_say)
    if source == "yaml":
        yaml_beside(path)
    if source == "around":  # a repository that has both
        path = path.rename(tmp_path / "own" / "other name.safetensors")
    pipeline = loaded(path, settings)
    right = EulerDiscreteScheduler.from_config(CONFIGS[kind], prediction_type="v_prediction")
    assert_alike(ours(pipeline, request()), theirs(plain_pipe(kind), right, request()))
    assert len(pipeline.notes) == (source in ("marks", "yaml", "header"))


def test_settings_beside_a_checkpoint_of_stable_diffusion_2_are_not_overruled(
    home: Path, tmp_path: Path, settings: Settings
) -> None:
    key = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
    spread = {key: torch.tensor([0.5, -0.5] * 8)}
    path = written(home, tmp_path, "sd2", lambda t: t | spread, prediction_type="epsilon")
    right = EulerDiscreteScheduler.from_config(CONFIGS["sd2"], prediction_type="epsilon")
    pipeline = loaded(path, settings)
    assert_alike(ours(pipeline, request()), theirs(plain_pipe("sd2"), right, request()))


def test_the_recipe_tells_the_scheduler_that_drew(
    home: Path, tmp_path: Path, settings: Settings
) -> None:
    pipeline = loaded(written(home, tmp_path, "sdxl", lambda t: t | MARKS), settings)
    told = json.loads(pipeline.run(request(), 0, go_on).noise_scheduler)
    assert told["class"] == "EulerDiscreteScheduler"
    assert {key: told[key] for key in ZERO_SNR} == ZERO_SNR


def test_playground_is_drawn_right_from_its_noise_levels(
    home: Path, tmp_path: Path, settings: Settings
) -> None:
    mean, std = [-1.5, 2.0, -1.25, 2.5], [8.5, 6.0, 6.5, 5.25]
    marks = {
        "edm_mean": torch.tensor(mean).view(1, 4, 1, 1),
        "edm_std": torch.tensor(std).view(1, 4, 1, 1),
    }
    pipeline = loaded(written(home, tmp_path, "sdxl", lambda t: t | marks), settings)
    other = sdxl()
    other.vae.register_to_config(latents_mean=mean, latents_std=std, scaling_factor=0.5)
    levels = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}
    for sampler, right in {
        "dpmpp_2m_karras": EDMDPMSolverMultistepScheduler(**levels),
        "dpmpp_2m": EDMDPMSolverMultistepScheduler(**levels),
        "euler": EDMEulerScheduler(**levels),
    }.items():
        asked = request(sampler=sampler)
        assert_alike(ours(pipeline, asked), theirs(other, right, asked))
        assert pipeline.check(asked) == ()
    assert pipeline.check(request(sampler="ddim")) == (
        "The sampler DDIM does not fit this model; its own (EDMDPMSolverMultistep) is used.",
    )
    assert pipeline.run(request(sampler="ddim"), 0, go_on) is not None


def test_cosxl_is_drawn_right_from_its_noise_levels(
    home: Path, tmp_path: Path, settings: Settings
) -> None:
    marks = {"edm_vpred.sigma_max": torch.tensor(64.0), "edm_vpred.sigma_min": torch.tensor(0.25)}
    pipeline = loaded(written(home, tmp_path, "sdxl", lambda t: t | marks), settings)
    levels: dict[str, Any] = {
        "sigma_min": 0.25,
        "sigma_max": 64.0,
        "sigma_data": 1.0,
        "prediction_type": "v_prediction",
    }
    for sampler, right in {
        "euler": EDMEulerScheduler(**levels, sigma_schedule="exponential"),
        "dpmpp_2m": EDMDPMSolverMultistepScheduler(**levels, sigma_schedule="exponential"),
        "dpmpp_2m_karras": EDMDPMSolverMultistepScheduler(**levels, sigma_schedule="karras"),
    }.items():
        asked = request(sampler=sampler)
        assert_alike(ours(pipeline, asked), theirs(plain_pipe("sdxl"), right, asked))
    with pytest.raises(InvalidRequest, match="at least 2 steps"):
        pipeline.check(request(steps=1))


# --- layouts --------------------------------------------------------------------------------


def renamed(old: str, new: str) -> Any:
    return lambda tensors: {
        (new + key.removeprefix(old) if key.startswith(old) else key): value
        for key, value in tensors.items()
    }


def with_old_attention(tensors: Any) -> Any:
    """A VAE whose attention has the names of diffusers' layers, as some converters left them."""
    names = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
    changed = {}
    for key, value in tensors.items():
        head, mark, tail = key.partition(".mid.attn_1.")
        stem, _, ending = tail.rpartition(".")
        changed[f"{head}{mark}{names[stem]}.{ending}" if mark else key] = value
    return changed


def with_vae_of_diffusers(tensors: Any) -> Any:
    """A VAE under diffusers' own names, its attention as before 0.18."""
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    changed = {k: v for k, v in tensors.items() if not k.startswith("first_stage_model.")}
    for key, value in plain_pipe("sd1").vae.state_dict().items():
        for new, old in names.items():
            key = key.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
        changed[f"first_stage_model.{key}"] = value
    return changed


LAYOUTS: dict[str, tuple[str, Any]] = {
    "old names of the text encoder": ("sd1", renamed(CLIP, "cond_stage_model.transformer.")),
    "the text encoder as sgm has it": (
        "sd1", renamed("cond_stage_model.", "conditioner.embedders.0."),
    ),
    "positions kept as numbers": (
        "sd1", lambda t: t | {f"{CLIP}embeddings.position_ids": torch.arange(77.0)[None]},
    ),
    "an average of training beside it": (
        "sd1", lambda t: t | {f"model_ema.diffusion_model{n}": torch.ones(1) for n in range(200)},
    ),
    "what training kept": (
        "sd1", lambda t: t | {"betas": torch.ones(9), "global_step": torch.tensor(875000)},
    ),
    "the VAE as newer files call it": ("sd1", renamed("first_stage_model.", "vae.")),
    "the VAE's attention as layers": ("sd1", with_old_attention),
    "the VAE in diffusers' names": ("sd1", with_vae_of_diffusers),
    "old names of SDXL's first text encoder": (
        "sdxl",
        renamed(
            "conditioner.embedders.0.transformer.text_model.",
            "conditioner.embedders.0.transformer.",
        ),
    ),
    "2.x as sgm has it": (
        "sd2", renamed("cond_stage_model.", "conditioner.embedders.0."),
    ),
    "no projection of the text": (
        "sd2", lambda t: {k: v for k, v in t.items() if not k.endswith(".text_projection")},
    ),
    "weights in 8 bits": (
        "sd1",
        lambda t: {k: v.to(torch.float8_e4m3fn) if v.ndim > 1 else v for k, v in t.items()},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_of_another_time_is_the_same_model(
    home: Path, tmp_path: Path, settings: Settings, name: str
) -> None:
    kind, changes = LAYOUTS[name]
    file, plain = written(home, tmp_path / "file", kind, changes), home / f"{kind}.safetensors"
    pipeline = loaded(file, settings)
    pipe = pipeline.pipe if isinstance(pipeline, SdPipeline) else pipeline._pipe
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        if not hasattr(pipe, part):
            continue
        expected = getattr(plain_pipe(kind), part).state_dict()
        for key, tensor in getattr(pipe, part).state_dict().items():
            right = expected[key]
            if name == "weights in 8 bits":
                right = right.to(torch.float8_e4m3fn).float() if right.ndim > 1 else right
            if "attentions.0.to_" in key and part == "vae":
                assert tensor.shape == right.shape
            if name != "weights in 8 bits" or part == "unet":
                assert torch.equal(tensor, right), (part, key)
    assert plain.is_file()


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
@pytest.mark.parametrize("surplus", [1, 4096])
def test_bytes_behind_the_end_are_left_out_and_said(
    home: Path, tmp_path: Path, settings: Settings, kind: str, surplus: int
) -> None:
    path = written(home, tmp_path, kind)
    path.write_bytes(path.read_bytes() + b"\x01" * surplus)
    pipeline = loaded(path, settings)
    right = EulerDiscreteScheduler.from_config(CONFIGS[kind])
    assert_alike(ours(pipeline, request()), theirs(plain_pipe(kind), right, request()))
    assert pipeline.notes == (
        f"The checkpoint has {surplus:,} bytes behind its end that belong to no tensor; they are "
        "left out.",
    )


def test_bytes_behind_the_end_do_not_hide_damage(
    home: Path, tmp_path: Path, settings: Settings
) -> None:
    path = written(home, tmp_path, "sd1")
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    first, second = [name for name in header if name != "__metadata__"][:2]
    header[first]["data_offsets"] = header[second]["data_offsets"]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :] + b"more")
    with pytest.raises(ModelUnavailable, match="damaged"):
        loaded(path, settings)


def test_settings_of_another_kind_beside_it_are_named(
    home: Path, tmp_path: Path, settings: Settings
) -> None:
    path = written(home, tmp_path, "sd1")
    shutil.rmtree(tmp_path / "own")
    shutil.copytree(home / "sdxl", tmp_path / "own")
    with pytest.raises(ModelUnavailable, match="StableDiffusionXLPipeline"):
        loaded(path, settings)
