"""Limits that fit real life: long prompts, strong adapters, seeds of 64 bits, everywhere."""

import json
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from sdgen.cli import app
from sdgen.config import Settings
from sdgen.enhance.built_in import BuiltIn
from sdgen.enhance.draft import Context
from sdgen.errors import InvalidRequest
from sdgen.gallery import Search
from sdgen.history import PictureRow
from sdgen.history.columns import picture_of, picture_values
from sdgen.metadata import (
    Recipe,
    RecipeAdapter,
    encode_png,
    find_adapter,
    form_fields,
    parameters_text,
    read_recipe,
    recipe_for,
    recipe_from_parameters,
)
from sdgen.request import (
    ADAPTERS_MAX,
    NOISE_SEEDS,
    PROMPT_CHARS,
    SCALE_MAX,
    SEED_MAX,
    AdapterUse,
    GenerateRequest,
    folded_seed_note,
    noise_seed,
)
from sdgen.several import expand
from sdgen.studio import Order, Studio
from sdgen.ui import tiles
from sdgen.ui.form import Form, chosen_adapters, request_fields
from sdgen.ui.forming import Forming
from sdgen.ui.page import Page
from sdgen.ui.viewing import Viewing
from tests import tiny_models
from tests.conftest import FakeEngine, FakeModelFiles, ask
from tests.drawn_pictures import drawn
from tests.sd_steps import SPEC, run
from tests.test_sd import wrap
from tests.watchers import ME, pictures_of

LONG = ("a red robot, " * 1000)[: PROMPT_CHARS - 12] + ", lighthouse"


def test_the_limits() -> None:
    assert (PROMPT_CHARS, SCALE_MAX, SEED_MAX) == (10_000, 10.0, 2**64 - 1)
    assert len(LONG) == PROMPT_CHARS


# --- prompts


def test_a_long_prompt_goes_through_page_queue_gallery_and_back(studio: Studio) -> None:
    form = Form(LONG, negative_prompt=LONG, seed="3", steps=1, width=64, height=64)
    Page(studio, most=9).generate(form, ME)
    while studio.queue_counts != (0, 0):
        time.sleep(0.002)
    (row,) = studio.gallery.search(ME.owner, Search(words="lighthouse")).rows
    assert (row.prompt, row.negative_prompt) == (LONG, LONG)
    recipe = read_recipe(studio.gallery.path(row))
    assert (recipe.prompt, recipe.negative_prompt) == (LONG, LONG)
    assert Viewing(studio).reuse(row.id, ME).fields["prompt"] == LONG


def test_what_a_page_is_sent_anew_does_not_grow_with_the_prompt() -> None:
    row = PictureRow("i", "o", "p", 7, LONG, "m", 8, 8, 1.0)
    assert len(tiles.earlier([row])) < 1_200
    shown = [
        Forming(name, LONG, 7, "1/1", label=name, previews=("data:,",) * 4, saved=(None,) * 4)
        for name in ("one", "two")
    ]
    assert len(tiles.stage(shown)) < 8_000


def test_a_long_prompt_survives_the_a1111_text_and_the_file(tmp_path: Path) -> None:
    odd = '\x01\\"{é},' * (PROMPT_CHARS // 7)
    for words in (LONG, odd):
        request = ask(words, negative_prompt=words)
        recipe = recipe_for(request, drawn(request)).model_copy(update={"original_prompt": words})
        back = recipe_from_parameters(parameters_text(recipe))
        assert (back.original_prompt, back.seed) == (words, 7)
        path = tmp_path / "a.png"
        path.write_bytes(encode_png(drawn(request).image, recipe))
        assert read_recipe(path) == recipe
    assert (
        recipe_from_parameters(parameters_text(recipe_for(ask(LONG), drawn(ask())))).prompt == LONG
    )


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ([LONG], 0, ""),
        ([LONG + "s"], 2, "at most 10,000 characters"),
        (["x", "--seed", str(2**64 - 1)], 0, "[18446744073709551615]"),
        (["x", "--seed", "-1"], 0, ""),
        (["x", "--seed", str(2**64)], 2, "at most 18446744073709551615"),
    ],
)
def test_the_command_line_takes_as_much(
    engine: FakeEngine,
    model_files: FakeModelFiles,
    tmp_path: Path,
    given: list[str],
    code: int,
    said: str,
) -> None:
    def studio(settings: Settings) -> Studio:
        own = settings.model_copy(update={"data_dir": tmp_path / "data"})
        return Studio(own, engine, model_files)

    small = ["--width", "64", "--height", "64", "--steps", "1", "--json"]
    result = CliRunner().invoke(app, ["generate", *small, *given], obj=studio)
    assert result.exit_code == code
    assert said in result.stdout
    if code == 0:
        (seed,) = json.loads(result.stdout)["seeds"]
        assert 0 <= seed <= SEED_MAX


