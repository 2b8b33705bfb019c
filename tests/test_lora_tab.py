"""The Train tab's handlers on plain values: photos, settings, runs; strangers are told no."""

import gc
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image, ImageDraw

from lora.config import FAMILY_DEFAULTS, InvalidRecipe, TrainingRecipe
from lora.dataset import load_dataset
from lora.jobs import Trainings
from lora.runs import RunFolder, Status, write_json
from lora.tab import add_tab, progress
from lora.tab.curves import curves
from lora.tab.form import FIELDS, TITLES, Bases, TrainForm, effective, recipe_of
from lora.tab.photos import NoPhotos
from lora.tab.shown_run import VIEW
from lora.tab.train_tab import TrainTab
from sdgen.config import Settings
from sdgen.studio import Studio
from tests.serving import GRADIO_WARNINGS

pytestmark = GRADIO_WARNINGS

FAKE = (sys.executable, str(Path(__file__).parent / "fake_training.py"))
NASTY = "<b>x</b> {{7*7}} ${1} `\\` \"'"
FORM = TrainForm(name="My cat", trigger="mycat", class_word="cat", base="picturebook")
SKIPPED = gr.skip()


def drawing(path: Path, number: int, size: tuple[int, int] = (300, 260)) -> str:
    """A photo that is like no other."""
    image = Image.new("RGB", size, (40 * number % 256, 90, 200 - 13 * number))
    pen = ImageDraw.Draw(image)
    for line in range(12):
        start = (number * 37 + line * 53) % size[0], (line * 29 + number * 11) % size[1]
        pen.rectangle(
            (*start, start[0] + 30 + number, start[1] + 20), fill=(line * 20, 255, number)
        )
    image.save(path)
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three photos as an upload leaves them: each in a folder of its own; one with a caption."""
    found = []
    for number in range(3):
        folder = tmp_path / f"upload{number}"
        folder.mkdir()
        found.append(drawing(folder / f"cat{number}.png", number))
    folder = tmp_path / "upload-text"
    folder.mkdir()
    (folder / "cat1.txt").write_text("a cat on a sofa")
    return [*found, str(folder / "cat1.txt")]


@pytest.fixture
def trainings(settings: Settings) -> Iterator[Trainings]:
    made = Trainings(settings.data_dir, command=(*FAKE, "slow"))
    yield made
    made.close(30)


@pytest.fixture(autouse=True)
def _swept() -> Iterator[None]:
    """Where those warnings are let through."""
    yield
    gc.collect()


@pytest.fixture
def tab(studio: Studio, settings: Settings, trainings: Trainings) -> TrainTab:
    with gr.Blocks(), gr.Tab("Train"):
        return TrainTab(studio, settings, trainings)


def is_skip(update: object) -> bool:
    return bool(update == SKIPPED)


def last(updates: Iterator[list[Any]]) -> list[Any]:
    return list(updates)[-1]


# --- the form


def test_a_form_becomes_a_recipe() -> None:
    form = FORM._replace(
        steps=" 120 ", learning_rate="2e-4", rank="", targets=["attention"], samples="a\n\n b \n"
    )
    recipe = recipe_of(form, "photos")
    assert (recipe.steps, recipe.learning_rate, recipe.rank) == (120, 2e-4, None)
    assert recipe.targets == ("attention",)
    assert recipe.samples == ("a", "b")


def test_boxes_that_nobody_touched_may_be_none() -> None:
    untouched: dict[str, Any] = dict.fromkeys(FIELDS)
    form = TrainForm(**{**untouched, **FORM._asdict(), "steps": None, "targets": None})
    assert recipe_of(form, "photos") == recipe_of(FORM, "photos")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("steps", "many", "Steps must be a whole number"),
        ("steps", "1.5", "Steps must be a whole number"),
        ("learning_rate", "fast", "Learning rate must be a number"),
        ("learning_rate", "nan", "Learning rate"),
        ("rank", "0", "Rank must be at least 1"),
        ("name", "", "Name is empty"),
        ("name", "../../x", "letters, digits"),
        ("trigger", " ", "Trigger word is empty"),
        ("optimizer", "sgd", "Optimizer"),
    ],
)
def test_wrong_settings_are_said_in_the_forms_own_words(field: str, value: str, words: str) -> None:
    with pytest.raises(InvalidRecipe, match=words):
        recipe_of(FORM._replace(**{field: value}), "photos")


def test_every_field_has_a_title() -> None:
    assert set(FIELDS) <= set(TITLES)
    assert set(FIELDS) <= set(TrainingRecipe.model_fields)


def test_what_is_left_open_comes_from_the_family() -> None:
    recipe = effective(FORM, "picturebook", 12)
    assert recipe.rank == FAMILY_DEFAULTS["picturebook"].rank
    assert effective(FORM._replace(name=""), "sd1", 12).batch_size == 4


def test_only_models_that_are_here_and_can_be_trained(
    studio: Studio, settings: Settings, model_files: Any
) -> None:
    assert [base for _, base in Bases(studio, settings).choices()] == ["picturebook"]
    model_files.local.add("sd-turbo")
    assert [base for _, base in Bases(studio, settings).choices()] == ["picturebook"]


# --- photos


def test_photos_are_checked_with_their_captions(tab: TrainTab, files: list[str]) -> None:
    notice, report, said, draft = last(tab.check(files, "", *FORM))
    assert notice == ""
    assert "3 photos in, 3 used, none left out." in report
    assert "mycat" in report
    assert "a cat on a sofa" in report
    assert report.count("data:image/webp") == 3
    assert "steps" in said
    assert draft


def test_what_cannot_be_used_is_named_and_escaped(
    tab: TrainTab, files: list[str], tmp_path: Path
) -> None:
    broken = tmp_path / "<b>{{7*7}}.png"
    broken.write_bytes(b"no picture")
    _, report, _, _ = last(tab.check([*files, str(broken)], "", *FORM))
    assert "4 photos in, 3 used, 1 left out." in report
    assert "&lt;b&gt;" in report
    assert "<b>{{" not in report


@pytest.mark.parametrize(
    ("form", "given", "words"),
    [
        (FORM, False, "Drop some photos"),
        (FORM._replace(trigger=""), True, "trigger word first"),
        (FORM._replace(resolution="100000"), True, "Resolution"),
    ],
)
def test_why_photos_cannot_be_checked(
    tab: TrainTab, files: list[str], form: TrainForm, given: bool, words: str
) -> None:
    updates = last(tab.check(files if given else [], "", *form))
    assert words in updates[0]
    assert 'role="alert"' in updates[0]


def test_typed_captions_are_trained_on_and_outlive_another_check(
    tab: TrainTab, files: list[str], trainings: Trainings
) -> None:
    _, _, _, draft = last(tab.check(files, "", *FORM))
    event = gr.EventData(None, {"name": "cat0.png", "text": "asleep in the sun"})
    tab.caption(draft, event)
    _, report, _, again = last(tab.check(files, draft, *FORM._replace(class_word="kitten")))
    assert again == draft
    assert "asleep in the sun" in report
    _, _, _, _, run_id, *_ = last(tab.start(files, draft, *FORM._replace(class_word="kitten")))
    run = trainings.find(run_id)
    captions = {one.name: one.caption for one in load_dataset(run.folder.photos).examples}
    assert captions["cat0.png"].startswith("mycat")
    assert "asleep in the sun" in captions["cat0.png"]
    assert captions["cat1.png"].count("mycat") == 1
    trainings.stop(run_id)
    updates = last(tab.start(files, draft, *FORM._replace(class_word="kitten")))
    assert updates[4] != run_id, "the same photos once more make another run"
    assert "asleep in the sun" in updates[1]


@pytest.mark.parametrize("draft", ["..", "../..", "/etc", "nowhere", "a/b", "."])
def test_a_draft_is_no_path(tab: TrainTab, draft: str) -> None:
    with pytest.raises(NoPhotos):
        tab._photos.caption(draft, "x", "y")
    assert tab._photos.count(draft) == 0


# --- runs


def test_a_run_from_start_to_stop(tab: TrainTab, files: list[str], trainings: Trainings) -> None:
    updates = last(tab.start(files, "", *FORM))
    notice, report, _, _, run_id, seen, head, *_ = updates
    assert notice == ""
    assert "3 used" in report, "unchecked photos are checked first"
    assert "My cat" in head
    deadline = time.monotonic() + 60
    while trainings.find(run_id).status.step < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    shown = tab.look(run_id, seen)
    assert "Training: step" in shown[2]
    assert "<svg" in shown[4]
    assert "stands still while a picture is drawn" in shown[2]
    tab.stop(run_id)
    while trainings.find(run_id).running and time.monotonic() < deadline:
        time.sleep(0.05)
    shown = tab.look(run_id, ())
    assert "Stopped: step" in shown[2]
    assert all(map(is_skip, tab.look(run_id, shown[1]))), "nothing new, so nothing is sent"
    restored = tab.restore()
    assert restored[2] == run_id, "a page that opens finds it"
    gone = tab.delete(run_id)
    assert "No training yet" in gone[3]


def test_a_run_that_is_not_there(tab: TrainTab) -> None:
    for run_id in ("", "..", "../../etc", NASTY):
        shown = tab.look(run_id, ())
        assert len(shown) == VIEW
        assert "No training yet" in shown[2]
        assert "no such training" in tab.stop(run_id)[0]


def test_a_wrong_setting_starts_nothing(
    tab: TrainTab, files: list[str], trainings: Trainings
) -> None:
    updates = last(tab.start(files, "", *FORM._replace(steps="x")))
    assert "Steps must be" in updates[0]
    assert all(map(is_skip, updates[1:]))
    assert trainings.runs() == []


@pytest.fixture
def done(settings: Settings, trainings: Trainings) -> RunFolder:
    """A run that ended well, with names that a browser must not take for markup."""
    from tests.fake_training import WHOLE

    folder = trainings.draft("x")
    recipe = TrainingRecipe.checked(name="cat", base="picturebook", photos="x", trigger=NASTY)
    folder.recipe.write_text(recipe.to_json())
    folder.exports.mkdir()
    adapters = settings.data_dir / "adapters"
    adapters.mkdir(parents=True)
    for path in (folder.exports / "cat.safetensors", adapters / "cat.safetensors"):
        path.write_bytes(WHOLE)
    (folder.checkpoint(5)).mkdir(parents=True)
    for step in (0, 5):
        folder.sample_folder(step).mkdir(parents=True)
        Image.new("RGB", (64, 64), "red").save(folder.sample_folder(step) / "00.png")
    write_json(folder.samples_index, {"prompts": [NASTY], "seeds": [1]})
    folder.metrics.write_text('{"step": 5, "loss": 0.5}\n')
    files = ["exports/cat.safetensors", str(adapters / "cat.safetensors")]
    Status().changed(
        state="done", step=5, steps=5, best_step=5, best_strength=0.8, reason=NASTY, files=files
    ).write(folder.status)
    return folder


def test_what_came_out_is_shown_and_escaped(tab: TrainTab, done: RunFolder) -> None:
    shown = tab.look(done.name, ())
    html = "".join(part for part in shown if isinstance(part, str))
    assert "Step 5 of 5, strength 0.8." in html
    assert "&lt;lora:cat:0.8&gt;" in html
    assert "Use it in Generate" in html
    assert "gradio_api/file=" in html
    assert str(done.path) not in html, "no path of this machine is told"
    assert html.count("data:image/webp") == 2
    for raw in ("<b>x", "{{7", "${1", "`"):
        assert raw not in html


def test_another_checkpoint_can_be_chosen(tab: TrainTab, done: RunFolder) -> None:
    shown = tab.look(done.name, ())
    accordion, step, strength = shown[12:15]
    assert accordion["visible"] is True
    assert (step["choices"], step["value"]) == ([("Step 5", 5)], 5)
    assert strength["value"] == 0.8
    assert "no checkpoint of step 7" in tab.choose(done.name, 7, 1.0)[0]
    assert "no checkpoint" in tab.choose(done.name, None, 1.0)[0]


def test_an_adapter_that_was_removed_since_is_not_offered(
    tab: TrainTab, done: RunFolder, settings: Settings
) -> None:
    (settings.data_dir / "adapters" / "cat.safetensors").unlink()
    html = tab.look(done.name, ())[3]
    assert "Use it in Generate" not in html
    assert "Download" in html


def test_curves_say_in_words_what_they_draw() -> None:
    loss = {step: 1.0 / step for step in range(1, 1001)}
    html = curves(loss, {0: 0.9, 500: 0.4, 1000: 0.5}, best=500)
    assert 'aria-label="Loss by step' in html
    assert "0.500" in html
    assert "step 500" in html
    assert len(html) < 12_000, "many steps are drawn as means"
    assert curves({}, {}, None) == ""


def test_words_of_every_state_are_there() -> None:
    assert set(progress.STATES) >= {"queued", "training", "done", "failed", "interrupted"}


def test_strangers_are_told_and_get_nothing(studio: Studio, settings: Settings) -> None:
    with gr.Blocks() as demo, gr.Tab("Train"):
        assert add_tab(studio, settings, strangers=True) is None
    assert "operator" in str(demo.get_config_file())
    assert demo.fns == {}


def test_no_handler_is_an_endpoint(
    studio: Studio, settings: Settings, trainings: Trainings
) -> None:
    with gr.Blocks() as demo, gr.Tab("Train"):
        TrainTab(studio, settings, trainings)
    assert {function.api_visibility for function in demo.fns.values()} == {"private"}


def test_only_a_finished_training_goes_to_the_hub(
    tab: TrainTab, trainings: Trainings, done: RunFolder
) -> None:
    assert "no such training" in list(tab.push("", "me/cat", True))[-1]
    said = list(tab.push(done.name, "me/cat", True))[-1]
    assert 'role="alert"' in said, "the file there is not one of ours, and nobody is logged in"
    assert str(done.path) not in said


def test_captioning_needs_photos(tab: TrainTab) -> None:
    assert "Drop some photos" in last(tab.write_captions("blip-base", [], "", *FORM))[0]
