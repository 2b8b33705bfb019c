"""Captions: read from every layout of the field, with the trigger in each exactly once."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora.dataset.captions import has_trigger, read_captions, unread, with_trigger
from lora.dataset.example import LONGEST_CAPTION, one_line
from lora.dataset.files import SourceFile
from lora.dataset.sources import read_source
from tests.photos import a_folder

words = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a cat on a sofa", "Minnal Murali, a cat on a sofa"),
        ("minnal MURALI on a roof", "minnal MURALI on a roof"),  # there already; case kept
        ("a photo of Minnal  Murali", "a photo of Minnal Murali"),
        ("Minnal Muralis on a roof", "Minnal Murali, Minnal Muralis on a roof"),  # another word
        ("[trigger] on a roof", "Minnal Murali on a roof"),
        ("[trigger] and [trigger]", "Minnal Murali and"),
        ("Minnal Murali and [trigger]", "Minnal Murali and"),
        ("", "Minnal Murali"),
    ],
)
def test_the_trigger_is_put_in_once(caption: str, expected: str) -> None:
    assert with_trigger(caption, "Minnal Murali") == expected


def test_the_class_word_follows_where_nothing_says_it() -> None:
    assert with_trigger("on a sofa", "sks", "dog") == "sks dog, on a sofa"
    assert with_trigger("a dog on a sofa", "sks", "dog") == "sks, a dog on a sofa"
    assert with_trigger("on a sofa", "my dog", "dog") == "my dog, on a sofa"
    assert with_trigger("", "sks", "dog") == "sks dog"
    assert with_trigger("sks on a sofa", "sks", "dog") == "sks on a sofa"
    assert with_trigger("a dog", "", "dog") == "a dog"


@given(st.text(max_size=200), st.lists(words, min_size=1, max_size=3).map(" ".join), words)
def test_the_trigger_is_there_and_a_second_time_changes_nothing(
    caption: str, trigger: str, class_word: str
) -> None:
    once = with_trigger(caption, trigger, class_word)
    assert has_trigger(once, one_line(trigger))
    assert with_trigger(once, trigger, class_word) == once


@given(st.text(st.characters(), max_size=3000))
def test_a_stored_caption_is_one_printable_line(text: str) -> None:
    line = one_line(text)
    assert one_line(line) == line
    assert len(line.splitlines()) <= 1
    assert len(line) <= LONGEST_CAPTION
    assert line == line.strip()
    line.encode("utf-8")


def test_one_line_keeps_what_scripts_need() -> None:
    joiner = "\u200d"
    assert one_line(f"മിന്നല്{joiner} മുരളി") == f"മിന്നല്{joiner} മുരളി"
    assert one_line("a\x00b\x1b[31m\u202ec\ud800\nd") == "ab[31mc? d"


def _captions(folder: Path) -> dict[str, str]:
    files = read_source(folder)
    found = read_captions(files)
    assert not found.problems
    return {
        f"{file.folder}/{file.name}".strip("/"): found.of(file)[0]
        for file in files
        if file.kind == "photo"
    }


def test_captions_beside_the_photos(tmp_path: Path) -> None:
    photos = {f"{name}.jpg": b"" for name in "abcd"}
    a_folder(tmp_path, photos | {"sub/a.png": b"", "sub/a.txt": "in the folder"})
    a_folder(tmp_path, {"a.txt": "first\n line\n", "b.caption": "kohya's default end"})
    a_folder(tmp_path, {"c.jpg.txt": "whole name", "d.txt": "mit Süß".encode("utf-16")})
    assert _captions(tmp_path) == {
        "a.jpg": "first line",
        "b.jpg": "kohya's default end",
        "c.jpg": "whole name",
        "d.jpg": "mit Süß",
        "sub/a.png": "in the folder",
    }


@pytest.mark.parametrize("key", ["text", "caption", "prompt", "description"])
def test_captions_in_metadata_jsonl(tmp_path: Path, key: str) -> None:
    rows = [{"file_name": "a.jpg", key: "ä\u2028b"}, {"file_name": "./sub/b.jpg", key: "second"}]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    a_folder(tmp_path, {"a.jpg": b"", "sub/b.jpg": b"", "metadata.jsonl": f"\ufeff{lines}\n\n"})
    assert _captions(tmp_path) == {"a.jpg": "ä b", "sub/b.jpg": "second"}


def test_captions_in_metadata_csv(tmp_path: Path) -> None:
    table = 'file_name,text\na.jpg,"one, two"\n'
    a_folder(tmp_path, {"a.jpg": b"", "metadata.csv": table})
    assert _captions(tmp_path) == {"a.jpg": "one, two"}


def test_the_caption_beside_the_photo_wins_and_the_difference_is_told(tmp_path: Path) -> None:
    listed = '{"file_name": "a.jpg", "text": "listed"}'
    a_folder(tmp_path, {"a.jpg": b"", "a.txt": "beside", "metadata.jsonl": listed})
    files = read_source(tmp_path)
    photo = next(file for file in files if file.kind == "photo")
    assert read_captions(files).of(photo) == ("beside", True)


@pytest.mark.parametrize("content", ["{", "[1]", '{"text": "no file"}', '"a"', '{"file_name": 3}'])
def test_a_broken_list_is_a_problem_and_no_error(content: str) -> None:
    file = SourceFile("", "metadata.jsonl", "caption", data=content.encode())
    found = read_captions([file])
    assert len(found.problems) == 1
    assert found.problems[0].startswith("metadata.jsonl: ")
    assert not found.listed


def test_what_the_model_does_not_read_is_named() -> None:
    def count(text: str) -> int:
        return len(text.split())

    caption = " ".join(f"w{number}" for number in range(80))
    assert unread(caption, count) == "w75 w76 w77 w78 w79"
    assert unread("short", count) == ""
    assert unread("short", lambda text: None) == ""
    assert unread("onelongword", len, budget=3) == "onelongword"
