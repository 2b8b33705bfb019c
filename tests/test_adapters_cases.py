"""Kinds of LoRA files from the field, small: what is said of each, and that it is what is done."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.utils.other import get_pattern_key
from safetensors.torch import save_file
from torch import nn

from sdgen.adapters import inspect, verdict
from sdgen.adapters.header import read_header
from sdgen.adapters.keys import layers
from sdgen.adapters.peft_settings import Patterns
from sdgen.errors import AdapterRefused
from sdgen.models import ModelSpec, find_model
from sdgen.pipelines.lora_rows import LoraRows
from sdgen.pipelines.lora_weights import read_weights
from tests.adapter_files import ATTENTION, Pairs, adapter_metadata, pairs
from tests.test_lora_changes import lokr, whole_and_bias
from tests.test_lora_rows import CPU, PLENTY
from tests.tiny_models import saved, sd1

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ModelSpec]:
    pipe = sd1()
    return pipe, find_model(str(saved(pipe, tmp_path_factory.mktemp("tiny") / "model")))


def written(tensors: Tensors, path: Path, metadata: dict[str, str] | None = None) -> Path:
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata)
    return path


def named(drawn: Pairs, stem: Callable[[str], str], down: str, up: str) -> Tensors:
    tensors: Tensors = {}
    for name, pair in drawn.items():
        tensors |= {stem(name) + down: pair.down, stem(name) + up: pair.up}
    return tensors


def used(path: Path, pipe: Any) -> int:
    """How many modules of the model the loader puts something at."""
    modules = {
        part: LoraRows(getattr(pipe, part), PLENTY).modules for part in ("unet", "text_encoder")
    }
    found = read_weights(path, "t", "t", modules, CPU, torch.float32)  # type: ignore[arg-type]
    return sum(len(part.layers.keys() | part.changes.keys()) for part in found.values())


# ---- prefixes and spellings ---------------------------------------------------------------------


def flat(start: str) -> Callable[[str], str]:
    return lambda name: start + name.partition(".")[2].replace(".", "_")


def dotted(start: str) -> Callable[[str], str]:
    return lambda name: start + name.partition(".")[2]


A, B = ".lora_A.weight", ".lora_B.weight"
DOWN, UP = ".lora_down.weight", ".lora_up.weight"
SPELLINGS: dict[str, tuple[str, Callable[[str], str], str, str]] = {
    "lycoris": ("unet", flat("lycoris_"), DOWN, UP),
    "lycoris-text": ("text_encoder", flat("lycoris_text_model_"), DOWN, UP),
    "kohya-text": ("text_encoder", flat("lora_te_text_model_"), DOWN, UP),
    "kohya-te1": ("text_encoder", flat("lora_te1_text_model_"), DOWN, UP),
    "kohya-dotted": ("unet", dotted("unet."), DOWN, UP),
    "peft-named": ("unet", dotted("unet."), ".lora_A.default.weight", ".lora_B.default.weight"),
    "peft-hyphen": (
        "unet", dotted("unet.base_model.model."), ".lora_A.my-style.weight",
        ".lora_B.my-style.weight",
    ),
    "peft-model": ("unet", dotted("base_model.model."), A, B),
    "peft-model-unet": ("unet", dotted("base_model.model.unet."), A, B),
    "bare": ("unet", dotted(""), A, B),
    "comfyui": ("unet", dotted("diffusion_model."), A, B),
    "comfyui-whole": ("unet", dotted("model.diffusion_model."), DOWN, UP),
    "comfyui-text": (
        "text_encoder", dotted("text_encoders.clip_l.transformer.text_model."), A, B
    ),
    "text-bare": ("text_encoder", dotted("text_model."), A, B),
    "diffusers": ("unet", dotted("unet."), ".lora.down.weight", ".lora.up.weight"),
    "diffusers-linear": (
        "text_encoder", dotted("text_encoder.text_model."), ".lora_linear_layer.down.weight",
        ".lora_linear_layer.up.weight",
    ),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_is_read(spelling: str, tiny: tuple[Any, ModelSpec], tmp_path: Path) -> None:
    pipe, spec = tiny
    part, stem, down, up = SPELLINGS[spelling]
    drawn = pairs(pipe, ATTENTION, only=[part])
    path = written(named(drawn, stem, down, up), tmp_path / "x.safetensors")
    found = verdict(inspect(path), spec)
    assert (found.level, found.share, found.left_out) == ("fits", 1.0, ())
    assert used(path, pipe) == len(drawn)


# ---- whole weights, biases, norms ---------------------------------------------------------------


def test_biases_and_norms_are_counted_as_they_are_used(
    tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    pipe, spec = tiny
    file, delta = whole_and_bias(pipe.unet, 1)
    path = written(file, tmp_path / "x.safetensors")
    report = inspect(path)
    assert report.kind == "locon"
    found = verdict(report, spec)
    assert (found.level, found.share) == ("fits", 1.0)
    assert used(path, pipe) == len({name.rpartition(".")[0] for name in delta})


def test_what_of_a_module_does_not_fit_is_counted_and_named_by_key(
    tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    pipe, spec = tiny
    file, _ = whole_and_bias(pipe.unet, 1)
    bias = next(key for key in file if key.endswith("attn1_to_out_0.diff_b"))
    norm = next(
        key for key in file if key.endswith("resnets_0_norm1.diff") or "norm1.w_norm" in key
    )
    file[bias], file[norm] = torch.ones(99), torch.ones(99)
    file["lora_unet_mid_block_resnets_0_norm1.lora_down.weight"] = torch.ones(2, 32)
    file["lora_unet_mid_block_resnets_0_norm1.lora_up.weight"] = torch.ones(32, 2)
    path = written(file, tmp_path / "x.safetensors")
    found = verdict(inspect(path), spec)
    assert found.share == pytest.approx(1 - 4 / len(file))
    why = dict(found.left_out)
    assert why[bias].startswith("other shape: 99 numbers, this model has ")
    assert why[norm].startswith("other shape: 99 numbers, this model has ")
    assert why["lora_unet_mid_block_resnets_0_norm1.lora_up.weight"] == (
        "a norm has only .diff and .diff_b"
    )


def test_lokr_and_loha_of_a_wrong_shape_do_not_count(
    tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    pipe, spec = tiny
    file, _ = lokr(pipe.unet, 1)
    path = written(file, tmp_path / "x.safetensors")
    assert verdict(inspect(path), spec).share == 1.0
    stem = next(iter(file)).partition(".")[0]
    wrong = file | {f"{stem}.lokr_w2_b": torch.ones(1, 99)}
    found = verdict(inspect(written(wrong, path)), spec)
    assert found.share == pytest.approx(1 - 4 / len(file))
    assert found.left_out[0][0] == stem
    assert "wide, this model has" in found.left_out[0][1]
    half = {key: tensor for key, tensor in file.items() if key != f"{stem}.lokr_w2_a"}
    found = verdict(inspect(written(half, path)), spec)
    assert dict(found.left_out)[stem] == "a LoKr that lacks a factor"


def test_what_cannot_be_mixed_of_a_mixed_file_is_said_and_the_rest_is_used(
    tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    pipe, spec = tiny
    drawn = pairs(pipe, ATTENTION, only=["unet"])
    tensors = named(drawn, flat("lora_unet_"), DOWN, UP)
    stem = "lora_unet_mid_block_attentions_0_proj_in"
    tensors[f"{stem}.oft_blocks"] = torch.ones(4, 8, 8)
    path = written(tensors, tmp_path / "x.safetensors")
    found = verdict(inspect(path), spec)
    assert 0.9 < found.share < 1.0
    assert found.left_out[0][0] == stem
    assert used(path, pipe) == len(drawn)


# ---- alpha --------------------------------------------------------------------------------------


def test_alpha_0_is_said_before_and_not_only_when_it_is_used(
    tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    pipe, spec = tiny
    drawn = pairs(pipe, ATTENTION, only=["unet"])
    tensors = named(drawn, flat("lora_unet_"), DOWN, UP)
    stems = [key.removesuffix(UP) for key in tensors if key.endswith(UP)]
    zero = {f"{stem}.alpha": torch.tensor(0.0) for stem in stems}
    found = verdict(inspect(written(tensors | zero, tmp_path / "x.safetensors")), spec)
    assert (found.level, found.share) == ("refused", 0.0)
    assert "its alpha is 0, so it changes nothing" in found.sentence
    one = {f"{stems[0]}.alpha": torch.tensor(0.0)}
    path = written(tensors | one, tmp_path / "x.safetensors")
    found = verdict(inspect(path), spec)
    assert found.share == pytest.approx(1 - 3 / (len(tensors) + 1))
    assert found.left_out == ((stems[0], "its alpha is 0, so it changes nothing"),)
    assert used(path, pipe) == len(drawn) - 1


def test_patterns_of_peft_give_alpha_as_peft_does(
    tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    pipe, _ = tiny
    drawn = pairs(pipe, ATTENTION, only=["unet"])
    patterns: dict[str, float] = {
        r".*attn2\.to_k": 1,
        "to_v": 7,
        r"up_blocks\.\d+\.attentions\.[01]\..*to_q": 3,
        r"^down_blocks\.1\.attentions\.0\.transformer_blocks\.0\.attn1\.to_k$": 5,
        r"to_(out\.0|k)": 2,
    }
    told = json.loads(adapter_metadata(drawn)["lora_adapter_metadata"])
    told |= {"unet.lora_alpha": 8, "unet.alpha_pattern": patterns}
    path = written(
        named(drawn, dotted("unet."), A, B),
        tmp_path / "x.safetensors",
        {"lora_adapter_metadata": json.dumps(told)},
    )
    modules = {
        f"unet.{name}": tuple(module.weight.shape)
        for name, module in pipe.unet.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    found, left = layers(read_header(path), modules)
    assert not left
    seen = set()
    for layer in found:
        wanted = patterns.get(get_pattern_key(patterns, layer.module), 8)
        assert layer.alpha == wanted, layer.module
        assert layer.multiplier == wanted / layer.rank
        seen.add(wanted)
    assert seen == {1, 7, 3, 5, 2, 8}


@pytest.mark.parametrize(
    ("pattern", "words"),
    [(r"((\w|\w)+)+[^\w.]", "too long to match"), ("to_(", "no regular"), ("x" * 501, "too long")],
)
def test_a_stranger_s_patterns_are_bounded(pattern: str, words: str) -> None:
    with pytest.raises(AdapterRefused, match=words):
        Patterns({pattern: 1}).find("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_k")


# ---- what travels along -------------------------------------------------------------------------


def test_a_bundled_embedding_does_not_spoil_the_file_and_is_named(
    tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    pipe, spec = tiny
    drawn = pairs(pipe, ATTENTION, only=["unet"])
    extras = {
        "bundle_emb.my-token.string_to_param.*": torch.ones(2, 8),
        "bundle_emb.two words.clip_l": torch.ones(2, 8, dtype=torch.float64),
        "bundle_emb.two words.clip_g": torch.ones(2, 8, dtype=torch.int64),
        "bundle_emb.empty.emb_params": torch.ones(0),
        "string_to_param.*": torch.ones(2, 8),
    }
    path = written(named(drawn, dotted("unet."), DOWN, UP) | extras, tmp_path / "x.safetensors")
    report = inspect(path)
    assert set(report.extras) == {
        "the embedding my-token",
        "the embedding two words",
        "the embedding empty",
        "'string_to_param.*'",
    }
    found = verdict(report, spec)
    assert (found.level, found.share) == ("fits", 1.0)
    assert "Not used is what it carries beside: the embedding" in found.sentence
    assert used(path, pipe) == len(drawn)


def test_names_that_nobody_knows_are_ignored_counted_and_shown_clean(
    tiny: tuple[Any, ModelSpec], tmp_path: Path
) -> None:
    pipe, spec = tiny
    drawn = pairs(pipe, ATTENTION)
    odd = {"<script>\x1b[2J": torch.ones(1), "x" * 3000: torch.ones(1, dtype=torch.int8)}
    path = written(named(drawn, lambda name: name, A, B) | odd, tmp_path / "x.safetensors")
    found = verdict(inspect(path), spec)
    assert found.share == pytest.approx(1 - 2 / (2 * len(drawn) + 2))
    for name, why in found.left_out:
        assert name.isprintable()
        assert len(name) <= 120
        assert why == "not a key of a LoRA that sdgen knows"
