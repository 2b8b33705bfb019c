"""A name, a folder, a file: what is known of a model before anything is loaded."""

import json
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from sdgen.errors import InvalidRequest, ModelUnavailable
from sdgen.model_formats import (
    ModelIndex,
    checkpoint_kind,
    choose_weights,
    folder_variant,
    missing_parts,
    predicts_velocity,
    read_header,
)
from sdgen.models import (
    FileSource,
    FolderSource,
    HubSource,
    ModelWords,
    bundled_models,
    find_model,
    read_words,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
UNET = "model.diffusion_model.input_blocks.0.0.weight"
SD1 = {UNET: (8, 4, 3, 3), "first_stage_model.a": (1,), "cond_stage_model.transformer.a": (1,)}
SD2 = {UNET: (8, 4, 3, 3), "first_stage_model.a": (1,), "cond_stage_model.model.a": (1,)}
SDXL = {
    UNET: (8, 4, 3, 3),
    "first_stage_model.a": (1,),
    "conditioner.embedders.0.a": (1,),
    "conditioner.embedders.1.a": (1,),
}


def write_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """A safetensors file of zeros in float16, written by hand."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        count = 1
        for side in shape:
            count *= side
        begin, end = end, end + 2 * count
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    return path


def write_folder(
    folder: Path,
    pipeline: object = "StableDiffusionPipeline",
    scheduler: str = "PNDMScheduler",
    unet: Mapping[str, object] | None = None,
    **more: object,
) -> Path:
    """Just the settings of a diffusers folder."""
    index = {
        "_class_name": pipeline,
        "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", scheduler],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
    }
    (folder / "unet").mkdir(parents=True)
    (folder / "vae").mkdir()
    (folder / "model_index.json").write_text(json.dumps(index | more))
    (folder / "unet" / "config.json").write_text(json.dumps(unet or {"sample_size": 64}))
    (folder / "vae" / "config.json").write_text(json.dumps({"block_out_channels": [8, 8, 16, 16]}))
    return folder


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


# --- single files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensors", "family", "side"), [(SD1, "sd", 512), (SD2, "sd", 512), (SDXL, "whole", 1024)]
)
def test_a_checkpoint_tells_what_it_is(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], family: str, side: int
) -> None:
    path = write_tensors(tmp_path / "own model.safetensors", tensors)
    spec = find_model(str(path))
    assert (spec.family, spec.width, spec.height, spec.title) == (family, side, side, "own model")
    assert spec.source == FileSource(path)


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "model.bin", SDXL)
    assert checkpoint_kind(path) == "sdxl"
    for start in (b"PK\x03\x04", b"\x80\x02}q", b"\x80\x04\x95"):
        pickled = tmp_path / "evil.safetensors"
        pickled.write_bytes(start + b"x" * 100)
        with pytest.raises(ModelUnavailable, match="pickled"):
            find_model(str(pickled))


@pytest.mark.parametrize("suffix", [".ckpt", ".bin", ".pt"])
def test_a_pickled_checkpoint_is_refused_with_one_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"\x80\x02}q\x00" + b"x" * 1000)
    with pytest.raises(ModelUnavailable, match="pickled") as caught:
        find_model(str(path))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"lora_unet_down.lora_down.weight": (1,)}, "LoRA"),
        ({"unet.down.lora_A.weight": (1,)}, "LoRA"),
        (SD1 | {UNET: (8, 9, 3, 3)}, "needs a picture"),
        (SD1 | {UNET: (8, 8, 3, 3)}, "needs a picture"),
        ({UNET: (8, 4, 3, 3), "cond_stage_model.transformer.a": (1,)}, "no VAE"),
        ({UNET: (8, 4, 3, 3), "first_stage_model.a": (1,)}, "no text encoder"),
        (
            {UNET: (8, 4, 3, 3), "first_stage_model.a": (1,), "conditioner.embedders.0.a": (1,)},
            "refiner",
        ),
        ({"down_blocks.0.resnets.0.conv1.weight": (1,)}, "one part"),
        ({"first_stage_model.decoder.conv_in.weight": (1,)}, "one part"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (1,)}, "folder"),
    ],
)
def test_a_file_that_is_something_else_is_called_by_its_name(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], words: str
) -> None:
    with pytest.raises(ModelUnavailable, match=words):
        find_model(str(write_tensors(tmp_path / "x.safetensors", tensors)))


def test_every_truncation_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    whole = write_tensors(tmp_path / "x.safetensors", SD1).read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in (*range(0, 64), *range(64, len(whole), 61), len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(ModelUnavailable):
            read_header(cut)
    cut.write_bytes(whole + b"more")
    with pytest.raises(ModelUnavailable, match="damaged"):
        read_header(cut)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"nonsense",
        b"{}",
        b'{"a": 1}',
        b'{"a": {"dtype": "F16", "shape": [1]}}',
        b'{"a": {"dtype": "F16", "shape": ["x"], "data_offsets": [0, 2]}}',
        b'{"a": {"dtype": "F16", "shape": [1], "data_offsets": [0]}}',
        b"[" * 5000,
    ],
)
def test_a_damaged_header_is_one_sentence(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelUnavailable):
        read_header(path)


def test_a_header_is_never_longer_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(ModelUnavailable, match="not a safetensors"):
        read_header(path)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(("spread", "velocity"), [(0.5, True), (0.01, False)])
def test_sd2_of_768_pixels_is_told_by_the_spread_of_a_bias(
    tmp_path: Path, dtype: str, spread: float, velocity: bool
) -> None:
    values = [spread, -spread] * 8
    if dtype == "BF16":
        data = b"".join(struct.pack("<f", value)[2:] for value in values)
    else:
        data = struct.pack(f"<{len(values)}{'f' if dtype == 'F32' else 'e'}", *values)
    key = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
    header = {key: {"dtype": dtype, "shape": [16], "data_offsets": [0, len(data)]}}
    header |= {
        name: {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 2]}
        for name, shape in SD2.items()
    }
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    assert predicts_velocity(path) is velocity
    assert find_model(str(path)).width == (768 if velocity else 512)


def test_settings_beside_a_checkpoint_tell_its_size(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "x.safetensors", SD1)
    write_folder(tmp_path / "x", unet={"sample_size": 32})
    assert find_model(str(path)).width == 256


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


# --- which files ----------------------------------------------------------------------------


def test_the_variant_is_chosen_and_plain_files_stand_in() -> None:
    both = ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"]
    assert choose_weights(both, "fp16") == ("diffusion_pytorch_model.fp16.safetensors",)
    assert choose_weights(both, None) == ("diffusion_pytorch_model.safetensors",)
    assert choose_weights(["model.safetensors"], "fp16") == ("model.safetensors",)
    assert choose_weights(["model.fp16.safetensors"], None) == ()
    assert choose_weights(["model.bin", "pytorch_model.bin", "x.safetensors"], None) == ()


@pytest.mark.parametrize(
    "pattern", ["model-{}-of-00002.safetensors", "model.fp16-{}-of-00002.safetensors"]
)
def test_shards_count_only_together(pattern: str) -> None:
    shards = tuple(pattern.format(number) for number in ("00001", "00002"))
    assert choose_weights(shards, "fp16") == shards
    assert choose_weights(shards[:1], "fp16") == ()


def test_a_model_is_loaded_in_one_variant() -> None:
    index = ModelIndex("P", {"unet": ("diffusers", "UNet"), "vae": ("diffusers", "AutoencoderKL")})
    plain, half = "model.safetensors", "model.fp16.safetensors"
    assert folder_variant({"unet": [plain, half], "vae": [plain]}, index, "fp16") == "fp16"
    assert folder_variant({"unet": [plain, half], "vae": [plain, half]}, index, None) is None
    assert folder_variant({"unet": [half], "vae": [half]}, index, None) == "fp16"


def test_what_is_missing_is_named() -> None:
    index = ModelIndex(
        "P",
        {
            "unet": ("diffusers", "UNet2DConditionModel"),
            "vae": ("diffusers", "AutoencoderKL"),
            "tokenizer": ("transformers", "CLIPTokenizer"),
            "scheduler": ("diffusers", "PNDMScheduler"),
            "text_encoder": ("transformers", "CLIPTextModel"),
            "feature_extractor": ("transformers", "CLIPImageProcessor"),
        },
    )
    shard = "model-{}-of-00002.safetensors"
    names = {
        "unet": ["config.json", "diffusion_pytorch_model.bin"],
        "vae": ["model.safetensors"],
        "text_encoder": ["config.json", shard.format("00001"), shard.format("00002")],
    }
    assert missing_parts(names, index) == (
        "unet (only pickled weights)",
        "vae (config.json)",
        "tokenizer (vocabulary)",
        "scheduler (scheduler_config.json)",
        "text_encoder (list of its shards)",
    )
