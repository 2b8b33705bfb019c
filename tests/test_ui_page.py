"""The page's deeds as functions of plain values, over a studio with fakes."""

from collections import deque

import pytest

from sdgen.errors import OutOfMemory, StorageFailed
from sdgen.history import History
from sdgen.owners import ANYONE, Visitor
from sdgen.studio import Studio
from sdgen.ui.form import Form
from sdgen.ui.page import AskedGrid, Page, View, grid_size, how_many
from tests.conftest import FakeEngine, Fault
from tests.watchers import ME, OTHER, Watcher, pictures_of, settled

FORM = Form(prompt="a <b>red</b> robot", seed="7", steps=3, width=64, height=64)
BUSY, IDLE = 'aria-busy="true"', 'aria-busy="false"'


@pytest.fixture
def page(studio: Studio) -> Page:
    return Page(studio, most=20)


@pytest.fixture
def held(page: Page, studio: Studio, engine: FakeEngine) -> Page:
    """A page whose first job takes long, so that what follows waits."""
    engine.seconds_per_step = 0.1
    page.generate(FORM._replace(prompt="long", steps=150, num_images=8, exact=True), ME)
    Watcher(studio).wait(lambda parts: BUSY in parts["stage"])
    return page


def waiting(studio: Studio) -> list[str]:
    return [job.prompt for job in studio.queue(ME.owner).waiting]


def test_a_picture_forms_and_is_shown_with_its_seed_and_prompt(
    page: Page, studio: Studio, engine: FakeEngine
) -> None:
    engine.seconds_per_step = 0.03
    watcher = Watcher(studio)
    assert page.generate(FORM, ME) == View(notice="", last_seed=7)
    stage = settled(studio, ME, watcher)["stage"]
    assert any(BUSY in seen for seen in watcher.seen)
    assert IDLE in stage
    assert "seed 7" in stage
    assert 'alt="a &lt;b&gt;red&lt;/b&gt; robot"' in stage
    assert "<b>red" not in "".join(watcher.seen)
    (picture,) = pictures_of(studio)
    assert (picture.seed, picture.prompt, picture.width) == (7, FORM.prompt, 64)
    assert f'src="sdgen/picture/{picture.id}"' in stage


def test_previews_and_progress_come_before_the_picture(
    page: Page, studio: Studio, engine: FakeEngine
) -> None:
    engine.seconds_per_step = 0.05
    watcher = Watcher(studio)
    page.generate(FORM._replace(num_images=2), ME)
    settled(studio, ME, watcher)
    assert any("data:image/webp;base64," in stage for stage in watcher.seen)
    assert any('role="progressbar"' in stage and " of 6" in stage for stage in watcher.seen)
    both = [stage for stage in watcher.seen if "sdgen/picture/" in stage and "Forming:" in stage]
    assert both, "the first picture is shown while the second forms"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": " "}, "Prompt is empty"),
        ({"prompt": " ", "several": True}, "Prompt is empty"),
        ({"prompt": "{a|b} {c|d} {e|f} {g|h} {i|j}", "several": True}, "32 requests; at most 20"),
        ({"prompt": "{a|{b|c}}", "several": True}, "cannot stand inside each other"),
        ({"steps": 999}, "Steps must be at most 150"),
        ({"seed": "x"}, "Seed must be a whole number"),
        ({"model": "nope"}, "is not offered here"),
        ({"model": "sd15"}, "Nothing is downloaded before you say so"),
    ],
)
def test_bad_input_is_a_sentence_and_queues_nothing(
    page: Page, studio: Studio, engine: FakeEngine, change: dict[str, str], sentence: str
) -> None:
    view = page.generate(FORM._replace(**change), ME)
    assert view.notice is not None
    assert sentence in view.notice
    assert 'role="alert"' in view.notice
    assert view == View(notice=view.notice)
    assert studio.queue(ME.owner).jobs == ()
    assert engine.submitted == []


def test_a_browser_without_cookie_is_told_so(page: Page, engine: FakeEngine) -> None:
    nobody = Visitor(ANYONE, "someone")
    assert "keeps no cookie" in (page.generate(FORM, nobody).notice or "")
    assert "keeps no cookie" in page.pause(nobody, True)
    assert engine.submitted == []


def test_a_failure_is_said_and_finished_pictures_stay(
    page: Page, studio: Studio, engine: FakeEngine
) -> None:
    engine.faults = deque([Fault(OutOfMemory("There was not enough memory <here>."), index=1)])
    page.generate(FORM._replace(num_images=2), ME)
    parts = settled(studio)
    assert "not enough memory &lt;here&gt;." in parts["told"]
    assert IDLE in parts["stage"]
    assert parts["stage"].count("sdgen/picture/") == 1


def test_notes_of_the_engine_are_shown(page: Page, studio: Studio, engine: FakeEngine) -> None:
    engine.notes = ("The prompt is longer than the model reads.",)
    page.generate(FORM, ME)
    assert "longer than the model reads" in settled(studio)["told"]


def test_stop_keeps_finished_pictures(page: Page, studio: Studio, engine: FakeEngine) -> None:
    engine.seconds_per_step = 0.05
    page.generate(FORM._replace(num_images=4), ME)
    watcher = Watcher(studio)
    watcher.wait(lambda parts: "sdgen/picture/" in parts["stage"])
    page.stop(OTHER)
    assert BUSY in watcher.look()["stage"], "somebody else's Stop"
    page.stop(ME)
    parts = settled(studio, ME, watcher)
    assert 1 <= parts["stage"].count("sdgen/picture/") < 4
    assert "Stopped." in parts["stage"]


