"""The catalogue: what is listed, added, found and removed; files whole or not there at all."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sdgen.adapters import Catalogue
from sdgen.adapters.bundled import BUNDLED
from sdgen.adapters.catalogue import BUNDLED_FOLDER
from sdgen.errors import AdapterRefused, AdapterUnavailable, StorageFailed
from sdgen.models import find_model
from tests.fake_hub import fake_hub

MODULE = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


def lora(path: Path, value: float = 1.0, rank: int = 2, **metadata: str) -> Path:
    """A small sound file; `value` makes it another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{MODULE}.lora_A.weight": torch.full((rank, 32), float(value)),
        f"{MODULE}.lora_B.weight": torch.ones(32, rank),
    }
    words = {name.replace("__", "."): text for name, text in metadata.items()}
    save_file(tensors, path, words or None)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def catalogue(data: Path) -> Catalogue:
    return Catalogue(data)


def own(catalogue: Catalogue) -> list[str]:
    """Names of what is listed beside the bundled ones."""
    return [report.name for report in catalogue.list() if report.source != "bundled"]


def test_nothing_is_made_by_looking(catalogue: Catalogue, data: Path) -> None:
    assert own(catalogue) == []
    assert catalogue.broken() == []
    assert not data.exists()


def test_bundled_files_are_listed(catalogue: Catalogue) -> None:
    bundled = [report.name for report in catalogue.list() if report.source == "bundled"]
    assert bundled == sorted(path.stem for path in BUNDLED_FOLDER.glob("*.safetensors"))


def test_what_lies_in_the_data_folder_is_there_without_a_restart(
    catalogue: Catalogue, data: Path
) -> None:
    assert own(catalogue) == []
    lora(data / "adapters" / "my-cat.safetensors", sdgen__recipe="{}")
    trained = lora(data / "adapters" / "my-dog.safetensors", 2, sdgen__recipe='{"trigger": "dog"}')
    assert own(catalogue) == ["my-cat", "my-dog"]
    report = catalogue.find("my-dog")
    assert (report.source, report.triggers, report.path) == ("trained", ("dog",), trained)
    assert catalogue.find("my-cat").source == "file"


def test_a_changed_file_is_examined_again(catalogue: Catalogue, data: Path) -> None:
    path = lora(data / "adapters" / "my-cat.safetensors")
    first = catalogue.find("my-cat")
    assert catalogue.find("my-cat") is first
    lora(path, rank=4)
    assert catalogue.find("my-cat").ranks == (4,)


def test_a_broken_file_is_listed_apart_and_named(catalogue: Catalogue, data: Path) -> None:
    lora(data / "adapters" / "good.safetensors")
    (data / "adapters" / "bad.safetensors").write_bytes(b"PK\x03\x04 a pickle")
    (data / "adapters" / ".sdgen-x.safetensors").write_bytes(b"a stump")
    (data / "adapters" / "notes.txt").write_text("not an adapter")
    assert own(catalogue) == ["good"]
    [(name, why)] = catalogue.broken()
    assert name == "bad"
    assert "pickled" in why
    with pytest.raises(AdapterRefused, match=r"'bad' cannot be used.*pickled"):
        catalogue.find("bad")


def test_an_unknown_name_suggests_the_nearest(catalogue: Catalogue, data: Path) -> None:
    lora(data / "adapters" / "my-cat.safetensors")
    with pytest.raises(AdapterUnavailable, match="Did you mean my-cat"):
        catalogue.find("mycat")
    with pytest.raises(AdapterUnavailable, match=r"There are: .*my-cat"):
        catalogue.find("qqqqqq")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "adapters/my-cat", "", "..", "a\x00b"]
)
def test_names_are_never_paths(name: str, catalogue: Catalogue, data: Path) -> None:
    lora(data / "secret.safetensors")
    with pytest.raises(AdapterUnavailable):
        catalogue.find(name)


