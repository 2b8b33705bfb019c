"""The page's deeds as functions of plain values, over a studio with fakes."""

import itertools
import threading
import time
from collections import deque
from pathlib import Path

import pytest
from PIL import Image

from sdgen.config import Settings
from sdgen.errors import OutOfMemory
from sdgen.job import Job
from sdgen.studio import Studio
from sdgen.ui.form import Form
from sdgen.ui.page import Page, Pictures, View
from tests.conftest import FakeEngine, FakeModelFiles, Fault

FORM = Form(prompt="a <b>red</b> robot", seed="7", steps=3, width=64, height=64)


def url_of(path: Path) -> str:
    return f"served/{path.name}"


@pytest.fixture
def page(studio: Studio, settings: Settings) -> Page:
    return Page(studio, settings.data_dir, url_of)


def last(views: list[View], part: str) -> object:
    """The newest value of a part of the page."""
    return next(value for view in reversed(views) if (value := getattr(view, part)) is not None)


def drawn(page: Page, form: Form = FORM, older: Pictures = ()) -> Pictures:
    pictures = last(list(page.generate(form, older)), "pictures")
    assert isinstance(pictures, tuple)
    return pictures


def test_a_picture_forms_and_is_shown_with_its_seed_and_prompt(page: Page) -> None:
    views = list(page.generate(FORM, ()))
    stages = [view.stage for view in views if view.stage is not None]
    assert 'aria-busy="true"' in stages[0]
    assert 'aria-busy="false"' in stages[-1]
    assert "seed 7" in stages[-1]
    assert 'alt="a &lt;b&gt;red&lt;/b&gt; robot"' in stages[-1]
    assert "<b>red" not in "".join(stages)
    assert last(views, "last_seed") == 7
    (picture,) = drawn(page)
    assert (picture.seed, picture.prompt, picture.width) == (7, FORM.prompt, 64)


def test_previews_and_progress_come_before_the_picture(page: Page, engine: FakeEngine) -> None:
    engine.seconds_per_step = 0.12
    stages = [view.stage or "" for view in page.generate(FORM._replace(num_images=2), ())]
    assert any("data:image/webp;base64," in stage for stage in stages)
    assert any('role="progressbar"' in stage and " of 6" in stage for stage in stages)
    both = [stage for stage in stages if "served/" in stage and "data:image" in stage]
    assert both, "the first picture is shown while the second forms"


def test_newest_pictures_come_first_and_older_ones_move_to_the_gallery(page: Page) -> None:
    first = drawn(page)
    views = list(page.generate(FORM._replace(seed="20", num_images=2), first))
    pictures = last(views, "pictures")
    assert isinstance(pictures, tuple)
    assert [picture.seed for picture in pictures] == [21, 20, 7]
    gallery = last(views, "gallery")
    assert isinstance(gallery, str)
    assert "seed 7" in gallery
    assert "seed 20" not in gallery


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": " "}, "Prompt is empty"),
        ({"steps": 999}, "Steps must be at most 150"),
        ({"seed": "x"}, "Seed must be a whole number"),
        ({"model": "nope"}, "is not offered here"),
        ({"model": "sd15"}, "Nothing is downloaded before you say so"),
    ],
)
def test_bad_input_is_a_sentence_and_loses_nothing(
    page: Page, engine: FakeEngine, change: dict[str, str], sentence: str
) -> None:
    (view,) = page.generate(FORM._replace(**change), ())
    assert view.notice is not None
    assert sentence in view.notice
    assert 'role="alert"' in view.notice
    assert view == View(notice=view.notice)
    assert engine.submitted == []


def test_a_failure_is_said_and_finished_pictures_stay(page: Page, engine: FakeEngine) -> None:
    engine.faults = deque([Fault(OutOfMemory("There was not enough memory <here>."), index=1)])
    views = list(page.generate(FORM._replace(num_images=2), ()))
    assert "not enough memory &lt;here&gt;." in str(last(views, "notice"))
    assert 'aria-busy="false"' in str(last(views, "stage"))
    assert len(last(views, "pictures")) == 1  # type: ignore[arg-type]


def test_notes_of_the_engine_are_shown(page: Page, engine: FakeEngine) -> None:
    engine.notes = ("The prompt is longer than the model reads.",)
    views = list(page.generate(FORM, ()))
    assert "longer than the model reads" in str(last(views, "notice"))


def test_stop_keeps_finished_pictures(page: Page, engine: FakeEngine) -> None:
    engine.seconds_per_step = 0.05
    views = []
    for view in page.generate(FORM._replace(num_images=4), ()):
        views.append(view)
        if view.pictures:
            page.stop(str(last(views, "job_id")))
    assert len(last(views, "pictures")) < 4  # type: ignore[arg-type]
    assert "Stopped." in str(last(views, "stage"))


def test_stop_of_a_job_that_is_gone_does_nothing(page: Page) -> None:
    page.stop("")
    page.stop("f" * 32)


def test_a_closed_window_stops_the_drawing(page: Page, engine: FakeEngine) -> None:
    engine.seconds_per_step = 0.05
    views = page.generate(FORM._replace(steps=100), ())
    list(itertools.islice(views, 3))
    views.close()  # type: ignore[attr-defined]
    taken = engine.steps_taken
    time.sleep(0.3)
    assert engine.steps_taken <= taken + 1


