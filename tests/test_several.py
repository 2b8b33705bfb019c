"""Several requests out of one text: lines and choices, counted before they are built."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.errors import InvalidRequest
from sdgen.several import COUNT_MAX, TEXT_CHARS, count, expand, looks_several

BRACES = st.text(alphabet="ab {|}[]\\\n", max_size=24)


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("a robot", ["a robot"]),
        ("a robot\n\n  a tree \r\n", ["a robot", "a tree"]),
        ("{red|blue} robot", ["red robot", "blue robot"]),
        ("{ red | blue } robot", ["red robot", "blue robot"]),
        (
            "{red|blue} {cat|dog|owl}",
            ["red cat", "red dog", "red owl", "blue cat", "blue dog", "blue owl"],
        ),
        ("a {|very} red {robot|}", ["a red robot", "a red", "a very red robot", "a very red"]),
        ("{a|b}\nc", ["a", "b", "c"]),
        ("{red} {robot", ["{red} {robot"]),
        ("red|blue} robot", ["red|blue} robot"]),
        (r"\{red|blue\} robot", ["{red|blue} robot"]),
        (r"{a\|b|c}", ["a|b", "c"]),
        (r"{a|b\}c}", ["a", "b}c"]),
        ("{{a|b}}", ["{a}", "{b}"]),  # the braces by which NovelAI weighs words
        ("(red:1.2) \\(x\\) {a}", ["(red:1.2) \\(x\\) {a}"]),
        ("a {red|blue} cat\n", ["a red cat", "a blue cat"]),
        # Square brackets are prompt editing's: their bars, and the backslashes before them.
        ("[cat|dog] in a field", ["[cat|dog] in a field"]),
        ("{[cat|dog]|owl}", ["[cat|dog]", "owl"]),
        ("{[a|[b|c]:0.5]|d}", ["[a|[b|c]:0.5]", "d"]),
        ("[{red|blue}|green] cat", ["[red|green] cat", "[blue|green] cat"]),
        (
            "[{red|blue}:{cat|owl}:0.5]",
            ["[red:cat:0.5]", "[red:owl:0.5]", "[blue:cat:0.5]", "[blue:owl:0.5]"],
        ),
        (r"[a\|b] {c|d\|e}", [r"[a\|b] c", r"[a\|b] d|e"]),
        (r"a\|b", ["a|b"]),
        ("{[a|b}", ["[a", "b"]),  # never closed, so it is text
        ("{a]|b}", ["a]", "b"]),
        ("{[a|[b|c}", ["[a", "[b", "c"]),
        ("[a {b] c|d}", ["[a b] c", "[a d"]),
        (r"{\[a|b\]}", [r"\[a", r"b\]"]),
    ],
)
def test_a_text_asks_for_these_prompts(text: str, prompts: list[str]) -> None:
    assert list(expand(text, 32)) == prompts
    assert count(text) == len(prompts)
    assert looks_several(text) == (len(prompts) > 1)


@given(BRACES)
def test_the_count_is_right_and_nothing_else_is_raised(text: str) -> None:
    try:
        asked = count(text)
    except InvalidRequest:
        assert looks_several(text)
        with pytest.raises(InvalidRequest) as refused:
            expand(text, COUNT_MAX)
        assert refused.value.field == "prompt"
        return
    if asked == 0:
        assert not text.strip()
        return
    assert len(expand(text, asked)) == asked
    if asked > 1:
        with pytest.raises(InvalidRequest, match=f"asks for {asked:,} requests; at most"):
            expand(text, asked - 1)


@given(st.lists(st.sampled_from(["red", "blue", "a cat", ""]), min_size=2, max_size=4))
def test_each_choice_is_taken_once(choices: list[str]) -> None:
    prompts = expand("one {" + "|".join(choices) + "} two", 4)
    assert [re.sub(" +", " ", f"one {choice} two") for choice in choices] == list(prompts)


def test_no_words_are_said_to_be_none() -> None:
    assert count(" \n ") == 0
    assert not looks_several("")
    with pytest.raises(InvalidRequest, match="Prompt is empty"):
        expand(" \n ", 32)


def test_choices_inside_choices_are_refused_in_words() -> None:
    for text in ("{a|{b|c}}", "{{a|b}|c}", "x {a|b {c|d} e} y"):
        with pytest.raises(InvalidRequest, match="inside each other"):
            expand(text, 32)
        assert looks_several(text)


def test_counting_never_explodes() -> None:
    started = time.monotonic()
    with pytest.raises(InvalidRequest, match="more than 1,000,000,000 requests; at most 32"):
        expand("{a|b}" * (TEXT_CHARS // 5), 32)
    for text in ("{" * TEXT_CHARS, "{|" * (TEXT_CHARS // 2), "|" * TEXT_CHARS):
        assert count(text) == 1
    with pytest.raises(InvalidRequest, match="too long: at most 64,000 characters"):
        count("{a|b}" * 1_000_000)
    assert time.monotonic() - started < 10
