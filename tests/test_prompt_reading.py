"""What is read of a request at each step, how much of it fits, and what its user is told."""

import pytest

from sdgen.errors import InvalidRequest
from sdgen.pipelines.prompt_reading import (
    CHUNKS_MAX,
    TEXTS_MAX,
    PromptReading,
    RequestReading,
    has_notation,
)
from sdgen.pipelines.prompts import empty_chunk
from tests.sd_steps import SPEC
from tests.tiny_models import tokenizer

WORDS = tokenizer()


def reading(prompt: str, negative: str = "", steps: int = 4, guided: bool = True) -> RequestReading:
    return RequestReading(
        PromptReading("prompt", prompt, steps),
        PromptReading("negative_prompt", negative, steps) if guided else None,
    )


def test_both_prompts_are_cut_into_equally_many_chunks() -> None:
    found = reading("a [cat BREAK red BREAK the:owl:2]", "[red|cat BREAK the]").chunks(WORDS)
    assert len(found) == 4
    assert {len(chunks) for chunks in found.values()} == {3}
    assert found["red"][1:] == [empty_chunk(WORDS)] * 2


def test_a_request_is_read_with_its_steps() -> None:
    request = SPEC.request(prompt="[cat:dog:0.5]", negative_prompt="[a|b]", steps=4, seed=1)
    both = RequestReading.of(request, guided=True)
    assert both.positive.texts == ("cat", "cat", "dog", "dog")
    assert both.negative is not None
    assert both.negative.texts == ("a", "b", "a", "b")
    assert both.changes
    assert not RequestReading.of(request.model_copy(update={"prompt": "[cat]"}), False).changes


def test_without_guidance_the_negative_prompt_is_not_read() -> None:
    unguided = reading("cat", "red BREAK the", guided=False)
    assert {len(chunks) for chunks in unguided.chunks(WORDS).values()} == {1}
    assert unguided.prompts == (unguided.positive,)


def test_long_prompts_are_said_to_be_read_in_parts_by_their_longest_text() -> None:
    long = "[" + "cat " * 80 + ":red:2]"
    [sentence] = reading(long).sentences(WORDS)
    assert sentence == (
        "The prompt has 80 tokens; the model reads 75 at a time, so it is read in 2 parts. "
        "Nothing is cut off."
    )
    assert "The negative prompt has 80 tokens" in reading("cat", long).sentences(WORDS)[0]
    assert reading("cat " * 75, "cat BREAK cat").sentences(WORDS) == []


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a cat AND a dog", "AND in the prompt is read as a word"),
        ("a <hypernet:ink:1>", "Left out of the prompt: “<hypernet:ink:1>”; sdgen follows"),
        ("a embedding:bad-hands", "Left out of the prompt: “embedding:bad-hands”; sdgen loads no"),
        ("a [cat:dog]", "Read as words in the prompt: “[cat:dog]”; prompt editing is"),
        ("a [b:c] [d:e] [f:g] [h:i] [d:e]", "“[b:c]”, “[d:e]”, “[f:g]”, 1 more; prompt"),
        ("(a:2000)", "Weights in the prompt go up to 1,000; larger ones count as that."),
    ],
)
def test_what_is_not_followed_is_named(prompt: str, said: str) -> None:
    [sentence] = reading(prompt).sentences(WORDS)
    assert said in sentence
    assert len(sentence) < 260
    [sentence] = reading("a cat", prompt).sentences(WORDS)
    said = said.replace("of the prompt", "of the negative prompt")
    assert said.replace("the prompt", "the negative prompt") in sentence


@pytest.mark.parametrize(
    "prompt",
    ["a (red:1.2) [cat]", "[cat:dog:0.5] [a|b]", "Andy and HAND", "a < b, c > d", r"\[a:b\]"],
)
def test_what_is_followed_is_not_named(prompt: str) -> None:
    assert reading(prompt).sentences(WORDS) == []


def test_a_long_piece_is_shown_in_part() -> None:
    [sentence] = reading(f"[{'a' * 900}:b]").positive.remarks()
    assert f"“[{'a' * 58}…”" in sentence


def test_different_texts_have_a_limit() -> None:
    options = "|".join(str(number) for number in range(TEXTS_MAX + 1))
    with pytest.raises(InvalidRequest) as caught:
        reading("cat", f"[{options}]", steps=90).chunks(WORDS)
    assert caught.value.field == "negative_prompt"
    assert str(caught.value).startswith(
        f"The negative prompt becomes {TEXTS_MAX + 1} different texts in 90 steps; at most "
        f"{TEXTS_MAX} fit."
    )
    with pytest.raises(InvalidRequest):
        reading(f"[{options}]", steps=90).sentences(WORDS)
    assert len(reading(f"[{options}]", steps=TEXTS_MAX).chunks(WORDS)) == TEXTS_MAX + 1
    same = "|".join(["cat"] * 150)
    assert len(set(reading(f"[{same}]", steps=150).positive.texts)) == 1


def test_chunks_have_a_limit_over_all_texts() -> None:
    def parts(count: int) -> str:
        return " BREAK ".join(["a"] * count)

    most = CHUNKS_MAX // 4
    assert len(reading(f"[x|y|{parts(most)}]").chunks(WORDS)) == 4
    with pytest.raises(InvalidRequest) as caught:
        reading(f"[x|y|{parts(most + 1)}]").sentences(WORDS)
    assert caught.value.field == "prompt"
    assert str(caught.value) == (
        f"The prompt is read in {most + 1} parts and becomes 4 different texts, which is too much "
        f"for one picture: at most {most} parts fit. Please shorten it."
    )


@pytest.mark.parametrize(
    "prompt",
    ["(red:1.2)", r"\(x\)", "a BREAK b", "a AND b", "[a|b]", "[a:b:3]", "<hypernet:a:1>",
     "embedding:x"],
)  # fmt: skip
def test_notation_is_told_from_words(prompt: str) -> None:
    assert has_notation(prompt)


@pytest.mark.parametrize(
    "prompt", ["a sign that says (hello)", "[note] 10:30", "time: 5", "A | B", "a: b, c", ""]
)
def test_words_are_no_notation(prompt: str) -> None:
    assert not has_notation(prompt)
