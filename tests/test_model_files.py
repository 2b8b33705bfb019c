"""What is on disk, the download with a real (fake) Hub on 127.0.0.1, and the hash."""

import errno
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdgen.errors import DownloadNeeded, ModelUnavailable
from sdgen.model_files import (
    SettingsNeeded,
    download,
    download_size,
    is_local,
    local_folder,
    model_hash,
)
from sdgen.models import FolderSource, HubSource, ModelSpec, find_model
from tests.bare_models import SD1, write_folder, write_tensors
from tests.fake_hub import COMMIT, FakeHub, fake_hub

UNET = "unet/diffusion_pytorch_model"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository as the Hub has them: whole in two variants, with much that nobody needs."""
    folder = write_folder(
        tmp_path / "repo",
        tokenizer=["transformers", "CLIPTokenizer"],
        text_encoder=["transformers", "CLIPTextModel"],
    )
    for part, stem in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        (folder / part).mkdir(exist_ok=True)
        (folder / part / "config.json").write_text('{"sample_size": 32}')
        write_tensors(folder / part / f"{stem}.safetensors", {part: (200,)})
        write_tensors(folder / part / f"{stem}.fp16.safetensors", {part: (100,)})
        (folder / part / f"{stem}.bin").write_bytes(b"\x80\x02")
    write_tensors(folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors", {"unet": (9,)})
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.json").write_text("{}")
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    (folder / "unet" / "my_code.py").write_text("raise SystemExit")
    (folder / "vae_1_0").mkdir()
    write_tensors(folder / "vae_1_0" / "diffusion_pytorch_model.safetensors", {"vae": (9,)})
    write_tensors(folder / "v1-5-pruned.safetensors", SD1)
    (folder / "v1-5-pruned.ckpt").write_bytes(b"\x80\x02")
    (folder / "README.md").write_text("# A model")
    return folder


@pytest.fixture
def hub(repo: Path) -> Iterator[FakeHub]:
    with fake_hub(own__sd=repo) as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub cache"


def spec_of(
    revision: str = "main", variant: str | None = "fp16", repo: str = "own/sd"
) -> ModelSpec:
    return ModelSpec(repo, repo, "sd", HubSource(repo, revision, variant), "MIT", 123)


# --- download -------------------------------------------------------------------------------


def test_a_download_takes_what_is_needed_and_nothing_else(hub: FakeHub, cache: Path) -> None:
    folder = download(spec_of(), None, cache, hub.endpoint)
    got = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert got == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    }
    assert not any(name.endswith((".py", ".bin", ".ckpt")) for name in hub.fetched)
    assert is_local(spec_of(), cache)
    assert local_folder(spec_of(), cache) == folder
    assert find_model("own/sd", cache).family == "sd"


def test_the_plain_files_come_where_there_is_no_variant(
    hub: FakeHub, repo: Path, cache: Path
) -> None:
    for path in repo.rglob("*.fp16.safetensors"):
        path.unlink()
    folder = download(spec_of(), None, cache, hub.endpoint)
    assert (folder / f"{UNET}.safetensors").is_file()


def test_the_size_is_known_before_and_reported_to_the_last_byte(hub: FakeHub, cache: Path) -> None:
    size = download_size(spec_of(), cache, hub.endpoint)
    assert not cache.exists()
    assert "README.md" not in hub.fetched
    steps: list[tuple[int, int]] = []
    folder = download(spec_of(), lambda done, of: steps.append((done, of)), cache, hub.endpoint)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) == size
    assert steps[-1] == (size, size)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert download_size(spec_of(), cache, "http://127.0.0.1:9") == 0


def test_a_second_download_asks_nobody(hub: FakeHub, cache: Path) -> None:
    folder = download(spec_of(), None, cache, hub.endpoint)
    assert download(spec_of(), None, cache, "http://127.0.0.1:9") == folder


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_revision_is_followed(hub: FakeHub, cache: Path, revision: str) -> None:
    assert download(spec_of(revision), None, cache, hub.endpoint).name == COMMIT
    assert is_local(spec_of(revision), cache)
    assert not is_local(spec_of("other"), cache)


def test_what_the_caller_raises_ends_the_download(hub: FakeHub, cache: Path) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, of: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        download(spec_of(), stop, cache, hub.endpoint)
    assert not is_local(spec_of(), cache)


def sentence(hub_endpoint: str, cache: Path, spec: ModelSpec | None = None) -> str:
    """The sentence that a download fails with; the size fails with one as well or not at all."""
    with pytest.raises(ModelUnavailable) as caught:
        download(spec or spec_of(), None, cache, hub_endpoint)
    text = str(caught.value)
    assert not isinstance(caught.value, DownloadNeeded)
    assert text.endswith(".")
    assert "127.0.0.1" not in text
    assert str(cache) not in text
    assert not is_local(spec or spec_of(), cache)
    return text


def test_no_network_is_one_sentence(cache: Path) -> None:
    with fake_hub() as gone:
        endpoint = gone.endpoint
    assert "cannot be reached" in sentence(endpoint, cache)


def test_a_wrong_id_is_one_sentence(hub: FakeHub, cache: Path) -> None:
    assert "has no model 'own/nothing'" in sentence(
        hub.endpoint, cache, spec_of(repo="own/nothing")
    )


def test_a_wrong_revision_is_one_sentence(hub: FakeHub, cache: Path) -> None:
    assert "no revision 'nope'" in sentence(hub.endpoint, cache, spec_of("nope"))


def test_a_gated_repository_says_what_to_do(hub: FakeHub, cache: Path) -> None:
    hub.gated.add("own/sd")
    text = sentence(hub.endpoint, cache)
    assert "accept its licence on https://huggingface.co/own/sd" in text
    assert "hf auth login" in text


@pytest.mark.parametrize("status", [500, 403, 404])
def test_an_error_of_the_hub_is_one_sentence(hub: FakeHub, cache: Path, status: int) -> None:
    hub.status = status
    text = sentence(hub.endpoint, cache)
    assert "hf auth login" in text if status == 403 else f"({status})" in text


def test_half_a_download_is_not_local_and_goes_on_later(hub: FakeHub, cache: Path) -> None:
    size = download_size(spec_of(), cache, hub.endpoint)
    hub.cut = f"{UNET}.fp16.safetensors"
    assert "not fetched to its end" in sentence(hub.endpoint, cache)
    with pytest.raises(DownloadNeeded):
        local_folder(spec_of(), cache)
    hub.cut = ""
    assert 0 < download_size(spec_of(), cache, hub.endpoint) <= size
    hub.fetched.clear()
    download(spec_of(), None, cache, hub.endpoint)
    assert f"{UNET}.fp16.safetensors" in hub.fetched
    assert "vae/config.json" not in hub.fetched
    assert is_local(spec_of(), cache)


def test_a_disk_that_is_too_small_is_told_before(hub: FakeHub, cache: Path) -> None:
    hub.sizes[f"{UNET}.fp16.safetensors"] = 10**15
    assert "1000000.0 GB" in sentence(hub.endpoint, cache)
    assert not any(name.endswith(".safetensors") for name in hub.fetched)


def test_a_disk_that_fills_up_on_the_way_is_one_sentence(hub: FakeHub, cache: Path) -> None:
    def full(done: int, of: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ModelUnavailable, match="disk is full"):
        download(spec_of(), full, cache, hub.endpoint)
    assert not is_local(spec_of(), cache)


def test_a_cache_that_cannot_be_written_is_one_sentence(hub: FakeHub, cache: Path) -> None:
    cache.write_text("a file, not a folder")
    assert "cannot be written" in sentence(hub.endpoint, cache)


def test_a_repository_without_safetensors_is_refused(hub: FakeHub, repo: Path, cache: Path) -> None:
    for path in (repo / "unet").glob("*.safetensors"):
        path.unlink()
    text = sentence(hub.endpoint, cache)
    assert "unet (only pickled weights)" in text


def test_a_repository_that_is_no_pipeline_is_refused(hub: FakeHub, repo: Path, cache: Path) -> None:
    (repo / "model_index.json").unlink()
    assert "no model_index.json" in sentence(hub.endpoint, cache)


def test_a_repository_that_wants_to_run_code_is_refused(
    hub: FakeHub, repo: Path, cache: Path
) -> None:
    (repo / "model_index.json").write_text('{"_class_name": ["my_code", "MyPipeline"]}')
    assert "code of its own" in sentence(hub.endpoint, cache)


@pytest.mark.parametrize("index", ["{", "[1]"])
def test_an_answer_without_sense_is_one_sentence(
    hub: FakeHub, repo: Path, cache: Path, index: str
) -> None:
    (repo / "model_index.json").write_text(index)
    sentence(hub.endpoint, cache)


# --- on this machine ------------------------------------------------------------------------


def test_a_folder_is_local_while_all_its_parts_are_there(repo: Path, tmp_path: Path) -> None:
    spec = find_model(str(repo))
    assert is_local(spec)
    for name in (f"{UNET}.safetensors", "vae/config.json", "tokenizer/vocab.json"):
        copy = shutil.copytree(repo, tmp_path / name.replace("/", "-"))
        (copy / name).unlink()
        if name.startswith("unet"):
            (copy / f"{UNET}.fp16.safetensors").unlink()
        with pytest.raises(ModelUnavailable, match=f"incomplete: {name.split('/')[0]} "):
            local_folder(find_model(str(copy)))
        assert not is_local(find_model(str(copy)))


def test_a_cut_weights_file_is_not_local(repo: Path) -> None:
    path = repo / f"{UNET}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelUnavailable, match="not downloaded to its end"):
        local_folder(find_model(str(repo)))


def test_a_pickle_in_the_clothes_of_safetensors_is_not_local(repo: Path) -> None:
    (repo / f"{UNET}.safetensors").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ModelUnavailable, match="pickled"):
        local_folder(find_model(str(repo)))


def test_the_bundled_model_without_its_files_says_so(tmp_path: Path) -> None:
    spec = ModelSpec("picturebook", "P", "sd", FolderSource(tmp_path / "gone"), "CC0-1.0")
    with pytest.raises(ModelUnavailable, match="install sdgen again"):
        local_folder(spec)


def test_a_checkpoint_needs_settings_from_somewhere(tmp_path: Path, cache: Path) -> None:
    spec = find_model(str(write_tensors(tmp_path / "own.safetensors", SD1)))
    assert not is_local(spec, cache)
    with pytest.raises(SettingsNeeded, match="about 4 MB from 'stable-diffusion-v1-5") as caught:
        local_folder(spec, cache)
    assert caught.value.download_bytes > 0
    assert str(tmp_path) not in str(caught.value)


def test_the_download_for_a_checkpoint_is_settings_alone(
    tmp_path: Path, repo: Path, cache: Path
) -> None:
    spec = find_model(str(write_tensors(tmp_path / "own.safetensors", SD1)))
    with fake_hub() as hub:
        hub.repos["stable-diffusion-v1-5/stable-diffusion-v1-5"] = repo
        size = download_size(spec, cache, hub.endpoint)
        folder = download(spec, None, cache, hub.endpoint)
    got = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in got) == size
    assert {path.suffix for path in got} == {".json", ".txt"}
    assert is_local(spec, cache)
    assert not is_local(find_model("sd15"), cache)


def test_settings_beside_a_checkpoint_are_enough(tmp_path: Path, repo: Path, cache: Path) -> None:
    spec = find_model(str(write_tensors(tmp_path / "own.safetensors", SD1)))
    shutil.copytree(repo, tmp_path / "own", ignore=shutil.ignore_patterns("*.safetensors"))
    assert local_folder(spec, cache) == tmp_path / "own"


# --- the hash -------------------------------------------------------------------------------


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "own.safetensors", SD1)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert model_hash(find_model(str(path)), None) == expected


def test_the_hash_is_of_the_content_wherever_it_lies(
    hub: FakeHub, repo: Path, cache: Path, tmp_path: Path
) -> None:
    plain = spec_of(variant=None)
    download(plain, None, cache, hub.endpoint)
    fetched = model_hash(plain, None, cache)
    folder = find_model(str(repo))
    assert fetched == model_hash(folder, tmp_path) == model_hash(folder, None)
    (repo / "README.md").write_text("changed")
    (repo / f"{UNET}.bin").write_bytes(b"changed")
    assert model_hash(folder, tmp_path) == fetched
    write_tensors(repo / f"{UNET}.safetensors", {"unet": (201,)})
    assert model_hash(folder, tmp_path) != fetched


def test_the_hash_of_big_files_is_remembered(repo: Path, tmp_path: Path) -> None:
    spec = find_model(str(repo))
    first = model_hash(spec, tmp_path / "data" / "cache")
    store = tmp_path / "data" / "cache" / "model_hashes.json"
    text = store.read_text()
    assert text.count(".safetensors|") == 3
    true = hashlib.sha256((repo / f"{UNET}.safetensors").read_bytes()).hexdigest()
    store.write_text(text.replace(true, "0" * 64))
    assert model_hash(spec, tmp_path / "data" / "cache") != first  # it was read, not computed
    store.write_text("damaged")
    assert model_hash(spec, tmp_path / "data" / "cache") == first


def test_a_cache_folder_that_cannot_be_written_only_costs_time(repo: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    assert model_hash(find_model(str(repo)), blocked) == model_hash(find_model(str(repo)), None)


def test_no_hash_without_files(cache: Path) -> None:
    with pytest.raises(DownloadNeeded):
        model_hash(spec_of(), None, cache)
