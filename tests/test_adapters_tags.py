"""`<lora:name:0.8>` in a prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.adapters.tags import Tag, take_tags
from sdgen.errors import InvalidRequest


@pytest.mark.parametrize(
    ("prompt", "rest", "tags"),
    [
        ("a cat", "a cat", ()),
        ("a cat <3", "a cat <3", ()),
        ("a cat <lora:my-cat>", "a cat", (("my-cat", 1.0, None),)),
        ("<lora:my-cat:0.8> a cat", "a cat", (("my-cat", 0.8, None),)),
        ("a <lora:x:0.5> cat", "a cat", (("x", 0.5, None),)),
        ("a cat, <lora:x:0.5>, asleep", "a cat, asleep", (("x", 0.5, None),)),
        ("a cat, <lora:x:-1>", "a cat", (("x", -1.0, None),)),
        ("a cat <LORA: my cat : 0.8 >", "a cat", (("my cat", 0.8, None),)),
        ("a <lora:x:0.5:0.9>", "a", (("x", 0.9, 0.5),)),
        ("a <lora:x:0.5:0.5>", "a", (("x", 0.5, None),)),
        ("a <lora:x:te=0.2:unet=1>", "a", (("x", 1.0, 0.2),)),
        ("a <lora:x:unet=1.5>", "a", (("x", 1.5, None),)),
        ("a <lora:x:.3><lora:y:2>", "a", (("x", 0.3, None), ("y", 2.0, None))),
        ("a <lora:x:1> b <lora:x:1>", "a b", (("x", 1.0, None),)),
        ("<lora:x:1>", "", (("x", 1.0, None),)),
        ("(a cat:1.2) <lora:x:0>", "(a cat:1.2)", (("x", 0.0, None),)),
        ("two  spaces , stay", "two  spaces , stay", ()),
    ],
)
def test_tags_are_taken_out(prompt: str, rest: str, tags: tuple[Tag, ...]) -> None:
    assert take_tags(prompt) == (rest, tags)


@pytest.mark.parametrize(
    "prompt",
    [
        "a <lora:>",
        "a <lora::1>",
        "a <lora:x:strong>",
        "a <lora:x:>",
        "a <lora:x:nan>",
        "a <lora:x:inf>",
        "a <lora:x:10.1>",
        "a <lora:x:-10.1>",
        "a <lora:x:1:1:1>",
        "a <lora:x:dyn=1>",
        "a <lora:x:0.8",
        "a <lora:x <b>",
        "a <lora:x:1> <lora:x:0.5>",
        "a <lora:x:1> <lora:y",
    ],
)
def test_malformed_tags_are_refused(prompt: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        take_tags(prompt)
    assert refused.value.field == "prompt"
    assert str(refused.value).startswith("The tag '<lora:")


@given(st.text(alphabet="<>:lora x0.8-,=te", max_size=60))
def test_any_text_is_taken_apart_or_refused(prompt: str) -> None:
    try:
        rest, tags = take_tags(prompt)
    except InvalidRequest:
        return
    assert take_tags(rest) == (rest, ())
    assert len({name for name, _, _ in tags}) == len(tags)
