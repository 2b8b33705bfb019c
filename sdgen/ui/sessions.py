"""What Gradio keeps of each session, without a copy of the whole page's configuration.

Gradio makes that copy for its deep links, which nothing here offers: 40 ms and 0.4 MB for each
call of an endpoint, as each is a session of its own, and whatever was typed into any field.
"""

from copy import copy
from typing import Any

from fastapi import HTTPException

from sdgen.ui.event_queue import SESSION_CHARS
from sdgen.ui.gradio_parts import SessionState, StateHolder, queue_of

SESSIONS = 2000  # to remember
SWEEP = 256  # new sessions between two sweeps


class Session(SessionState):  # type: ignore[misc]  # Gradio has no types here
    """One session: its gr.State, and the components that an event changed."""

    def __init__(self, blocks: Any) -> None:
        # Not Gradio's own, which makes the copy; these are all of its other fields.
        self.blocks_config = copy(blocks.default_config)
        self.config_values: dict[int, Any] = {}  # what a deep link would hold
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 3600  # seconds

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        """Nothing to bring up to date."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Nothing to bring up to date."""


class Sessions(StateHolder):  # type: ignore[misc]  # Gradio has no types here
    """All sessions of an app; the one that was idle longest goes first."""

    _made = 0

    def __getitem__(self, session_id: str) -> Session:
        """A session, made where it is a new one. Raises HTTPException 422 for a name that is too
        long: callers make up as many as they like, and 2000 are remembered."""
        if len(session_id) > SESSION_CHARS:
            said = f"session_hash is too long: at most {SESSION_CHARS} characters."
            raise HTTPException(422, said)
        if session_id not in self.session_data:
            self.session_data[session_id] = Session(self.blocks)
            self._made += 1
            if self._made % SWEEP == 0:
                sweep(self.blocks)
        session: Session = super().__getitem__(session_id)
        return session


def sweep(blocks: Any) -> None:
    """Forget what Gradio would keep of ended calls for good. In the server's event loop.

    That is the set of running events of each session whose messages are gone, and every further
    place where a file of its cache is listed: only one is emptied when the file is removed by age.
    """
    queue = queue_of(blocks)
    running = {event.session_hash for event in queue.event_ids_to_events.values()}
    for session in list(queue.pending_event_ids_session):
        if session not in queue.pending_messages_per_session and session not in running:
            del queue.pending_event_ids_session[session]
    listed: set[str] = set()
    for files in blocks.temp_file_sets:
        files -= listed
        listed |= files