def test_the_window_hears_something_even_while_nothing_happens(
    page: Page, engine: FakeEngine
) -> None:
    gate = threading.Event()

    def hold(job: Job, step: int) -> None:
        gate.wait(5)

    engine.before_step = hold
    views = page.generate(FORM, ())
    moments = []
    for _ in itertools.islice(views, 6):
        moments.append(time.monotonic())
    gate.set()
    list(views)
    gaps = [b - a for a, b in itertools.pairwise(moments)]
    assert max(gaps) < 1.0  # heartbeats of a quarter of a second, on a busy machine


def test_a_flagged_picture_is_veiled_here_and_withheld_on_a_space(
    studio: Studio, settings: Settings, engine: FakeEngine
) -> None:
    engine.flagged = "It may not be safe for work."
    here = Page(studio, settings.data_dir, url_of)
    stage = str(last(list(here.generate(FORM, ())), "stage"))
    assert "sd-flagged" in stage
    assert 'data-action="reveal"' in stage
    space = Page(studio, settings.data_dir, url_of, withhold_flagged=True)
    views = list(space.generate(FORM, ()))
    stage = str(last(views, "stage"))
    assert "It may not be safe for work." in stage
    assert "served/" not in stage
    pictures = last(views, "pictures")
    assert isinstance(pictures, tuple)
    assert space.open(pictures[0].name, pictures)[0] == ""
    assert space.remember(pictures) == []


def test_an_opened_picture_tells_its_recipe_and_its_neighbours(page: Page) -> None:
    older = drawn(page)
    pictures = drawn(page, FORM._replace(seed="8"), older)
    html, notice = page.open(pictures[0].name, pictures)
    assert notice == ""
    for text in ("<dt>Seed</dt><dd>8</dd>", "<dt>Steps</dt><dd>3</dd>", "Use these settings"):
        assert text in html
    assert f'data-name="{pictures[1].name}"' in html
    assert 'download="' in html


def test_a_picture_of_another_window_is_not_opened(page: Page) -> None:
    others = drawn(page)
    for name in (others[0].name, "../../etc/passwd", ""):
        html, notice = page.open(name, ())
        assert html == ""
        assert "not in this window" in notice
        assert page.reuse(name, ()).fields == {}


def test_a_picture_is_verified_where_it_is_open(page: Page) -> None:
    pictures = drawn(page)
    waiting, told = page.verify(pictures[0].name, pictures)
    assert "being drawn again" in waiting[0]
    assert "Bit-identical" in told[0]
    assert (waiting[1], told[1]) == ("", "")


def test_a_picture_of_another_window_is_not_verified(page: Page) -> None:
    others = drawn(page)
    assert list(page.verify(others[0].name, ())) == [page.open(others[0].name, ())]


def test_settings_of_a_picture_come_back_into_the_form(page: Page) -> None:
    pictures = drawn(page, FORM._replace(negative_prompt="blurry", sampler="euler", exact=True))
    filled = page.reuse(pictures[0].name, pictures)
    assert filled.fields["prompt"] == FORM.prompt
    assert filled.fields["negative_prompt"] == "blurry"
    assert (filled.fields["seed"], filled.fields["sampler"]) == (7, "euler")
    assert filled.fields["exact"] is True


def test_a_dropped_file_without_recipe_is_a_sentence(page: Page, tmp_path: Path) -> None:
    plain, broken = tmp_path / "plain.png", tmp_path / "broken.png"
    Image.new("RGB", (8, 8)).save(plain)
    broken.write_bytes(b"no picture")
    for path in (plain, broken, tmp_path / "gone.png"):
        filled = page.read_file(path)
        assert filled.fields == {}
        assert 'role="alert"' in filled.notice


def test_a_browser_gets_its_pictures_back_after_a_reload(page: Page) -> None:
    pictures = drawn(page, FORM._replace(num_images=3))
    assert page.recall(page.remember(pictures)) == pictures


def test_what_a_browser_remembers_is_not_trusted(page: Page, settings: Settings) -> None:
    (picture,) = drawn(page)
    good = page.remember((picture,))[0]
    outside = settings.data_dir / "secret.png"
    outside.write_bytes(b"x")
    wrong = [
        None,
        "text",
        {},
        good | {"name": "../secret.png"},
        good | {"name": "2026-01-01/../../secret.png"},
        good | {"name": str(outside)},
        good | {"name": "2026-01-01/" + "0" * 26 + ".png"},
        good | {"seed": "7"},
        good | {"prompt": 7},
        [good],
    ]
    assert page.recall(wrong) == ()
    assert page.recall(good) == ()
    assert page.recall("text") == ()
    assert page.recall([good, *wrong]) == (picture,)


def test_two_windows_do_not_see_each_other(
    page: Page, engine: FakeEngine, model_files: FakeModelFiles
) -> None:
    engine.seconds_per_step = 0.01
    found: dict[str, Pictures] = {}

    def window(prompt: str) -> None:
        found[prompt] = drawn(page, FORM._replace(prompt=prompt, num_images=2))

    threads = [threading.Thread(target=window, args=(p,)) for p in ("a cat", "a dog")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for prompt, pictures in found.items():
        assert [picture.prompt for picture in pictures] == [prompt, prompt]
    assert len(found) == 2
