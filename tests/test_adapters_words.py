"""Triggers, licence, strength and base model: from metadata, sidecars and cards."""

import json
from pathlib import Path

import pytest

from sdgen.adapters.words import Words, card_words, markdown_words, metadata_words


def tags(**folders: dict[str, int]) -> str:
    return json.dumps(folders)


@pytest.mark.parametrize(
    ("metadata", "triggers"),
    [
        ({}, ()),
        ({"modelspec.trigger_phrase": "Minnal Murali"}, ("Minnal Murali",)),
        ({"modelspec.trigger_phrase": " sks cat ,  Sks Cat, hat\n"}, ("sks cat", "hat")),
        ({"sdgen.trigger": "ours", "modelspec.trigger_phrase": "theirs"}, ("ours",)),
        ({"sdgen.recipe": '{"trigger": "in the recipe"}'}, ("in the recipe",)),
        ({"ss_tag_frequency": tags(d={"sks": 20, "smile": 7})}, ("sks",)),
        ({"ss_tag_frequency": tags(d={"1girl": 20, "sks": 19, "smile": 7})}, ("sks",)),
        ({"ss_tag_frequency": tags(a={"sks": 9}, b={"sks": 9, "hat": 10})}, ("sks",)),
        ({"ss_tag_frequency": tags(d={"a cat in a tree": 1, "a cat at sea": 1})}, ()),
        (
            {
                "ss_tag_frequency": tags(d={"smile": 7, "hat": 5}),
                "ss_dataset_dirs": '{"d": {"n_repeats": 10, "img_count": 20}}',
            },
            (),
        ),
        (
            {
                "ss_tag_frequency": tags(d={"sks": 19, "hat": 5}),
                "ss_dataset_dirs": '{"d": {"n_repeats": 10, "img_count": 20}}',
            },
            ("sks",),
        ),
        ({"ss_tag_frequency": "no json"}, ()),
        ({"ss_tag_frequency": "[1]", "ss_dataset_dirs": "3"}, ()),
        ({"ss_tag_frequency": '{"d": {"sks": true, "x": -5}}'}, ()),
        ({"modelspec.trigger_phrase": "<lora:other:2>, fine"}, ("fine",)),
        ({"modelspec.trigger_phrase": ",".join(map(str, range(50)))}, tuple("01234567")),
    ],
)
def test_triggers_in_metadata(metadata: dict[str, str], triggers: tuple[str, ...]) -> None:
    assert metadata_words(metadata).triggers == triggers


def test_other_words_in_metadata() -> None:
    found = metadata_words(
        {
            "modelspec.title": "My cat",
            "modelspec.license": "CC0-1.0",
            "sdgen.strength": "0.8",
            "sdgen.recipe": '{"base": "picturebook"}',
            "ss_sd_model_name": "sd-v1-5.ckpt",
        }
    )
    assert found == Words("My cat", (), "CC0-1.0", 0.8, "picturebook", "trained")
    assert metadata_words({"ss_sd_model_name": "sd-v1-5.ckpt"}).base == "sd-v1-5.ckpt"
    assert metadata_words({"ss_base_model_version": "sdxl_base_v1-0"}).base == "sdxl_base_v1-0"


@pytest.mark.parametrize("told", ["", "0", "nan", "1e9", "-11", "strong"])
def test_a_strength_out_of_bounds_is_none(told: str) -> None:
    assert metadata_words({"sdgen.strength": told}).strength is None


CARD = """---
license: creativeml-openrail-m
base_model: runwayml/stable-diffusion-v1-5
instance_prompt: "a photo of sks cat"
tags:
- lora
---
# LoRA
"""


def test_a_card_of_the_hub() -> None:
    assert markdown_words(CARD) == Words(
        triggers=("a photo of sks cat",),
        licence="creativeml-openrail-m",
        base="runwayml/stable-diffusion-v1-5",
    )
    plain = "You should use `sks cat` to trigger the image generation."
    assert markdown_words(plain).triggers == ("sks cat",)
    assert markdown_words("---\nlicense: [\n") == Words()


def test_files_beside_an_adapter(tmp_path: Path) -> None:
    path = tmp_path / "cat.safetensors"
    path.touch()
    assert card_words(path) == Words()
    (tmp_path / "cat.txt").write_text("sks cat, hat\n")
    assert card_words(path).triggers == ("sks cat", "hat")
    (tmp_path / "README.md").write_text(CARD)
    assert card_words(path).triggers == ("a photo of sks cat",)
    a1111 = {"activation text": "mycat", "preferred weight": 0.7, "sd version": "SD1"}
    (tmp_path / "cat.json").write_text(json.dumps(a1111))
    found = card_words(path)
    assert (found.triggers, found.strength, found.licence) == (
        ("mycat",), 0.7, "creativeml-openrail-m",
    )  # fmt: skip
    (tmp_path / "dog.safetensors").touch()
    assert card_words(path).licence == ""  # whose README it is cannot be told any more


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"triggers": 3}']
)
def test_a_damaged_sidecar_says_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cat.json").write_bytes(content)
    assert card_words(tmp_path / "cat.safetensors") == Words()
