"""A name, a folder, a Hub id: what is known of a model before anything is loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sdgen.errors import InvalidRequest, ModelUnavailable
from sdgen.models import FolderSource, HubSource, ModelWords, bundled_models, find_model, read_words
from tests.bare_models import SD1, write_folder, write_tensors

COMMIT = "0123456789abcdef0123456789abcdef01234567"


# --- the table ------------------------------------------------------------------------------


def test_every_entry_of_the_table_makes_a_request_from_its_own_defaults() -> None:
    for name, spec in bundled_models().items():
        request = spec.request(prompt="a red robot")
        assert (request.model, request.width, request.steps) == (name, spec.width, spec.steps)
        assert request.sampler == spec.sampler
        assert find_model(name) == spec


def test_only_the_bundled_model_costs_no_download() -> None:
    for name, spec in bundled_models().items():
        assert (spec.download_bytes == 0) == (name == "picturebook")
        assert isinstance(spec.source, FolderSource) == (name == "picturebook")


def test_what_is_given_wins_over_the_defaults_and_is_checked() -> None:
    spec = find_model("sd15")
    assert spec.request(prompt="x", steps=7, seed=None).steps == 7
    with pytest.raises(InvalidRequest, match="Width"):
        spec.request(prompt="x", width=100)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelUnavailable, match=r"no model 'sd99'.*picturebook, sd15.*Hub id"):
        find_model("sd99")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc", "a/b/c", "a/..", "a/b@../c", "a b/c", "./x/y"]
)
def test_what_is_no_hub_id_is_not_looked_up_as_one(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable):
        find_model(name, tmp_path)


def test_a_very_long_name_is_refused_with_a_short_sentence() -> None:
    with pytest.raises(ModelUnavailable) as caught:
        find_model("x" * 100_000)
    assert len(str(caught.value)) < 500


def test_the_table_does_not_import_torch() -> None:
    code = (
        "import sys; from sdgen.models import find_model; import sdgen.model_files; "
        "find_model('picturebook'); "
        "bad = {'torch', 'diffusers', 'transformers', 'gradio', 'numpy'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(bad)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- folders --------------------------------------------------------------------------------


def test_a_stable_diffusion_folder_is_driven_step_by_step(tmp_path: Path) -> None:
    spec = find_model(str(write_folder(tmp_path / "mine")))
    assert (spec.family, spec.title, spec.width, spec.height) == ("sd", "mine", 512, 512)
    assert spec.source == FolderSource(tmp_path / "mine")


def test_another_pipeline_is_run_as_a_whole(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "xl", "StableDiffusionXLPipeline", "EulerDiscreteScheduler", {"sample_size": 128}
    )
    spec = find_model(str(folder))
    assert (spec.family, spec.width, spec.height) == ("whole", 1024, 1024)
    assert not spec.ignores


def test_the_native_size_may_be_oblong(tmp_path: Path) -> None:
    spec = find_model(str(write_folder(tmp_path / "m", unet={"sample_size": [64, 96]})))
    assert (spec.width, spec.height) == (768, 512)


@pytest.mark.parametrize("sample", [None, 0, "64", [64], 100_000, [1, 1]])
def test_a_senseless_size_gives_the_usual_one(tmp_path: Path, sample: object) -> None:
    spec = find_model(str(write_folder(tmp_path / "m", unet={"sample_size": sample})))
    assert (spec.width, spec.height) == (512, 512)


def test_a_flow_model_ignores_the_samplers(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", "FluxPipeline", "FlowMatchEulerDiscreteScheduler")
    spec = find_model(str(folder))
    assert {"sampler", "clip_skip"} <= spec.ignores
    assert (spec.steps, spec.guidance_scale) == (28, 3.5)


def test_a_flow_model_may_have_an_ordinary_sampler(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", "SanaPipeline", "DPMSolverMultistepScheduler")
    assert "sampler" not in find_model(str(folder)).ignores
    (folder / "scheduler").mkdir()
    config = '{"prediction_type": "flow_prediction", "use_flow_sigmas": true}'
    (folder / "scheduler" / "scheduler_config.json").write_text(config)
    assert "sampler" in find_model(str(folder)).ignores


def test_a_model_distilled_for_lcm_starts_with_its_sampler(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "l", unet={"sample_size": 96, "time_cond_proj_dim": 256})
    spec = find_model(str(folder))
    assert (spec.sampler, spec.steps, spec.width) == ("lcm", 4, 768)


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("StableDiffusionInpaintPipeline", "needs a picture"),
        ("StableDiffusionXLImg2ImgPipeline", "needs a picture"),
        ("TextToVideoSDPipeline", "does not draw pictures"),
        (["my_pipeline", "MyPipeline"], "code of its own"),
        ("os.system", "code of its own"),
        (None, "code of its own"),
    ],
)
def test_a_pipeline_that_cannot_be_used_is_refused(
    tmp_path: Path, pipeline: object, words: str
) -> None:
    with pytest.raises(ModelUnavailable, match=words):
        find_model(str(write_folder(tmp_path / "m", pipeline)))


def test_a_part_from_a_module_path_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", text_encoder=["os.path", "join"])
    with pytest.raises(ModelUnavailable, match="code of its own"):
        find_model(str(folder))


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"no model_index\.json"):
        find_model(str(tmp_path))


def test_a_folder_around_one_checkpoint_names_it(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x.safetensors", SD1)
    with pytest.raises(ModelUnavailable, match=r"It holds x\.safetensors: give that file itself"):
        find_model(str(tmp_path))


@pytest.mark.parametrize("content", ["{", "[]", '{"_class_name": "StableDiffusionPipeline"}'])
def test_a_damaged_index_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(ModelUnavailable):
        find_model(str(tmp_path))


def test_words_beside_a_model_are_read(tmp_path: Path) -> None:
    words = {
        "subjects": ["robot"],
        "colours": ["red"],
        "places": ["beach"],
        "times": ["night"],
        "poses": [],
        "words": ["a", "red", "robot", "on", "the", "beach"],
        "examples": ["a red robot"],
    }
    folder = write_folder(tmp_path / "m")
    (folder / "words.json").write_text(json.dumps(words))
    spec = find_model(str(folder))
    assert isinstance(spec.words, ModelWords)
    assert spec.words.unknown("A red dragon, on the BEACH; dragon") == ("dragon",)


def test_damaged_words_are_named(tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text('{"subjects": []}')
    with pytest.raises(ModelUnavailable, match=r"words\.json.*colours"):
        read_words(tmp_path)


# --- the Hub's cache ------------------------------------------------------------------------


def put_in_cache(cache: Path, repo: str, revision: str = "main") -> Path:
    home = cache / f"models--{repo.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / revision).write_text(COMMIT)
    folder = home / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    return folder


def test_a_hub_id_that_is_not_here_is_only_a_name(tmp_path: Path) -> None:
    spec = find_model("owner/model", tmp_path)
    assert spec.source == HubSource("owner/model", "main", "fp16")
    assert (spec.family, spec.download_bytes) == ("whole", 0)


def test_a_hub_id_may_name_a_revision(tmp_path: Path) -> None:
    source = find_model("owner/model@v1.0", tmp_path).source
    assert isinstance(source, HubSource)
    assert (source.repo, source.revision) == ("owner/model", "v1.0")


@pytest.mark.parametrize("name", ["owner/model", f"owner/model@{COMMIT}"])
def test_a_cached_hub_id_tells_what_it_is(tmp_path: Path, name: str) -> None:
    write_folder(put_in_cache(tmp_path, "owner/model"), unet={"sample_size": 96})
    spec = find_model(name, tmp_path)
    assert (spec.family, spec.width, spec.title) == ("sd", 768, "owner/model")
    assert find_model("owner/model@other", tmp_path).family == "whole"
