"""Loading real (small, random) models: folders, variants, single files, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdgen.config import Settings
from sdgen.errors import DownloadNeeded, ModelUnavailable
from sdgen.model_files import download
from sdgen.models import find_model
from sdgen.pipelines.loading import load_pipeline
from sdgen.pipelines.sd import SdPipeline
from sdgen.pipelines.whole import WholeDiffusersPipeline
from tests.fake_hub import fake_hub
from tests.tiny_models import lcm, saved, sd1, sd2
from tests.tiny_sdxl import checkpoint, sdxl

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder and a checkpoint file of each kind; tests copy what they change."""
    home = tmp_path_factory.mktemp("models")
    for name, build in {"sd1": sd1, "sd2": sd2, "lcm": lcm, "sdxl": sdxl}.items():
        pipe = build()
        saved(pipe, home / name)
        if name != "lcm":
            checkpoint(pipe, home / f"{name}.safetensors")
    saved(sd1(checker_objects=False), home / "checked")
    return home


@pytest.fixture
def one(models: Path, tmp_path: Path) -> Path:
    """A copy of the SD 1.x folder to spoil."""
    return shutil.copytree(models / "sd1", tmp_path / "one")


def load(path: Path, settings: Settings, **changes: Any) -> Any:
    settings = settings.model_copy(update=changes)
    return load_pipeline(find_model(str(path)), settings, settings.data_dir / "cache")


def pipe_of(pipeline: Any) -> Any:
    """The diffusers pipeline inside."""
    return pipeline.pipe if isinstance(pipeline, SdPipeline) else pipeline._pipe


def weights(pipeline: Any) -> dict[str, torch.Tensor]:
    parts = ("unet", "vae", "text_encoder", "text_encoder_2")
    pipe = pipe_of(pipeline)
    return {
        f"{part}.{name}": tensor
        for part in parts
        if hasattr(pipe, part)
        for name, tensor in getattr(pipe, part).state_dict().items()
    }


def refusal(path: Path, settings: Settings, **changes: Any) -> str:
    """The sentence that loading fails with; it never holds a path of this machine."""
    with pytest.raises(ModelUnavailable) as caught:
        load(path, settings, **changes)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert str(path.parent) not in text
    return text


# --- what loads -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sd1", "sd2", "lcm"])
def test_stable_diffusion_folders_load_for_single_steps(
    models: Path, settings: Settings, name: str
) -> None:
    pipeline = load(models / name, settings)
    assert isinstance(pipeline, SdPipeline)
    assert (pipeline.device.type, pipeline.dtype) == ("cpu", torch.float32)
    assert len(pipeline.model_hash) == 64
    assert pipeline.spec.family == "sd"


def test_a_flow_model_of_stable_diffusion_keeps_its_own_sampler(
    one: Path, settings: Settings
) -> None:
    """The samplers of the menu would draw it from betas that it was never trained on."""
    (one / "scheduler" / "scheduler_config.json").write_text(
        '{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}'
    )
    change_index(one, scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])
    spec = find_model(str(one))
    assert (spec.family, "sampler" in spec.ignores) == ("whole", True)
    pipeline = load(one, settings)
    assert isinstance(pipeline, WholeDiffusersPipeline)
    request = spec.request(prompt="a cat", seed=1, steps=2)
    assert "FlowMatchEulerDiscrete" in pipeline.check(request)[0]


def test_other_folders_load_as_a_whole(models: Path, settings: Settings) -> None:
    pipeline = load(models / "sdxl", settings)
    assert isinstance(pipeline, WholeDiffusersPipeline)
    assert pipeline.spec.family == "whole"


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl"])
def test_a_checkpoint_has_the_weights_of_its_folder(
    models: Path, settings: Settings, name: str
) -> None:
    folder, file = load(models / name, settings), load(models / f"{name}.safetensors", settings)
    assert type(folder) is type(file)
    left, right = weights(folder), weights(file)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)
    assert folder.model_hash != file.model_hash


def test_a_checkpoint_loads_without_the_safety_checker_of_its_settings(
    models: Path, tmp_path: Path, settings: Settings
) -> None:
    path = checkpoint(sd1(), tmp_path / "own.safetensors")
    shutil.copytree(models / "checked", tmp_path / "own")
    assert pipe_of(load(path, settings)).safety_checker is None


