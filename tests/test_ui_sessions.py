"""Sessions of Gradio that cost little, and do what Gradio's do for our pages."""

import asyncio
import gc
import json
from collections.abc import Iterator
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.state_holder import SessionState, StateHolder

from sdgen.config import Settings
from sdgen.studio import Studio
from sdgen.ui.app import PageBlocks, build, launch_options
from sdgen.ui.event_queue import SESSION_CHARS
from sdgen.ui.sessions import SESSIONS, SWEEP, Session, Sessions
from tests.raw_http import ask
from tests.serving import GRADIO_WARNINGS, free_port

pytestmark = GRADIO_WARNINGS


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    gc.collect()  # here, where the warnings above are let through


def page() -> PageBlocks:
    with PageBlocks() as demo:
        gr.Textbox("words", elem_id="words")
        gr.State([])
    return demo


def sessions_of(demo: PageBlocks) -> Sessions:
    """As Gradio's app makes them."""
    StateHolder().set_blocks(demo)
    return demo.state_holder


def test_a_session_has_all_that_gradio_s_own_has() -> None:
    demo = page()
    lean, whole = Session(demo), SessionState(demo)
    assert vars(lean).keys() == vars(whole).keys()
    assert lean.blocks_config.blocks == whole.blocks_config.blocks
    assert lean.blocks_config.fns == whole.blocks_config.fns


def test_state_and_changed_components_are_a_session_s_own() -> None:
    demo = page()
    box = next(block for block in demo.blocks.values() if isinstance(block, gr.Textbox))
    state = next(block for block in demo.blocks.values() if isinstance(block, gr.State))
    sessions = sessions_of(demo)
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
    sessions = sessions_of(page())
    sessions.capacity = SESSIONS
    for number in range(SESSIONS + 10):
        sessions[str(number)]
    assert len(sessions.session_data) == SESSIONS
    assert len(sessions.time_last_used) == SESSIONS
    assert "0" not in sessions


def test_what_gradio_keeps_of_ended_calls_goes() -> None:
    demo = page()
    queue, sessions = demo._queue, sessions_of(demo)
    queue.pending_event_ids_session |= {"ended": set(), "read": set(), "waits": {"event"}}
    queue.pending_messages_per_session["read"] = asyncio.Queue()
    queue.event_ids_to_events["event"] = SimpleNamespace(session_hash="waits")
    first, second = {"a", "b"}, {"b", "c"}
    demo.temp_file_sets += [first, second]
    for number in range(SWEEP):
        sessions[str(number)]
    assert queue.pending_event_ids_session == {"read": set(), "waits": {"event"}}
    assert (first, second) == ({"a", "b"}, {"c"})


def test_the_app_uses_them(studio: Studio, settings: Settings) -> None:
    demo = build(studio, settings)
    demo.launch(**launch_options(studio, settings) | {"server_port": free_port()})
    try:
        assert isinstance(demo.app.state_holder, Sessions)
        assert demo.app.state_holder.capacity == SESSIONS
    finally:
        demo.close(verbose=False)


def test_the_name_of_a_session_is_short_wherever_it_comes_in(
    studio: Studio, settings: Settings
) -> None:
    """Calls that pass by the queue name a session, too."""
    demo = build(studio, settings)
    _, url, _ = demo.launch(**launch_options(studio, settings) | {"server_port": free_port()})
    event = next(fn._id for fn in demo.fns.values() if not fn.queue and not fn.inputs)
    known = demo.app.state_holder.session_data
    try:
        for name, status in (("n" * SESSION_CHARS, 200), ("n" * (SESSION_CHARS + 1), 422)):
            body = json.dumps({"data": [], "fn_index": event, "session_hash": name}).encode()
            kind = {"Content-Type": "application/json"}
            answer = ask(url, "/gradio_api/run/any", "POST", kind, body)
            assert answer.status == status
            assert (name in known) is (status == 200)
        assert "at most 100 characters" in json.loads(answer.body)["detail"]
    finally:
        demo.close(verbose=False)
