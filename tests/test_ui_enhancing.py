"""Enhancing on the page, as functions of plain values; and both prompts in every recipe."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sdgen.config import Settings
from sdgen.enhance import Draft, Enhancer, Service
from sdgen.metadata import Enhancement, parameters_text, recipe_from_parameters
from sdgen.models import ASSETS
from sdgen.studio import Studio, enhancement_of
from sdgen.ui.api.checks import helper, whole, words
from sdgen.ui.enhance_row import EnhanceRow, updates
from sdgen.ui.enhancing import Asking, Drafted, DraftView, Enhancing, Plan, plan
from sdgen.ui.form import Form
from sdgen.ui.page import Page
from sdgen.ui.tiles import recipe_rows
from sdgen.ui.viewing import Viewing
from tests.conftest import FakeEngine, FakeModelFiles
from tests.watchers import ME, Watcher, pictures_of, settled

HERE = (ASSETS / "picturebook" / "words.json").is_file()
needs_words = pytest.mark.skipif(not HERE, reason="the bundled model is not here")
FORM = Form(prompt="a red robot", seed="7", steps=2, width=64, height=64)
ENHANCED = "a red robot on a beach"
KEY = "sk-CANARY-4711-abcdefgh"


class Script:
    """A service that writes what it is told, letter by letter, until `go_on`."""

    def __init__(self, answer: str = "on a beach, at sunset") -> None:
        self.answer = answer
        self.go_on = threading.Event()
        self.go_on.set()

    async def __call__(
        self, service: Service, system: str, user: str, hear: Callable[[str], None]
    ) -> str:
        import asyncio

        hear(self.answer[:10])
        while not self.go_on.is_set():
            await asyncio.sleep(0.01)
        return self.answer


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def studio(
    settings: Settings, engine: FakeEngine, model_files: FakeModelFiles, script: Script
) -> Iterator[Studio]:
    enhancer = Enhancer(Service("http://helper.test/v1", "small"), ask=script)
    made = Studio(settings, engine, model_files, enhancer)
    yield made
    made.close()


@pytest.fixture
def deeds(studio: Studio) -> Enhancing:
    return Enhancing(studio, urls_allowed=True)


def drafted(deeds: Enhancing, prompt: str = "a red robot", choice: str = "builtin") -> Drafted:
    *_, view = deeds.draft(prompt, "picturebook", 0, Asking(choice))
    assert view.drafted is not None
    return view.drafted


@needs_words
def test_a_draft_streams_in_and_is_shown_as_a_difference(deeds: Enhancing, script: Script) -> None:
    script.go_on.clear()
    views: list[DraftView] = []
    for view in deeds.draft("a <b>red</b> robot", "picturebook", 0, Asking("api", "me")):
        views.append(view)
        if view.text and view.text.endswith("on a beach"):
            script.go_on.set()
    assert "Asking helper.test" in (views[0].note or "")
    assert views[0].draft_id
    done = views[-1]
    assert done.drafted is not None
    assert done.draft_id == ""
    assert done.text == "a <b>red</b> robot on a beach at sunset"
    assert "<ins>" in (done.difference or "")
    assert "<b>" not in (done.difference or "")
    assert done.drafted.draft.engine == "api"


@needs_words
def test_a_draft_can_be_skipped(deeds: Enhancing, script: Script) -> None:
    script.go_on.clear()
    begun = time.monotonic()
    last = DraftView()
    for last in deeds.draft("a red robot", "picturebook", 0, Asking("api")):
        if last.draft_id:
            deeds.skip(last.draft_id)
    assert time.monotonic() - begun < 4
    assert last.text == "a red robot"
    assert "Skipped" in (last.note or "")
    script.go_on.set()


def test_errors_are_said_and_the_panel_tells_no_draft(deeds: Enhancing) -> None:
    for prompt, sentence in (("  ", "describe the picture"), ("x" * 10_001, "10,000 characters")):
        *_, view = deeds.draft(prompt, "picturebook", 0, Asking())
        assert sentence in (view.note or "")
        assert view.drafted is None


@needs_words
def test_what_the_box_shows_is_what_runs(deeds: Enhancing) -> None:
    made = drafted(deeds)
    text, model = made.draft.text, made.model
    enhancement = Enhancement("a red robot", "built-in")
    assert plan("a red robot", model, text, made, each=False) == Plan("a red robot")
    assert plan("a red robot", model, text, None, each=True) is None
    assert plan("a red robot", model, text, made, each=True) == Plan(text, enhancement)
    edited = text + " and a cat"
    assert plan("a red robot", model, edited, made, each=True) == Plan(edited, enhancement)
    assert plan("a blue robot", model, text, made, each=True) is None
    assert plan("a red robot", "sd15", text, made, each=True) is None
    used = Drafted(made.draft, model, used=edited)
    for each in (True, False):
        assert plan(edited, model, "", used, each=each) == Plan(edited, enhancement)
    assert plan("a red robot", model, "a red robot", made, each=True) == Plan("a red robot")
    assert plan(" ", model, "", None, each=True) == Plan(" ")


@needs_words
def test_both_prompts_are_in_the_recipe_and_the_window(studio: Studio, deeds: Enhancing) -> None:
    draft = drafted(deeds, choice="api").draft
    form = FORM._replace(prompt=draft.text)
    Page(studio, most=9).generate(form, ME, enhancement_of(draft, draft.text))
    settled(studio)
    (picture,) = pictures_of(studio)
    file = studio.gallery.path(picture)
    recipe = studio.recipe_of(file)
    assert recipe.prompt == draft.text
    assert (recipe.original_prompt, recipe.enhanced_by) == ("a red robot", "api")
    assert recipe.enhancer_model == "small"
    rows = dict(recipe_rows(recipe))
    assert rows["Your words"] == "a red robot"
    assert rows["Enhanced by"] == "a language model (small)"
    again = recipe_from_parameters(parameters_text(recipe))
    assert again.original_prompt == "a red robot"
    assert again.notes == ()
    filled = Viewing(studio).read_file(file)
    assert plan(draft.text, "picturebook", "", filled.drafted, each=True) == Plan(
        draft.text, Enhancement("a red robot", "api", "small")
    )
    assert b"helper.test" not in file.read_bytes()


def test_original_prompts_survive_a1111s_text() -> None:
    for said in ('sign "OPEN", cat: 2', "two\nlines", '"quoted"', "a, b", "ഒരു പൂച്ച", "\\"):
        text = parameters_text(
            recipe_from_parameters("x\nSteps: 3, Seed: 7, Size: 64x64").model_copy(
                update={"original_prompt": said, "enhanced_by": "built-in"}
            )
        )
        read = recipe_from_parameters(text)
        assert (read.original_prompt, read.enhanced_by) == (said, "built-in")


def test_plain_and_enhanced_at_the_same_seed(studio: Studio, engine: FakeEngine) -> None:
    enhancement = Enhancement("a red robot", "built-in")
    Page(studio, most=9).compare(FORM._replace(seed=""), ME, ENHANCED, enhancement)
    stage = settled(studio)["stage"]
    first, second = engine.submitted
    assert (first.prompt, second.prompt) == ("a red robot", ENHANCED)
    assert first.seed == second.seed
    assert stage.index("Your words") < stage.index("Enhanced")
    assert stage.count('aria-busy="false"') == 2
    pictures = pictures_of(studio)
    assert {picture.prompt for picture in pictures} == {"a red robot", ENHANCED}
    paths = map(studio.gallery.path, pictures)
    assert {studio.recipe_of(path).original_prompt for path in paths} == {"", "a red robot"}


def test_stop_stops_both(studio: Studio, engine: FakeEngine) -> None:
    engine.seconds_per_step = 0.05
    page = Page(studio, most=9)
    page.compare(FORM._replace(steps=150), ME, ENHANCED, None)
    seen = Watcher(studio)
    seen.wait(lambda parts: "Step" in parts["stage"])
    page.stop(ME)
    seen.wait(lambda parts: 'aria-busy="true"' not in parts["stage"])
    assert "Stopped" in seen.parts["stage"]
    assert engine.steps_taken < 150


def test_a_refused_pair_leaves_nothing_running(studio: Studio, engine: FakeEngine) -> None:
    view = Page(studio, most=9).compare(FORM, ME, " ", None)
    assert "Prompt is empty" in (view.notice or "")
    assert engine.submitted == []


def test_a_key_is_kept_and_its_box_is_empty(studio: Studio, settings: Settings) -> None:
    row = EnhanceRow(studio, settings, on_space=False)
    emptied, name, choices, privacy, said = row.keep_key(KEY, "", "", "")
    assert emptied == ""
    assert "api.openai.com" in privacy
    assert "an hour" in said
    for value in (name, choices, privacy, said, row.deeds.__dict__, studio.__dict__):
        assert KEY not in repr(value)
    service = studio.service(name)
    assert service is not None
    assert service.users_own
    emptied, name, _, privacy, said = row.forget_key(name)
    assert (emptied, name) == ("", "")
    assert "helper.test" in privacy
    assert "forgotten" in said
    emptied, *_, said = row.keep_key("sk bad", "", "", "")
    assert emptied == ""
    assert "not a key" in said


@pytest.mark.parametrize(
    ("settings_given", "on_space"),
    [({"share": True}, False), ({"host": "0.0.0.0"}, False), ({}, True),
     ({"enhance_user_urls": False}, False)],
)  # fmt: skip
def test_public_pages_take_no_addresses(
    studio: Studio, tmp_path: Path, settings_given: dict[str, object], on_space: bool
) -> None:
    settings = Settings(data_dir=tmp_path, **settings_given)  # type: ignore[arg-type]
    row = EnhanceRow(studio, settings, on_space)
    said = row.keep_key(KEY, "https://example.com/v1", "m", "")[-1]
    assert "not taken here" in said


def test_where_the_prompt_goes_is_said(deeds: Enhancing) -> None:
    assert "Your prompt is sent to helper.test." in deeds.privacy("api", "")
    assert "stays on this machine" in deeds.privacy("builtin", "")


def test_the_toggle_is_off_by_default_and_browsers_may_say_anything(
    studio: Studio, settings: Settings
) -> None:
    row = EnhanceRow(studio, settings, on_space=False)
    for stored in (None, [], "x", {"each": "yes", "helper": 7}):
        assert row.restore(stored)[0] is False
    assert row.restore({"each": True, "helper": "builtin"})[:2] == [True, "builtin"]
    assert len(updates(DraftView())) == 7


def test_what_programs_may_ask_for() -> None:
    assert helper("builtin", "enhancer") == "builtin"
    assert words(["a", "b"]) == ("a", "b")
    assert whole(3) == 3
    for wrong in (lambda: helper("on", "enhancer"), lambda: words("ab"), lambda: words(["x" * 200]),
                  lambda: whole(True), lambda: whole(-1)):  # fmt: skip
        with pytest.raises(Exception, match=r"must|text"):
            wrong()


def test_a_draft_that_adds_nothing_leaves_no_trace() -> None:
    draft = Draft("a robot", (), (), "own words", "", "a robot")
    assert enhancement_of(draft, "a robot") is None
