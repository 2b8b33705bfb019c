"""Files that are no usable LoRA: each gets a plain sentence, soon, and never another exception."""

import json
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from sdgen.adapters import inspect
from sdgen.adapters.header import FILE_BYTES_MAX, HEADER_BYTES_MAX
from sdgen.adapters.header_text import TENSORS_MAX
from sdgen.errors import AdapterRefused

MODULE = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
GOOD: dict[str, Any] = {
    f"{MODULE}.lora_A.weight": {"dtype": "F32", "shape": [2, 320], "data_offsets": [0, 2560]},
    f"{MODULE}.lora_B.weight": {"dtype": "F32", "shape": [320, 2], "data_offsets": [2560, 5120]},
}
DATA = bytes(5120)


def raw(header: object, data: bytes = DATA) -> bytes:
    """A file in the layout of safetensors with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def good(**tensors: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        f"{MODULE}.lora_A.weight": torch.ones(2, 320),
        f"{MODULE}.lora_B.weight": torch.ones(320, 2),
        **tensors,
    }


def changed(**entry: object) -> bytes:
    """A good header with one entry changed."""
    first = f"{MODULE}.lora_A.weight"
    return raw({**GOOD, first: {**GOOD[first], **entry}})


def saved(tensors: dict[str, torch.Tensor]) -> bytes:
    return save(tensors)


def zipped(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
    return path.read_bytes()


def torch_saved(path: Path) -> bytes:
    torch.save({"a": torch.ones(2)}, path)
    return path.read_bytes()


def many(count: int) -> bytes:
    return raw({f"unet.{n}": {"dtype": "F16", "shape": [1], "data_offsets": [2 * n, 2 * n + 2]}
                for n in range(count)}, bytes(2 * count))  # fmt: skip


def pair(rank: int, **changes: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        f"{MODULE}.lora_A.weight": torch.ones(rank, 320),
        f"{MODULE}.lora_B.weight": torch.ones(320, rank),
        **changes,
    }


# fmt: off
CORPUS: dict[str, tuple[bytes | Callable[[Path], bytes], str]] = {
    "empty": (b"", "empty"),
    "eight-bytes": (bytes(8), "not a safetensors file"),
    "text": (b"this is no model at all, but a letter", "not a safetensors file"),
    "html": (b"<!DOCTYPE html><html><body>Not found</body></html>", "not a safetensors file"),
    "git-lfs-pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "not a safe"),
    "zip": (zipped, "pickled"),
    "torch-save": (torch_saved, "pickled"),
    "pickle-2": (pickle.dumps({"a": [1]}, 2), "pickled"),
    "pickle-3": (pickle.dumps({"a": [1]}, 3), "pickled"),
    "pickle-4": (pickle.dumps({"a": [1]}, 4), "pickled"),
    "pickle-5": (pickle.dumps({"a": [1]}, 5), "pickled"),
    "header-of-4-exabytes": (struct.pack("<Q", 2**62) + b"{}", "damaged"),
    "header-cut": (raw(GOOD)[:60], "not copied to its end"),
    "data-cut": (raw(GOOD, DATA[:-1]), "not copied to its end"),
    "data-left-over": (raw(GOOD, DATA + b"x"), "goes on after"),
    "header-too-large": (struct.pack("<Q", HEADER_BYTES_MAX + 1) + b"{", "not copied to its end"),
    "header-no-json": (raw(b'{"a": }'), "damaged"),
    "header-no-utf8": (raw(b'{"\xff": 1}'), "damaged"),
    "header-deep": (raw(b'{"a":' + b"[" * 100_000), "damaged"),
    "header-name-twice": (raw(b'{"a": 1, "a": 1}'), "damaged"),
    "header-list": (raw(b'{"a": 1}'.replace(b'{"a": 1}', b"[1, 2]")), "not a safetensors"),
    "no-tensors": (raw({}, b""), "no tensors"),
    "metadata-only": (raw({"__metadata__": {"format": "pt"}}, b""), "no tensors"),
    "metadata-list": (raw({**GOOD, "__metadata__": []}), "damaged"),
    "too-many": (many(TENSORS_MAX + 1), "more than 20,000 tensors"),
    "entry-no-object": (raw({**GOOD, "x": 3}), "damaged"),
    "entry-incomplete": (raw({**GOOD, "x": {"dtype": "F32"}}), "damaged"),
    "dtype-list": (changed(dtype=["F32"]), "damaged"),
    "shape-text": (changed(shape="2,320"), "damaged"),
    "shape-negative": (changed(shape=[-2, -320]), "damaged"),
    "shape-huge": (changed(shape=[2**62, 2**62]), "damaged"),
    "shape-bool": (changed(shape=[True, 640]), "damaged"),
    "shape-float": (changed(shape=[2.0, 320]), "damaged"),
    "shape-too-small": (changed(shape=[1, 320]), "damaged"),
    "shape-zero": (saved({
        f"{MODULE}.lora_A.weight": torch.ones(0, 320),
        f"{MODULE}.lora_B.weight": torch.ones(320, 0),
    }), "empty tensors"),
    "many-axes": (changed(shape=[1] * 50), "damaged"),
    "offsets-overlap": (changed(data_offsets=[2560, 5120]), "overlap"),
    "offsets-backwards": (changed(data_offsets=[2560, 0]), "damaged"),
    "offsets-three": (changed(data_offsets=[0, 1, 2]), "damaged"),
    "key-twice-too-long": (raw({"unet." + "x" * 5000: GOOD[f"{MODULE}.lora_A.weight"]}), "damaged"),
    "float8": (
        saved(good(**{f"{MODULE}.diff_b": torch.ones(1).to(torch.float8_e4m3fn)})), "F8_E4M3"
    ),
    "whole-numbers": (saved(good(**{f"{MODULE}.diff": torch.ones(1, dtype=torch.int64)})), "I64"),
    "flux-in-float8": (
        saved({"transformer.x.lora_A.weight": torch.ones(2, 2).to(torch.float8_e5m2)}), "F8_E5M2"
    ),
    "rank-257": (saved(pair(257)), "rank 257"),
    "halves-differ": (
        saved(pair(4, **{f"{MODULE}.lora_B.weight": torch.ones(320, 5)})), "do not fit together"
    ),
    "alpha-two-numbers": (saved(pair(4, **{f"{MODULE}.alpha": torch.ones(2)})), "no single number"),
    "alpha-nan": (saved(pair(4, **{f"{MODULE}.alpha": torch.tensor(torch.nan)})), "not a finite"),
    "base-model": (saved({"model.diffusion_model.out.2.bias": torch.ones(4)}), "base model"),
    "unet": (saved({"down_blocks.0.resnets.0.conv1.weight": torch.ones(4)}), "one part of a base"),
    "vae": (saved({"decoder.conv_in.weight": torch.ones(4)}), "one part of a base"),
    "embedding": (saved({"emb_params": torch.ones(2, 768)}), "textual inversion"),
    "embedding-xl": (saved({"clip_l": torch.ones(768), "clip_g": torch.ones(1280)}), "textual inv"),
    "controlnet": (saved({"controlnet_cond_embedding.conv_in.bias": torch.ones(4)}), "ControlNet"),
    "something-else": (saved({"weight": torch.ones(4)}), "no tensors that a LoRA has"),
}
# fmt: on


@pytest.mark.parametrize("name", CORPUS)
def test_a_broken_file_is_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    made, part_of_sentence = CORPUS[name]
    path = tmp_path / "subject.safetensors"
    path.write_bytes(made if isinstance(made, bytes) else made(tmp_path / "scratch"))
    begin = time.perf_counter()
    with pytest.raises(AdapterRefused, match=part_of_sentence) as refused:
        inspect(path)
    assert time.perf_counter() - begin < 1
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert str(tmp_path) not in sentence
    assert len(sentence) < 300


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580])
def test_a_header_whose_length_looks_like_a_pickle_is_read(length: int, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    words = {"__metadata__": {"a": ""}}
    words["__metadata__"]["a"] = "x" * (length - len(json.dumps({**GOOD, **words})))
    path.write_bytes(raw({**GOOD, **words}))
    assert path.read_bytes()[:2] == struct.pack("<H", length)
    assert inspect(path).ranks == (2,)


def test_a_file_beyond_2_gb_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:
        file.write(raw(GOOD))
        file.truncate(FILE_BYTES_MAX + 1)
    begin = time.perf_counter()
    with pytest.raises(AdapterRefused, match="2,000 MB"):
        inspect(path)
    assert time.perf_counter() - begin < 1


def test_the_suffix_of_a_good_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "subject.ckpt"
    save_file(good(), path)
    assert inspect(path).ranks == (2,)


@pytest.mark.parametrize("what", ["nothing", "folder"])
def test_what_is_no_file_is_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(AdapterRefused):
        inspect(tmp_path if what == "folder" else tmp_path / "absent.safetensors")


def test_a_stranger_s_words_do_not_break_the_report(tmp_path: Path) -> None:
    path = tmp_path / "words.safetensors"
    evil = "\x1b[2J<script>alert(1)</script>\n" * 500
    words = {
        "modelspec.title": evil,
        "modelspec.trigger_phrase": evil,
        "modelspec.license": evil,
        "sdgen.strength": "1e999",
        "ss_tag_frequency": '{"a": {"b": "c"}, "d": [1], "e": {"f": 1e400}}',
        "ss_dataset_dirs": "[]",
        "sdgen.recipe": "[" * 100_000,
        "lora_adapter_metadata": '{"unet.r": {}, "unet.lora_alpha": "x", "unet.alpha_pattern": 3}',
    }
    save_file(good(), path, words)
    report = inspect(path)
    text = " ".join([report.title, report.licence, *report.triggers])
    assert text.isprintable()
    assert len(text) < 1000
    assert report.strength == 1.0
    assert report.alphas == (2.0,)
    assert not report.alpha_is_told


def no_surprise(path: Path) -> None:
    """A file is examined, or refused with a sentence; nothing else happens."""
    try:
        report = inspect(path)
    except AdapterRefused as error:
        sentence = str(error)
    else:
        sentence = f"It has {report.size_bytes} bytes."
    assert sentence.endswith(".")


SEARCH = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SOUND = raw({**GOOD, "__metadata__": {"ss_tag_frequency": '{"a": {"b": 3}}'}})


@SEARCH
@given(st.binary(max_size=300))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    no_surprise(path)


@SEARCH
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 5000), st.integers(0, 255)), max_size=8))
def test_flipped_bytes(tmp_path: Path, flips: list[tuple[int, int]]) -> None:
    content = bytearray(SOUND)
    for place, value in flips:
        content[place] = value
    path = tmp_path / "x.safetensors"
    path.write_bytes(bytes(content))
    no_surprise(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "BF16", "I64", 3, None]),
        "shape": st.lists(st.integers(-1, 4), max_size=5) | JSON,
        "data_offsets": st.lists(st.integers(-4, 64), max_size=3) | JSON,
    },
)
NAMES = st.sampled_from(
    [
        f"{MODULE}.{end}"
        for end in ("lora_A.weight", "lora_B.weight", "alpha", "lora_mid.weight", "hada_w1_a",
                    "lokr_w1", "diff", "dora_scale", "lora_B.bias", "oft_blocks")
    ]
    + ["lora_unet_conv_in.lora_down.weight", "lora_unet_conv_in.alpha", "__metadata__"]
)  # fmt: skip


@SEARCH
@given(
    st.dictionaries(NAMES | st.text(max_size=12), ENTRY | JSON, max_size=6),
    st.integers(0, 256),
)
def test_random_headers(tmp_path: Path, header: dict[str, Any], size: int) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw(header, bytes(size)))
    no_surprise(path)


SHAPES = st.lists(st.integers(1, 4), max_size=5)


@SEARCH
@given(st.dictionaries(NAMES.filter(lambda name: name != "__metadata__"), SHAPES, min_size=1))
def test_sound_files_of_any_shapes(tmp_path: Path, shapes: dict[str, list[int]]) -> None:
    path = tmp_path / "x.safetensors"
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, path)
    no_surprise(path)
