"""Enhance my prompt on the page: a button, a toggle, and a draft to look at, change and use."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from sdgen.config import Settings
from sdgen.request import PROMPT_CHARS
from sdgen.studio import Studio
from sdgen.ui.adapter_panel import chosen_names
from sdgen.ui.enhancing import CLOSED, Asking, Drafted, DraftView, Enhancing
from sdgen.ui.events import NEWEST, PRIVATE, QUICK, Update
from sdgen.web import visitor_of

STORE = """(stored, each, helper) => window.sdgenRestored ? { each, helper } : stored"""


class EnhanceRow:
    """Layout and wiring. The methods are what Gradio calls: plain values in, updates out."""

    def __init__(self, studio: Studio, settings: Settings, on_space: bool) -> None:
        urls = settings.enhance_user_urls and not settings.is_public and not on_space
        self.deeds = Enhancing(studio, urls)
        self._urls = urls
        self._settings, self._on_space = settings, on_space

    # --- layout

    def lay_out(self) -> None:
        """The row under the prompt, and the draft below it."""
        choice = self.deeds.default_choice()
        with gr.Row(elem_id="enhance"):
            self.once = gr.Button("Enhance", size="sm", scale=0, elem_id="enhance-once")
            self.each = gr.Checkbox(
                label="Enhance each time", scale=0, container=False, elem_id="enhance-each"
            )
            self.helper = gr.Dropdown(
                self.deeds.choices(), value=choice, label="Helper", filterable=False,
                elem_id="helper", scale=1, min_width=200,
            )  # fmt: skip
            self.privacy = gr.HTML(self.deeds.privacy(choice, ""), elem_id="privacy")
        with gr.Column(visible=False, elem_id="draft-panel") as self.panel:
            self.difference = gr.HTML(elem_id="draft-difference")
            self.text = gr.Textbox(
                label="Draft: change it as you like",
                info="Use puts it into the prompt; with “Enhance each time” it is drawn as it is",
                lines=2, max_lines=8, elem_id="draft",
                max_length=PROMPT_CHARS,
            )  # fmt: skip
            self.note = gr.HTML(elem_id="draft-note")
            with gr.Row(elem_id="draft-buttons"):
                self.use = gr.Button("Use", size="sm", elem_id="draft-use")
                self.again = gr.Button("Again", size="sm", elem_id="draft-again")
                self.discard = gr.Button("Discard", size="sm", elem_id="draft-discard")
                self.both = gr.Button("Draw both", size="sm", elem_id="draft-both")
                self.skip = gr.Button(
                    "Skip: draw my own words", size="sm", visible=False, elem_id="draft-skip"
                )
        self.drafted = gr.State(None)
        self.draft_id = gr.State("")
        self.key_name = gr.State("", time_to_live=3600, delete_callback=self._forget)
        self.stored = gr.BrowserState(
            None, storage_key="sdgen.enhance", secret="sdgen-browser-state"
        )

    def lay_out_key(self) -> None:
        """Where a key of one's own goes."""
        with gr.Accordion("A key of your own", open=False, elem_id="own-key"):
            self.key = gr.Textbox(
                label="Key", type="password", max_lines=1, elem_id="key",
                info="For OpenAI, or for the service below; kept in memory for an hour",
                html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
            )  # fmt: skip
            self.url = gr.Textbox(
                label="Service", placeholder="https://router.huggingface.co/v1", max_lines=1,
                visible=self._urls, elem_id="key-url",
            )  # fmt: skip
            self.model = gr.Textbox(
                label="Language model", placeholder="its usual one", max_lines=1,
                elem_id="key-model",
            )  # fmt: skip
            with gr.Row():
                self.keep = gr.Button("Use this key", size="sm", elem_id="key-keep")
                self.forget = gr.Button("Forget it", size="sm", elem_id="key-forget")
            self.said = gr.HTML(elem_id="key-said")

    @property
    def inputs(self) -> list[Any]:
        """What Generate needs to know."""
        return [self.each, self.helper, self.key_name, self.text, self.drafted]

    @property
    def outputs(self) -> list[Any]:
        """What a DraftView changes, in its order; and the button that skips."""
        return [
            self.panel, self.difference, self.text, self.note, self.drafted, self.draft_id,
            self.skip,
        ]  # fmt: skip

    # --- what happens when

    def wire(self, prompt: gr.Textbox, model: gr.Dropdown, adapters: gr.HTML) -> None:
        """All but Generate and "Draw both", which are the tab's."""
        asked = [prompt, model, self.helper, self.key_name, adapters]
        self.once.click(self.write, asked, self.outputs, **PRIVATE)
        self.again.click(self.write_again, [*asked, self.drafted], self.outputs, **PRIVATE)
        self.use.click(self.use_it, [self.text, self.drafted], [prompt, *self.outputs], **QUICK)
        self.discard.click(self.discard_it, None, self.outputs, **QUICK)
        self.skip.click(self.deeds.skip, self.draft_id, None, **QUICK)
        self.text.change(
            self.show_difference, [self.text, self.drafted], self.difference, **NEWEST
        )  # fmt: skip
        self.helper.input(self.deeds.privacy, [self.helper, self.key_name], self.privacy, **QUICK)
        who = [self.key_name, self.helper, self.privacy, self.said]
        self.keep.click(
            self.keep_key,
            [self.key, self.url, self.model, self.key_name],
            [self.key, *who],
            **QUICK,
        )
        self.forget.click(self.forget_key, self.key_name, [self.key, *who], **QUICK)
        gr.on(
            [self.each.change, self.helper.change], None,
            [self.stored, self.each, self.helper], self.stored, js=STORE, **QUICK,
        )  # fmt: skip

    def on_load(self, demo: gr.Blocks) -> None:
        """The toggle and the helper as this browser had them; off for a new one."""
        demo.load(self.restore, self.stored, [self.each, self.helper, self.privacy], **QUICK)

    # --- handlers

    def asking(self, request: gr.Request, helper: str, key_name: str, adapters: object) -> Asking:
        """Who asks for a draft, and of whom. Not by session: callers name those themselves."""
        payer = visitor_of(request, request.username, self._settings, self._on_space).payer
        return Asking(helper, payer, key_name, chosen_names(adapters))

    def write(
        self, request: gr.Request, prompt: str, model: str, helper: str, key_name: str,
        adapters: object,
    ) -> Iterator[list[Update]]:  # fmt: skip
        """A draft, as it grows."""
        asking = self.asking(request, helper, key_name, adapters)
        for view in self.deeds.draft(prompt, model, 0, asking):
            yield updates(view)

    def write_again(
        self, request: gr.Request, prompt: str, model: str, helper: str, key_name: str,
        adapters: object, drafted: Drafted | None,
    ) -> Iterator[list[Update]]:  # fmt: skip
        """Another draft for the same prompt."""
        asking = self.asking(request, helper, key_name, adapters)
        same = drafted is not None and drafted.draft.original == prompt
        again = drafted.again + 1 if same and drafted else 0
        for view in self.deeds.draft(prompt, model, again, asking):
            yield updates(view)

    def use_it(self, text: str, drafted: Drafted | None) -> list[Update]:
        """The draft, as it is now, in the prompt's box."""
        if drafted is None or not text.strip():
            return [gr.skip(), *closed(None)]
        used = Drafted(drafted.draft, drafted.model, drafted.again, used=text)
        return [text, *closed(used)]

    def discard_it(self) -> list[Update]:
        """No draft."""
        return closed(None)

    def show_difference(self, text: str, drafted: Drafted | None) -> Update:
        """What a changed draft adds and lacks now; while one is being written it says so itself."""
        return gr.skip() if drafted is None else self.deeds.difference(text, drafted)

    def keep_key(self, key: str, url: str, model: str, key_name: str) -> list[Update]:
        """Keep a key; its box is empty at once."""
        name, said = self.deeds.keep_key(key, url, model)
        if not name:
            return ["", gr.skip(), gr.skip(), gr.skip(), said]
        self.deeds.forget_key(key_name)
        return ["", name, *self._who(name), said]

    def forget_key(self, key_name: str) -> list[Update]:
        """Drop the key."""
        said = self.deeds.forget_key(key_name)
        return ["", "", *self._who(""), said]

    def restore(self, stored: object) -> list[Update]:
        """What a browser remembers may be anything."""
        each, helper = False, self.deeds.default_choice()
        if isinstance(stored, dict):
            each = stored.get("each") is True
            helper = "builtin" if stored.get("helper") == "builtin" else helper
        return [each, helper, self.deeds.privacy(helper, "")]

    def _who(self, key_name: str) -> list[Update]:
        choice = "api" if key_name else self.deeds.default_choice()
        choices = self.deeds.choices(key_name)
        return [gr.update(choices=choices, value=choice), self.deeds.privacy(choice, key_name)]

    def _forget(self, key_name: str) -> None:
        if key_name:
            self.deeds.forget_key(key_name)


def updates(view: DraftView) -> list[Update]:
    """A view for `EnhanceRow.outputs`."""
    shown = gr.skip() if view.shown is None else gr.update(visible=view.shown)
    skip = gr.skip() if view.draft_id is None else gr.update(visible=bool(view.draft_id))
    rest = [gr.skip() if part is None else part for part in view[1:]]
    return [shown, *rest, skip]


def closed(drafted: Drafted | None) -> list[Update]:
    """The panel away; the state is `drafted`, also where that is None."""
    view = updates(CLOSED)
    view[4] = drafted
    return view
