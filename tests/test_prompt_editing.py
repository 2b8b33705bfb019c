"""Prompts that change from step to step: the schedules of AUTOMATIC1111's notation."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.pipelines.prompt_editing import EditedPrompt


def schedule(prompt: str, steps: int = 10) -> list[tuple[int, str]]:
    """As A1111 writes them: the last step of each text, and the text."""
    found: list[tuple[int, str]] = []
    texts = EditedPrompt(prompt).texts(steps)
    assert len(texts) == steps
    for step, text in enumerate(texts, 1):
        if found and found[-1][1] == text:
            found.pop()
        found.append((step, text))
    return found


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat", [(10, "a cat")]),
        ("a [cat:dog:0.5] b", [(5, "a cat b"), (10, "a dog b")]),
        ("a [cat:dog:4] b", [(4, "a cat b"), (10, "a dog b")]),
        ("a [cat:dog:.25]", [(2, "a cat"), (10, "a dog")]),  # 2.5 steps, rounded down
        ("a [cat:dog:0.29]", [(2, "a cat"), (10, "a dog")]),
        ("a [cat:dog:1]", [(1, "a cat"), (10, "a dog")]),  # one step
        ("a [cat:dog:1.0]", [(10, "a cat")]),  # all steps
        ("a [cat:dog:1.5]", [(10, "a cat")]),  # in A1111 a part of its second pass
        ("a [cat:dog:12]", [(10, "a cat")]),
        ("a [cat:dog:0]", [(10, "a dog")]),
        ("a [cat:dog:0.05]", [(10, "a dog")]),
        ("a [cat:dog:-3]", [(10, "a dog")]),
        ("a [cat:dog:3e0]", [(3, "a cat"), (10, "a dog")]),
        ("a [cat:dog:9e999]", [(10, "a cat")]),
        ("a [cat : dog : 3 ] b", [(3, "a cat  b"), (10, "a  dog  b")]),
        ("a [hat:3]", [(3, "a "), (10, "a hat")]),
        ("a [hat::3]", [(3, "a hat"), (10, "a ")]),
        ("a [:hat:3]", [(3, "a "), (10, "a hat")]),
        ("a [::3]", [(10, "a ")]),
        ("a [[cat:dog:2]:owl:5]", [(2, "a cat"), (5, "a dog"), (10, "a owl")]),
        ("a [cat:[dog:owl:6]:3]", [(3, "a cat"), (6, "a dog"), (10, "a owl")]),
        ("[(cat:1.2):[dog]:5]", [(5, "(cat:1.2)"), (10, "[dog]")]),
        ("([cat:dog:5]:1.3)", [(5, "(cat:1.3)"), (10, "(dog:1.3)")]),
        (r"[\[cat\]:dog:5]", [(5, r"\[cat\]"), (10, "dog")]),
        (r"[a\:b:c:5]", [(5, r"a\:b"), (10, "c")]),
        ("[a\nb:c:5]", [(5, "a\nb"), (10, "c")]),
        ("[cat:dog:5] [red:blue:5]", [(5, "cat red"), (10, "dog blue")]),
    ],
)
def test_prompt_editing(prompt: str, expected: list[tuple[int, str]]) -> None:
    assert schedule(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "each"),
    [
        ("[cat|dog]", ["cat", "dog", "cat", "dog"]),
        ("a [cat|dog|owl]!", ["a cat!", "a dog!", "a owl!", "a cat!"]),
        ("[fe|]male", ["female", "male", "female", "male"]),
        ("[|a||b]", ["", "a", "", "b"]),
        ("[cat|(dog:1.2)]", ["cat", "(dog:1.2)", "cat", "(dog:1.2)"]),
        ("[a|b] [c|d|e]", ["a c", "b d", "a e", "b c"]),
        ("[a|[b|c]]", ["a", "c", "a", "c"]),  # the inner one counts the same steps
        ("[[a|b]:c:2]", ["a", "b", "c", "c"]),
        ("[a|[b:c:2]]", ["a", "b", "a", "c"]),
        (r"[a\|b|c]", [r"a\|b", "c", r"a\|b", "c"]),
    ],
)
def test_alternation(prompt: str, each: list[str]) -> None:
    assert list(EditedPrompt(prompt).texts(4)) == each


@pytest.mark.parametrize(
    "prompt",
    [
        "[cat]",
        "[cat:dog]",
        "[cat:dog:owl]",
        "[cat:dog:owl:0.5]",  # one part too many
        "[cat:dog:0.5",
        "cat:dog:0.5]",
        "[a (b:c:0.5]",
        "[a (b] c:d:0.5]",
        "[a) b:c:0.5]",
        "[(a:b:c):d:0.5]",  # a second colon in round brackets
        "[a|b:0.5]",
        "[a:b:0.5.1]",
        "[a:b:]",
        "a | b",
        "(a|b)",
        r"[a:b:0.5\]",
        r"\[a:b:0.5]",
        "()[]:|",
    ],
)
def test_what_does_not_fit_is_text(prompt: str) -> None:
    edited = EditedPrompt(prompt)
    assert not edited.changes
    assert edited.texts(10) == (prompt,) * 10
    assert edited.longest() == prompt


def test_text_that_does_not_fit_leaves_brackets_that_do() -> None:
    assert schedule("((a][:b:c [d:3]") == [(3, "((a][:b:c "), (10, "((a][:b:c d")]
    assert schedule("a | [b:c:3] | d") == [(3, "a | b | d"), (10, "a | c | d")]
    assert schedule("[x (y [b:c:3] z]") == [(3, "[x (y b z]"), (10, "[x (y c z]")]
    assert schedule("[a:b [c|d] :e]", 2) == [(1, "[a:b c :e]"), (2, "[a:b d :e]")]


def test_what_looks_like_editing_and_is_none_is_named() -> None:
    assert EditedPrompt("[cat:dog] a [x|y] [p|q:0.5]").unreadable == ["[cat:dog]", "[p|q:0.5]"]
    assert EditedPrompt("[cat] (a:b:c) a:b [red:0.5]").unreadable == []


def test_what_others_load_files_for_is_left_out() -> None:
    edited = EditedPrompt("a cat <hypernet:ink:0.5>, (embedding:bad-hands:1.2) Embedding:x/y.pt!")
    assert edited.networks == ["<hypernet:ink:0.5>"]
    assert edited.embeddings == ["embedding:bad-hands", "Embedding:x/y.pt!"]
    assert edited.texts(1) == ("a cat , (:1.2) ",)
    for plain in ("a < b: c", "<3 <cat>", "an embedding: of words", "wordembedding:x", ">:<"):
        assert EditedPrompt(plain).texts(2) == (plain, plain)


Told = tuple[str, Callable[[int, int], str]]  # as it is written, and what it says at a step
WORDS = st.text(alphabet="ab, \n", max_size=4).map(lambda text: (text, lambda step, steps: text))


def written(inner: st.SearchStrategy[Told]) -> st.SearchStrategy[Told]:
    def joined(parts: list[Told]) -> Told:
        return (
            "".join(text for text, _ in parts),
            lambda step, steps: "".join(says(step, steps) for _, says in parts),
        )

    def bracketed(part: Told) -> Told:
        return f"({part[0]}:1.2)", lambda step, steps: f"({part[1](step, steps)}:1.2)"

    def editing(before: Told, after: Told, tenths: int) -> Told:
        return (
            f"[{before[0]}:{after[0]}:0.{tenths}]",
            lambda step, steps: (before if 10 * step <= tenths * steps else after)[1](step, steps),
        )

    def adding(part: Told, when: int) -> Told:
        return (
            f"[{part[0]}: {when}]",
            lambda step, steps: "" if step <= when else part[1](step, steps),
        )

    def alternation(parts: list[Told]) -> Told:
        return (
            f"[{'|'.join(text for text, _ in parts)}]",
            lambda step, steps: parts[(step - 1) % len(parts)][1](step, steps),
        )

    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(joined),
        inner.map(bracketed),
        st.builds(editing, inner, inner, st.sampled_from([2, 4, 5, 8])),
        st.builds(adding, inner, st.integers(0, 12)),
        st.lists(inner, min_size=2, max_size=3).map(alternation),
    )


@given(st.recursive(WORDS, written, max_leaves=12), st.sampled_from([5, 10, 20]))
def test_whatever_stands_inside_each_other_says_its_part_at_each_step(
    told: Told, steps: int
) -> None:
    prompt, says = told
    texts = EditedPrompt(prompt).texts(steps)
    assert list(texts) == [says(step, steps) for step in range(1, steps + 1)]
    assert len({id(text) for text in texts}) == len(set(texts))


@given(st.text(alphabet="ab[]():|\\<>.1 \n", max_size=40), st.integers(1, 7))
def test_any_text_is_read_at_every_step(prompt: str, steps: int) -> None:
    edited = EditedPrompt(prompt)
    texts = edited.texts(steps)
    assert len(texts) == steps
    longest, every = edited.longest(), edited.every_part()
    for letter in "ab":
        said = max(text.count(letter) for text in texts)
        assert said <= every.count(letter) <= prompt.count(letter)
        assert longest.count(letter) <= prompt.count(letter)


def test_the_longest_and_every_part() -> None:
    edited = EditedPrompt("a [cat:elephant:0.5] [x|[y:zebra:3]|] end")
    assert edited.longest() == "a elephant zebra end"
    assert edited.every_part().split() == ["a", "cat", "elephant", "x", "y", "zebra", "end"]


@pytest.mark.parametrize(
    "prompt",
    [
        "[" * 10_000,
        "[" * 2_500 + "a" + ":b:3]" * 1_500,
        "[a:" * 2_000 + "b" + ":3]" * 1_300,
        "[" + "|" * 9_998 + "]",
        "[(" * 5_000,
        "(" * 5_000 + ")" * 5_000,
        "\\" * 10_000,
        "[a:b:" + "1" * 9_990 + "]",
        "<a:" * 3_333,
        "embedding:" * 1_000,
        "<" + " " * 9_999,
    ],
)
def test_hostile_texts_are_read_too(prompt: str) -> None:
    edited = EditedPrompt(prompt)
    assert len(edited.texts(150)) == 150
    assert len(edited.longest()) <= len(prompt)
    assert len("".join(edited.unreadable)) <= len(prompt)
