"""Recipes in our own files: exact round trips, and nothing in a file that should not be there."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdgen.grid import Grid, grid_from_json, parse_axis
from sdgen.job import GeneratedImage
from sdgen.metadata import (
    Enhancement,
    RecipeAdapter,
    encode_png,
    form_fields,
    parameters_text,
    public_model_name,
    read_picture,
    read_recipe,
    recipe_for,
    recipe_from_parameters,
)
from sdgen.request import IMAGES_MAX, SAMPLERS, SEED_MAX, GenerateRequest
from sdgen.samplers import SAMPLER_TITLES, sampler_from_title, sampler_title
from tests.conftest import FAKE_INFO, ask
from tests.drawn_pictures import drawn

PROMPTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)


@st.composite
def requests(draw: st.DrawFn) -> GenerateRequest:
    """Any request there can be, with small pictures."""
    return ask(
        draw(PROMPTS.filter(lambda text: bool(text.strip()))),
        negative_prompt=draw(PROMPTS),
        model=draw(st.sampled_from(["picturebook", "owner/name@v1", "sd15"])),
        width=8 * draw(st.integers(8, 12)),
        height=8 * draw(st.integers(8, 12)),
        steps=draw(st.integers(1, 150)),
        guidance_scale=draw(st.floats(0, 30)),
        seed=draw(st.integers(0, SEED_MAX - IMAGES_MAX)),
        num_images=draw(st.integers(1, IMAGES_MAX)),
        sampler=draw(st.sampled_from(SAMPLERS)),
        clip_skip=draw(st.integers(0, 4)),
        exact=draw(st.booleans()),
    )


@given(request=requests(), index=st.integers(0, IMAGES_MAX - 1))
def test_any_request_survives_its_picture(
    tmp_path_factory: pytest.TempPathFactory, request: GenerateRequest, index: int
) -> None:
    image = drawn(request, index)
    recipe = recipe_for(request, image)
    path = tmp_path_factory.getbasetemp() / "any.png"
    path.write_bytes(encode_png(image.image, recipe))
    assert read_recipe(path) == recipe
    with Image.open(path) as opened:
        assert opened.tobytes() == image.image.tobytes()
    form = form_fields(recipe, {request.model})
    expected = request.model_dump(exclude={"num_images", "leave_out_prompt"}) | {"seed": image.seed}
    assert form.fields == expected


@given(request=requests())
def test_a1111_text_of_any_request_keeps_the_settings(request: GenerateRequest) -> None:
    recipe = recipe_for(request, drawn(request))
    back = recipe_from_parameters(parameters_text(recipe))
    for name in ("seed", "steps", "sampler", "width", "height", "clip_skip", "model"):
        assert getattr(back, name) == getattr(recipe, name), name
    assert back.guidance_scale == pytest.approx(recipe.guidance_scale, abs=1e-6)


ADAPTERS = (
    RecipeAdapter(name="storm-hero", sha256="ab12" * 16, source="upload", scale=0.8),
    RecipeAdapter(
        name="watercolour", sha256="cd34" * 16, source="hub:a/b@main:c.safetensors",
        scale=-0.5, text_scale=0.25,
    ),
)  # fmt: skip


def test_a_hash_that_a1111_knows_goes_into_its_text() -> None:
    request = ask("a beach")
    known = tuple(a.model_copy(update={"a1111_hash": "0xef56ef56ef"}) for a in ADAPTERS[:1])
    text = parameters_text(recipe_for(request, drawn(request), adapters=known))
    assert 'Lora hashes: "storm-hero: 0xef56ef56ef"' in text
    assert "ab12ab12" not in text


def test_adapters_survive_a_picture_and_the_a1111_text(tmp_path: Path) -> None:
    request = ask("a storm hero\non a beach", negative_prompt="blurry")
    recipe = recipe_for(request, drawn(request), adapters=ADAPTERS)
    path = tmp_path / "adapters.png"
    path.write_bytes(encode_png(drawn(request).image, recipe))
    assert read_recipe(path) == recipe
    text = parameters_text(recipe)
    assert text.startswith(
        "a storm hero\non a beach <lora:storm-hero:0.8> <lora:watercolour:0.25:-0.5>\nNegative"
    )
    assert 'Lora hashes: "storm-hero: ab12ab12ab12, watercolour: cd34cd34cd34"' in text
    back = recipe_from_parameters(text)
    assert back.prompt == request.prompt
    assert [(a.name, a.scale, a.text_scale) for a in back.adapters] == [
        (a.name, a.scale, a.text_scale) for a in ADAPTERS
    ]
    assert back.adapters[0].sha256 == "ab12ab12ab12"
    assert not any("Lora" in note for note in back.notes)


def test_a_tag_that_cannot_be_read_stays_and_is_said() -> None:
    recipe = recipe_from_parameters("x <lora:much:70>\nSteps: 1, Seed: 2, Sampler: Euler")
    assert recipe.prompt == "x <lora:much:70>"
    assert recipe.adapters == ()
    assert any("beyond 10" in note for note in form_fields(recipe, set()).notes)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hub:owner/name@main:x.safetensors", "from the Hub: owner/name@main:x.safetensors"),
        ("upload", "somebody added"),
        ("trained", "was trained there"),
        ("", "was not written down"),
    ],
)
def test_a_missing_adapter_is_named_with_its_origin(source: str, words: str) -> None:
    request = ask()
    adapter = RecipeAdapter(name="gone", sha256="ef" * 32, source=source, scale=0.7)
    form = form_fields(recipe_for(request, drawn(request), adapters=(adapter,)), {"picturebook"})
    assert form.fields["adapters"] == ()
    (note,) = form.notes
    assert "“gone” (strength 0.7, file efefefefefef)" in note
    assert words in note


def test_the_a1111_text_is_as_a1111_writes_it() -> None:
    request = ask(
        "a red robot\non a beach",
        negative_prompt="blurry",
        width=256,
        height=256,
        steps=12,
        sampler="dpmpp_2m_karras",
        clip_skip=1,
    )
    assert parameters_text(recipe_for(request, drawn(request))) == (
        "a red robot\non a beach\n"
        "Negative prompt: blurry\n"
        "Steps: 12, Sampler: DPM++ 2M Karras, CFG scale: 3, Seed: 7, Size: 256x256, "
        "Model hash: ababababab, Model: picturebook, Clip skip: 2, Version: sdgen 0.1.0"
    )


def test_a_seed_of_zero_is_a_seed() -> None:
    text = parameters_text(recipe_for(ask(seed=0), drawn(ask(seed=0))))
    assert recipe_from_parameters(text).seed == 0


@given(
    request=requests(),
    words=st.text(st.characters(categories=["L"]), min_size=3, max_size=12),
    tagged=st.booleans(),
)
def test_a_prompt_that_is_left_out_is_nowhere_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, request: GenerateRequest, words: str, tagged: bool
) -> None:
    words = f"secret{words}"
    request = request.model_copy(
        update={"prompt": f"a {words}", "negative_prompt": words, "leave_out_prompt": True}
    )
    image = drawn(request)
    enhancement = Enhancement(f"my {words}", "api", "a-model")
    adapters = ADAPTERS if tagged else ()
    grid = Grid(x=parse_axis("prompt", f"{words}, other{words}"), y=parse_axis("steps", "1,2"))
    recipes = [
        recipe_for(request, image, enhancement=enhancement, adapters=adapters, grid=axes)
        for axes in ("", grid.model_dump_json())
    ]
    path = tmp_path_factory.getbasetemp() / "secret.png"
    for recipe in recipes:
        path.write_bytes(encode_png(image.image, recipe))
        with Image.open(path) as opened:
            texts = "".join(opened.text.values())  # type: ignore[attr-defined]
        assert "secret" not in texts
        assert json.dumps(words)[1:-1] not in texts
        assert "trainedAlgorithmicMedia" in texts
        assert read_recipe(path) == recipe
        assert (recipe.seed, recipe.steps, recipe.model) == (
            request.seed,
            request.steps,
            request.model,
        )
        for back in (recipe, recipe_from_parameters("\n" + parameters_text(recipe))):
            assert back.prompt_left_out
            assert len(back.adapters) == len(adapters)
            form = form_fields(back, {request.model}, [])
            assert not {"prompt", "negative_prompt"} & form.fields.keys()
            assert form.notes[0] == "The prompt was left out of this picture."
            assert form.fields["steps"] == request.steps
    assert "Words 1" in recipes[1].grid


def test_a_picture_with_a_prompt_is_not_said_to_have_none() -> None:
    for request in (ask(), ask("<lora:x:0.5> robot")):
        recipe = recipe_for(request, drawn(request))
        assert not recipe.prompt_left_out
        assert not recipe_from_parameters(parameters_text(recipe)).prompt_left_out
    others = recipe_from_parameters("Steps: 3, Sampler: Euler, Seed: 7")
    assert not others.prompt_left_out
    assert form_fields(others, set()).notes[0].startswith("Left out: Prompt is empty")


def test_a_sheets_recipe_has_the_settings_that_its_cells_share(tmp_path: Path) -> None:
    request = ask("a red robot", width=72, height=64)
    grid = Grid(x=parse_axis("prompt", "red, blue"), y=parse_axis("steps", "2,4"))
    size = (900, 700)
    image = GeneratedImage(0, request.seed, Image.new("RGB", size), FAKE_INFO, flagged="Not safe.")
    recipe = recipe_for(request, image, grid=grid.model_dump_json())
    path = tmp_path / "sheet.png"
    path.write_bytes(encode_png(image.image, recipe))
    picture, found = read_picture(path)
    assert (picture.size, found.flagged) == (size, "Not safe.")
    assert grid_from_json(found.grid) == grid
    fields = form_fields(found, {request.model}).fields
    assert (fields["width"], fields["height"], fields["prompt"]) == (72, 64, "a red robot")


def test_the_file_says_that_a_model_made_it(tmp_path: Path) -> None:
    request = ask("ராஜா 🤖 <b>&\"'")
    image = drawn(request)
    path = tmp_path / "picture.png"
    path.write_bytes(encode_png(image.image, recipe_for(request, image)))
    with Image.open(path) as opened:
        texts = opened.text  # type: ignore[attr-defined]
    assert texts["parameters"].startswith(request.prompt)
    assert json.loads(texts["sdgen"])["versions"] == {"torch": "2.13.0", "diffusers": "0.42.1"}
    rdf = ElementTree.fromstring(texts["XML:com.adobe.xmp"].strip("\ufeff"))
    said = next(node.attrib for node in rdf.iter() if node.tag.endswith("Description"))
    source = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert said[source] == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    assert said["{http://ns.adobe.com/xap/1.0/}CreatorTool"] == "sdgen 0.1.0"


def test_no_path_and_no_user_gets_into_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "somebody" / "my-model"
    folder.mkdir(parents=True)
    home = Path.home()
    for model, name in [
        (str(folder), "my-model"),
        ("/home/somebody/models/photo.safetensors", "photo.safetensors"),
        ("C:\\Users\\somebody\\photo.safetensors", "photo.safetensors"),
        ("~/models/photo", "photo"),
        ("./photo.safetensors", "photo.safetensors"),
        ("../..", "model"),
        ("owner/name", "owner/name"),
        ("owner/name@refs/pr/3", "owner/name@refs/pr/3"),
        ("picturebook", "picturebook"),
        ("x" * 400, "x" * 400),
    ]:
        request = ask(model=model)
        image = replace(drawn(request), info=replace(FAKE_INFO, notes=(f"read {home}/x",)))
        recipe = recipe_for(request, image)
        assert recipe.model == public_model_name(model) == name
        data = encode_png(image.image, recipe)
        assert b"somebody" not in data
        assert str(home).encode() + b"/x" not in data


def test_every_sampler_has_a_title_that_leads_back() -> None:
    assert SAMPLER_TITLES.keys() == set(SAMPLERS)
    for name in SAMPLERS:
        assert sampler_from_title(sampler_title(name)) == name
        assert sampler_from_title(f" {sampler_title(name).upper()} ") == name
    assert sampler_from_title("DPM adaptive") is None