def test_the_text_encoder_reads_all_of_it() -> None:
    pipeline = wrap(tiny_models.sd1())
    whole = pipeline.encode(SPEC.request(prompt=LONG, negative_prompt=LONG, steps=1, seed=1))
    other = pipeline.encode(SPEC.request(prompt=LONG[:-6] + "kitten", steps=1, seed=1))
    assert not torch.equal(run(pipeline, whole)[0].latents, run(pipeline, other)[0].latents)


def test_several_prompts_and_the_built_in_helper_hold_it() -> None:
    assert expand(f"{LONG}\n{LONG}", 2) == (LONG, LONG)
    draft = BuiltIn().enhance(LONG, Context("sd15", 75, lambda text: len(text.split())))
    assert draft.text == LONG


def test_a_recipe_beyond_the_limit_keeps_most_of_its_prompt() -> None:
    words = "a red robot, " * 1000
    form = form_fields(Recipe(app="A1111", prompt=words, negative_prompt=words), set())
    kept = form.fields["prompt"]
    assert isinstance(kept, str)
    assert PROMPT_CHARS - 20 < len(kept) <= PROMPT_CHARS
    assert words.startswith(kept)
    assert kept.endswith("robot")
    assert form.fields["negative_prompt"] == kept
    assert f"The prompt has 13,000 characters; its first {len(kept):,}" in " ".join(form.notes)
    unbroken = form_fields(Recipe(app="A1111", prompt="x" * 12_000), set()).fields["prompt"]
    assert unbroken == "x" * PROMPT_CHARS


# --- adapters


@pytest.mark.parametrize("scale", [-10.0, -5.0, 2.5, 10.0])
def test_strong_adapters_are_taken(scale: float) -> None:
    assert AdapterUse(name="x", scale=scale).scale == scale
    (chosen,) = chosen_adapters([{"name": "x", "scale": scale, "text_scale": scale}])
    assert (chosen.scale, chosen.text_scale) == (scale, scale)
    text = f"cat <lora:x:{scale:g}>\nSteps: 1, Sampler: Euler, Seed: 2, Size: 64x64"
    recipe = recipe_from_parameters(text)
    assert recipe.adapters == (RecipeAdapter(name="x", scale=scale),)
    again = recipe_from_parameters(parameters_text(recipe.model_copy(update={"app": "sdgen 1"})))
    assert again.adapters == recipe.adapters


class Here:
    """An adapter that is here."""

    def __init__(self, name: str, sha256: str = "", tensor_sha256: str = "") -> None:
        self.name, self.sha256, self.tensor_sha256 = name, sha256, tensor_sha256


def test_a_renamed_file_is_found_by_either_hash() -> None:
    here = (Here("plain", "a" * 64, "b" * 64), Here("renamed", "c" * 64, "d" * 64))
    for digits in ("c" * 10, "c" * 64, "C" * 12, "d" * 12, "d" * 64):
        assert find_adapter(RecipeAdapter(name="plain", sha256=digits), here) is here[1]
    assert find_adapter(RecipeAdapter(name="plain", sha256="e" * 12), here) is here[0]
    assert find_adapter(RecipeAdapter(name="other", sha256="e" * 12), here) is None
    assert find_adapter(RecipeAdapter(name="plain", sha256="d" * 9), here) is here[0], "too short"
    assert find_adapter(RecipeAdapter(name="x", sha256="c" * 12), (Here("x"),)) is not None


