"""Events that end in an error of Python's: one sentence for whoever sent it, one line for the log.

Programs can call the page's own events with any JSON there is. Gradio prints a traceback then,
past all loggers, and with the values in it; some are megabytes, and some are a user's words.
"""

import logging
import traceback
from pathlib import Path

import gradio as gr

from sdgen.errors import SdgenError
from sdgen.ui.api.checks import sentence

log = logging.getLogger(__name__)

WRONG = (
    "The app could not do this with what was sent; if you did nothing unusual, its log says more."
)
# What a value of a wrong type or form can end in, in Gradio's components and in our handlers.
MISFITS = (
    SdgenError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    NotImplementedError,
    OSError,
)
_HOME = Path(__file__).resolve().parents[3]
_PLACES = 4  # innermost ones that the log names


def in_a_sentence(error: BaseException, event: str) -> gr.Error:
    """The error as it is told to whoever sent the event; the log gets its kind and its place.

    event: its name.
    """
    if isinstance(error, gr.Error):
        if not error.print_exception:  # ours, and meant to be told
            return error
        message = str(error.message)  # a component's, of a value that it does not take
        log.info("event %s: a value that its field does not take", event)
        return gr.Error(sentence(message), print_exception=False)
    if isinstance(error, SdgenError):
        return gr.Error(sentence(error), print_exception=False)
    log.warning("event %s: %s at %s", event, type(error).__name__, places(error))
    return gr.Error(WRONG, print_exception=False)


def places(error: BaseException) -> str:
    """Where it came from, innermost first: files and lines of this program, else of a library."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_HOME)]
    shown = [frame for frame in ours if frame.name != "process_api"] or frames[-1:]
    return " < ".join(
        f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(shown[-_PLACES:])
    )
