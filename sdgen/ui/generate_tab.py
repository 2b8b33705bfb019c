"""The tab that draws: the sentence, the queue, the pictures, the settings; what happens when."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from sdgen.config import Settings
from sdgen.errors import ModelUnavailable
from sdgen.owners import Visitor
from sdgen.pipelines.prompts import every_word
from sdgen.queue.limits import Limits
from sdgen.studio import Studio, enhancement_of
from sdgen.studio_adapters import without_tags
from sdgen.tokens import BUDGET
from sdgen.ui import controls, messages, model_panel, tiles, triggers
from sdgen.ui.enhance_row import EnhanceRow, updates
from sdgen.ui.enhancing import Drafted, DraftView, Plan, plan
from sdgen.ui.events import NEWEST, PRIVATE, QUICK, Update, event_name
from sdgen.ui.filling import Filling
from sdgen.ui.form import Form
from sdgen.ui.grid_row import GridRow, asked_grid
from sdgen.ui.messages import live
from sdgen.ui.page import PLAIN_WORDS, Page, View, how_many
from sdgen.ui.queue_row import QueueRow
from sdgen.ui.side_column import SideColumn
from sdgen.ui.viewer import Viewer
from sdgen.ui.viewing import Viewing
from sdgen.web import visitor_of

ACTIONS = (Path(__file__).parent / "actions.js").read_text(encoding="utf-8")
WENT_WRONG = "Something went wrong inside the app. Your settings are kept; the log says more."
CLICK_GENERATE = "() => { setTimeout(() => document.getElementById('generate').click(), 80); }"


class GenerateTab:
    """Layout and wiring. The methods are what Gradio calls: plain values in, updates out."""

    def __init__(
        self,
        studio: Studio,
        settings: Settings,
        enhance: EnhanceRow,
        *,
        withhold_flagged: bool,
        may_fetch: bool,
    ) -> None:
        """withhold_flagged: see Viewing. may_fetch: visitors may bring models and adapters."""
        self._studio = studio
        self._settings = settings
        self._enhance = enhance
        self._side = SideColumn(studio, may_fetch=may_fetch)
        self._grid = GridRow()
        public = withhold_flagged or settings.is_public
        self._page = Page(studio, Limits.of(settings, public=public).waiting)
        self.queue = QueueRow(self._page, settings, self._visitor)
        viewing = Viewing(studio, withhold_flagged)
        self._viewer = Viewer(viewing, self._visitor)
        self.filling = Filling(studio, self._side, viewing, self._visitor)
        self._lay_out()
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
                    several = controls.several_box()
                self._enhance.lay_out()
                self._grid.lay_out()
                self._notice = gr.HTML(js_on_load=ACTIONS, elem_id="notice")
                said = "".join(live(part) for part in ("lost", "disk", "told"))
                gr.HTML(said, js_on_load=ACTIONS, elem_id="said")
                self.queue.lay_out(ACTIONS)
                self._stage = gr.HTML(
                    live("stage", tiles.empty_stage()), js_on_load=ACTIONS, elem_id="stage"
                )
                self._examples = gr.HTML(
                    model_panel.examples(card), js_on_load=ACTIONS, elem_id="examples"
                )
                self._earlier = gr.HTML(live("earlier"), js_on_load=ACTIONS, elem_id="earlier")
            with gr.Column(scale=4, min_width=280, elem_id="side"):
                self._side.lay_out(card, prompt, several, self._examples, self._enhance, ACTIONS)
                self.queue.lay_out_device(ACTIONS)
        self._viewer.lay_out(ACTIONS)
        self._last_seed = gr.State(None)
        self.filling.lay_out(self._notice, self._enhance.drafted)

    # --- what happens when

    def _wire(self) -> None:
        side, fields = self._side, self._side.controls
        prompt, model, chosen = fields.prompt, fields.model, fields.adapters
        asked = [*self._enhance.inputs, *fields.in_order()]
        said = [self._notice, self._last_seed]
        run = self._generate_button.click(
            self.draw, asked, [*said, *self._enhance.outputs], **PRIVATE
        )
        both = self._enhance.both.click(self.draw_both, asked, said, **QUICK)
        proof = chosen.proof(self.draw_proof, asked, said, **QUICK)
        sheet = self._grid.draw.click(self.draw_sheet, [*self._grid.inputs, *asked], said, **QUICK)
        for started in (run, both, proof, sheet):
            started.failure(self.went_wrong, None, self._notice, **QUICK)
        self._enhance.wire(prompt, model, chosen)
        self._grid.wire(chosen)
        gr.on(
            [prompt.change, model.change, chosen.change, fields.several.change],
            self.look,
            [model, prompt, chosen, fields.several],
            [self._hint, chosen],
            **NEWEST,
        )
        self._examples.pick(picked_text, None, prompt, **QUICK)
        side.wire(self._last_seed)
        self.filling.wire()
        self.queue.wire(self._stop_button, self._stage, self._notice)
        self._viewer.wire([self._stage, self._earlier], self._notice)
        again = self.takes_from(self._viewer.place)
        again.then(None, None, None, js=CLICK_GENERATE, **QUICK)

    def takes_from(self, viewer: gr.HTML) -> Any:
        """Let the form take the settings of pictures that are opened in `viewer`.

        The event after "Same again, new seed", for what comes then.
        """
        return self.filling.takes_from(viewer)

    def on_load(self, demo: gr.Blocks) -> None:
        """What a fresh page asks for: the browser's form, a link's picture, what there is now."""
        self._enhance.on_load(demo)
        self.filling.on_load(demo, self._viewer.place, self._last_seed)
        self.on_select(demo.load)

    def on_select(self, shown: Any) -> None:
        """shown: the event after which the adapters on this machine may be others."""
        adapters, model = self._side.adapters, self._side.controls.model
        shown(adapters.offer, [model, adapters.chosen], adapters.offered, **QUICK)

    # --- handlers: asking

    def draw(
        self, request: gr.Request, each: bool, helper: str, key_name: str, text: str,
        drafted: Drafted | None, *values: Any,
    ) -> Iterator[list[Update]]:  # fmt: skip
        """Queue the form's request, with the toggle on after a draft."""
        form, visitor = Form(*values), self._visitor(request)
        stay = [gr.skip()] * len(self._enhance.outputs)
        if form.several:
            view = self._page.generate(form, visitor)
            if each and not view.notice:
                view = view._replace(notice=messages.notes((PLAIN_WORDS,)))
            yield [*shown(view), *stay]
            return
        planned = plan(form.prompt, form.model, text, drafted, each=each)
        if planned is None:
            asking = self._enhance.asking(request, helper, key_name, form.adapters)
            growing = DraftView()
            for growing in self._enhance.deeds.draft(form.prompt, form.model, 0, asking):
                yield [gr.skip(), gr.skip(), *updates(growing)]
            if growing.drafted is None:
                return
            draft = growing.drafted.draft
            planned = Plan(draft.text, enhancement_of(draft, draft.text))
        form = form._replace(prompt=planned.prompt)
        yield [*shown(self._page.generate(form, visitor, planned.enhancement)), *stay]

    def draw_both(
        self, request: gr.Request, each: bool, helper: str, key_name: str, text: str,
        drafted: Drafted | None, *values: Any,
    ) -> list[Update]:  # fmt: skip
        """The prompt and its draft side by side, at the same seed."""
        if drafted is None:
            return [gr.skip(), gr.skip()]
        form = Form(*values)._replace(prompt=drafted.draft.original)
        enhancement = enhancement_of(drafted.draft, text)
        return shown(self._page.compare(form, self._visitor(request), text, enhancement))

    def draw_proof(
        self, request: gr.Request, event: gr.EventData, each: bool, helper: str, key_name: str,
        text: str, drafted: Drafted | None, *values: Any,
    ) -> list[Update]:  # fmt: skip
        """What one adapter does: the same seed at several strengths."""
        form, enhancement = _planned(each, text, drafted, *values)
        name, visitor = event_name(event), self._visitor(request)
        return shown(self._page.proof(form, visitor, name, enhancement))

    def draw_sheet(self, request: gr.Request, *values: Any) -> list[Update]:
        """The grid. values: its axes, then what Generate takes."""
        axes = len(self._grid.inputs)
        asked, (each, _, _, text, drafted, *rest) = values[:axes], values[axes:]
        form, enhancement = _planned(each, text, drafted, *rest)
        grid, visitor = asked_grid(*asked), self._visitor(request)
        return shown(self._page.draw_grid(form, visitor, grid, enhancement))

    def went_wrong(self) -> str:
        """A defect of ours, said plainly."""
        return messages.alert(WENT_WRONG)

    # --- handlers: the form

    def look(self, model: str, prompt: str, adapters: object, several: bool) -> list[Update]:
        """What is said while a prompt is being written: its hint, and the adapters' rows."""
        rows = self._side.adapters.look(model, prompt, adapters)
        try:
            card = self._studio.model(model)
        except ModelUnavailable:
            return ["", rows]
        known = self._side.adapters.triggers(model, adapters)
        plain = triggers.without(without_tags(prompt), known)
        if several:
            plain = plain.translate(SEVERAL_SIGNS)
        unknown = model_panel.unknown(card, every_word(plain))
        tokens = None if several else self._studio.count_tokens(card.name, prompt)
        many = how_many(prompt, self._page.most, on=several)
        return [messages.hint(unknown, tokens, BUDGET, many), rows]

    def _visitor(self, request: gr.Request) -> Visitor:
        return visitor_of(request, request.username, self._settings)

    def served(self, path: Path) -> Path:
        """A picture's copy in Gradio's cache, for the endpoints; it is emptied by age.

        So no folder of ours is open to the web, and no path of this machine is told to browsers.
        """
        return Path(self._stage.move_resource_to_block_cache(path))


SEVERAL_SIGNS = str.maketrans("{|}", "   ")  # between words, not of them


def shown(view: View) -> list[Update]:
    """A view for the notice and the last seed."""
    return [gr.skip() if part is None else part for part in view]


def picked_text(event: gr.EventData) -> str:
    """An example, for the prompt."""
    return event_name(event)


def _planned(each: bool, text: str, drafted: Drafted | None, *values: Any) -> tuple[Form, Any]:
    """The form with what would be drawn of it now, and where its prompt came from."""
    form = Form(*values)
    planned = plan(form.prompt, form.model, text, drafted, each=each) or Plan(form.prompt)
    return form._replace(prompt=planned.prompt, several=False), planned.enhancement
