"""Sessions of Gradio that cost little, and do what Gradio's do for our pages."""

import gc
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from sdgen.config import Settings
from sdgen.studio import Studio
from sdgen.ui.app import build, launch_options
from sdgen.ui.sessions import SESSIONS, Session, Sessions
from tests.serving import GRADIO_WARNINGS, free_port

pytestmark = GRADIO_WARNINGS


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    gc.collect()  # here, where the warnings above are let through


def page() -> Any:
    with gr.Blocks() as demo:
        gr.Textbox("words", elem_id="words")
        gr.State([])
    return demo


def test_a_session_has_all_that_gradio_s_own_has() -> None:
    demo = page()
    own, lean = Sessions.__mro__[1], Session(demo)
    gradios = own()
    gradios.set_blocks(demo)
    assert vars(gradios["a"]).keys() == vars(lean).keys()
    assert vars(lean)["blocks_config"].blocks == demo.default_config.blocks


def test_state_and_changed_components_are_a_session_s_own() -> None:
    demo = page()
    box = next(block for block in demo.blocks.values() if isinstance(block, gr.Textbox))
    state = next(block for block in demo.blocks.values() if isinstance(block, gr.State))
    sessions = Sessions(demo)
    first, second = sessions["first"], sessions["second"]
    first[state._id] = [1]
    first[state._id].append(2)
    changed = gr.Textbox("other", render=False)
    first[box._id] = changed
    assert (first[state._id], second[state._id]) == ([1, 2], [])
    assert first[box._id] is changed
    assert second[box._id] is box
    assert list(first.components) == []  # what was typed is kept nowhere


def test_old_sessions_go() -> None:
    sessions = Sessions(page())
    for number in range(SESSIONS + 10):
        sessions[str(number)]
    assert len(sessions.session_data) == SESSIONS
    assert len(sessions.time_last_used) == SESSIONS
    assert "0" not in sessions


def test_the_app_uses_them(studio: Studio, settings: Settings) -> None:
    demo = build(studio, settings)
    demo.launch(**launch_options(studio, settings) | {"server_port": free_port()})
    try:
        assert isinstance(demo.app.state_holder, Sessions)
    finally:
        demo.close(verbose=False)
