"""PEFT's settings travel with their file: from the Hub, by upload, however it is renamed."""

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sdgen.adapters import Catalogue, inspect, verdict
from sdgen.adapters.header import HEADER_BYTES_MAX, read_header
from sdgen.errors import AdapterRefused, AdapterUnavailable
from sdgen.models import find_model
from sdgen.pipelines.lora_bank import LoraBank
from sdgen.pipelines.lora_weights import read_weights
from sdgen.request import AdapterUse
from tests import adapter_files
from tests.adapter_files import ATTENTION, pairs
from tests.fake_hub import fake_hub
from tests.test_adapters_refusals import GOOD, raw
from tests.tiny_models import saved, sd1

CONFIG = {
    "peft_type": "LORA",
    "base_model_name_or_path": "/home/somebody/models/sd15",
    "r": 4,
    "lora_alpha": 12,
    "alpha_pattern": {r".*attn2\.to_k": 1},
    "use_rslora": False,
}


@pytest.fixture(scope="module")
def pipe() -> Any:
    return sd1()


@pytest.fixture
def folder(pipe: Any, tmp_path: Path) -> Path:
    """What PEFT's save_pretrained leaves: rank 4, alpha 12."""
    drawn = pairs(pipe, ATTENTION, rank=4, only=["unet"])
    adapter_files.peft_model(drawn, tmp_path / "peft" / "adapter_model.safetensors")
    (tmp_path / "peft" / "adapter_config.json").write_text(json.dumps(CONFIG))
    return tmp_path / "peft"


def multipliers(path: Path, pipe: Any) -> set[float]:
    """By which the bank scales the halves of a file, each once."""
    report = inspect(path)
    parts = {"unet": dict(pipe.unet.named_modules())}
    modules = {n: m for n, m in parts["unet"].items() if isinstance(m, torch.nn.Linear)}
    found = read_weights(
        path, "t", report.sha256, {"unet": modules}, torch.device("cpu"), torch.float32,
        report.settings,
    )["unet"]  # fmt: skip
    drawn = pairs(pipe, ATTENTION, rank=4, only=["unet"])
    return {
        round(float((layer.up.t() / drawn[f"unet.{name}"].up).mean()), 4)
        for name, layer in found.layers.items()
    }


RIGHT = {0.25, 3.0}  # 1 / 4 and 12 / 4


def test_from_the_hub_alpha_comes_along(pipe: Any, folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with fake_hub(someone__cat=folder) as hub:
        report = Catalogue(data, endpoint=hub.endpoint).fetch("someone/cat")
        assert sorted(hub.fetched) == ["adapter_config.json", "adapter_model.safetensors"]
    assert (report.alphas, report.alpha_is_told) == ((1.0, 12.0), True)
    assert multipliers(report.path, pipe) == RIGHT
    assert multipliers(Catalogue(data).find("someone/cat").path, pipe) == RIGHT
    kept = [path.read_text() for path in (data / "adapters").glob("*.json")]
    assert not any("somebody" in text for text in kept), "a path of somebody's machine"


def test_of_several_files_in_a_folder_the_settings_are_nobody_s(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "one.safetensors")
    other = folder / "two.safetensors"
    other.write_bytes((folder / "one.safetensors").read_bytes())
    with fake_hub(someone__cat=folder) as hub:
        report = Catalogue(tmp_path / "data", endpoint=hub.endpoint).fetch(
            "someone/cat:one.safetensors"
        )
        assert hub.fetched == ["one.safetensors"]
    assert not report.alpha_is_told


def test_settings_of_a_subfolder_are_its_own(pipe: Any, folder: Path, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    folder.rename(repo / "unet" if repo.mkdir() is None else repo)
    (repo / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 99}))
    with fake_hub(someone__cat=repo) as hub:
        report = Catalogue(tmp_path / "data", endpoint=hub.endpoint).fetch("someone/cat")
    assert multipliers(report.path, pipe) == RIGHT


def test_an_upload_with_its_settings(pipe: Any, folder: Path, tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "data")
    alone = tmp_path / "upload" / "x.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((folder / "adapter_model.safetensors").read_bytes())
    bare = catalogue.add_upload(alone, "x.safetensors")
    spec = find_model(str(saved(pipe, tmp_path / "model")))
    assert not bare.alpha_is_told
    assert "tells no alpha, so alpha counts as equal to the rank" in verdict(bare, spec).sentence
    assert multipliers(bare.path, pipe) == {1.0}
    # The same again, now with the settings: what is here already learns them.
    report = catalogue.add_upload(alone, "x.safetensors", folder / "adapter_config.json")
    assert (report.name, report.alpha_is_told) == (bare.name, True)
    assert multipliers(report.path, pipe) == RIGHT
    assert verdict(report, spec).sentence == f"It fits {spec.title}."
    with pytest.raises(AdapterRefused, match=r"no adapter_config\.json"):
        catalogue.add_upload(alone, "x.safetensors", alone)


