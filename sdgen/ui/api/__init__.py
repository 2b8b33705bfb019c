"""The endpoints for programs: gradio_client, @gradio/client, curl and MCP. All else is private.

drawing.py: generate, submit, job, cancel. looking.py: the others. asking.py: from arguments to
orders. answers.py: what is told. types.py: how both are described. checks.py: what comes in.
blocks.py, faulty_calls.py: what Gradio would do to their arguments before they see them.
"""

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from sdgen.config import Settings
from sdgen.owners import ANYONE, Visitor
from sdgen.queue.limits import PUBLIC_WAITING, Limits
from sdgen.studio import Studio
from sdgen.ui.api.answers import Answers
from sdgen.ui.api.blocks import Blocks
from sdgen.ui.api.drawing import add_drawing
from sdgen.ui.api.faulty_calls import in_words
from sdgen.ui.api.looking import add_looking
from sdgen.web import visitor_of

__all__ = ["Blocks", "add_endpoints", "in_words"]


def add_endpoints(
    studio: Studio,
    served: Callable[[Path], Path],
    withhold_flagged: bool = False,
    may_add: bool = True,
    settings: Settings | None = None,
) -> None:
    """Add all endpoints to the Blocks being built.

    served: a picture's copy where Gradio serves files. withhold_flagged: it is a Space; leave out
    the files to which the model's safety checker objects, and say so. may_add: callers may bring
    files. settings: who is who, and how much one may ask for; without them all are strangers.
    """
    limit = PUBLIC_WAITING
    if settings is not None:
        limit = Limits.of(settings, public=withhold_flagged or settings.is_public).waiting

    def visitor(request: gr.Request | None) -> Visitor:
        if request is None or settings is None:
            return Visitor(ANYONE, ANYONE)
        return visitor_of(request, request.username, settings, on_space=withhold_flagged)

    add_drawing(Answers(studio, served, withhold_flagged), visitor, limit)
    add_looking(studio, visitor, may_add)
