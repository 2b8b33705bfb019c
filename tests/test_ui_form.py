"""The form's plain values become a request's fields; what a browser remembers is not trusted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.errors import InvalidRequest
from sdgen.studio import Studio
from sdgen.ui.form import FIELDS, Form, request_fields, saved_form

FULL = Form(
    "a cat", "blurry", "picturebook", "7", 12.0, 3.0, 256, 256.0, 2, "euler", True,
    leave_out_prompt=True, several=True,
)  # fmt: skip


def test_a_full_form_is_a_request(studio: Studio) -> None:
    request = studio.request(model=FULL.model, **request_fields(FULL))
    assert (request.seed, request.steps, request.width, request.num_images) == (7, 12, 256, 2)
    assert request.exact
    assert request.leave_out_prompt


def test_what_is_left_empty_is_the_models_own(studio: Studio) -> None:
    request = studio.request(model="", **request_fields(Form(prompt="a cat")))
    card = studio.model(studio.default_model())
    assert (request.steps, request.sampler) == (card.steps, card.sampler)


@pytest.mark.parametrize("seed", ["", " ", "-1"])
def test_no_seed_and_minus_one_are_a_new_one(seed: str) -> None:
    assert request_fields(Form(seed=seed))["seed"] is None


@pytest.mark.parametrize(
    ("form", "field"),
    [
        (FULL._replace(seed="seven"), "seed"),
        (FULL._replace(seed="-2"), "seed"),
        (FULL._replace(seed="18446744073709551616"), "seed"),
        (FULL._replace(steps=12.5), "steps"),
        (FULL._replace(steps=float("nan")), "steps"),
        (FULL._replace(guidance_scale=float("inf")), "guidance_scale"),
        (FULL._replace(width=255), "width"),
        (FULL._replace(prompt="  "), "prompt"),
        (FULL._replace(sampler="heun"), "sampler"),
    ],
)
def test_wrong_values_are_refused_by_name(studio: Studio, form: Form, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        studio.request(model=form.model, **request_fields(form))
    assert refused.value.field == field


def test_a_stored_form_comes_back() -> None:
    stored = json.loads(json.dumps(FULL._asdict()))
    assert saved_form(stored) == FULL


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(JSON | st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_anything_may_be_stored_and_only_right_kinds_are_taken(stored: object) -> None:
    form = saved_form(stored)
    for name in ("prompt", "negative_prompt", "model", "seed"):
        assert isinstance(getattr(form, name), str)
    assert isinstance(form.exact, bool)
    assert not isinstance(form.steps, bool | str)
