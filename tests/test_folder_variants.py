"""Folders in diffusers' layout as makers leave them: one variant, several, lists of old shards."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdgen.config import Settings
from sdgen.errors import DownloadNeeded, ModelUnavailable
from sdgen.model_files import PartlyHere, download, is_local, local_folder, model_hash
from sdgen.model_formats import ModelIndex, choose_weights, missing_parts, part_weights
from sdgen.models import find_model
from sdgen.pipelines.loading import load_pipeline
from sdgen.studio_models import ModelDesk
from tests.fake_hub import COMMIT, fake_hub
from tests.tiny_models import saved, sd1
from tests.tiny_sdxl import sdxl

STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"} | {
    "text_encoder": "model",
    "text_encoder_2": "model",
}
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("folders")
    saved(sd1(), home / "sd1")
    saved(sdxl(), home / "sdxl")
    saved(sd1(checker_objects=True), home / "checked")
    return home


@pytest.fixture
def one(models: Path, tmp_path: Path) -> Path:
    """A copy of the SD 1.x folder to change."""
    return shutil.copytree(models / "sd1", tmp_path / "one")


def load(path: Path, settings: Settings, **changes: Any) -> Any:
    settings = settings.model_copy(update=changes)
    return load_pipeline(find_model(str(path)), settings, settings.data_dir / "cache")


def pipe_of(pipeline: Any) -> Any:
    return pipeline.pipe if hasattr(pipeline, "pipe") else pipeline._pipe


def make_variant(folder: Path, part: str, variant: str, keep_plain: bool = False) -> None:
    """Turn a part's weights into half precision under the variant's name."""
    plain = folder / part / f"{STEMS[part]}.safetensors"
    dtype = HALF.get(variant, torch.float32)
    half = {key: value.to(dtype) for key, value in load_file(plain).items()}
    save_file(half, plain.with_suffix(f".{variant}.safetensors"), {"format": "pt"})
    if not keep_plain:
        plain.unlink()


def expect(pipeline: Any, right: Any, dtypes: dict[str, torch.dtype]) -> None:
    """Each part's weights are the plain ones, rounded to the type of the file they came from."""
    for part, dtype in dtypes.items():
        found = getattr(pipe_of(pipeline), part).state_dict()
        for key, value in getattr(right, part).state_dict().items():
            assert torch.equal(found[key].float(), value.to(dtype).float()), (part, key)


# --- variants -------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["bf16", "fp16", "fp32", "pruned"])
def test_a_folder_of_one_variant_is_whole(one: Path, settings: Settings, variant: str) -> None:
    for part in ("unet", "vae", "text_encoder"):
        make_variant(one, part, variant)
    dtype = HALF.get(variant, torch.float32)
    pipeline = load(one, settings)
    expect(pipeline, sd1(), {"unet": dtype, "vae": dtype, "text_encoder": dtype})
    assert pipeline.dtype == torch.float32


def test_sdxl_of_bf16_alone_is_whole(models: Path, tmp_path: Path, settings: Settings) -> None:
    folder = shutil.copytree(models / "sdxl", tmp_path / "xl")
    parts = ("unet", "vae", "text_encoder", "text_encoder_2")
    for part in parts:
        make_variant(folder, part, "bf16")
    expect(load(folder, settings), sdxl(), dict.fromkeys(parts, torch.bfloat16))


def test_parts_of_different_variants_load_together(one: Path, settings: Settings) -> None:
    make_variant(one, "unet", "bf16")
    make_variant(one, "text_encoder", "fp16")
    pipeline = load(one, settings)
    expect(
        pipeline,
        sd1(),
        {"unet": torch.bfloat16, "text_encoder": torch.float16, "vae": torch.float32},
    )
    (one / "README").write_text("x")
    (one / "unet" / "README").write_text("a name without a dot, over which diffusers stumbles")
    assert load(one, settings).model_hash == pipeline.model_hash