def test_an_upload_is_kept_under_a_name_of_its_content(
    catalogue: Catalogue, data: Path, tmp_path: Path
) -> None:
    given = lora(tmp_path / "upload" / "tmp123")
    report = catalogue.add_upload(given, "My <b>cat</b>/../v2.safetensors")
    assert report.name == report.sha256[:12]
    assert report.path == data / "adapters" / f"{report.name}.safetensors"
    assert report.path.read_bytes() == given.read_bytes()
    assert (report.source, report.title) == ("upload", "My <b>cat</b>/../v2")
    given.unlink()
    assert Catalogue(data).find(report.name) == report  # after a restart


def test_the_same_upload_twice_is_one(catalogue: Catalogue, data: Path, tmp_path: Path) -> None:
    first = catalogue.add_upload(lora(tmp_path / "a.safetensors"), "one.safetensors")
    assert catalogue.add_upload(tmp_path / "a.safetensors", "two.safetensors") == first
    trained = lora(data / "adapters" / "mine.safetensors", 3, sdgen__recipe='{"trigger": "x"}')
    assert catalogue.add_upload(trained, "mine.safetensors").name == "mine"
    assert len(own(catalogue)) == 2


def test_what_the_doctor_refuses_is_not_kept(
    catalogue: Catalogue, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"{}")
    with pytest.raises(AdapterRefused):
        catalogue.add_upload(tmp_path / "x", "x.safetensors")
    assert not data.exists()


