"""Gradio's Blocks, whose endpoints get what a program sent, and whose events fetch nothing."""

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr

from sdgen.ui.api.wrong_events import MISFITS, in_a_sentence
from sdgen.ui.gradio_parts import Api, event_data, upload_folder
from sdgen.web.gradio_files import is_inside

HALF_CHARACTER = "A text of this call holds half a character."
NOT_UPLOADED = "A file of this call was not uploaded here. Upload it first; nothing is fetched."


class Blocks(gr.Blocks):  # type: ignore[misc]  # Gradio has no types here
    """As gr.Blocks; but of the arguments of gr.api's endpoints nothing is looked at before them.

    Gradio takes any object that looks like an uploaded file for one, wherever it stands, and
    fails without a word to the program where it is none, or where an argument is missing. Our
    endpoints check for themselves, and answer in sentences. Nor does it keep them, then.

    Where an event of the page gets such an object, in whatever field, Gradio would fetch the
    address in it; here its path has to be that of an upload.
    """

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """The arguments of a call, with defaults for those that are missing."""
        if not takes_any_json(block_fn):
            folder = upload_folder()
            if not all(is_inside(path, folder) for path in paths_in(inputs)):
                raise gr.Error(NOT_UPLOADED, print_exception=False)
            processed: list[Any] = await super().preprocess_data(
                block_fn, inputs, state, explicit_call
            )
            return processed
        blocks = block_fn.inputs
        given = inputs[: len(blocks)]
        return [*given, *(block.value for block in blocks[len(given) :])]

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        """Raises gr.Error for a call with too few arguments; no page of ours makes one."""
        if len(inputs) < len(block_fn.inputs):
            raise gr.Error("This call lacks arguments.", print_exception=False)

    async def process_api(
        self, block_fn: Any, inputs: list[Any], *given: Any, **named: Any
    ) -> dict[str, Any]:
        """An event or a call, from its arguments to its answer. Raises gr.Error with a sentence."""
        try:
            if not takes_any_json(block_fn):
                brought = named.get("event_data")
                refuse_half_characters([inputs, event_data(brought) if brought else None])
            done: dict[str, Any] = await super().process_api(block_fn, inputs, *given, **named)
        except (gr.Error, *MISFITS) as error:
            told = in_a_sentence(error, str(getattr(block_fn, "api_name", "") or "unnamed"))
            raise told from (None if told is error else error)
        return done


def takes_any_json(block_fn: Any) -> bool:
    """True for an endpoint of gr.api, which checks for itself; False for an event of the page."""
    blocks = block_fn.inputs
    return bool(blocks) and all(isinstance(block, Api) for block in blocks)


def refuse_half_characters(value: Any) -> None:
    """Raises gr.Error for JSON that holds one, e.g. "\\ud800": Gradio could not send it back, and
    would break the stream in which other answers come."""
    try:
        json.dumps(value, ensure_ascii=False, default=repr).encode()
    except UnicodeEncodeError:
        raise gr.Error(HALF_CHARACTER, print_exception=False) from None


def paths_in(value: Any) -> Iterator[str]:
    """The path of each object, at any depth, that Gradio could take for a file; "" for no text."""
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo += value
        elif isinstance(value, dict):
            todo += value.values()
            if "path" in value:
                path = value["path"]
                yield path if isinstance(path, str) else ""