def test_an_sd2_checkpoint_of_which_nothing_tells_is_told_by_its_weights(
    models: Path, tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "own.safetensors"
    shutil.copytree(models / "sd2", tmp_path / "own")
    told = tmp_path / "own" / "scheduler" / "scheduler_config.json"
    silent = {k: v for k, v in json.loads(told.read_text()).items() if k != "prediction_type"}
    told.write_text(json.dumps(silent))
    tensors = load_file(models / "sd2.safetensors")
    key = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
    for spread, prediction in ((0.5, "v_prediction"), (0.001, "epsilon")):
        save_file(tensors | {key: torch.tensor([spread, -spread] * 8)}, path)
        config = pipe_of(load(path, settings)).scheduler.config
        assert config.prediction_type == prediction


def test_half_precision_files_alone_are_enough(one: Path, models: Path, settings: Settings) -> None:
    for path in one.rglob("*.safetensors"):
        half = {key: tensor.half() for key, tensor in load_file(path).items()}
        path.unlink()
        save_file(half, path.with_suffix(".fp16.safetensors"), {"format": "pt"})
    pipeline = load(one, settings)
    assert pipeline.dtype == torch.float32
    left, right = weights(pipeline), weights(load(models / "sd1", settings))
    assert all(torch.allclose(left[key].float(), right[key], atol=2e-3) for key in left)


def test_the_dtype_asked_for_is_used(models: Path, settings: Settings) -> None:
    pipeline = load(models / "sd1", settings, dtype="bfloat16")
    assert pipeline.dtype == torch.bfloat16
    assert pipe_of(pipeline).unet.dtype == torch.bfloat16


def test_the_safety_checker_is_kept_unless_it_is_switched_off(
    models: Path, settings: Settings
) -> None:
    assert pipe_of(load(models / "checked", settings)).safety_checker is not None
    off = load(models / "checked", settings, safety_checker=False)
    assert pipe_of(off).safety_checker is None


def test_loading_is_silent(
    models: Path, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    load(models / "sd1", settings)
    load(models / "sdxl", settings)
    captured = capfd.readouterr()
    assert "Loading" not in captured.out + captured.err


def test_a_downloaded_model_loads_from_the_hubs_cache(
    models: Path, tmp_path: Path, settings: Settings
) -> None:
    cache = tmp_path / "hub"
    with pytest.raises(DownloadNeeded):
        load_pipeline(find_model("own/sd", cache), settings, tmp_path, cache)
    with fake_hub(own__sd=models / "sd1", own__xl=models / "sdxl") as hub:
        for name in ("own/sd", "own/xl"):
            download(find_model(name, cache), None, cache, hub.endpoint)
    pipeline = load_pipeline(find_model("own/sd", cache), settings, tmp_path, cache)
    assert isinstance(pipeline, SdPipeline)
    assert pipeline.model_hash == load(models / "sd1", settings).model_hash
    whole = load_pipeline(find_model("own/xl", cache), settings, tmp_path, cache)
    assert isinstance(whole, WholeDiffusersPipeline)


def test_a_checkpoint_loads_with_settings_from_the_hubs_cache(
    models: Path, tmp_path: Path, settings: Settings
) -> None:
    cache = tmp_path / "hub"
    path = checkpoint(sd1(), tmp_path / "own.safetensors")
    spec = find_model(str(path))
    with pytest.raises(DownloadNeeded, match="4 MB"):
        load_pipeline(spec, settings, tmp_path, cache)
    with fake_hub() as hub:
        hub.repos["stable-diffusion-v1-5/stable-diffusion-v1-5"] = models / "checked"
        download(spec, None, cache, hub.endpoint)
        assert not any(name.endswith(".safetensors") for name in hub.fetched)
    pipeline = load_pipeline(spec, settings, tmp_path, cache)
    assert torch.equal(pipe_of(pipeline).unet.conv_in.weight, sd1().unet.conv_in.weight)


# --- what does not --------------------------------------------------------------------------


def test_a_missing_part_is_named(one: Path, settings: Settings) -> None:
    shutil.rmtree(one / "vae")
    assert "incomplete: vae (config.json)" in refusal(one, settings)


def test_pickled_weights_are_refused(one: Path, settings: Settings) -> None:
    tensors = load_file(one / UNET)
    (one / UNET).unlink()
    torch.save(tensors, (one / UNET).with_suffix(".bin"))
    assert "only pickled weights" in refusal(one, settings)
    (one / UNET).with_suffix(".bin").rename(one / UNET)
    assert "pickled" in refusal(one, settings)


@pytest.mark.parametrize("keep", [0, 7, 200, -1])
def test_cut_weights_are_refused(one: Path, settings: Settings, keep: int) -> None:
    content = (one / UNET).read_bytes()
    (one / UNET).write_bytes(content[:keep])
    assert "diffusion_pytorch_model.safetensors" in refusal(one, settings)


def test_offsets_that_overlap_are_refused(one: Path, settings: Settings) -> None:
    content = (one / UNET).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    first, second = [name for name in header if name != "__metadata__"][:2]
    header[first]["data_offsets"] = header[second]["data_offsets"]
    text = json.dumps(header).encode()
    (one / UNET).write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    assert "damaged" in refusal(one, settings)


def test_weights_of_another_shape_are_refused(one: Path, settings: Settings) -> None:
    config = json.loads((one / "unet" / "config.json").read_text())
    config["block_out_channels"] = [16, 48]
    (one / "unet" / "config.json").write_text(json.dumps(config))
    assert "do not fit its settings" in refusal(one, settings)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_weights_file_that_lacks_tensors_is_refused(
    one: Path, settings: Settings, part: str
) -> None:
    path = next((one / part).glob("*.safetensors"))
    tensors = load_file(path)
    del tensors[sorted(key for key in tensors if key.endswith("weight"))[3]]
    save_file(tensors, path, {"format": "pt"})
    assert "weights are missing" in refusal(one, settings)


def test_a_pipeline_that_diffusers_does_not_have_is_named(one: Path, settings: Settings) -> None:
    change_index(one, _class_name="MarvellousPipeline")
    assert "MarvellousPipeline" in refusal(one, settings)


@pytest.mark.parametrize("name", ["UNet2DConditionModel", "AutoencoderKL", "DDPMPipeline"])
def test_a_class_that_does_not_draw_from_text_is_refused(
    one: Path, settings: Settings, name: str
) -> None:
    change_index(one, _class_name=name)
    assert name in refusal(one, settings)


def test_a_library_that_sdgen_does_not_use_is_never_imported(one: Path, settings: Settings) -> None:
    (one / "unet" / "antigravity.py").write_text("raise SystemExit('ran')")
    change_index(one, unet=["antigravity", "UNet2DConditionModel"])
    assert "library 'antigravity'" in refusal(one, settings)


def test_code_beside_the_weights_is_never_run(one: Path, settings: Settings) -> None:
    trap = f"import pathlib; pathlib.Path({str(one / 'ran')!r}).touch()"
    for place in ("None.py", "pipeline.py", "diffusers.py", "unet/diffusers.py", "unet/unet.py"):
        (one / place).write_text(trap)
    for place in ("None.py", "unet/diffusers.py"):  # the names that diffusers would look for
        assert "code of its own" in refusal(one, settings)
        (one / place).unlink()
    assert isinstance(load(one, settings), SdPipeline)
    assert not (one / "ran").exists()


def test_a_checkpoint_that_lacks_a_part_is_refused(models: Path, settings: Settings) -> None:
    tensors = load_file(models / "sd1.safetensors")
    some = {key: value for key, value in tensors.items() if ".middle_block." not in key}
    path = models / "sd1-cut.safetensors"
    save_file(some, path)
    shutil.copytree(models / "sd1", models / "sd1-cut", dirs_exist_ok=True)
    assert "missing" in refusal(path, settings)


def test_settings_of_another_kind_beside_a_checkpoint_are_refused(
    models: Path, tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "own.safetensors"
    shutil.copy(models / "sd1.safetensors", path)
    shutil.copytree(models / "sdxl", tmp_path / "own")
    refusal(path, settings)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs resource limits")
def test_too_little_memory_is_one_sentence(tmp_path: Path, settings: Settings) -> None:
    folder = saved(sd1(block_out_channels=(256, 512)), tmp_path / "big")
    code = f"""
import resource, sys
from pathlib import Path
from sdgen.config import Settings
from sdgen.errors import ModelUnavailable
from sdgen.models import find_model
from sdgen.pipelines.loading import load_pipeline
spec, settings = find_model({str(folder)!r}), Settings(data_dir={str(tmp_path)!r}, dtype="bfloat16")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 30_000_000, used + 30_000_000))
try:
    load_pipeline(spec, settings, Path({str(tmp_path)!r}))
except ModelUnavailable as error:
    sys.exit(0 if "not enough memory" in str(error) else str(error))
sys.exit("it loaded")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def change_index(folder: Path, **changes: object) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
