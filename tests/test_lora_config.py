"""Recipes of training: defaults by family, sentences for what is wrong, JSON in and out."""

from pathlib import Path
from typing import Any, get_args

import pytest

from lora.config import (
    FAMILY_DEFAULTS,
    BaseFamily,
    CompleteRecipe,
    InvalidRecipe,
    TrainingRecipe,
    completed,
    family_of,
)
from lora.runs import RunFolder, Status, list_runs, new_run_folder, write_whole
from sdgen.models import find_model
from tests.tiny_models import saved, sd1
from tests.tiny_sdxl import sdxl

PLAIN: dict[str, Any] = {
    "name": "my cat",
    "base": "sd15",
    "photos": "photos",
    "trigger": "my cat",
    "class_word": "cat",
}


@pytest.mark.parametrize("family", get_args(BaseFamily))
def test_every_family_completes_a_plain_recipe(family: BaseFamily) -> None:
    recipe = completed(TrainingRecipe.checked(**PLAIN), family, 20)
    defaults = FAMILY_DEFAULTS[family]
    assert recipe.rank == defaults.rank
    assert recipe.targets == defaults.targets
    exposures = recipe.steps * recipe.batch_size / 20
    assert exposures <= defaults.exposures + recipe.batch_size
    assert recipe.steps == defaults.most_steps or exposures >= defaults.exposures
    assert 0 < recipe.save_every <= recipe.steps
    assert any("my cat" in prompt for prompt in recipe.samples)
    assert completed(recipe, family, 7) == recipe, "what is complete stays"


def test_what_a_recipe_says_counts_more_than_the_family() -> None:
    given = TrainingRecipe.checked(
        **PLAIN, rank=3, learning_rate=7e-5, steps=11, samples=["a cat"], caption_dropout=0.0
    )
    recipe = completed(given, "sd1", 20)
    assert (recipe.rank, recipe.learning_rate, recipe.steps) == (3, 7e-5, 11)
    assert (recipe.samples, recipe.caption_dropout) == (("a cat",), 0.0)


def test_accumulated_batches_take_fewer_steps() -> None:
    plain = completed(TrainingRecipe.checked(**PLAIN), "sdxl", 10)
    twice = completed(TrainingRecipe.checked(**PLAIN, accumulation=2), "sdxl", 10)
    assert twice.steps == plain.steps / 2


def test_prodigy_finds_its_rate_itself() -> None:
    recipe = completed(TrainingRecipe.checked(**PLAIN, optimizer="prodigy"), "sd1", 20)
    assert (recipe.learning_rate, recipe.text_learning_rate) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("rank", 0, "at least 1"),
        ("rank", 257, "at most 256"),
        ("rank", 4.5, "whole number"),
        ("rank", "many", "whole number"),
        ("learning_rate", 0, "more than 0"),
        ("learning_rate", float("nan"), "finite"),
        ("ema", 1.0, "less than 1"),
        ("resolution", 500, "multiple of 8"),
        ("targets", ["attention", "mind"], "'feed_forward'"),
        ("targets", [], "empty"),
        ("trigger", "", "empty"),
        ("trigger", "x" * 81, "80 characters"),
        ("name", "../cat", "letter or digit"),
        ("buckets", 1, "true or false"),
        ("colour", "red", "no field"),
        ("prior_weight", 1.0, "class_word"),
    ],
)
def test_a_wrong_field_is_named_with_its_limit(field: str, value: object, says: str) -> None:
    fields = {**PLAIN, field: value}
    if field == "prior_weight":
        del fields["class_word"]
    with pytest.raises(InvalidRecipe) as caught:
        TrainingRecipe.checked(**fields)
    assert caught.value.field in (field, "class_word")
    assert field in str(caught.value)
    assert says in str(caught.value)


def test_a_missing_field_and_no_json_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match="trigger is missing"):
        TrainingRecipe.checked(name="x", base="sd15", photos="p")
    path = tmp_path / "recipe.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InvalidRecipe, match="no JSON"):
        TrainingRecipe.read(path)
    with pytest.raises(InvalidRecipe, match="cannot be read"):
        TrainingRecipe.read(tmp_path / "none.json")


def test_a_recipe_survives_its_file_and_finds_its_photos(tmp_path: Path) -> None:
    recipe = completed(TrainingRecipe.checked(**PLAIN), "sd1", 20)
    path = tmp_path / "recipe.json"
    path.write_text(recipe.to_json(), encoding="utf-8")
    assert CompleteRecipe.read(path) == recipe
    (tmp_path / "photos").mkdir()
    assert TrainingRecipe.read(path).photos == str((tmp_path / "photos").resolve())


def test_the_family_comes_from_the_models_own_settings(tmp_path: Path) -> None:
    assert family_of(find_model("picturebook")) == "picturebook"
    assert family_of(find_model(str(saved(sd1(), tmp_path / "one")))) == "sd1"
    assert family_of(find_model(str(saved(sdxl(), tmp_path / "xl")))) == "sdxl"


def test_status_and_runs_on_disk(tmp_path: Path) -> None:
    run = new_run_folder(tmp_path, "My cat!")
    assert "my-cat" in run.name
    assert list_runs(tmp_path) == [], "a folder without a recipe is no run yet"
    write_whole(run.recipe, TrainingRecipe.checked(**PLAIN).to_json().encode())
    assert list_runs(tmp_path) == [run]
    assert run.read_status() == Status()
    run.read_status().changed(state="training", step=3, files=["a"]).write(run.status)
    assert (run.read_status().step, run.read_status().files) == (3, ("a",))
    run.metrics.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo', encoding="utf-8")
    assert run.read_metrics() == [{"step": 1, "loss": 0.5}]


def test_a_command_is_obeyed_once(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert not run.take("stop")
    run.send("stop")
    assert run.take("stop")
    assert not run.take("stop")
