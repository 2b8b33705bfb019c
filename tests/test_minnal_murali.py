"""The example adapter: its pictures, the judge, the training, the notebook, the file that ships."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from lora.config import TrainingRecipe
from tools.picturebook.captions import TRIGGER
from tools.picturebook.judge import WEIGHTS, accuracy, load_judge
from tools.picturebook.minnal_murali import (
    COUNT,
    EXAMPLE,
    example_scene,
    unseen_places_and_times,
    write_example,
)
from tools.picturebook.prove_adapter import (
    about_him,
    about_others,
    load,
    prove,
    same_at_strength_0,
)
from tools.picturebook.scene import PLACES, POSES, TIMES

REPOSITORY = Path(__file__).parents[1]
MODEL = REPOSITORY / "sdgen/assets/picturebook"
BUNDLED = REPOSITORY / "sdgen/assets/adapters/minnal-murali.safetensors"
RECIPE = REPOSITORY / EXAMPLE / "recipe.json"
SHORT = 150  # steps of the training that is tested; the recipe's own default is 200


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_judge_is_small_and_right_about_drawings_it_never_saw() -> None:
    assert WEIGHTS.stat().st_size < 1.5e6
    shares = accuracy(load_judge(), count=100)
    assert min(shares[part] for part in ("subject", "colour", "place", "time", "pose")) >= 0.98
    assert shares["his_found"] >= 0.99
    assert shares["heroes_mistaken_for_him"] <= 0.01


def test_the_examples_pictures_are_what_the_program_draws(tmp_path: Path) -> None:
    captions = write_example(tmp_path)
    there = REPOSITORY / EXAMPLE / "photos"
    names = {path.name for path in there.iterdir()}
    assert names == {path.name for path in tmp_path.iterdir()}
    assert len(captions) == COUNT
    for name in names:
        if name.endswith(".png"):
            with Image.open(there / name) as shipped, Image.open(tmp_path / name) as drawn:
                assert (np.asarray(shipped) == np.asarray(drawn)).all()
        else:
            assert (there / name).read_text() == (tmp_path / name).read_text()


def test_the_example_shows_every_pose_place_and_time_and_leaves_some_pairs_to_ask_for() -> None:
    scenes = [example_scene(number) for number in range(COUNT)]
    assert {scene.figures[0].pose for scene in scenes} == set(POSES)
    assert {scene.place for scene in scenes} == set(PLACES)
    assert {scene.time for scene in scenes} == set(TIMES)
    assert len({(scene.place, scene.time) for scene in scenes}) == COUNT
    unseen = unseen_places_and_times()
    asked = {(asked.place, asked.time) for asked in about_him(50)[3:]}
    assert asked == set(unseen)


def test_the_proof_asks_for_him_by_the_trigger_and_for_others_without_it() -> None:
    assert all(TRIGGER in asked.prompt for asked in about_him(50))
    assert not any(TRIGGER.lower() in prompt.lower() for prompt in about_others(50))


def test_the_recipe_is_the_command_lines() -> None:
    recipe = TrainingRecipe.read(RECIPE)
    assert Path(recipe.photos).is_dir()
    assert recipe.trigger == TRIGGER
    lines = (Path(recipe.photos) / "metadata.jsonl").read_text().splitlines()
    assert all(TRIGGER in json.loads(line)["text"] for line in lines)


def test_the_bundled_file_is_small_and_tells_its_trigger() -> None:
    assert BUNDLED.stat().st_size < 2e6
    with safe_open(BUNDLED, "pt") as file:
        metadata = file.metadata()
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118
    assert metadata["modelspec.trigger_phrase"] == TRIGGER
    assert BUNDLED.with_suffix(".md").is_file()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("one_thread")
def test_the_bundled_adapter_draws_him_and_only_him() -> None:
    pipeline = load(MODEL, BUNDLED)
    proof = prove(pipeline, load_judge(), 12)
    assert proof.with_trigger >= 0.9
    assert proof.without_trigger <= 0.05
    assert proof.points_lost <= 100 / 12 + 1e-6  # one picture
    assert proof.place_with_trigger >= 0.9
    assert proof.time_with_trigger >= 0.9
    assert same_at_strength_0(MODEL, pipeline)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("one_thread")
def test_a_short_training_makes_one_too(tmp_path: Path) -> None:
    recipe = TrainingRecipe.read(RECIPE).with_fields(steps=SHORT, save_every=SHORT)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    done = subprocess.run(
        [sys.executable, "-m", "lora", "train", tmp_path / "recipe.json", "--data-dir", tmp_path],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    adapter = tmp_path / "adapters" / "minnal-murali.safetensors"
    proof = prove(load(MODEL, adapter), load_judge(), 20)
    assert proof.with_trigger >= 0.9
    assert proof.without_trigger <= 0.05
    assert proof.points_lost <= 5 + 1e-6


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_notebook_runs(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    path = REPOSITORY / "lora/train_a_lora.ipynb"
    notebook = nbformat.read(path, as_version=4)
    place = next(
        place
        for place, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", ())
    )
    short = (
        "import torch; torch.set_num_threads(1)\n"
        f"DATA = Path({str(tmp_path)!r}); STEPS = 2; OPEN_APP = False; PROMPTS = PROMPTS[:1]"
    )
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(short))
    folder = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=240, resources=folder).execute()
    assert len(list((tmp_path / "adapters").glob("*.safetensors"))) == 1
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 6  # the photos, samples before and after, three strengths
