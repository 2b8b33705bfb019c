"""The Generate tab's handlers as Gradio calls them: who asks comes with the request."""

import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from sdgen.config import Settings
from sdgen.owners import Visitor, owner_of_token
from sdgen.studio import Studio
from sdgen.ui.enhance_row import EnhanceRow
from sdgen.ui.form import FIELDS, Form
from sdgen.ui.generate_tab import GenerateTab
from sdgen.ui.page import PLAIN_WORDS
from tests.conftest import FakeEngine
from tests.serving import GRADIO_WARNINGS
from tests.watchers import Watcher, pictures_of, settled

pytestmark = GRADIO_WARNINGS

TOKEN = "t" * 32
MINE = Visitor(owner_of_token(TOKEN), owner_of_token(TOKEN))
FORM = Form(prompt="a robot", model="picturebook", seed="7", steps=2, width=64, height=64)


def asking(token: str = TOKEN, **query: str) -> Any:
    """A request as Gradio hands it to a handler."""
    return SimpleNamespace(
        headers={"referer": "http://here:7860/app/?x=1"},
        cookies={"sdgen-token": token} if token else {},
        client=SimpleNamespace(host="127.0.0.1"),
        username=None,
        session_hash="window",
        query_params=query,
    )


def event(name: str) -> gr.EventData:
    return gr.EventData(None, {"name": name})


@pytest.fixture
def tab(studio: Studio, settings: Settings) -> Iterator[GenerateTab]:
    enhance = EnhanceRow(studio, settings, on_space=False)
    with gr.Blocks():
        yield GenerateTab(studio, settings, enhance, withhold_flagged=False, may_fetch=True)
    gc.collect()  # here, where Gradio's warnings are let through


def drawn(tab: GenerateTab, form: Form = FORM, *, each: bool = False, token: str = TOKEN) -> Any:
    """The notice and the last seed after Generate."""
    *_, last = tab.draw(asking(token), each, "builtin", "", "", None, *form)
    return last[:2]


def test_generate_queues_for_whoever_asks(tab: GenerateTab, studio: Studio) -> None:
    assert drawn(tab) == ["", 7]
    settled(studio, MINE)
    assert [picture.prompt for picture in pictures_of(studio, MINE)] == ["a robot"]
    assert "keeps no cookie" in drawn(tab, token="")[0]


def test_several_prompts_are_not_enhanced_and_it_is_said(
    tab: GenerateTab, studio: Studio, engine: FakeEngine
) -> None:
    notice, _ = drawn(tab, FORM._replace(prompt="a cat\na dog", several=True), each=True)
    assert PLAIN_WORDS in notice
    settled(studio, MINE)
    assert {request.prompt for request in engine.submitted} == {"a cat", "a dog"}


def test_a_sheet_takes_its_axes_and_the_form(
    tab: GenerateTab, studio: Studio, engine: FakeEngine
) -> None:
    axes = ("steps", "1, 2", None, "", None, None)
    form = FORM._replace(prompt="{a|b}", several=True)
    said = tab.draw_sheet(asking(), *axes, False, "builtin", "", "", None, *form)
    assert said == ["", 7]
    settled(studio, MINE)
    assert {(request.prompt, request.steps) for request in engine.submitted} == {
        ("{a|b}", 1),
        ("{a|b}", 2),
    }


def test_the_hint_knows_notation_from_words(tab: GenerateTab) -> None:
    hint, _ = tab.look("picturebook", "a [red:blue:0.5] (robot:1.2) BREAK [cat|dog]", [], False)
    assert "does not know" not in hint
    plain, _ = tab.look("picturebook", "a blue robot cat", [], False)
    assert hint == plain
    hint, _ = tab.look("picturebook", "a [red:zeppelin:0.5] <hypernet:ink:1>", [], False)
    assert "does not know “zeppelin”." in hint


def test_the_hint_counts_and_knows_the_words_inside_choices(tab: GenerateTab) -> None:
    hint, _ = tab.look("picturebook", "a {red|blue} robot", [], True)
    assert "2 requests (at most 100)" in hint
    assert "does not know" not in hint
    assert "tokens" not in hint
    hint, _ = tab.look("picturebook", "a red robot", [], False)
    assert "requests" not in hint
    assert "tokens" in hint


def test_a_fresh_page_has_the_browsers_form_and_its_newest_seed(
    tab: GenerateTab, studio: Studio
) -> None:
    drawn(tab)
    settled(studio, MINE)
    stored = FORM._replace(prompt="from the browser", several=True)._asdict()
    notice, _, *updates = tab.filling.restore(stored, asking())
    values = dict(zip(FIELDS, updates, strict=False))
    assert values["prompt"]["value"] == "from the browser"
    assert values["several"]["value"] is True
    assert (notice, updates[-2:]) == ("", ["", 7])


def test_a_link_wins_over_what_the_browser_remembers(tab: GenerateTab, studio: Studio) -> None:
    drawn(tab)
    settled(studio, MINE)
    (picture,) = pictures_of(studio, MINE)
    stored = FORM._replace(prompt="from the browser", several=True)._asdict()
    _, _, *updates = tab.filling.restore(stored, asking(recipe=picture.id))
    values = dict(zip(FIELDS, updates, strict=False))
    assert values["prompt"]["value"] == "a robot"
    assert values["several"]["value"] is False
    assert picture.id in updates[-2]
    notice, _, *updates = tab.filling.restore(stored, asking("o" * 32, recipe=picture.id))
    assert "no picture of yours under this link" in notice
    assert updates[-2:] == ["", None]


def test_the_personal_link_is_this_browsers_own(tab: GenerateTab) -> None:
    assert f"http://here:7860/app/?me={TOKEN}" in tab.queue.show_link(asking())
    assert "no link" in tab.queue.show_link(asking(""))


def test_buttons_of_the_queue_act_for_whoever_presses_them(
    tab: GenerateTab, studio: Studio, engine: FakeEngine
) -> None:
    engine.seconds_per_step = 0.1
    drawn(tab, FORM._replace(prompt="\n".join("abc"), several=True, steps=100))
    Watcher(studio, MINE).wait(lambda parts: 'aria-busy="true"' in parts["stage"])
    first, *rest = (job.id for job in studio.queue(MINE.owner).jobs)
    stranger = asking("o" * 32)
    for request in (stranger, asking()):
        before = [job.id for job in studio.queue(MINE.owner).waiting]
        tab.queue.move_later(request, event(rest[0]))
        tab.queue.drop_job(request, event(rest[1]))
        after = [job.id for job in studio.queue(MINE.owner).waiting]
        assert (before == after) is (request is stranger)
    tab.queue.hold(asking())
    assert studio.queue(MINE.owner).paused
    tab.queue.go_on(asking())
    tab.queue.drop_all(asking())
    tab.queue.halt(asking(), event(first))
    settled(studio, MINE)
    assert pictures_of(studio, MINE) == ()
