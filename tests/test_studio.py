"""The studio: what was asked becomes files, whoever watches and whatever goes wrong."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sdgen.config import Settings
from sdgen.errors import (
    AdapterRefused,
    AdapterUnavailable,
    DownloadNeeded,
    GenerationFailed,
    InvalidRequest,
    ModelUnavailable,
    OutOfMemory,
    QueueFull,
    ShuttingDown,
    StorageFailed,
)
from sdgen.job import (
    Failed,
    Finished,
    ImageReady,
    Job,
    Loading,
    Note,
    Preview,
    Progress,
    Saved,
    Stopped,
)
from sdgen.models import bundled_models
from sdgen.studio import Studio
from tests.conftest import FAKE_INFO, FakeEngine, FakeModelFiles, Fault, ask, fake_picture
from tests.picture_loras import fill, write_lora

SECONDS = 30.0  # no wait of a test is longer


def saved(job: Job) -> list[Saved]:
    return [event for event in job.events() if isinstance(event, Saved)]


def hold(engine: FakeEngine, after: int) -> threading.Event:
    """Let the engine take `after` steps and then wait: for the event, or for the job's cancel."""
    release = threading.Event()

    def wait(job: Job, step: int) -> None:
        deadline = time.monotonic() + SECONDS
        while engine.steps_taken >= after and not release.is_set() and not job.cancelled:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    engine.before_step = wait
    return release


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
    while len(studio.recent()) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    prompts = [studio.recipe_of(path).prompt for path in studio.recent()]
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
    assert len(list(settings.data_dir.rglob("*.png"))) == len(job.end.result.images) == 1


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


def test_status_is_the_engines(studio: Studio) -> None:
    assert studio.status().device == "cpu"


# --- adapters


@pytest.fixture
def with_adapters(studio: Studio, settings: Settings) -> Studio:
    fill(settings.data_dir)
    return studio


def test_adapters_are_judged_for_the_model_those_that_fit_first(with_adapters: Studio) -> None:
    cards = {card.name: card for card in with_adapters.adapters("picturebook")}
    levels = [card.verdict.level if card.verdict else "" for card in cards.values()]
    assert cards.keys() >= {"storm-hero", "watercolour", "half", "big"}
    assert levels == sorted(levels, key=["fits", "warns", "", "refused"].index)
    verdict = cards["big"].verdict
    assert verdict is not None
    assert "SDXL" in verdict.sentence
    assert cards["storm-hero"].report == with_adapters.inspect_adapter("storm-hero").report


def test_minnal_murali_is_the_hub_s_for_stable_diffusion_15(
    with_adapters: Studio, model_files: FakeModelFiles
) -> None:
    (card,) = [c for c in with_adapters.adapters("sd15") if c.name == "minnal-murali"]
    assert not card.local
    assert card.hub_id == "nikhiljose7/lora-sdv1-5-minnal-murali"
    model_files.local.add("sd15")
    with pytest.raises(AdapterUnavailable, match="fetched"):
        with_adapters.request(model="sd15", prompt="x", adapters=[{"name": "minnal-murali"}])


def test_the_engine_gets_paths_and_the_recipe_public_names(
    with_adapters: Studio, engine: FakeEngine, settings: Settings
) -> None:
    request = with_adapters.request(
        prompt="a storm hero <lora:watercolour:0.5> on a beach", width=64, height=64, steps=2,
        adapters=[{"name": "storm-hero", "scale": 0.8, "text_scale": 0.2}],
    )  # fmt: skip
    assert request.prompt == "a storm hero on a beach"
    (picture,) = saved(with_adapters.start(request))
    inner = engine.submitted[0]
    folder = settings.data_dir / "adapters"
    assert [(use.name, use.scale, use.text_scale) for use in inner.adapters] == [
        (str(folder / "storm-hero.safetensors"), 0.8, 0.2),
        (str(folder / "watercolour.safetensors"), 0.5, None),
    ]
    adapters = with_adapters.recipe_of(picture.path).adapters
    assert [adapter.name for adapter in adapters] == ["storm-hero", "watercolour"]
    assert [(adapter.scale, adapter.text_scale) for adapter in adapters] == [
        (0.8, 0.2),
        (0.5, None),
    ]
    report = with_adapters.inspect_adapter("storm-hero").report
    assert report is not None
    assert adapters[0].sha256 == report.sha256
    assert str(settings.data_dir) not in picture.path.read_bytes().decode("latin-1")


def test_a_tag_wins_over_the_same_adapter_picked(with_adapters: Studio) -> None:
    request = with_adapters.request(
        prompt="x <lora:storm-hero:0.4:0.9>",
        adapters=[{"name": "storm-hero", "scale": 1.5}, {"name": "half"}],
    )
    assert [(use.name, use.scale, use.text_scale) for use in request.adapters] == [
        ("storm-hero", 0.9, 0.4),  # of two numbers the text encoder's comes first
        ("half", 1.0, None),
    ]


