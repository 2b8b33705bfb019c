"""What is asked is checked once, for every door, and a refusal names the field."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.errors import InvalidRequest
from sdgen.request import PIXELS_MAX, SAMPLERS, SEED_MAX, AdapterUse, GenerateRequest, random_seed
from tests.conftest import ask

FIELDS = tuple(GenerateRequest.model_fields)

GARBAGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=50),
    st.binary(max_size=10),
    st.sampled_from([math.nan, math.inf, -0.0, 1e308, "x" * 10_000, "\0", "\ud800", "<script>"]),
    st.sampled_from(["../../etc", "<lora:x:999>", "\u202e", "{{7*7}}", "👩‍👩‍👧", b"", ()]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.builds(object),
)


@given(given_fields=st.dictionaries(st.sampled_from(FIELDS), GARBAGE))
def test_any_garbage_is_a_request_or_a_refusal(given_fields: dict[str, object]) -> None:
    whole = ask().model_dump() | given_fields
    try:
        request = GenerateRequest.checked(**whole)
    except InvalidRequest as error:
        blamed = error.field
    else:
        blamed = ""
        assert request.width * request.height <= PIXELS_MAX
        assert request.prompt.strip()
    assert blamed in {"", "request", *given_fields}


@given(names=st.sets(st.sampled_from(FIELDS), min_size=1))
def test_a_missing_field_is_named_or_has_a_default(names: set[str]) -> None:
    fields = {name: value for name, value in ask().model_dump().items() if name not in names}
    needed = {name for name in names if GenerateRequest.model_fields[name].is_required()}
    if needed:
        with pytest.raises(InvalidRequest, match="is missing") as caught:
            GenerateRequest.checked(**fields)
        assert caught.value.field in needed
    else:
        GenerateRequest.checked(**fields)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("prompt", "  ", "Prompt is empty; describe the picture you want."),
        ("prompt", "x" * 10_001, "Prompt is too long: at most 10,000 characters."),
        ("prompt", "a\0b", "Prompt holds a NUL character."),
        ("prompt", "\ud800", "Prompt must be text."),
        ("prompt", 3, "Prompt must be text."),
        ("negative_prompt", None, "Negative prompt must be text."),
        ("model", "", "Model is empty."),
        ("width", 56, "Width must be at least 64."),
        ("width", 4096, "Width must be at most 2048."),
        ("height", 100, "Height must be a multiple of 8."),
        ("height", 64.0, "Height must be a whole number."),
        ("steps", True, "Steps must be a whole number."),
        ("steps", 20.7, "Steps must be a whole number."),
        ("steps", "20", "Steps must be a whole number."),
        ("steps", 0, "Steps must be at least 1."),
        ("steps", 10**400, "Steps must be at most 150."),
        ("guidance_scale", math.nan, "Guidance scale must be a finite number."),
        ("guidance_scale", math.inf, "Guidance scale must be a finite number."),
        ("guidance_scale", 31, "Guidance scale must be at most 30."),
        ("guidance_scale", "7", "Guidance scale must be a number."),
        ("seed", -1, "Seed must be at least 0."),
        ("seed", SEED_MAX + 1, f"Seed must be at most {SEED_MAX}."),
        ("num_images", 17, "Number of images must be at most 16."),
        ("clip_skip", 5, "Clip skip must be at most 4."),
        ("exact", 1, "Exact must be true or false."),
    ],
)
def test_refusals_say_field_and_limit(field: str, value: object, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        GenerateRequest.checked(**(ask().model_dump() | {field: value}))
    assert caught.value.field == field
    assert str(caught.value) == sentence


def test_an_unknown_sampler_is_told_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="Sampler must be one of") as caught:
        ask(sampler="heun")
    assert all(name in str(caught.value) for name in SAMPLERS)


def test_fields_that_nobody_knows_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="Promt is not a field of a request") as caught:
        ask(promt="x")
    assert caught.value.field == "promt"


def test_bounds_that_two_fields_share() -> None:
    assert ask(width=1536, height=1536)
    with pytest.raises(InvalidRequest, match="1544x1536"):
        ask(width=1544, height=1536)
    assert ask(seed=SEED_MAX)
    with pytest.raises(InvalidRequest, match="image i uses seed"):
        ask(seed=SEED_MAX, num_images=2)


def test_a_request_never_changes_and_can_be_compared() -> None:
    assert ask() == ask()
    assert hash(ask()) == hash(ask())
    assert ask() != ask("a blue cat")
    with pytest.raises(ValueError, match="frozen"):
        ask().seed = 8


def test_words_of_any_script_stay_as_they_are() -> None:
    for prompt in ("மின்னல் முரளி", "闪电", "ظهر البطل", "🤖 e\u0301", "\u202eabc", " x \n y "):
        assert ask(prompt).prompt == prompt


def test_random_seeds_fit_every_tool() -> None:
    seeds = {random_seed() for _ in range(100)}
    assert len(seeds) > 90
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    ("adapters", "sentence"),
    [
        ([{"name": "x", "scale": 10.5}], "Adapter strength must be at most 10."),
        ([{"name": "x", "scale": True}], "Adapter strength must be a number."),
        ([{"name": "x", "text_scale": -10.1}], "Adapter strength in the text encoder must be at"),
        ([{"scale": 1.0}], "Adapter name is missing."),
        ([{"name": "x", "weight": 1.0}], "Adapter weight is not a field of a request."),
        (["x"], "Each adapter must be an object with a name."),
        ("x", "Adapters must be a list"),
        ([{"name": "x"}] * 2, "twice; give one strength"),
        ([{"name": str(i)} for i in range(9)], "Adapters must be at most 8."),
    ],
)
def test_wrong_adapters_are_named(adapters: object, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as refused:
        ask(adapters=adapters)
    assert refused.value.field == "adapters"


def test_adapters_come_as_json_has_them() -> None:
    request = ask(adapters=[{"name": "x", "scale": 1}, AdapterUse(name="y", text_scale=0.5)])
    assert [use.text_strength for use in request.adapters] == [1.0, 0.5]
    assert GenerateRequest.model_validate_json(request.model_dump_json()) == request
