"""The column of settings: the model and what is said about it, adapters, and the numbers."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from sdgen.studio import ModelCard, Studio
from sdgen.ui import controls, messages, model_panel
from sdgen.ui.adapter_panel import AdapterPanel
from sdgen.ui.controls import Controls
from sdgen.ui.enhance_row import EnhanceRow
from sdgen.ui.events import PRIVATE, QUICK, Update

OPERATOR_ONLY = "Only the operator of this app can fetch models."


class SideColumn:
    """Layout and wiring. The methods are what Gradio calls: plain values in, updates out."""

    def __init__(self, studio: Studio, *, may_fetch: bool) -> None:
        """may_fetch: visitors may bring models and adapters to this machine."""
        self._studio = studio
        self._may_fetch = may_fetch
        self.adapters = AdapterPanel(studio, may_add=may_fetch)

    # --- layout

    def lay_out(
        self,
        card: ModelCard,
        prompt: gr.Textbox,
        several: gr.Checkbox,
        examples: gr.HTML,
        enhance: EnhanceRow,
        script: str,
    ) -> None:
        """The column. prompt, several, examples: what stands elsewhere and belongs here.

        script: what turns clicks in HTML into events.
        """
        self._examples = examples
        with gr.Group():
            model = controls.model_picker(self._studio.models(), card.name)
            self._facts = gr.HTML(model_panel.facts(card), elem_id="facts")
            self._fetch = gr.Button(
                model_panel.download_label(card),
                visible=self._may_fetch and not card.local,
                elem_id="fetch",
            )
            self._fetching = gr.HTML(elem_id="fetching")
            self.words = gr.HTML(model_panel.vocabulary(card), js_on_load=script, elem_id="words")
            gr.HTML(model_panel.notation(), elem_id="notation")
        self.adapters.lay_out(card.name)
        with gr.Group():
            seed = controls.seed_box()
            with gr.Row(elem_id="seed-buttons"):
                self._dice = gr.Button("New each time", size="sm", elem_id="dice")
                self._reuse_seed = gr.Button("Reuse last", size="sm", elem_id="reuse-seed")
            steps = controls.steps_slider(card)
            guidance = controls.guidance_slider(card)
            images = controls.images_slider()
            with gr.Row():
                width = controls.side(card.width, "Width", "width")
                height = controls.side(card.height, "Height", "height")
            sampler = controls.sampler_picker(card)
            negative = controls.negative_box(card)
            exact = gr.Checkbox(
                label="Exact",
                info="Draw alone, so that it repeats bit for bit on this machine",
                elem_id="exact",
            )
            leave_out = controls.leave_out_box()
        enhance.lay_out_key()
        self.drop = gr.File(
            label="Drop a picture to take its settings",
            file_types=["image"],
            height=120,
            elem_id="drop",
        )
        self.controls = Controls(
            prompt, negative, model, seed, steps, guidance, width, height, images, sampler, exact,
            self.adapters.chosen, leave_out, several,
        )  # fmt: skip

    @property
    def panel(self) -> list[Any]:
        """What is said about the chosen model, in the order of `panel_of`."""
        return [self._facts, self._fetch, self.words, self._examples]

    # --- what happens when

    def wire(self, last_seed_state: gr.State) -> None:
        """What concerns this column alone."""
        model, seed = self.controls.model, self.controls.seed
        model.input(self.choose_model, model, [*self.controls.in_order(), *self.panel], **QUICK)
        self._fetch.click(self.download, model, [self._fetching, model, *self.panel], **PRIVATE)
        self._dice.click(no_seed, None, seed, **QUICK)
        self._reuse_seed.click(last_seed, last_seed_state, seed, **QUICK)
        self.adapters.wire(self.controls.prompt, model)

    # --- handlers

    def choose_model(self, model: str) -> list[Update]:
        """A model's defaults and what there is to say about it."""
        card = self._studio.model(model)
        return [*controls.fit(card), *self.panel_of(card)]

    def download(self, model: str) -> Iterator[list[Update]]:
        """Fetch a model, showing how far it is; then the picker and the panel know it."""
        rest = [gr.skip()] * (1 + len(self.panel))
        if not self._may_fetch:  # the button is hidden, but anybody can send its event
            yield [messages.alert(OPERATOR_ONLY), *rest]
            return
        last = ""
        for last in model_panel.download(self._studio, model):
            yield [last, *rest]
        choices = model_panel.choices(self._studio.models())
        card = self._studio.model(model)
        yield [last, gr.update(choices=choices), *self.panel_of(card)]

    def panel_of(self, card: ModelCard) -> list[Update]:
        """Updates for `panel`."""
        return [
            model_panel.facts(card),
            gr.update(
                value=model_panel.download_label(card),
                visible=self._may_fetch and not card.local,
            ),
            model_panel.vocabulary(card),
            model_panel.examples(card),
        ]


def no_seed() -> str:
    """An empty seed box: a new seed each time."""
    return ""


def last_seed(seed: int | None) -> str:
    """The seed that was drawn last, for the seed box."""
    return "" if seed is None else str(seed)