def test_settings_survive_renaming_and_go_with_the_file(
    pipe: Any, folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    catalogue = Catalogue(data)
    report = catalogue.add_upload(
        folder / "adapter_model.safetensors", "x", folder / "adapter_config.json"
    )
    report.path.rename(data / "adapters" / "my style.safetensors")
    report.path.with_suffix(".json").unlink()
    renamed = Catalogue(data).find("my style")
    assert multipliers(renamed.path, pipe) == RIGHT
    catalogue.remove("my style")
    left = {path.name for path in (data / "adapters").iterdir()}
    assert left <= {".hashes.json"}


def test_of_two_equal_files_the_first_that_goes_leaves_the_settings(
    pipe: Any, folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    catalogue = Catalogue(data)
    report = catalogue.add_upload(
        folder / "adapter_model.safetensors", "x", folder / "adapter_config.json"
    )
    copy = data / "adapters" / "copy.safetensors"
    copy.write_bytes(report.path.read_bytes())
    catalogue.remove(report.name)
    assert multipliers(copy, pipe) == RIGHT


def test_a_resident_adapter_learns_settings_that_come_later(
    pipe: Any, folder: Path, tmp_path: Path
) -> None:
    catalogue = Catalogue(tmp_path / "data")
    given = tmp_path / "x.safetensors"
    given.write_bytes((folder / "adapter_model.safetensors").read_bytes())
    report = catalogue.add_upload(given, "x")
    bank = LoraBank({"unet": pipe.unet}, torch.device("cpu"), torch.float32, 2**28)
    use = AdapterUse(name=str(report.path), scale=1.0)
    [before] = bank.adapters([use]).adapters
    catalogue.add_upload(given, "x", folder / "adapter_config.json")
    [after] = bank.adapters([use]).adapters
    name = next(name for name in before.parts["unet"].layers if name.endswith("attn1.to_q"))
    ups = [one.parts["unet"].layers[name].up for one in (before, after)]
    assert torch.allclose(ups[1], 3.0 * ups[0])


def test_metadata_of_the_file_wins_over_what_lies_beside_it(pipe: Any, tmp_path: Path) -> None:
    drawn = pairs(pipe, ATTENTION, rank=4, alpha=8.0, only=["unet"])
    path = adapter_files.peft(drawn, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG))
    assert multipliers(path, pipe) == {2.0}


def test_lokr_of_peft_is_scaled_by_its_settings(tmp_path: Path) -> None:
    """PEFT divides by the rank of the settings where both factors are whole, unlike LyCORIS."""
    module = torch.nn.Linear(8, 8)
    left, right = torch.randn(2, 2), torch.randn(4, 4)
    stem = "base_model.model.conv_in"
    path = tmp_path / "adapter_model.safetensors"
    save_file({f"{stem}.lokr_w1": left, f"{stem}.lokr_w2": right}, path)
    config = {"peft_type": "LOKR", "r": 2, "alpha": 6, "rank_pattern": {"conv_i.": 3}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    found = read_weights(
        path, "t", "t", {"unet": {"conv_in": module}}, torch.device("cpu"), torch.float32
    )["unet"]
    [change] = found.changes["conv_in"]
    rows = torch.randn(2, 3, 8)
    wanted = rows @ (2.0 * torch.kron(left, right)).t()
    assert torch.allclose(change.of(module, rows), wanted, atol=1e-5)  # type: ignore[union-attr]


# ---- the hash of the tensors --------------------------------------------------------------------


def test_the_hash_of_the_tensors_is_a1111_s(folder: Path, tmp_path: Path) -> None:
    path = folder / "adapter_model.safetensors"
    content = path.read_bytes()
    wanted = hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
    report = inspect(path)
    assert report.tensor_sha256 == wanted
    assert report.a1111_hash == wanted[:12]
    assert report.sha256 != wanted
    catalogue = Catalogue(tmp_path / "data")
    kept = catalogue.add_upload(path, "other name")
    assert kept.tensor_sha256 == wanted
    remembered = tmp_path / "data" / "adapters" / ".hashes.json"
    known = json.loads(remembered.read_text())
    assert wanted in known.values()
    path.unlink()
    assert inspect(kept.path).tensor_sha256 == wanted
    gone = inspect(kept.path)
    kept.path.unlink()
    assert gone.tensor_sha256 == ""


def test_the_remembered_hash_is_not_computed_again(folder: Path, tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "data")
    report = catalogue.add_upload(folder / "adapter_model.safetensors", "x")
    true_hash = report.tensor_sha256
    remembered = tmp_path / "data" / "adapters" / ".hashes.json"
    known = json.loads(remembered.read_text())
    fake = {k: "0" * 64 if v == true_hash else v for k, v in known.items()}
    moved = tmp_path / "moved.json"
    moved.write_text(json.dumps(fake))
    assert inspect(report.path, hashes=moved).tensor_sha256 == "0" * 64


@pytest.mark.parametrize(
    ("told", "digits"), [("0x" + "ab" * 32, "0xababababab"), ("cd" * 32, "cd" * 6), ("<b>", "")]
)
def test_a_hash_in_the_metadata_is_what_a1111_goes_by(
    told: str, digits: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    stem = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    halves = {"A": torch.ones(2, 32), "B": torch.ones(32, 2)}
    tensors = {f"{stem}.lora_{half}.weight": tensor for half, tensor in halves.items()}
    save_file(tensors, path, {"sshs_model_hash": told})
    report = inspect(path)
    assert report.a1111_hash == (digits or report.tensor_sha256[:12])


# ---- limits -------------------------------------------------------------------------------------


def test_the_operator_s_limit_holds_at_every_door(folder: Path, tmp_path: Path) -> None:
    size = (folder / "adapter_model.safetensors").stat().st_size
    catalogue = Catalogue(tmp_path / "data", bytes_max=size - 1)
    for door in (
        lambda: catalogue.add_upload(folder / "adapter_model.safetensors", "x"),
        lambda: catalogue.add_path(folder / "adapter_model.safetensors"),
        lambda: catalogue.examine(folder / "adapter_model.safetensors"),
    ):
        with pytest.raises(AdapterRefused, match="SDGEN_MAX_ADAPTER_MB"):
            door()
    with fake_hub(someone__cat=folder) as hub:
        there = Catalogue(tmp_path / "data", endpoint=hub.endpoint, bytes_max=size - 1)
        for ask in (there.download_size, there.fetch):
            with pytest.raises(AdapterUnavailable, match="SDGEN_MAX_ADAPTER_MB"):
                ask("someone/cat")
        assert hub.fetched == []
    placed = tmp_path / "data" / "adapters" / "placed.safetensors"
    placed.parent.mkdir(parents=True, exist_ok=True)
    placed.write_bytes((folder / "adapter_model.safetensors").read_bytes())
    [(name, why)] = catalogue.broken()
    assert name == "placed"
    assert "SDGEN_MAX_ADAPTER_MB" in why
    assert Catalogue(tmp_path / "data", bytes_max=size).find("placed").size_bytes == size


def test_a_header_of_90_mb_is_read_in_little_memory(tmp_path: Path) -> None:
    """Words that editors leave there, e.g. a picture; alpha behind them is found all the same."""
    words = {"a": "x", "thumbnail": "y\\n" * 30_000_000, "ss_output_name": "last"}
    path = tmp_path / "x.safetensors"
    text = json.dumps({"__metadata__": {}, **GOOD}).encode()
    inside = b",".join(b'"%s": "%s"' % (n.encode(), v.encode()) for n, v in words.items())
    path.write_bytes(raw(text.replace(b'"__metadata__": {}', b'"__metadata__": {%s}' % inside, 1)))
    assert 85_000_000 < path.stat().st_size < HEADER_BYTES_MAX
    tracemalloc.start()
    try:
        header = read_header(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16_000_000
    assert header.metadata == {"a": "x", "ss_output_name": "last"}
    assert header.entries.keys() == GOOD.keys()


def test_a_header_beyond_100_mb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((HEADER_BYTES_MAX + 1).to_bytes(8, "little") + b"{")
        file.truncate(HEADER_BYTES_MAX + 100)
    with pytest.raises(AdapterRefused, match="at most 100 MB"):
        read_header(path)


@pytest.mark.parametrize("space", [b"", b" \n\t"])
def test_metadata_of_any_form_is_passed_over(space: bytes, tmp_path: Path) -> None:
    odd = b'{"n": -1.5e3, "t": true, "o": {"a": [1, {"b": "}]"}], "c": null}, "s": "\\u00e9\\"}"}'
    text = b'{"__metadata__":' + space + odd + space + b"," + json.dumps(GOOD).encode()[1:] + space
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw(text))
    assert read_header(path).metadata == {"s": 'é"}'}
