"""How prompts are cut: weights as in AUTOMATIC1111, chunks of the encoder's length, no loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.pipelines.prompts import (
    ROUND,
    SQUARE,
    WEIGHT_MAX,
    Chunk,
    Fragment,
    chunks,
    chunks_of,
    count_tokens,
    empty_chunk,
    every_word,
    fragments,
    plain_text,
    read_otherwise_before,
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
        ("(red:-1) [(cat:1.5)]", [("red", -1.0), (" ", 1.0), ("cat", 1.5 * SQUARE)]),
        ("(red:٠.٥)", [("red", 0.5)]),  # digits of any script, as Python reads them
        ("(red:1.2.3)", [("red:1.2.3", 1.1)]),
        ("(a:1.5)(b:1.5)", [("ab", 1.5)]),
        ("(([a] b:1.3) c)", [("a", 1.3), (" b", 1.43), (" c", 1.1)]),
        ("([a) b]", [("a", 1.0), (" b", SQUARE)]),
        (r"a\b \: c\\", [("ab : c" + "\\", 1.0)]),  # alone, a backslash is no word
        ("a cat\\", [("a cat", 1.0)]),
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


def test_break_takes_its_spaces_and_works_inside_brackets() -> None:
    assert fragments("a \n BREAK  BREAK\tb ") == [
        Fragment("a"), Fragment(None), Fragment(None), Fragment("b "),
    ]  # fmt: skip
    assert fragments("(a BREAK b:1.5)") == [
        Fragment("a", 1.5), Fragment(None), Fragment("b", 1.5),
    ]  # fmt: skip
    assert fragments("BREAK") == [Fragment(None)]


def test_a_break_at_the_end_adds_no_chunk_and_one_at_the_beginning_does() -> None:
    assert [read(chunk) for chunk in chunks(WORDS, "cat BREAK")] == [tokens_of("cat")]
    assert [read(chunk) for chunk in chunks(WORDS, "BREAK cat")] == [[], tokens_of("cat")]
    assert chunks(WORDS, "BREAK") == [empty_chunk(WORDS)]


def test_weights_have_a_limit() -> None:
    assert fragments("(red:5000)") == [Fragment("red", WEIGHT_MAX)]
    assert fragments("((red:-500):500)") == [Fragment("red", -WEIGHT_MAX)]
    assert fragments("(" * 5000 + "red") == [Fragment("red", WEIGHT_MAX)]
    assert fragments("(" * 300 + "(red:0)" + ":900)" * 300) == [Fragment("red", 0.0)]
    assert fragments("(" + "(" * 300 + "red" + ":900)" * 300 + ":0)") == [Fragment("red", 0.0)]
    assert fragments("(" + "red:" + "9" * 400 + ")") == [Fragment("red", WEIGHT_MAX)]
    assert fragments("((((red))))") == [Fragment("red", ((ROUND * ROUND) * ROUND) * ROUND)]


@pytest.mark.parametrize(
    ("text", "text_of_all"),
    [
        ("(a)b" * 2500, "ab" * 2500),
        ("(a[b" * 2500, "ab" * 2500),
        ("(a:" + "1" * 9000, "a:" + "1" * 9000),
        (":" * 10_000, ":" * 10_000),
        ("BREAK" + " " * 9_990 + "x", "x"),
        (" " * 9_999 + "x", " " * 9_999 + "x"),
        ("\\" * 9_999, "\\" * 4_999),
    ],
)
def test_long_hostile_texts_are_read(text: str, text_of_all: str) -> None:
    assert "".join(part.text or "" for part in fragments(text)) == text_of_all


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


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        # The 76th token is a comma: the chunk stays full, whatever comma is near.
        (["cat"] * 70 + [","] + ["red"] * 4 + [","] + ["the"] * 9, [75, 10]),
        (["cat"] * 70 + [","] + ["red"] * 5 + [","] + ["the"] * 9, [71, 15]),
        (["cat"] * 74 + [","] + ["red"] * 5, [75, 5]),
        (["cat"] * 74 + [",", ","] + ["red"] * 5, [75, 6]),
        (["cat"] * 55 + [","] + ["red"] * 30, [56, 30]),  # 20 tokens from the end
        (["cat"] * 54 + [","] + ["red"] * 31, [75, 11]),  # 21
        (["cat"] * 75 + [","] * 1, [75, 1]),
        (["cat"] * 70 + [","] + ["red"] * 100, [71, 75, 25]),  # no comma of the next chunk
        (["cat"] * 75, [75]),
        ([","] * 160, [75, 75, 10]),
        # The comma that began the second chunk is no place to end it.
        (["cat"] * 75 + [","] + ["red"] * 80, [75, 75, 6]),
        (["cat"] * 60 + [","] + ["red"] * 74 + [","] + ["the"] * 5, [61, 75, 5]),
    ],
)
def test_where_chunks_end_by_their_commas(text: list[str], lengths: list[int]) -> None:
    assert [len(read(chunk)) for chunk in chunks(WORDS, " ".join(text))] == lengths
    weighed = chunks(WORDS, f"({' '.join(text)}:1.5)")
    assert [len(read(chunk)) for chunk in weighed] == lengths


def test_a_short_encoder_has_short_chunks() -> None:
    short = tokenizer(length=12)
    found = chunks(short, " ".join(["cat"] * 25))
    assert [len(chunk.ids) for chunk in found] == [12, 12, 12]
    assert [len(read(chunk)) for chunk in found] == [10, 10, 5]


def test_what_the_tokenizer_said_is_asked_once() -> None:
    asked: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> object:
            return getattr(WORDS, name)

        def __call__(self, texts: list[str], **options: object) -> object:
            asked.extend(texts)
            return WORDS(texts, **options)

    known: dict[str, list[int]] = {}
    for _ in range(3):
        found = chunks_of(Counting(), fragments("a (cat:1.2), a (cat:1.5)"), known)
    assert sorted(asked) == sorted(["a ", "cat", ", a ", ","])
    assert found == chunks(WORDS, "a (cat:1.2), a (cat:1.5)")


def test_weights_follow_their_tokens_into_the_next_chunk() -> None:
    first, second = chunks(WORDS, "cat " * 74 + "(red the:1.5)")
    assert first.weights[75] == 1.5
    assert second.weights[:3] == (1.0, 1.5, 1.0)


def test_the_count_leaves_the_notation_out() -> None:
    assert count_tokens(WORDS, "a (red:1.3) cat") == count_tokens(WORDS, "a red cat") == 3
    assert count_tokens(WORDS, "") == 0


def test_plain_text_has_words_only() -> None:
    assert plain_text(r"a (red:1.3) cat BREAK \(the\)").split() == ["a", "red", "cat", "(the)"]


def test_of_prompt_editing_the_longest_part_counts_and_every_word_is_seen() -> None:
    assert count_tokens(WORDS, plain_text("a [cat:red the:0.5]")) == 3
    assert plain_text("a [cat:red the:0.5] <hypernet:x:1>").split() == ["a", "red", "the"]
    assert every_word("a [(cat:1.2)|red] BREAK [fe|]male").split() == [
        "a", "cat", "red", "fe", "male",
    ]  # fmt: skip


def test_prompts_that_older_rules_read_otherwise() -> None:
    new = ("[a|b]", r"a\b", "(a:1.2)", "a BREAK", "a" * 76, "embedding:x", "<hypernet:x:1>")
    for prompt in new:
        assert read_otherwise_before(prompt)
    for prompt in ("", "a red cat, at night: 3 % of it", "a" * 75):
        assert not read_otherwise_before(prompt)