def test_a_folder_before_the_name_does_not_hide_an_adapter() -> None:
    here = (Here("InkWash"), Here("other"))
    assert find_adapter(RecipeAdapter(name="styles/inkwash"), here) is here[0]
    twice = (Here("inkwash"), Here("INKWASH"))
    assert find_adapter(RecipeAdapter(name="styles/inkwash"), twice) is None, "which of them?"
    assert find_adapter(RecipeAdapter(name="INKWASH"), twice) is twice[1]


def test_one_file_of_the_same_tensors_is_no_other_file() -> None:
    recipe = Recipe(app="SwarmUI", prompt="x", adapters=(RecipeAdapter(name="a", sha256="b" * 64),))
    same = form_fields(recipe, set(), [Here("a", "c" * 64, "b" * 64)])
    other = form_fields(recipe, set(), [Here("a", "c" * 64, "d" * 64)])
    assert not any("another file" in note for note in same.notes)
    assert any("another file" in note for note in other.notes)


def test_more_adapters_than_mix_leave_the_first_ones() -> None:
    many = tuple(RecipeAdapter(name=f"a{number}") for number in range(11))
    form = form_fields(
        Recipe(app="A1111", prompt="x", adapters=many), set(), [Here(each.name) for each in many]
    )
    uses = form.fields["adapters"]
    assert isinstance(uses, tuple)
    assert [use["name"] for use in uses] == [f"a{number}" for number in range(ADAPTERS_MAX)]
    assert "“a10”" in " ".join(form.notes)


# --- seeds


def test_seeds_fold_as_the_noise_does() -> None:
    def noise(seed: int) -> torch.Tensor:
        return torch.randn(8, generator=torch.Generator("cpu").manual_seed(seed))

    for seed in (0, 7, 2**32 - 1, 2**32, 1102676403634909, 2**63, SEED_MAX):
        assert torch.equal(noise(seed), noise(noise_seed(seed)))
    assert folded_seed_note(NOISE_SEEDS - 1) == ""
    assert "as seed 0." in folded_seed_note(NOISE_SEEDS - 1, 2)
    assert "same as seed 3679929053" in folded_seed_note(1102676403634909)


def test_one_seed_more_is_refused() -> None:
    assert ask(seed=SEED_MAX).seed == SEED_MAX
    for wrong in ({"seed": SEED_MAX + 1}, {"seed": SEED_MAX, "num_images": 2}, {"seed": -2}):
        with pytest.raises(InvalidRequest):
            ask(**wrong)


@pytest.mark.parametrize("seed", [1102676403634909, 2**63, SEED_MAX])
def test_a_long_seed_is_drawn_kept_and_said(studio: Studio, seed: int) -> None:
    fields = request_fields(Form("x", seed=str(seed), steps=1, width=64, height=64))
    (job,) = studio.submit([Order(studio.request(**fields))], ME)
    notes = [event.text for event in job.events() if type(event).__name__ == "Note"]
    assert any(f"same as seed {noise_seed(seed)}" in note for note in notes)
    (row,) = pictures_of(studio)
    recipe = read_recipe(studio.gallery.path(row))
    assert (row.seed, recipe.seed) == (seed, seed)
    assert recipe_from_parameters(parameters_text(recipe)).seed == seed
    form = form_fields(recipe, {"picturebook"})
    assert form.fields["seed"] == seed
    assert any("more than 32 bits" in note for note in form.notes)


@pytest.mark.parametrize("seed", [0, 2**63 - 1, 2**63, SEED_MAX])
def test_rows_hold_every_seed(seed: int) -> None:
    row = PictureRow("i", "o", "p", seed, "x", "m", 8, 8, 1.0)
    values = picture_values(row)[:-1]
    assert all(not isinstance(value, int) or value < 2**63 for value in values)
    assert picture_of(values).seed == seed


def test_minus_one_is_a_new_seed_for_every_door(studio: Studio) -> None:
    found = {studio.request(prompt="x", seed=-1).seed for _ in range(4)}
    assert len(found) > 1
    assert all(0 <= seed < 2**31 for seed in found)
    assert request_fields(Form(seed="-1"))["seed"] is None
    for wrong in (-1.0, True, -2):
        with pytest.raises(InvalidRequest):
            studio.request(prompt="x", seed=wrong)
    with pytest.raises(InvalidRequest):
        GenerateRequest.checked(**{**ask().model_dump(), "seed": -1})