def test_stop_leaves_what_waits(held: Page, studio: Studio, engine: FakeEngine) -> None:
    held.generate(FORM, ME)
    engine.seconds_per_step = 0.0
    held.stop(ME)
    settled(studio)
    assert [picture.prompt for picture in pictures_of(studio)] == [FORM.prompt]


def test_several_prompts_are_as_many_requests(
    page: Page, studio: Studio, engine: FakeEngine
) -> None:
    form = FORM._replace(prompt="a {red|blue} robot\n\na cat", several=True)
    assert page.generate(form, ME).notice == ""
    settled(studio)
    prompts = [request.prompt for request in engine.submitted]
    assert sorted(prompts) == ["a blue robot", "a cat", "a red robot"]
    assert {request.seed for request in engine.submitted} == {7}
    page.generate(form._replace(several=False), ME)
    settled(studio)
    assert engine.submitted[-1].prompt == form.prompt


def test_the_count_of_several_prompts_is_said_before() -> None:
    assert how_many("a {red|blue} robot\na cat", 20, on=True) == "3 requests (at most 20)"
    assert how_many("a cat", 20, on=True) == "1 request (at most 20)"
    assert "inside each other" in how_many("{a|{b|c}}", 20, on=True)
    assert "Several prompts" in how_many("a {red|blue} robot", 20, on=False)
    assert how_many("a {curly} robot", 20, on=False) == ""


def test_a_grid_is_one_job_and_one_sheet(page: Page, studio: Studio, engine: FakeEngine) -> None:
    asked = AskedGrid("steps", "1, 2, 3", "", "seed", "1-2", "")
    assert grid_size(asked) == "6 pictures in one sheet"
    watcher = Watcher(studio)
    assert page.draw_grid(FORM._replace(num_images=4), ME, asked).notice == ""
    stage = settled(studio, ME, watcher)["stage"]
    assert sorted((request.steps, request.seed) for request in engine.submitted) == [
        (1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2),
    ]  # fmt: skip
    (sheet,) = pictures_of(studio)
    assert sheet.kind == "sheet"
    assert f"sdgen/picture/{sheet.id}" in stage


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (AskedGrid("steps", "", ""), "no values"),
        (AskedGrid("steps", "4, x", ""), "axis x"),
        (AskedGrid("steps", "999", ""), "at most 150"),
        (AskedGrid("steps", "1-10", "", "seed", "1-10", ""), "at most 64"),
        (AskedGrid("adapter", "0, 1", "gone"), "no adapter"),
        (AskedGrid("prompt", "beach, sea", ""), "is not in the prompt"),
        (AskedGrid("steps", "4", "", "steps", "5", ""), "both axes"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_by_name(
    page: Page, studio: Studio, asked: AskedGrid, sentence: str
) -> None:
    view = page.draw_grid(FORM, ME, asked)
    assert sentence in (view.notice or "")
    assert studio.queue(ME.owner).jobs == ()


def test_the_size_of_a_grid_is_said_while_it_is_written() -> None:
    assert grid_size(AskedGrid("steps", " ", "")) == ""
    assert grid_size(AskedGrid("steps", "4", "")) == "1 picture in one sheet"
    assert "x" in grid_size(AskedGrid("steps", "four", ""))
    assert "at most 64" in grid_size(AskedGrid("seed", "1-10", "", "steps", "1-10", ""))


def test_the_queue_can_be_reordered_cancelled_and_held(held: Page, studio: Studio) -> None:
    held.generate(FORM._replace(prompt="a\nb\nc", several=True, exact=True), ME)
    assert waiting(studio) == ["a", "b", "c"]
    ids = {job.prompt: job.id for job in studio.queue(ME.owner).waiting}
    assert held.move(ME, ids["c"], -1) == ""
    assert waiting(studio) == ["a", "c", "b"]
    held.move(ME, ids["a"], 1)
    assert waiting(studio) == ["c", "a", "b"]
    held.move(ME, ids["c"], -1)
    assert waiting(studio) == ["c", "a", "b"]
    held.drop(ME, ids["a"])
    assert waiting(studio) == ["c", "b"]
    held.pause(ME, True)
    assert "Paused" in Watcher(studio).look()["queue"]
    held.pause(ME, False)
    held.drop_all(ME)
    assert waiting(studio) == []
    assert studio.queue(ME.owner).jobs, "what runs goes on"


def test_what_runs_can_be_stopped_while_the_disk_does_not_answer(
    held: Page, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(history: History, *asked: object) -> None:
        raise StorageFailed("The disk does not answer.")

    (job,) = studio.shown_jobs(ME.owner)
    monkeypatch.setattr(History, "job", gone)
    held.stop(ME)
    assert job.cancelled


def test_nobody_changes_the_queue_of_another(held: Page, studio: Studio) -> None:
    held.generate(FORM._replace(prompt="a\nb", several=True), ME)
    before = waiting(studio)
    for job in studio.queue(ME.owner).jobs:
        held.move(OTHER, job.id, 1)
        held.drop(OTHER, job.id)
        held.stop(OTHER, job.id)
    held.drop_all(OTHER)
    held.pause(OTHER, True)
    assert waiting(studio) == before
    assert not studio.queue(ME.owner).paused
    assert len(studio.queue(ME.owner).jobs) == 3
