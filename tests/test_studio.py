"""The studio: what was asked becomes files, whoever watches and whatever goes wrong."""

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sdgen.config import Settings
from sdgen.errors import (
    DownloadNeeded,
    GenerationFailed,
    ModelUnavailable,
    OutOfMemory,
    QueueFull,
    ShuttingDown,
    StorageFailed,
)
from sdgen.gallery import Search
from sdgen.job import Failed, Finished, ImageReady, Loading, Note, Preview, Progress, Saved, Stopped
from sdgen.models import ASSETS, FolderSource, bundled_models, find_model
from sdgen.owners import LOCAL
from sdgen.studio import Studio
from tests.conftest import FAKE_INFO, FakeEngine, FakeModelFiles, Fault, ask, fake_picture
from tests.studio_jobs import SECONDS, hold, saved


def test_every_picture_is_on_disk_with_its_own_recipe(studio: Studio, settings: Settings) -> None:
    request = ask(num_images=3, negative_prompt="blurry", exact=True)
    pictures = saved(studio.start(request))
    assert [(p.index, p.seed) for p in pictures] == [(0, 7), (1, 8), (2, 9)]
    for picture in pictures:
        assert picture.path.is_relative_to(settings.data_dir / "pictures")
        with Image.open(picture.path) as image:
            assert image.tobytes() == fake_picture(request, picture.seed).tobytes()
        recipe = studio.recipe_of(picture.path)
        assert recipe.seed == picture.seed
        assert (recipe.prompt, recipe.negative_prompt) == (request.prompt, "blurry")
        assert (recipe.model, recipe.model_hash) == ("picturebook", FAKE_INFO.model_hash)
        assert recipe.exact


def test_a_picture_drawn_again_from_its_recipe_is_the_same(studio: Studio) -> None:
    first = saved(studio.start(ask(num_images=2)))[1]
    form = studio.form_of(studio.recipe_of(first.path))
    assert form.notes == ()
    again = saved(studio.start(studio.request(**form.fields)))[0]
    with Image.open(first.path) as one, Image.open(again.path) as two:
        assert one.tobytes() == two.tobytes()


def test_the_events_come_in_order_and_end_once(studio: Studio, engine: FakeEngine) -> None:
    engine.notes = ("A note.",)
    job = studio.start(ask(num_images=2))
    job.result(SECONDS)
    events = list(job.events())
    assert isinstance(events[-1], Finished)
    assert not any(isinstance(event, ImageReady) for event in events)
    assert [type(event) for event in events] == [Note, Saved, Saved, Finished]


def test_a_watcher_sees_how_far_it_is(studio: Studio, engine: FakeEngine) -> None:
    release = hold(engine, after=2)
    seen: set[type] = set()
    for event in studio.start(ask()).events():
        seen.add(type(event))
        if {Progress, Preview, Loading} <= seen:
            release.set()
    assert Finished in seen


def test_nobody_needs_to_watch(studio: Studio, settings: Settings) -> None:
    studio.start(ask(num_images=2))
    studio.start(ask("a blue cat"))
    deadline = time.monotonic() + SECONDS
    while len(rows := studio.gallery.search(LOCAL, Search()).rows) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    prompts = [studio.recipe_of(studio.gallery.path(row)).prompt for row in rows]
    assert sorted(prompts) == ["a blue cat", *["a red robot on a beach"] * 2]
    assert not list(settings.data_dir.rglob("*.tmp"))


def test_pictures_finished_before_a_close_are_kept(
    studio: Studio, engine: FakeEngine, settings: Settings
) -> None:
    hold(engine, after=4)  # the first picture takes three
    job = studio.start(ask(num_images=16))
    while engine.steps_taken < 4:
        time.sleep(0.002)
    studio.close(SECONDS)
    assert isinstance(job.end, Stopped)
    assert len(list(settings.data_dir.rglob("*.png"))) == len(saved(job)) == 1


def test_two_readers_and_a_late_one_see_the_same(studio: Studio, engine: FakeEngine) -> None:
    engine.seconds_per_step = 0.005
    job = studio.start(ask(num_images=2))
    seen: dict[str, list[Path]] = {}

    def read(name: str) -> None:
        seen[name] = [event.path for event in job.events() if isinstance(event, Saved)]

    readers = [threading.Thread(target=read, args=(name,)) for name in ("one", "two")]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(SECONDS)
    assert seen["one"] == seen["two"] == [event.path for event in saved(job)]
    assert len(seen["one"]) == 2


def test_a_reader_that_leaves_disturbs_nobody(studio: Studio) -> None:
    job = studio.start(ask(num_images=2))
    for _ in job.events():
        break
    assert len(saved(job)) == 2


def test_cancel_stops_within_a_step_and_keeps_what_is_finished(
    studio: Studio, engine: FakeEngine
) -> None:
    hold(engine, after=5)
    job = studio.start(ask(num_images=10))
    for event in job.events():
        if isinstance(event, Saved):
            job.cancel()
    assert isinstance(job.end, Stopped)
    assert engine.steps_taken <= 6
    assert [event.path.is_file() for event in saved(job)] == [True]


