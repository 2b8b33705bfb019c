"""The tab that draws: the sentence, the pictures, the settings; and what happens when."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from sdgen.errors import ModelUnavailable
from sdgen.studio import Studio, enhancement_of
from sdgen.studio_adapters import without_tags
from sdgen.tokens import BUDGET
from sdgen.ui import controls, messages, model_panel, tiles, triggers
from sdgen.ui.adapter_panel import chosen_names
from sdgen.ui.enhance_row import EnhanceRow, updates
from sdgen.ui.enhancing import Asking, Drafted, DraftView, Plan, plan
from sdgen.ui.events import NEWEST, PRIVATE, QUICK, Update, event_name
from sdgen.ui.form import FIELDS, Form, saved_form
from sdgen.ui.page import Filled, Page, Pictures, View
from sdgen.ui.side_column import SideColumn

ACTIONS = (Path(__file__).parent / "actions.js").read_text(encoding="utf-8")
# Read back by the same browser only; it keeps other apps on this address from tripping over it.
BROWSER_KEY = "sdgen-browser-state"
WENT_WRONG = "Something went wrong inside the app. Your settings are kept; the log says more."
CLICK_GENERATE = "() => { setTimeout(() => document.getElementById('generate').click(), 80); }"
# Nothing is stored before the stored values were read, or a fresh page would wipe them.
STORE_FORM = f"""(stored, ...values) => {{
  if (!window.sdgenRestored) return stored;
  return Object.fromEntries({list(FIELDS)}.map((name, i) => [name, values[i]]));
}}"""


class GenerateTab:
    """Layout and wiring. The methods are what Gradio calls: plain values in, updates out."""

    def __init__(
        self,
        studio: Studio,
        data_dir: Path,
        enhance: EnhanceRow,
        *,
        withhold_flagged: bool,
        may_fetch: bool,
    ) -> None:
        """withhold_flagged: see Page. may_fetch: visitors may bring models and adapters here."""
        self._studio = studio
        self._enhance = enhance
        self._side = SideColumn(studio, may_fetch=may_fetch)
        self._lay_out()
        self._page = Page(studio, data_dir, self._url, withhold_flagged)
        self._wire()

    # --- layout

    def _lay_out(self) -> None:
        card = self._studio.model(self._studio.default_model())
        with gr.Row(equal_height=False, elem_id="columns"):
            with gr.Column(scale=7, min_width=300, elem_id="main"):
                with gr.Group(elem_id="ask"):
                    prompt = controls.prompt_box()
                    self._hint = gr.HTML(messages.hint((), None, BUDGET), elem_id="hint")
                with gr.Row(elem_id="actions"):
                    self._generate_button = gr.Button(
                        "Generate", variant="primary", elem_id="generate", scale=0
                    )
                    self._stop_button = gr.Button("Stop", variant="stop", elem_id="stop", scale=0)
                    gr.HTML("<kbd>Ctrl</kbd> + <kbd>Enter</kbd>", elem_id="keys")
                self._enhance.lay_out()
                self._notice = gr.HTML(elem_id="notice")
                self._stage = gr.HTML(tiles.EMPTY_STAGE, js_on_load=ACTIONS, elem_id="stage")
                self._examples = gr.HTML(
                    model_panel.examples(card), js_on_load=ACTIONS, elem_id="examples"
                )
                self._gallery = gr.HTML(js_on_load=ACTIONS, elem_id="gallery")
            with gr.Column(scale=4, min_width=280, elem_id="side"):
                self._side.lay_out(card, prompt, self._examples, self._enhance, ACTIONS)
        self._viewer = gr.HTML(js_on_load=ACTIONS, elem_id="viewer")
        self._pictures = gr.State(())
        self._job_id = gr.State("")
        self._last_seed = gr.State(None)
        self._stored_form = gr.BrowserState(None, storage_key="sdgen.form", secret=BROWSER_KEY)
        self._stored_pictures = gr.BrowserState(
            [], storage_key="sdgen.pictures", secret=BROWSER_KEY
        )

    # --- what happens when

    def _wire(self) -> None:
        side = self._side
        form, panel, model = side.controls.in_order(), side.panel, side.controls.model
        prompt, chosen = side.controls.prompt, side.controls.adapters
        drawing = [
            self._notice,
            self._stage,
            self._gallery,
            self._pictures,
            self._job_id,
            self._last_seed,
        ]
        asked = [self._pictures, *self._enhance.inputs, *form]
        run = self._generate_button.click(
            self.draw, asked, [*drawing, *self._enhance.outputs], **PRIVATE
        )
        both = self._enhance.both.click(self.draw_both, asked, drawing, **PRIVATE)
        proof = chosen.proof(self.draw_proof, asked, drawing, **PRIVATE)
        for started in (run, both, proof):
            started.failure(self.went_wrong, None, [self._notice, self._stage], **QUICK)
        self._enhance.wire(prompt, model, chosen)
        self._pictures.change(self._page.remember, self._pictures, self._stored_pictures, **QUICK)
        self._stop_button.click(self._page.stop, self._job_id, None, **QUICK)
        gr.on(
            [prompt.change, model.change, chosen.change],
            self.look,
            [model, prompt, chosen],
            [self._hint, chosen],
            **NEWEST,
        )
        self._examples.pick(picked_text, None, prompt, **QUICK)
        side.words.word(add_word, prompt, prompt, **QUICK)
        side.wire(self._last_seed)
        fills = [self._notice, self._enhance.drafted, *form, *panel]
        side.drop.upload(self.read_file, [side.drop, model], [side.drop, *fills], **QUICK)
        for shown in (self._stage, self._gallery, self._viewer):
            shown.open(self.open, self._pictures, [self._viewer, self._notice], **QUICK)
        self._viewer.verify(self.prove, self._pictures, [self._viewer, self._notice], **PRIVATE)
        self._viewer.reuse(self.reuse, [self._pictures, model], fills, **QUICK)
        again = self._viewer.again(self.again, [self._pictures, model], fills, **QUICK)
        again.then(None, None, None, js=CLICK_GENERATE, **QUICK)

    def on_load(self, demo: gr.Blocks) -> None:
        """What a fresh page asks for: the browser's form and pictures, and what there is now."""
        self._enhance.on_load(demo)
        form = self._side.controls.in_order()
        loaded = demo.load(
            self.restore,
            [self._stored_form, self._stored_pictures],
            [*form, *self._side.panel, self._notice, self._gallery, self._pictures],
            **QUICK,
        )
        loaded.then(None, None, None, js="() => { window.sdgenRestored = true; }", **QUICK)
        gr.on(
            [component.change for component in form],
            None,
            [self._stored_form, *form],
            self._stored_form,
            js=STORE_FORM,
            **QUICK,
        )
        self.on_select(demo.load)

    def on_select(self, shown: Any) -> None:
        """shown: the event after which the adapters on this machine may be others."""
        adapters, model = self._side.adapters, self._side.controls.model
        shown(adapters.offer, [model, adapters.chosen], adapters.offered, **QUICK)

    # --- handlers

    def draw(
        self, request: gr.Request, pictures: Pictures, each: bool, helper: str, key_name: str,
        text: str, drafted: Drafted | None, *values: Any,
    ) -> Iterator[list[Update]]:  # fmt: skip
        """Draw, with the toggle on after a draft; what does not change is not sent."""
        form = Form(*values)
        planned = plan(form.prompt, form.model, text, drafted, each=each)
        if planned is None:
            asking = Asking(
                helper, str(request.session_hash or ""), key_name, chosen_names(form.adapters)
            )
            view = DraftView()
            for view in self._enhance.deeds.draft(form.prompt, form.model, 0, asking):
                yield [*[gr.skip()] * len(View()), *updates(view)]
            if view.drafted is None:
                return
            draft = view.drafted.draft
            planned = Plan(draft.text, enhancement_of(draft, draft.text))
        form = form._replace(prompt=planned.prompt)
        stay = [gr.skip()] * len(self._enhance.outputs)
        for drawn in self._page.generate(form, pictures, planned.enhancement):
            yield [*(gr.skip() if part is None else part for part in drawn), *stay]

    def draw_both(
        self, pictures: Pictures, each: bool, helper: str, key_name: str, text: str,
        drafted: Drafted | None, *values: Any,
    ) -> Iterator[list[Update]]:  # fmt: skip
        """The prompt and its draft side by side, at the same seed."""
        if drafted is None:
            return
        form = Form(*values)._replace(prompt=drafted.draft.original)
        enhancement = enhancement_of(drafted.draft, text)
        for view in self._page.compare(form, pictures, text, enhancement):
            yield [gr.skip() if part is None else part for part in view]

    def draw_proof(
        self, event: gr.EventData, pictures: Pictures, each: bool, helper: str, key_name: str,
        text: str, drafted: Drafted | None, *values: Any,
    ) -> Iterator[list[Update]]:  # fmt: skip
        """What one adapter does: the same seed at several strengths."""
        form = Form(*values)
        planned = plan(form.prompt, form.model, text, drafted, each=each) or Plan(form.prompt)
        form = form._replace(prompt=planned.prompt)
        name = event_name(event)
        for view in self._page.proof(form, pictures, name, planned.enhancement):
            yield [gr.skip() if part is None else part for part in view]

    def went_wrong(self) -> tuple[str, str]:
        """A defect of ours: said plainly, and the stage is free again."""
        return messages.alert(WENT_WRONG), tiles.EMPTY_STAGE

    def look(self, model: str, prompt: str, adapters: object) -> list[Update]:
        """What is said while a prompt is being written: its hint, and the adapters' rows."""
        rows = self._side.adapters.look(model, prompt, adapters)
        try:
            card = self._studio.model(model)
        except ModelUnavailable:
            return ["", rows]
        known = self._side.adapters.triggers(model, adapters)
        plain = triggers.without(without_tags(prompt), known)
        unknown = model_panel.unknown(card, plain)
        tokens = self._studio.count_tokens(card.name, prompt)
        return [messages.hint(unknown, tokens, BUDGET), rows]

    def read_file(self, path: str | None, model: str) -> list[Update]:
        """The settings of a dropped picture; its place is free for the next one."""
        filled = self._page.read_file(Path(path)) if path else Filled({}, "")
        return [None, *self._fill(filled, model)]

    def open(self, pictures: Pictures, event: gr.EventData) -> tuple[str, str]:
        """One picture with its recipe."""
        return self._page.open(event_name(event), pictures)

    def prove(self, pictures: Pictures, event: gr.EventData) -> Iterator[tuple[str, str]]:
        """One picture, drawn again and compared."""
        yield from self._page.verify(event_name(event), pictures)

    def reuse(self, pictures: Pictures, model: str, event: gr.EventData) -> list[Update]:
        """The settings of one of the window's pictures."""
        return self._fill(self._page.reuse(event_name(event), pictures), model)

    def again(self, pictures: Pictures, model: str, event: gr.EventData) -> list[Update]:
        """The same, with a new seed."""
        filled = self._page.reuse(event_name(event), pictures)
        fields = filled.fields and {**filled.fields, "seed": None}
        return self._fill(
            Filled(fields, filled.notice if not fields else "", filled.drafted), model
        )

    def restore(self, stored: object, remembered: object) -> list[Update]:
        """The form and the pictures that this browser had before."""
        form = saved_form(stored)
        try:
            card = self._studio.model(form.model)
        except ModelUnavailable:
            card = self._studio.model(self._studio.default_model())
        fields: dict[str, object] = {
            name: value for name, value in form._asdict().items() if value is not None
        }
        fields["model"] = card.name
        pictures = self._page.recall(remembered)
        return [
            *(controls.fit(card, fields) if stored else controls.fit(card)),
            *self._side.panel_of(card),
            messages.alert(self._studio.model_problem),
            tiles.gallery(pictures),
            pictures,
        ]

    def _fill(self, filled: Filled, model: str) -> list[Update]:
        """Updates for the notice, the draft, the form and the panel."""
        said = [filled.notice, filled.drafted or gr.skip()]
        name = filled.fields.get("model")
        if isinstance(name, str) and name != model:
            card = self._studio.model(name)
            return [*said, *controls.fit(card, filled.fields), *self._side.panel_of(card)]
        stay = [gr.skip()] * len(self._side.panel)
        return [*said, *controls.fill(filled.fields), *stay]

    def served(self, path: Path) -> Path:
        """A picture's copy in Gradio's cache, which is emptied by age.

        So no folder of ours is open to the web, and no path of this machine is told to browsers.
        """
        return Path(self._stage.move_resource_to_block_cache(path))

    def _url(self, path: Path) -> str:
        return f"gradio_api/file={quote(str(self.served(path)))}"


def picked_text(event: gr.EventData) -> str:
    """An example, for the prompt."""
    return event_name(event)


def add_word(prompt: str, event: gr.EventData) -> str:
    """The prompt with one more word."""
    return f"{prompt.rstrip()} {event_name(event)}".strip()