@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"prompt": "x <lora:storm-her:1>"}, "adapters", "Did you mean storm-hero"),
        ({"prompt": "x", "adapters": [{"name": "watercolor"}]}, "adapters", "watercolour"),
        ({"prompt": "x <lora:storm-hero:9>"}, "prompt", "beyond 2"),
        ({"prompt": "x <lora:storm-hero"}, "prompt", "not closed"),
        ({"prompt": "<lora:storm-hero:1>"}, "prompt", "is empty"),
        ({"prompt": "x", "negative_prompt": "<lora:half:1>"}, "negative_prompt", "belongs in"),
        ({"prompt": "x", "adapters": [{"name": "half", "scale": 3}]}, "adapters", "at most 2"),
        ({"prompt": "x", "adapters": "half"}, "adapters", "must be a list"),
    ],
)
def test_wrong_adapters_are_refused_by_name(
    with_adapters: Studio, given: dict[str, object], field: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as refused:
        with_adapters.request(**given)
    assert refused.value.field == field


def test_one_that_does_not_fit_is_refused_before_anything_runs(
    with_adapters: Studio, engine: FakeEngine
) -> None:
    request = with_adapters.request(prompt="x", adapters=[{"name": "big"}])
    with pytest.raises(AdapterRefused, match="This is an SDXL LoRA"):
        with_adapters.start(request)
    assert engine.submitted == []


def test_what_does_not_apply_is_a_note_of_the_job(with_adapters: Studio) -> None:
    request = with_adapters.request(
        prompt="x", width=64, height=64, steps=2, adapters=[{"name": "half"}]
    )
    job = with_adapters.start(request)
    notes = [event.text for event in job.events() if isinstance(event, Note)]
    assert any("Only 50 % of it applies" in note for note in notes)


def test_a_dropped_picture_says_which_adapters_are_missing_and_which_changed(
    with_adapters: Studio, settings: Settings
) -> None:
    uses = [{"name": "storm-hero", "scale": 0.7}, {"name": "watercolour"}, {"name": "half"}]
    request = with_adapters.request(prompt="x", width=64, height=64, steps=2, adapters=uses)
    (picture,) = saved(with_adapters.start(request))
    folder = settings.data_dir / "adapters"
    (folder / "storm-hero.safetensors").rename(folder / "renamed.safetensors")
    write_lora(folder / "watercolour.safetensors", seed=77)
    (folder / "half.safetensors").unlink()
    form = with_adapters.form_of(with_adapters.recipe_of(picture.path))
    assert form.fields["adapters"] == (
        {"name": "renamed", "scale": 0.7, "text_scale": None},  # found by its hash
        {"name": "watercolour", "scale": 1.0, "text_scale": None},
    )
    notes = " ".join(form.notes)
    assert "“watercolour” here is another file" in notes
    assert "“half” (strength 1, file " in notes
    assert "a file on the machine that drew it" in notes


def test_trigger_words_of_chosen_adapters_stay_in_a_draft(with_adapters: Studio) -> None:
    draft = with_adapters.enhance("a beach <lora:watercolour:0.5>", adapters=("storm-hero",))
    for words in ("storm hero", "red cape", "watercolour"):
        assert words in draft.text
    assert draft.text.endswith("<lora:watercolour:0.5>")
    assert draft.original == "a beach <lora:watercolour:0.5>"


def test_a_user_s_adapter_is_kept_listed_and_removed(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    file = write_lora(tmp_path / "mine.safetensors", trigger="mycat")
    judged = studio.inspect_adapter_file(file)
    assert judged.verdict is not None
    assert judged.verdict.level == "fits"
    assert [card.name for card in studio.adapters("picturebook") if card.local] == [
        card.name for card in studio.adapters("picturebook") if card.source == "bundled"
    ]
    report = studio.add_adapter_file(file, "mine.safetensors")
    assert report.source == "upload"
    assert studio.inspect_adapter(report.name).report == report
    studio.remove_adapter(report.name)
    with pytest.raises(InvalidRequest, match="There is no LoRA"):
        studio.inspect_adapter(report.name)


def test_tags_are_not_counted_as_words(with_adapters: Studio) -> None:
    counted = with_adapters.count_tokens("picturebook", "a beach <lora:watercolour:0.5>")
    assert counted == with_adapters.count_tokens("picturebook", "a beach")


@pytest.mark.slow
def test_strengths_of_an_adapter_reach_the_bundled_model(settings: Settings) -> None:
    from sdgen.engine import LocalEngine

    write_lora(settings.data_dir / "adapters" / "strong.safetensors", size=0.3, text=True)
    studio = Studio(settings, LocalEngine(settings))
    drawn: dict[float | None, bytes] = {}
    try:
        for scale in (None, 0.0, 1.0):
            adapters = [] if scale is None else [{"name": "strong", "scale": scale}]
            request = studio.request(
                prompt="a red robot on a beach", seed=7, steps=4, exact=True, adapters=adapters
            )
            (picture,) = saved(studio.start(request))
            with Image.open(picture.path) as image:
                drawn[scale] = image.tobytes()
    finally:
        studio.close()
    assert drawn[0.0] == drawn[None]
    assert drawn[1.0] != drawn[None]
