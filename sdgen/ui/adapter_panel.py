"""The panel of LoRA adapters: pick, mix, prove; add a file, fetch one from the Hub, delete one."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from sdgen.adapters import AdapterReport
from sdgen.errors import SdgenError
from sdgen.request import ADAPTERS_MAX
from sdgen.studio import Studio
from sdgen.studio_adapters import AdapterCard
from sdgen.ui import adapter_rows, fetching, messages, triggers
from sdgen.ui.events import NEWEST, PRIVATE, QUICK, Update, event_name
from sdgen.ui.form import ChosenAdapter, chosen_adapters

SCRIPT = (Path(__file__).parent / "adapters.js").read_text(encoding="utf-8")
OPERATOR_ONLY = "Only the operator of this app can add or delete adapters."
FETCHED = "It is on this machine now."
ONE_FILE = "Add one .safetensors file at a time, with its adapter_config.json where it has one."
DELETED = "It is not on this machine any more."
FULL = f"At most {ADAPTERS_MAX} adapters mix in one picture. Remove one first."


class AdapterPanel:
    """Layout and wiring. The methods are what Gradio calls: plain values in, updates out.

    `chosen` is a field of the form: its value is a list of {name, scale, text_scale, put}.
    """

    def __init__(self, studio: Studio, *, may_add: bool) -> None:
        """may_add: visitors may bring files, have adapters fetched to this machine, delete them."""
        self._studio = studio
        self._may_add = may_add

    # --- layout

    def lay_out(self, model: str) -> None:
        """The group in the side column."""
        with gr.Group(elem_id="adapter-panel"):
            self.pick = gr.Dropdown(
                adapter_rows.choices(self._cards(model), ()),
                value=None, label="Adapters (LoRA)", info="A style or a subject; several mix",
                elem_id="adapter-pick",
            )  # fmt: skip
            self.chosen = gr.HTML(
                [], html_template="${rows}", rows="", js_on_load=SCRIPT, elem_id="chosen-adapters"
            )
            self.said = gr.HTML(elem_id="adapter-said")
            with gr.Accordion(
                "Add or delete an adapter", open=False, visible=self._may_add,
                elem_id="adapter-more",
            ):  # fmt: skip
                self.file = gr.File(
                    label="A .safetensors file; of PEFT's also its adapter_config.json",
                    file_types=[".safetensors", ".json"], file_count="multiple", height=120,
                    elem_id="adapter-file",
                )  # fmt: skip
                self.hub = gr.Textbox(
                    label="From the Hugging Face Hub", placeholder="owner/name", max_lines=1,
                    info="Also owner/name@revision and owner/name:file.safetensors",
                    elem_id="hub-id", max_length=300,
                )  # fmt: skip
                with gr.Row(elem_id="hub-buttons"):
                    self.ask = gr.Button("Look it up", size="sm", elem_id="hub-ask")
                    self.fetch = gr.Button(
                        "Fetch it", size="sm", visible=False, elem_id="hub-fetch"
                    )
                self.hub_said = gr.HTML(elem_id="hub-said")
                self.broken = gr.HTML(elem_id="adapter-broken")
                self.unwanted = gr.Dropdown(
                    [], value=None, label="Delete one that was added",
                    info="Its file goes from this machine, for everybody", visible=False,
                    elem_id="adapter-unwanted",
                )  # fmt: skip
                with gr.Row(elem_id="adapter-delete-row"):
                    self.delete = gr.Button(
                        "Delete it", size="sm", visible=False, elem_id="adapter-delete"
                    )

    @property
    def offered(self) -> list[Any]:
        """What `offer` updates."""
        return [self.pick, self.broken, self.unwanted, self.delete]

    # --- what happens when

    def wire(self, prompt: gr.Textbox, model: gr.Dropdown) -> None:
        """All but the proof strip, which draws, and `look`, which the prompt's hint shares."""
        state = [self.chosen, model, prompt]
        added = [self.pick, self.chosen, prompt, self.said, self.hub]
        self.pick.input(self.add, [self.pick, *state], added, **QUICK)
        self.chosen.dismiss(self.dismiss, state, [self.chosen, prompt, self.said], **QUICK)
        gr.on(
            [model.change, self.chosen.change], self.offer, [model, self.chosen],
            self.offered, **NEWEST,
        )  # fmt: skip
        self.file.upload(self.add_file, [self.file, *state], [self.file, *added], **PRIVATE)
        said = [self.hub_said, self.fetch]
        self.ask.click(self.look_up, self.hub, said, **PRIVATE)
        self.hub.submit(self.look_up, self.hub, said, **PRIVATE)
        self.hub.input(self.forget_size, None, said, **QUICK)
        self.fetch.click(self.fetch_it, [self.hub, *state], [*said, *added], **PRIVATE)
        self.delete.click(
            self.delete_it,
            [self.unwanted, *state],
            [self.unwanted, self.chosen, prompt, self.said],
            **PRIVATE,
        ).then(self.offer, [model, self.chosen], self.offered, **QUICK)

    # --- handlers

    def offer(self, model: str, value: object) -> list[Update]:
        """The picker's lines, as the adapters on this machine are now; what is broken, and what
        can be deleted."""
        choices = adapter_rows.choices(self._cards(model), chosen_adapters(value))
        broken = self._studio.broken_adapters() if self._may_add else ()
        files = self._studio.removable_adapters() if self._may_add else ()
        return [
            gr.update(choices=choices), adapter_rows.broken(broken),
            gr.update(choices=[(title, name) for name, title in files], visible=bool(files)),
            gr.update(visible=bool(files)),
        ]  # fmt: skip

    def look(self, model: str, prompt: str, value: object) -> Update:
        """The rows of the chosen adapters for this model and prompt."""
        chosen = chosen_adapters(value)
        cards = self._cards(model) if chosen else []
        return gr.update(rows=adapter_rows.rows(chosen, cards, prompt))

    def add(self, name: str | None, value: object, model: str, prompt: str) -> list[Update]:
        """Choose one more; one that does not fit says why, one that is not here what it costs."""
        card = next((card for card in self._cards(model) if card.name == name), None)
        if card is None:
            return [None, gr.skip(), gr.skip(), messages.alert(adapter_rows.NOT_HERE), gr.skip()]
        return [None, *self._added(card, chosen_adapters(value), prompt)]

    def dismiss(self, value: object, model: str, prompt: str, event: gr.EventData) -> list[Update]:
        """Leave one out again, and with it the trigger words that came with it."""
        return self._without(event_name(event), value, model, prompt)

    def add_file(
        self, given: str | list[str] | None, value: object, model: str, prompt: str
    ) -> list[Update]:
        """Take a file in, examine it, and choose it; PEFT's settings may come with it."""
        paths = [Path(path) for path in ([given] if isinstance(given, str) else given or [])]
        if not paths:
            return [gr.skip()] * 6
        if not self._may_add:  # the box is hidden, but anybody can send its event
            return [None, *self._said(messages.alert(OPERATOR_ONLY))]
        configs = [path for path in paths if path.suffix.lower() == ".json"]
        files = [path for path in paths if path not in configs]
        try:
            if len(files) != 1 or len(configs) > 1:
                return [None, *self._said(messages.alert(ONE_FILE))]
            config = configs[0] if configs else None
            report = self._studio.add_adapter_file(files[0], files[0].name, config)
        except SdgenError as error:
            return [None, *self._said(messages.alert(str(error)))]
        finally:
            for path in paths:
                with contextlib.suppress(OSError):
                    path.unlink()  # Gradio's own copy
        return [None, *self._pick_new(report, value, model, prompt)]

    def delete_it(self, name: str | None, value: object, model: str, prompt: str) -> list[Update]:
        """Delete an adapter that was added, and leave it out."""
        if not self._may_add:
            return [gr.skip(), gr.skip(), gr.skip(), messages.alert(OPERATOR_ONLY)]
        if not isinstance(name, str) or not name:
            return [gr.skip()] * 4
        try:
            self._studio.remove_adapter(name)
        except SdgenError as error:
            return [None, gr.skip(), gr.skip(), messages.alert(str(error))]
        rest = [gr.skip(), gr.skip()]
        if name in chosen_names(value):
            *rest, _ = self._without(name, value, model, prompt)
        return [None, *rest, messages.notes((DELETED,))]

    def forget_size(self) -> list[Update]:
        """Another id is being written: what was said belongs to the old one."""
        return ["", gr.update(visible=False)]

    def look_up(self, hub_id: str) -> list[Update]:
        """What fetching would cost; nothing is fetched."""
        if not self._may_add:
            return [messages.alert(OPERATOR_ONLY), gr.skip()]
        try:
            size = self._studio.adapter_download_size(hub_id)
        except SdgenError as error:
            return [messages.alert(str(error)), gr.update(visible=False)]
        if size == 0:
            return [messages.notes(("It is on this machine already.",)),
                    gr.update(value="Use it", visible=True)]  # fmt: skip
        words = f"It is a file of {messages.size(size)}. Nothing is fetched before you say so."
        label = f"Fetch {messages.size(size)}"
        return [messages.notes((words,)), gr.update(value=label, visible=True)]

    def fetch_it(
        self, hub_id: str, value: object, model: str, prompt: str
    ) -> Iterator[list[Update]]:
        """Fetch one, showing how far it is; one that is here is chosen.

        What was fetched is not chosen at once: people write and choose while they wait, and the
        prompt of before would take the place of theirs.
        """
        rest = [gr.skip()] * 5
        if not self._may_add:
            yield [messages.alert(OPERATOR_ONLY), gr.skip(), *rest]
            return
        was_here = self._is_here(hub_id)
        fetched: list[AdapterReport] = []

        def fetch(report: fetching.OnProgress) -> None:
            fetched.append(self._studio.fetch_adapter(hub_id, report))

        shown = ""
        for shown in fetching.progress(fetch, "adapter"):
            yield [shown, gr.update(visible=False), *rest]
        if not fetched:
            yield [shown, gr.update(visible=False), *rest]
            return
        if not was_here:
            yield [messages.notes((FETCHED,)), gr.update(value="Use it", visible=True), *rest]
            return
        added = self._pick_new(fetched[0], value, model, prompt)
        yield ["", gr.update(visible=False), *added]

    # --- parts

    def _is_here(self, hub_id: str) -> bool:
        try:
            return self._studio.adapter_download_size(hub_id) == 0
        except SdgenError:
            return False

    def triggers(self, model: str, value: object) -> tuple[str, ...]:
        """The trigger words of the chosen adapters."""
        chosen = chosen_adapters(value)
        return adapter_rows.trigger_words(chosen, self._cards(model)) if chosen else ()

    def _cards(self, model: str) -> list[AdapterCard]:
        try:
            return self._studio.adapters(model)
        except SdgenError:  # a model that is not offered: the form says so itself
            return []

    def _pick_new(
        self, report: AdapterReport, value: object, model: str, prompt: str
    ) -> list[Update]:
        """Updates for the picker and what `_added` gives, once a file is here."""
        cards = self._cards(model)
        same = (card for card in cards if card.report and card.report.sha256 == report.sha256)
        card = next(same, None)
        if card is None:  # somebody removed it this very moment
            return self._said(messages.alert(adapter_rows.NOT_HERE))
        chosen = chosen_adapters(value)
        return [
            gr.update(choices=adapter_rows.choices(cards, chosen), value=None),
            *self._added(card, chosen, prompt),
        ]

    def _added(
        self, card: AdapterCard, chosen: Sequence[ChosenAdapter], prompt: str
    ) -> list[Update]:
        """Updates for the chosen ones, the prompt, what is said, and the Hub's box."""
        skip = gr.skip()
        if any(each.name == card.name for each in chosen):
            return [skip, skip, "", skip]
        if not card.local or card.report is None:
            said = messages.notes(
                (f"“{card.title}” is on the Hub, not on this machine.", self._how_to_get())
            )
            return [skip, skip, said, card.hub_id]
        if card.verdict is not None and card.verdict.level == "refused":
            said = f"“{card.title}” cannot be used: {card.verdict.sentence}"
            return [skip, skip, messages.alert(said), skip]
        if len(chosen) >= ADAPTERS_MAX:
            return [skip, skip, messages.alert(FULL), skip]
        put: tuple[str, ...] = ()
        for word in card.report.triggers[:1]:
            if not triggers.has(prompt, word):
                prompt, put = triggers.put_in(prompt, word), (word,)
        new = ChosenAdapter(card.name, card.report.strength, None, put)
        return [_value([*chosen, new]), prompt, "", skip]

    def _without(self, name: str, value: object, model: str, prompt: str) -> list[Update]:
        """Updates for the chosen ones, the prompt and what is said, with that one left out."""
        chosen = chosen_adapters(value)
        kept = [each for each in chosen if each.name != name]
        stay = {word.lower() for word in adapter_rows.trigger_words(kept, self._cards(model))}
        for each in chosen:
            for word in each.put if each.name == name else ():
                prompt = prompt if word.lower() in stay else triggers.take_out(prompt, word)
        return [_value(kept), prompt, ""]

    def _how_to_get(self) -> str:
        if self._may_add:
            return "Its id is in the box below: look it up to see its size, then fetch it."
        return "The operator of this app can fetch it."

    def _said(self, notice: str) -> list[Update]:
        """Updates in the order of `_pick_new` that only say something."""
        return [gr.skip(), gr.skip(), gr.skip(), notice, gr.skip()]


def _value(chosen: Sequence[ChosenAdapter]) -> Update:
    return gr.update(value=[each.as_value() for each in chosen])


def chosen_names(value: Any) -> tuple[str, ...]:
    """The names of a form's adapters."""
    return tuple(each.name for each in chosen_adapters(value))
