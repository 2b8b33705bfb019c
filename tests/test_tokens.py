"""The count of tokens: as CLIP's tokenizer counts, without torch."""

import json
from pathlib import Path

from sdgen.tokens import Tokens, read_tokenizer


def write_tokenizer(folder: Path) -> None:
    """A tokenizer that knows single letters, and "cat" as one piece."""
    letters = "abcdefghijklmnopqrstuvwxyz,0123456789"
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "ca", "cat</w>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")


def test_words_are_counted_in_pieces(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer is not None

    def pieces(text: str) -> list[str]:
        return list(tokenizer.encode(text, add_special_tokens=False).tokens)

    assert pieces("cat") == ["cat</w>"]
    assert pieces("CAT, cat") == ["cat</w>", ",</w>", "cat</w>"]
    assert pieces("dog") == ["d", "o", "g</w>"]


def test_a_whole_tokenizer_file_counts_the_same(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "parts")
    parts = read_tokenizer(tmp_path / "parts")
    assert parts is not None
    parts.enable_truncation(2)
    (tmp_path / "whole").mkdir()
    parts.save(str(tmp_path / "whole" / "tokenizer.json"))
    whole = read_tokenizer(tmp_path / "whole")
    assert whole is not None
    assert whole.encode("cat, cat", add_special_tokens=False).tokens == [
        "cat</w>",
        ",</w>",
        "cat</w>",
    ]


def test_a_model_whose_files_are_not_here_has_no_count() -> None:
    assert Tokens().count("no/such-model", "a cat") is None


def test_a_folder_without_tokenizer_has_none(tmp_path: Path) -> None:
    assert read_tokenizer(tmp_path) is None
    (tmp_path / "vocab.json").write_text("{broken")
    assert read_tokenizer(tmp_path) is None
