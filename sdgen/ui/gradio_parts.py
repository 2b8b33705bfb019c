"""All that sdgen takes of Gradio's inside: what Gradio may change in any version without a word.

Nowhere else is anything of Gradio's used but what `import gradio as gr` offers, and no name of its
objects that begins with "_". tests/test_gradio_parts.py tries each of these alone, so that after an
update the name of a failing test says what broke.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr
from gradio.components.api_component import Api
from gradio.queueing import Queue
from gradio.route_utils import API_PREFIX, FnIndexInferError
from gradio.state_holder import SessionState, StateHolder
from gradio.utils import get_upload_folder

if TYPE_CHECKING:
    import uvicorn

__all__ = [
    "API_PREFIX",
    "Api",
    "FnIndexInferError",
    "Queue",
    "SessionState",
    "StateHolder",
    "adopt",
    "event_data",
    "forget_uploads",
    "queue_of",
    "run_beside",
    "server_config",
    "upload_folder",
]
Kind = TypeVar("Kind")


def event_data(event: gr.EventData) -> dict[str, Any]:
    """What a browser sent along with an event; {} where that is no JSON object."""
    return event._data if isinstance(event._data, dict) else {}


def upload_folder() -> Path:
    """Where Gradio keeps uploads and answers: the one folder whose files `file=` hands over."""
    return Path(get_upload_folder())


def adopt(made: Any, kind: type[Kind]) -> Kind:
    """An object that Gradio made, with our methods from now on. kind: a subclass of its class."""
    made.__class__ = kind
    adopted: Kind = made
    return adopted


def queue_of(blocks: gr.Blocks) -> Any:
    """The queue that carries the events of a Blocks."""
    return blocks._queue


def run_beside(work: Callable[[], Awaitable[None]]) -> None:
    """Start a task in the server's event loop, where Gradio starts its own."""
    from gradio.utils import run_coro_in_background

    run_coro_in_background(work)


def forget_uploads(most: int) -> None:
    """Of what Gradio remembers of the progress of uploads, for whoever may ask, keep the newest."""
    from gradio.routes import file_upload_statuses

    for kept in (file_upload_statuses._statuses, file_upload_statuses._signals):
        for upload_id in list(kept)[: max(0, len(kept) - most)]:
            kept.pop(upload_id, None)


def server_config(blocks: gr.Blocks) -> "uvicorn.Config":
    """The settings of the web server of a Blocks that is being served."""
    config: uvicorn.Config = blocks.server.config
    return config
