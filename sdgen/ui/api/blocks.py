"""Gradio's Blocks, whose endpoints get what a program sent."""

from typing import Any

import gradio as gr
from gradio.components.api_component import Api

from sdgen.ui.api.wrong_events import MISFITS, in_a_sentence


class Blocks(gr.Blocks):  # type: ignore[misc]  # Gradio has no types here
    """As gr.Blocks; but of the arguments of gr.api's endpoints nothing is looked at before them.

    Gradio takes any object that looks like an uploaded file for one, wherever it stands, and
    fails without a word to the program where it is none, or where an argument is missing. Our
    endpoints check for themselves, and answer in sentences. Nor does it keep them, then.
    """

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """The arguments of a call, with defaults for those that are missing."""
        blocks = block_fn.inputs
        if not blocks or not all(isinstance(block, Api) for block in blocks):
            processed: list[Any] = await super().preprocess_data(
                block_fn, inputs, state, explicit_call
            )
            return processed
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
            done: dict[str, Any] = await super().process_api(block_fn, inputs, *given, **named)
        except (gr.Error, *MISFITS) as error:
            told = in_a_sentence(error, str(getattr(block_fn, "api_name", "") or "unnamed"))
            raise told from (None if told is error else error)
        return done