def test_a_full_disk_leaves_nothing_behind(
    catalogue: Catalogue, data: Path, tmp_path: Path
) -> None:
    given = lora(tmp_path / "a.safetensors", rank=200)
    script = (
        "import resource, sys; from pathlib import Path; from sdgen.adapters import Catalogue\n"
        "from sdgen.errors import StorageFailed; import signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: Catalogue(Path(sys.argv[1])).add_upload(Path(sys.argv[2]), 'a')\n"
        "except StorageFailed as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(data), str(given)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert "disk is full" in done.stdout, done.stderr
    assert list((data / "adapters").iterdir()) == []


def test_what_a_killed_program_left_behind_goes(data: Path) -> None:
    old, young = (data / "adapters" / f".sdgen-{name}.safetensors.x.tmp" for name in "ab")
    old.parent.mkdir(parents=True)
    old.touch()
    young.touch()
    os.utime(old, (1, 1))
    Catalogue(data)
    assert list(old.parent.iterdir()) == [young]


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(StorageFailed, match="could not be kept"):
        Catalogue(tmp_path / "data").add_upload(lora(tmp_path / "a.safetensors"), "a")


def test_a_file_is_used_where_it_lies(catalogue: Catalogue, data: Path, tmp_path: Path) -> None:
    path = lora(tmp_path / "My Cat.safetensors")
    report = catalogue.add_path(path)
    assert (report.name, report.path, report.source) == ("my-cat", path, "file")
    assert catalogue.add_path(path).name == "my-cat"
    other = catalogue.add_path(lora(tmp_path / "other" / "My Cat.safetensors", 2))
    assert other.name == other.sha256[:12]
    assert not data.exists()
    assert own(Catalogue(data)) == []  # known to this program alone
    catalogue.remove("my-cat")
    assert path.exists()
    assert own(catalogue) == [other.name]


def test_uploads_can_be_removed_and_bundled_ones_not(
    catalogue: Catalogue, data: Path, tmp_path: Path
) -> None:
    report = catalogue.add_upload(lora(tmp_path / "a.safetensors"), "a")
    catalogue.remove(report.name)
    assert [path.name for path in (data / "adapters").iterdir()] in ([], [".hashes.json"])
    with pytest.raises(AdapterUnavailable):
        catalogue.remove(report.name)
    for report in catalogue.list():
        with pytest.raises(AdapterUnavailable, match="comes with sdgen"):
            catalogue.remove(report.name)
        assert report.path.exists()


def test_hashes_are_remembered_between_runs(data: Path) -> None:
    path = lora(data / "adapters" / "my-cat.safetensors")
    true_hash = Catalogue(data).find("my-cat").sha256
    kept = data / "adapters" / ".hashes.json"
    known = json.loads(kept.read_text())
    assert list(known.values()) == [true_hash]
    kept.write_text(json.dumps(dict.fromkeys(known, "0" * 64)))
    assert Catalogue(data).find("my-cat").sha256 == "0" * 64  # it was not read again
    os.utime(path, ns=(1, 1))
    assert Catalogue(data).find("my-cat").sha256 == true_hash


def test_several_threads_may_ask_and_add(data: Path, tmp_path: Path) -> None:
    catalogue = Catalogue(data)
    files = [lora(tmp_path / f"{n}.safetensors", n) for n in range(6)]
    errors: list[BaseException] = []

    def add(path: Path) -> None:
        try:
            for _ in range(3):
                report = catalogue.add_upload(path, path.name)
                assert catalogue.find(report.name).sha256 == report.sha256
                catalogue.list()
        except BaseException as error:  # noqa: BLE001  # reported by the test itself
            errors.append(error)

    threads = [threading.Thread(target=add, args=(path,)) for path in files * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(own(catalogue)) == 6
    assert not list((data / "adapters").glob("*.tmp"))


# --- one choice, a source for each family -----------------------------------------------------


def test_minnal_murali_points_to_the_hub_for_sd15_alone(catalogue: Catalogue) -> None:
    [choice] = BUNDLED
    assert choice.name == "minnal-murali"
    assert catalogue.choices(find_model("sd15")) == (choice,)
    assert choice.hub_id_for(find_model("sd15")) == "nikhiljose7/lora-sdv1-5-minnal-murali"
    for model in ("picturebook", "sdxl", "sd-turbo"):
        assert catalogue.choices(find_model(model)) == ()


# --- the Hub ------------------------------------------------------------------------------------

CARD = "---\nlicense: mit\n---\nUse it. You should use `sks cat` to trigger the image generation.\n"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    lora(tmp_path / "repo" / "pytorch_lora_weights.safetensors")
    lora(tmp_path / "repo" / "checkpoint-10" / "other.safetensors", 2)
    (tmp_path / "repo" / "README.md").write_text(CARD)
    (tmp_path / "repo" / "optimizer.bin").write_bytes(b"\x80\x02")
    return tmp_path / "repo"


def test_an_adapter_of_the_hub_is_fetched_once_it_is_asked_for(data: Path, repo: Path) -> None:
    with fake_hub(someone__cat=repo) as hub:
        catalogue = Catalogue(data, endpoint=hub.endpoint)
        with pytest.raises(AdapterUnavailable, match="Nothing is downloaded before you say so"):
            catalogue.find("someone/cat")
        size = catalogue.download_size("someone/cat")
        assert size == (repo / "pytorch_lora_weights.safetensors").stat().st_size
        assert hub.fetched == []
        told: list[tuple[int, int]] = []
        report = catalogue.fetch("someone/cat", lambda done, total: told.append((done, total)))
        assert sorted(hub.fetched) == ["README.md", "pytorch_lora_weights.safetensors"]
        assert told[-1] == (size, size)
        assert catalogue.fetch("someone/cat") == report  # it is here: nothing is fetched again
        assert len(hub.fetched) == 2
        assert catalogue.download_size("someone/cat") == 0
    assert report.source == "hub:someone/cat:pytorch_lora_weights.safetensors"
    assert (report.title, report.licence, report.triggers) == ("cat", "mit", ("sks cat",))
    again = Catalogue(data)  # without a network, after a restart
    assert again.find("someone/cat") == report
    assert again.find(report.name) == report
    assert again.find("someone/cat:pytorch_lora_weights.safetensors") == report
    with pytest.raises(AdapterUnavailable):
        again.find("someone/cat:checkpoint-10/other.safetensors")
    again.remove("someone/cat")
    assert own(again) == []


def test_a_file_and_a_revision_can_be_named(data: Path, repo: Path) -> None:
    with fake_hub(someone__cat=repo) as hub:
        catalogue = Catalogue(data, endpoint=hub.endpoint)
        report = catalogue.fetch("someone/cat@main:checkpoint-10/other.safetensors")
        assert report.source == "hub:someone/cat:checkpoint-10/other.safetensors"
        with pytest.raises(AdapterUnavailable, match="no revision 'v2'"):
            catalogue.fetch("someone/cat@v2")
        with pytest.raises(AdapterUnavailable, match=r"no file 'x.safetensors'"):
            catalogue.fetch("someone/cat:x.safetensors")
        with pytest.raises(AdapterUnavailable, match="safetensors only"):
            catalogue.fetch("someone/cat:optimizer.bin")
        with pytest.raises(AdapterUnavailable, match="has no model 'someone/dog'"):
            catalogue.download_size("someone/dog")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a.bin"], "only pickled ones"),
        (["README.md"], "holds no safetensors file"),
        (["a.safetensors", "b.safetensors"], "name one: someone/x:a.safetensors"),
    ],
)
def test_repositories_without_one_adapter(
    names: list[str], sentence: str, data: Path, tmp_path: Path
) -> None:
    for name in names:
        lora(tmp_path / "repo" / name)
    with fake_hub(someone__x=tmp_path / "repo") as hub:
        catalogue = Catalogue(data, endpoint=hub.endpoint)
        with pytest.raises(AdapterUnavailable, match=sentence):
            catalogue.fetch("someone/x")
        assert hub.fetched == []
    assert not data.exists()


