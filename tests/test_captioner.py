"""Captions by a model: only of this machine, in one line, with the trigger once, the same again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lora.captioner import (
    CAPTIONERS,
    Captioner,
    CaptionerNeeded,
    CaptionerUnavailable,
    CaptionWriter,
    captioner_folder,
    download,
    download_size,
    find_captioner,
    write_captions,
)
from lora.captioner.writer import tidy
from lora.dataset import check, has_trigger, load_dataset, write_dataset
from sdgen.models import HubSource
from tests.fake_hub import fake_hub
from tests.photos import a_folder, a_photo, encoded
from tests.tiny_captioners import WORDS, save_blip, save_chat

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_blip(tmp_path_factory.mktemp("captioners") / "blip")


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chat(tmp_path_factory.mktemp("captioners") / "chat")


def test_the_table_says_what_each_costs() -> None:
    assert CAPTIONERS[0].name == "blip-base"
    assert len({captioner.name for captioner in CAPTIONERS}) == len(CAPTIONERS)
    for captioner in CAPTIONERS:
        assert captioner.download_bytes > 100_000_000
        assert captioner.licence
        assert find_captioner(captioner.name) is captioner


@pytest.mark.parametrize("kind", ["blip", "chat"])
def test_a_model_of_a_folder_writes_the_same_caption_again(
    kind: str, request: pytest.FixtureRequest
) -> None:
    captioner = find_captioner(str(request.getfixturevalue(kind)))
    assert captioner.kind == kind
    first, second = CaptionWriter(captioner), CaptionWriter(captioner)
    caption = first.write(a_photo(1))
    assert caption
    assert set(caption.split()) <= {*WORDS, "User", "Assistant", ":", "user", "assistant"}
    assert second.write(a_photo(1)) == caption == first.write(a_photo(1).convert("RGBA"))


def test_captions_of_a_dataset_have_the_trigger_and_can_be_stored(
    blip: Path, tmp_path: Path
) -> None:
    photos = {f"{seed}.png": encoded(a_photo(seed)) for seed in range(3)}
    dataset = check(a_folder(tmp_path / "in", photos), tmp_path / "work", "", "", 64).dataset
    writer = CaptionWriter(find_captioner(str(blip)))
    steps: list[tuple[int, int]] = []
    captions = write_captions(
        dataset.examples, writer, "Minnal Murali", "hero", lambda *done: steps.append(done)
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert set(captions) == {example.id for example in dataset.examples}
    assert all(has_trigger(caption, "Minnal Murali") for caption in captions.values())
    stored = write_dataset(dataset.with_captions(captions), tmp_path / "work")
    assert load_dataset(tmp_path / "work") == stored
    assert [one.caption for one in stored.examples] == list(captions.values())


def test_nothing_is_fetched_by_itself(tmp_path: Path) -> None:
    with pytest.raises(CaptionerNeeded, match=r"download of about 1\.0 GB\. Nothing is") as caught:
        CaptionWriter(CAPTIONERS[0], hub_cache=tmp_path)
    assert caught.value.download_bytes == CAPTIONERS[0].download_bytes
    assert not list(tmp_path.iterdir())


def test_what_is_asked_for_is_fetched_and_no_pickle(blip: Path, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    for path in blip.iterdir():
        a_folder(repo, {path.name: path.read_bytes()})
    a_folder(repo, {"pytorch_model.bin": b"pickle", "tf_model.h5": b"x", "onnx/a.json": b"{}"})
    captioner = Captioner("tiny", "Tiny", "blip", HubSource("owner/tiny"))
    cache, seen = tmp_path / "cache", []
    with fake_hub(owner__tiny=repo) as hub:
        size = download_size(captioner, cache, hub.endpoint)
        assert size == sum(path.stat().st_size for path in blip.iterdir())
        folder = download(captioner, lambda *done: seen.append(done), cache, hub.endpoint)
        assert not {"pytorch_model.bin", "tf_model.h5", "onnx/a.json"} & set(hub.fetched)
        assert seen[-1] == (size, size)
        assert download_size(captioner, cache, hub.endpoint) == 0
        before = len(hub.fetched)
        assert download(captioner, None, cache, hub.endpoint) == folder
        assert len(hub.fetched) == before
    assert captioner_folder(captioner, cache) == folder
    assert CaptionWriter(captioner, hub_cache=cache).write(a_photo(1))


def test_the_hubs_errors_are_sentences(blip: Path, tmp_path: Path) -> None:
    pickled = a_folder(tmp_path / "p", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    with fake_hub(owner__tiny=blip, owner__pickled=pickled) as hub:

        def refusal(repo: str) -> str:
            captioner = Captioner("tiny", "Tiny", "blip", HubSource(repo))
            with pytest.raises(CaptionerUnavailable) as caught:
                download(captioner, None, tmp_path / "cache", hub.endpoint)
            return str(caught.value)

        assert "holds no safetensors" in refusal("owner/pickled")
        assert "has no model 'owner/nothing'" in refusal("owner/nothing")
        hub.gated.add("owner/tiny")
        assert "is gated" in refusal("owner/tiny")


def test_folders_that_hold_no_captioner(blip: Path, tmp_path: Path) -> None:
    with pytest.raises(CaptionerUnavailable, match="Choose one of blip-base"):
        find_captioner("no-such-model")
    folder = a_folder(tmp_path / "clip", {"config.json": json.dumps({"model_type": "clip"})})
    with pytest.raises(CaptionerUnavailable, match="holds no captioning model"):
        find_captioner(str(folder))
    broken = tmp_path / "broken"
    for path in blip.iterdir():
        a_folder(broken, {path.name: path.read_bytes()})
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(CaptionerUnavailable, match="cannot be loaded"):
        CaptionWriter(find_captioner(str(broken)))
    weights.unlink()
    with pytest.raises(CaptionerUnavailable, match="cannot be loaded"):
        CaptionWriter(find_captioner(str(broken)))


def test_weights_of_another_model_are_not_made_up(blip: Path, chat: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    for path in blip.iterdir():
        a_folder(mixed, {path.name: path.read_bytes()})
    a_folder(mixed, {"model.safetensors": (chat / "model.safetensors").read_bytes()})
    with pytest.raises(CaptionerUnavailable, match="cannot be loaded"):
        CaptionWriter(find_captioner(str(mixed)))


@pytest.mark.parametrize(
    ("said", "caption"),
    [
        ("arafed man in a red suit standing on a roof", "man in a red suit standing on a roof"),
        ("there is a cat on a sofa", "a cat on a sofa"),
        ("The image shows a dog in a field. The sky is blue.", "a dog in a field"),
        ("In this picture, A man\nstands.", "a man stands"),
        ("NASA's rocket on its pad.", "NASA's rocket on its pad"),
        ("  ", ""),
    ],
)
def test_habits_of_speech_are_taken_out(said: str, caption: str) -> None:
    assert tidy(said) == caption


def test_the_list_of_captioners_needs_no_torch() -> None:
    program = "import sys, lora.captioner; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
