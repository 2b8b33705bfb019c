"""Adapters go to the Hub only as asked: private, with a card, without a token or a photo in it."""

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from lora.evaluate.scores import Choice, Cost, Row, ScoreSheet
from lora.export import NoRecipe
from lora.export.recipe_in_file import TrainedRecipe, public_settings, recipe_text
from lora.hub import PushFailed, model_card, push
from lora.hub.card import CONSENT, base_repo
from lora.runs import RunFolder
from tests.fake_hub_uploads import UploadHub, upload_hub
from tests.lora_runs import recipe_for

TOKEN = "hf_canary" + "0" * 28


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with upload_hub() as running:
        yield running


def made(base: str = "sd15", trigger: str = "zmicat") -> TrainedRecipe:
    recipe = recipe_for(base=base, trigger=trigger, photos="/home/somebody/holiday")
    row = Row(step=40, strength=1.0, subject=(0.1, 0.2), training=(0.2, 0.3), drift=(0.01, 0.02))
    sheet = ScoreSheet(
        measured_on="On 3 held-out photos.",
        drift_limit=0.2,
        rows=(row,),
        cost=Cost(seconds=1.0, forward_passes=10, training_steps=5.0),
        choice=Choice(step=40, strength=1.0, reason="Step 40 is the only one."),
    )
    return TrainedRecipe(
        settings=public_settings(recipe),
        base_hash="ab" * 32,
        versions={"sdgen": "0.1.0"},
        photos=("cd" * 32,) * 5,
        step=40,
        strength=1.0,
        sample_seed=1234,
        scores=sheet,
    )


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunFolder, Path]:
    """A run folder with samples and exported files."""
    folder = RunFolder(tmp_path / "run")
    adapter = folder.exports / "my-cat.safetensors"
    folder.exports.mkdir(parents=True)
    save_file({"x": torch.ones(2)}, adapter, {"sdgen.recipe": recipe_text(made())})
    save_file({"y": torch.ones(2)}, folder.exports / "my-cat.kohya.safetensors")
    folder.sample_folder(40).mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(folder.sample_folder(40) / "00.png")
    index = {"prompts": ["zmicat", "zmicat in a garden"], "seeds": [1, 2]}
    folder.samples_index.write_text(json.dumps(index))
    return folder, adapter


def front_matter(card: str) -> dict[str, object]:
    _, front, _ = card.split("---\n", 2)
    found = yaml.safe_load(front)
    assert isinstance(found, dict)
    return found


def test_push_uploads_all_in_one_private_repository(
    hub: UploadHub, run: tuple[RunFolder, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    folder, adapter = run
    done = push(folder, adapter, "me/my-cat", licence="cc0-1.0", endpoint=hub.endpoint)
    assert done.url == f"{hub.endpoint}/me/my-cat"
    assert hub.private == {"me/my-cat": True}
    files = hub.files["me/my-cat"]
    assert sorted(files) == sorted(done.files)
    assert sorted(files) == [
        "README.md",
        "my-cat.kohya.safetensors",
        "my-cat.safetensors",
        "samples/00.png",
    ]
    assert files["my-cat.safetensors"] == adapter.read_bytes()
    card = files["README.md"].decode()
    assert front_matter(card)["license"] == "cc0-1.0"
    assert hub.tokens == {f"Bearer {TOKEN}"}
    sent = b"".join(files.values())
    for secret in (TOKEN.encode(), b"holiday", b"somebody"):
        assert secret not in sent
    assert TOKEN not in caplog.text
    written = [path for path in folder.path.rglob("*") if path.is_file()]
    assert all(TOKEN.encode() not in path.read_bytes() for path in written)


def test_a_public_repository_of_that_name_is_left_alone(
    hub: UploadHub, run: tuple[RunFolder, Path]
) -> None:
    hub.private["me/my-cat"] = False
    hub.files["me/my-cat"] = {}
    with pytest.raises(PushFailed, match="already and public"):
        push(*run, "me/my-cat", endpoint=hub.endpoint)
    assert hub.files["me/my-cat"] == {}
    push(*run, "me/my-cat", private=False, endpoint=hub.endpoint)
    assert "my-cat.safetensors" in hub.files["me/my-cat"]


def test_a_public_push_makes_a_public_repository(
    hub: UploadHub, run: tuple[RunFolder, Path]
) -> None:
    push(*run, "me/other", private=False, endpoint=hub.endpoint)
    assert hub.private == {"me/other": False}


def test_refusals_are_sentences(
    hub: UploadHub, run: tuple[RunFolder, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.refuses = "repos/create"
    with pytest.raises(PushFailed, match="token that may write"):
        push(*run, "other/my-cat", endpoint=hub.endpoint)
    hub.refuses = "commit"
    with pytest.raises(PushFailed, match="token that may write") as caught:
        push(*run, "me/my-cat", endpoint=hub.endpoint)
    assert TOKEN not in str(caught.value)
    assert hub.files["me/my-cat"] == {}
    hub.refuses = ""
    with pytest.raises(PushFailed, match="owner/name"):
        push(*run, "my cat?", endpoint=hub.endpoint)
    hub.status = 501
    with pytest.raises(PushFailed, match=r"error \(501\)"):
        push(*run, "me/my-cat", endpoint=hub.endpoint)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(PushFailed, match="hf auth login"):
        push(*run, "me/my-cat", endpoint=hub.endpoint)


def test_a_hub_out_of_reach_is_told(hub: UploadHub, run: tuple[RunFolder, Path]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(PushFailed, match="cannot be reached"):
            push(*run, "me/my-cat", endpoint=address)


def test_only_files_of_ours_are_pushed(hub: UploadHub, tmp_path: Path) -> None:
    save_file({"x": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(NoRecipe):
        push(tmp_path, tmp_path / "x.safetensors", "me/x", endpoint=hub.endpoint)
    assert hub.private == {}


def test_the_card_says_what_it_is_and_how_it_was_chosen() -> None:
    card = model_card(made(), "my-cat.safetensors", [("samples/00.png", "zmicat: a *cat*")])
    front = front_matter(card)
    assert front["base_model"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert front["instance_prompt"] == "zmicat"
    assert front["license"] == "other"
    assert front["widget"] == [{"text": "zmicat: a *cat*", "output": {"url": "samples/00.png"}}]
    for said in ("| **40** | 1 | 15.0 ± 5.0 %", "On 3 held-out photos.", CONSENT, "5 photos"):
        assert said in card
    assert 'weight_name="my-cat.safetensors"' in card
    assert base_repo("picturebook") == ""
    assert base_repo("owner/model@v1") == "owner/model"


def test_a_trigger_cannot_break_out_of_the_card() -> None:
    trigger = 'x"\nlicense: mit\n---\n<script> `rm`'
    card = model_card(made(trigger=trigger), "a.safetensors")
    front = front_matter(card)
    assert front["instance_prompt"] == trigger
    assert front["license"] == "other"
    head = card.split("## How it was made")[0]
    assert "\n<script>" not in head