def test_a_file_of_the_hub_that_is_too_large_is_not_fetched(data: Path, repo: Path) -> None:
    with fake_hub(someone__cat=repo) as hub:
        hub.sizes["pytorch_lora_weights.safetensors"] = 2_100_000_000
        with pytest.raises(AdapterUnavailable, match="2,100 MB"):
            Catalogue(data, endpoint=hub.endpoint).fetch("someone/cat")
        assert hub.fetched == []


def test_a_bad_file_of_the_hub_is_refused_and_not_kept(data: Path, repo: Path) -> None:
    (repo / "pytorch_lora_weights.safetensors").write_bytes(b"PK\x03\x04" + bytes(200))
    with fake_hub(someone__cat=repo) as hub, pytest.raises(AdapterRefused, match="pickled"):
        Catalogue(data, endpoint=hub.endpoint).fetch("someone/cat")
    assert not data.exists()


def test_a_transfer_that_breaks_off_leaves_nothing(data: Path, repo: Path) -> None:
    with fake_hub(someone__cat=repo) as hub:
        hub.cut = ".safetensors"
        with pytest.raises(AdapterUnavailable):
            Catalogue(data, endpoint=hub.endpoint).fetch("someone/cat")
    assert not data.exists()


def test_no_network_is_a_sentence(data: Path, repo: Path) -> None:
    with fake_hub(someone__cat=repo) as hub:
        gone = hub.endpoint
    with pytest.raises(AdapterUnavailable, match="Hub cannot be reached"):
        Catalogue(data, endpoint=gone).download_size("nikhiljose7/lora-sdv1-5-minnal-murali")


@pytest.mark.parametrize(
    "text", ["", "a", "a/b/c", "../x", "a/..", "https://x/y", "a/b@", "a/b:", "a b/c"]
)
def test_what_is_no_hub_id_is_refused(text: str, catalogue: Catalogue) -> None:
    with pytest.raises(AdapterUnavailable, match="not a Hub id"):
        catalogue.download_size(text)


def test_a_copy_by_hand_of_the_whole_folder_works(data: Path, tmp_path: Path) -> None:
    report = Catalogue(data).add_upload(lora(tmp_path / "a.safetensors"), "a")
    shutil.copytree(data, tmp_path / "moved")
    moved = Catalogue(tmp_path / "moved").find(report.name)
    assert (moved.sha256, moved.title, moved.source) == (report.sha256, "a", "upload")