def test_cancel_while_waiting_needs_no_turn(studio: Studio, engine: FakeEngine) -> None:
    release = hold(engine, after=0)
    studio.start(ask())
    waiting = studio.start(ask("a blue cat"))
    waiting.cancel()
    with pytest.raises(GenerationFailed):
        waiting.result(SECONDS)
    assert isinstance(waiting.end, Stopped)
    assert engine.steps_taken == 0
    release.set()


def test_a_full_disk_fails_the_job_and_frees_the_engine(
    settings: Settings, engine: FakeEngine, model_files: FakeModelFiles
) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "pictures").write_text("a file where the folder should be")
    studio = Studio(settings, engine, model_files)
    engine.seconds_per_step = 0.01
    job = studio.start(ask(num_images=16))
    with pytest.raises(StorageFailed):
        job.result(SECONDS)
    steps = engine.steps_taken
    (settings.data_dir / "pictures").unlink()
    assert len(saved(studio.start(ask()))) == 1
    assert engine.steps_taken < steps + 3 + 3 * 3  # the failed job took no more than a picture
    studio.close()


def test_a_failure_is_the_requests_own(studio: Studio, engine: FakeEngine) -> None:
    engine.faults.extend([Fault(OutOfMemory("Too large."), index=1, step=1), None])
    bad, good = studio.start(ask(num_images=3)), studio.start(ask())
    with pytest.raises(OutOfMemory, match=r"Too large\."):
        bad.result(SECONDS)
    assert isinstance(bad.end, Failed)
    assert len(saved(bad)) == 1
    assert len(saved(good)) == 1


def test_a_defect_of_ours_ends_the_job(
    studio: Studio, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncaught: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", uncaught.append)
    engine.info = replace(FAKE_INFO, versions="not pairs")  # type: ignore[arg-type]
    job = studio.start(ask())
    with pytest.raises(GenerationFailed, match=job.id):
        job.result(SECONDS)
    studio.close()
    assert len(uncaught) == 1  # and it is in the log


def test_refusals_come_before_anything_runs(studio: Studio, engine: FakeEngine) -> None:
    with pytest.raises(DownloadNeeded, match=r"2\.8 GB"):
        studio.start(ask(model="sd15"))
    with pytest.raises(ModelUnavailable, match="picturebook"):
        studio.start(ask(model="/etc/passwd"))
    with pytest.raises(ModelUnavailable):
        studio.start(ask(model="somebody/else"))
    engine.max_queue = 0
    with pytest.raises(QueueFull):
        studio.start(ask())
    studio.close()
    with pytest.raises(ShuttingDown):
        studio.start(ask())
    assert engine.submitted == []


def test_a_flagged_picture_says_so(studio: Studio, engine: FakeEngine) -> None:
    engine.flagged = "The model's safety checker objects."
    assert saved(studio.start(ask()))[0].flagged == engine.flagged


def test_running_jobs_are_found_by_id_until_they_end(studio: Studio, engine: FakeEngine) -> None:
    release = hold(engine, after=1)
    job = studio.start(ask())
    assert studio.job(job.id) is job
    release.set()
    job.result(SECONDS)
    assert studio.job(job.id) is None


def test_the_models_and_what_they_cost(studio: Studio, model_files: FakeModelFiles) -> None:
    cards = {card.name: card for card in studio.models()}
    assert cards.keys() == bundled_models().keys()
    assert cards["picturebook"].local
    assert not cards["sd15"].local
    assert cards["sd15"].download_bytes > 1e9
    assert studio.default_model() == "picturebook"
    assert studio.download_size("sd15") == cards["sd15"].download_bytes
    heard: list[int] = []
    studio.download("sd15", lambda done, total: heard.append(done))
    assert heard[-1] == cards["sd15"].download_bytes
    assert studio.model("sd15").local
    assert studio.download_size("sd15") == 0
    model_files.error = ModelUnavailable("No network.")
    with pytest.raises(ModelUnavailable, match="No network"):
        studio.download("sdxl", lambda done, total: None)


def test_a_wrong_configured_model_is_said_and_the_app_goes_on(
    settings: Settings, engine: FakeEngine, model_files: FakeModelFiles
) -> None:
    studio = Studio(settings.model_copy(update={"model": "no-such"}), engine, model_files)
    assert "no-such" in studio.model_problem
    assert studio.default_model() == "picturebook"
    assert len(saved(studio.start(studio.request(prompt="a cat", width=64, height=64)))) == 1
    studio.close()


def test_a_configured_hub_id_is_offered_first(
    settings: Settings, engine: FakeEngine, model_files: FakeModelFiles
) -> None:
    studio = Studio(settings.model_copy(update={"model": "some/model@v2"}), engine, model_files)
    assert studio.models()[0].name == studio.default_model() == "some/model@v2"
    with pytest.raises(DownloadNeeded):
        studio.start(studio.request(prompt="a cat"))
    studio.close()


def test_a_configured_folder_has_a_name_for_people_and_its_path_for_the_engine(
    settings: Settings, engine: FakeEngine, tmp_path: Path
) -> None:
    folder = shutil.copytree(ASSETS / "picturebook", tmp_path / "my model")
    studio = Studio(settings.model_copy(update={"model": str(folder)}), engine)
    assert studio.default_model() == "my model"
    assert studio.default_spec().name == str(folder)
    assert find_model(studio.default_spec().name).source == FolderSource(folder)
    studio.close()


def test_status_is_the_engines(studio: Studio) -> None:
    assert studio.status().device == "cpu"
