"""How prompts are cut: weights as in AUTOMATIC1111, chunks of the encoder's length, no loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.pipelines.prompts import (
    SQUARE,
    Chunk,
    Fragment,
    chunks,
    count_tokens,
    empty_chunk,
    fragments,
    plain_text,
)
from tests.tiny_models import tokenizer

WORDS = tokenizer()
START, END = WORDS.bos_token_id, WORDS.eos_token_id


def tokens_of(text: str) -> list[int]:
    ids: list[int] = WORDS(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def read(chunk: Chunk) -> list[int]:
    """The tokens of a chunk without start, end and padding."""
    return list(chunk.ids[1 : chunk.ids.index(END)])


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("a (red) cat", [("a ", 1.0), ("red", 1.1), (" cat", 1.0)]),
        ("((red))", [("red", 1.21)]),
        ("[red]", [("red", SQUARE)]),
        ("(red:1.3) cat", [("red", 1.3), (" cat", 1.0)]),
        ("(red : 1.3 )", [("red ", 1.3)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1.0), (" c", 0.5)]),
        (r"a \(red\) \[cat\] \\", [(r"a (red) [cat] " + "\\", 1.0)]),
        ("time 10:30, ratio 1:2", [("time 10:30, ratio 1:2", 1.0)]),
        ("a) b] c:1.2)", [("a) b] c:1.2)", 1.0)]),
        ("a (b", [("a ", 1.0), ("b", 1.1)]),
        ("(red:)", [("red:", 1.1)]),
        ("()", [("", 1.0)]),
        ("", [("", 1.0)]),
    ],
)
def test_weights_are_read_as_a1111_reads_them(prompt: str, parts: list[tuple[str, float]]) -> None:
    found = fragments(prompt)
    assert [part.text for part in found] == [text for text, _ in parts]
    assert [part.weight for part in found] == pytest.approx([weight for _, weight in parts])


def test_break_starts_a_new_chunk() -> None:
    assert fragments("a cat BREAK red") == [Fragment("a cat"), Fragment(None), Fragment("red")]
    assert fragments("BREAKFAST") == [Fragment("BREAKFAST")]
    first, second = chunks(WORDS, "a cat BREAK (red)")
    assert read(first) == tokens_of("a cat")
    assert read(second) == tokens_of("red")
    assert second.weights[1] == pytest.approx(1.1)


PLAIN = st.characters(exclude_characters="()[]\\", exclude_categories=["Cs"])


@given(st.text(alphabet=PLAIN, max_size=80))
def test_text_without_brackets_comes_back_whole(text: str) -> None:
    if "BREAK" in text:
        return
    assert fragments(text) == [Fragment(text)]
    assert count_tokens(WORDS, text) == len(tokens_of(text))


@given(st.text(alphabet="ab ,:()[]\\1.2BREAK\n", max_size=120))
def test_any_notation_is_read_without_losing_a_letter(text: str) -> None:
    parts = fragments(text)
    kept = "".join(part.text or "" for part in parts)
    for letter in "ab":
        assert kept.count(letter) == text.count(letter)
    assert all(part.weight == part.weight for part in parts)


@given(st.lists(st.sampled_from(["cat", "red", ",", "the", "z"]), max_size=300))
def test_chunks_hold_every_token_once_and_in_order(words: list[str]) -> None:
    text = " ".join(words)
    found = chunks(WORDS, text)
    assert [token for chunk in found for token in read(chunk)] == tokens_of(text)
    for chunk in found:
        assert len(chunk.ids) == len(chunk.weights) == WORDS.model_max_length
        assert chunk.ids[0] == START


def test_a_plain_chunk_is_what_the_tokenizer_says() -> None:
    for padding in ("<|endoftext|>", "!"):
        words = tokenizer(padding)
        for text in ("", "a red cat", "cat " * 75):
            [chunk] = chunks(words, text)
            assert list(chunk.ids) == words(text, padding="max_length", max_length=77)["input_ids"]
            assert set(chunk.weights) == {1.0}
        assert empty_chunk(words) == chunks(words, "")[0]


def test_a_full_chunk_ends_behind_a_near_comma() -> None:
    text = " ".join(["cat"] * 60 + [","] + ["red"] * 30)
    first, second = chunks(WORDS, text)
    assert len(read(first)) == 61
    assert len(read(second)) == 30
    far = " ".join(["cat"] * 40 + [","] + ["red"] * 50)
    assert len(read(chunks(WORDS, far)[0])) == 75


def test_weights_follow_their_tokens_into_the_next_chunk() -> None:
    first, second = chunks(WORDS, "cat " * 74 + "(red the:1.5)")
    assert first.weights[75] == 1.5
    assert second.weights[:3] == (1.0, 1.5, 1.0)


def test_the_count_leaves_the_notation_out() -> None:
    assert count_tokens(WORDS, "a (red:1.3) cat") == count_tokens(WORDS, "a red cat") == 3
    assert count_tokens(WORDS, "") == 0


def test_plain_text_has_words_only() -> None:
    assert plain_text(r"a (red:1.3) cat BREAK \(the\)").split() == ["a", "red", "cat", "(the)"]