def test_what_is_loaded_is_what_is_hashed(one: Path, settings: Settings) -> None:
    make_variant(one, "unet", "fp16", keep_plain=True)
    make_variant(one, "vae", "bf16", keep_plain=True)
    pipeline = load(one, settings)
    expect(pipeline, sd1(), {"unet": torch.float32, "vae": torch.float32})
    (one / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    assert model_hash(find_model(str(one)), None) == pipeline.model_hash


def test_each_part_chooses_for_itself() -> None:
    index = ModelIndex("P", {"unet": ("d", "UNet"), "vae": ("d", "VAE"), "t": ("t", "CLIP")})
    names = {
        "unet": ["model.bf16.safetensors"],
        "vae": ["model.fp16.safetensors", "model.bf16.safetensors"],
        "t": ["model.safetensors", "model.bf16.safetensors"],
    }
    assert part_weights(names, index, None) == {
        "unet": ("model.bf16.safetensors",),
        "vae": ("model.fp16.safetensors",),
        "t": ("model.safetensors",),
    }
    assert part_weights(names, index, "bf16")["t"] == ("model.bf16.safetensors",)
    only_for_training = {"unet": ["model.non_ema.safetensors"]}
    assert part_weights(only_for_training, index, None)["unet"] == ()


# --- shards ---------------------------------------------------------------------------------


def shard(folder: Path, size: str = "40KB") -> list[Path]:
    """Save the UNet again in shards; the files."""
    place = folder / "unet"
    for old in place.glob("*.safetensors*"):
        old.unlink()
    sd1().unet.save_pretrained(place, max_shard_size=size)
    shards = sorted(place.glob("*-of-*.safetensors"))
    assert len(shards) > 1
    return shards


def list_of(folder: Path) -> Path:
    return folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"


def test_shards_with_their_list_load(one: Path, settings: Settings) -> None:
    shard(one)
    expect(load(one, settings), sd1(), {"unet": torch.float32})


def test_a_list_of_shards_that_are_gone_is_left_out(one: Path, settings: Settings) -> None:
    """The part was saved whole again, and the list of its shards stayed."""
    whole = (one / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    for file in shard(one):
        file.unlink()
    (one / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(whole)
    assert list_of(one).is_file()
    expect(load(one, settings), sd1(), {"unet": torch.float32})


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
@pytest.mark.parametrize("damage", ["{", "{}", '{"weight_map": {}}', '{"weight_map": []}'])
def test_a_damaged_list_beside_a_whole_file_does_no_harm(
    one: Path, settings: Settings, part: str, damage: str
) -> None:
    (one / part / f"{STEMS[part]}.safetensors.index.json").write_text(damage)
    expect(load(one, settings), sd1(), {part: torch.float32})


def test_a_list_of_another_cutting_is_made_anew(one: Path, settings: Settings) -> None:
    shard(one, "20KB")
    old = list_of(one).read_text()
    shards = shard(one, "60KB")
    list_of(one).write_text(old)  # names shards that are not there, and none that are
    expect(load(one, settings), sd1(), {"unet": torch.float32})
    pipeline = load(one, settings)
    (shards[0].parent / "diffusion_pytorch_model-00001-of-00099.safetensors").write_bytes(b"left")
    assert load(one, settings).model_hash == pipeline.model_hash


def test_shards_that_the_list_does_not_name_are_read(one: Path, settings: Settings) -> None:
    shard(one)
    listed = json.loads(list_of(one).read_text())
    first = sorted(set(listed["weight_map"].values()))[0]
    listed["weight_map"] = {k: v for k, v in listed["weight_map"].items() if v != first}
    list_of(one).write_text(json.dumps(listed))
    expect(load(one, settings), sd1(), {"unet": torch.float32})


def test_shards_of_a_variant_load_under_either_name(one: Path, settings: Settings) -> None:
    for pattern in ("diffusion_pytorch_model.bf16-{}", "diffusion_pytorch_model-{}.bf16"):
        for number, file in enumerate(shards := shard(one), 1):
            part = f"{number:05d}-of-{len(shards):05d}"
            file.rename(file.with_name(f"{pattern.format(part)}.safetensors"))
        expect(load(one, settings), sd1(), {"unet": torch.float32})


@pytest.mark.parametrize("name", ["safetensors.index.bf16", "bf16.safetensors.index"])
def test_an_old_list_of_a_variants_shards_does_no_harm(
    one: Path, settings: Settings, name: str
) -> None:
    make_variant(one, "unet", "bf16")
    listed = {"metadata": {}, "weight_map": {"conv_in.weight": "gone.safetensors"}}
    (one / "unet" / f"diffusion_pytorch_model.{name}.json").write_text(json.dumps(listed))
    expect(load(one, settings), sd1(), {"unet": torch.bfloat16})


def test_missing_shards_are_counted(one: Path, settings: Settings) -> None:
    shards = shard(one)
    shards[1].unlink()
    count = f"{len(shards) - 1} of its {len(shards)} shards are there"
    with pytest.raises(ModelUnavailable, match=rf"incomplete: unet \({count}\)"):
        load(one, settings)
    index = ModelIndex("P", {"unet": ("d", "UNet")})
    left = ["config.json", "model-00001-of-00003.safetensors", "model-00002-of-00002.safetensors"]
    assert choose_weights(left, None) == ()
    assert missing_parts({"unet": left}, index) == ("unet (1 of its 2 shards are there)",)


# --- what is no weights ---------------------------------------------------------------------


def refusal(path: Path, settings: Settings, **changes: Any) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        load(path, settings, **changes)
    text = str(caught.value)
    assert text.endswith(".")
    assert str(path.parent) not in text
    return text


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "vae/config.json"])
def test_a_pointer_in_a_folder_is_named(one: Path, settings: Settings, name: str) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 3438167534"
    (one / name).write_text(pointer)
    assert refusal(one, settings) == (
        f"'{name}' is a Git LFS pointer of 3.4 GB, not the file itself: run `git lfs pull` in its "
        "folder."
    )


def test_bytes_behind_a_parts_end_are_no_damage(one: Path, settings: Settings) -> None:
    path = one / "vae" / "diffusion_pytorch_model.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"more")
    text = refusal(one, settings)
    assert "4 bytes behind its end" in text
    assert f"Cut it to {size} bytes" in text
    assert "damaged" not in text


# --- the safety checker ---------------------------------------------------------------------


def test_a_folder_without_its_safety_checker_says_so(
    models: Path, tmp_path: Path, settings: Settings
) -> None:
    folder = shutil.copytree(models / "checked", tmp_path / "own")
    shutil.rmtree(folder / "safety_checker")
    text = refusal(folder, settings)
    assert text.startswith("The model 'own' is incomplete: safety_checker (config.json).")
    assert "SDGEN_SAFETY_CHECKER=false" in text
    pipeline = load(folder, settings, safety_checker=False)
    assert pipe_of(pipeline).safety_checker is None
    shutil.rmtree(folder / "feature_extractor")
    assert pipe_of(load(folder, settings, safety_checker=False)).feature_extractor is None


def test_a_cache_without_the_safety_checker_is_here_but_for_that(
    models: Path, tmp_path: Path, settings: Settings
) -> None:
    cache = tmp_path / "hub"
    with fake_hub(own__sd=models / "checked") as hub:
        folder = download(find_model("own/sd", cache), None, cache, hub.endpoint)
    for path in (folder / "safety_checker").iterdir():
        path.unlink()
    spec = find_model("own/sd", cache)
    with pytest.raises(PartlyHere) as caught:
        local_folder(spec, cache)
    assert isinstance(caught.value, DownloadNeeded)
    text = str(caught.value)
    assert "is on this machine only in part: safety_checker" in text
    assert "SDGEN_SAFETY_CHECKER=false" in text
    off = settings.model_copy(update={"safety_checker": False})
    assert isinstance(load_pipeline(spec, off, tmp_path / "c", cache).model_hash, str)


def test_without_the_checker_none_is_fetched(models: Path, tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    desk = ModelDesk(DirectFiles(cache), "own/sd", safety_checker=False)
    with fake_hub(own__sd=models / "checked") as hub:
        desk._files.endpoint = hub.endpoint  # type: ignore[attr-defined]
        folder = desk.download("own/sd", lambda done, total: None)
        assert not any("safety_checker" in name for name in hub.fetched)
    assert folder.name == COMMIT
    assert desk.card("own/sd").local
    assert not is_local(find_model("own/sd", cache), cache)


class DirectFiles:
    """sdgen.model_files with a cache of its own."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.endpoint = ""

    def is_local(self, spec: Any) -> bool:
        return is_local(spec, self.cache)

    def local_folder(self, spec: Any) -> Path:
        return local_folder(spec, self.cache)

    def download_size(self, spec: Any) -> int:
        raise NotImplementedError

    def download(self, spec: Any, on_progress: Any) -> Path:
        return download(spec, on_progress, self.cache, self.endpoint)


def test_half_a_download_names_what_is_missing(models: Path, tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    with fake_hub(own__sd=models / "sd1") as hub:
        folder = download(find_model("own/sd", cache), None, cache, hub.endpoint)
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(PartlyHere, match=r"only in part: vae \(weights\) must be downloaded"):
        local_folder(find_model("own/sd", cache), cache)
