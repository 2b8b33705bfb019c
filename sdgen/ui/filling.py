"""The form, filled: as a browser remembers it, by a link, a dropped file or an opened picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from sdgen.errors import ModelUnavailable
from sdgen.owners import Visitor
from sdgen.studio import Studio
from sdgen.ui import controls, messages
from sdgen.ui.events import QUICK, Update, event_name
from sdgen.ui.form import FIELDS, saved_form
from sdgen.ui.side_column import SideColumn
from sdgen.ui.viewing import Filled, Viewing

# Read back by the same browser only; it keeps other apps on this address from tripping over it.
BROWSER_KEY = "sdgen-browser-state"
# Nothing is stored before the stored values were read, or a fresh page would wipe them.
STORE_FORM = f"""(stored, ...values) => {{
  if (!window.sdgenRestored) return stored;
  return Object.fromEntries({list(FIELDS)}.map((name, i) => [name, values[i]]));
}}"""
# A link's picture is opened once; a reload keeps what was written since.
RESTORED = """() => {
  window.sdgenRestored = true;
  const address = new URL(location.href);
  if (!address.searchParams.has("recipe")) return;
  address.searchParams.delete("recipe");
  history.replaceState(null, "", address);
}"""


class Filling:
    """Wiring. The methods are what Gradio calls: plain values in, updates out."""

    def __init__(
        self,
        studio: Studio,
        side: SideColumn,
        viewing: Viewing,
        visitor: Callable[[gr.Request], Visitor],
    ) -> None:
        """side: where the form is. visitor: who asks."""
        self._studio = studio
        self._side = side
        self._viewing = viewing
        self._visitor = visitor

    def lay_out(self, notice: gr.HTML, drafted: gr.State) -> None:
        """What a browser keeps. notice, drafted: what changes with the form."""
        self._stored = gr.BrowserState(None, storage_key="sdgen.form", secret=BROWSER_KEY)
        self._said = [notice, drafted]

    # --- what happens when

    def wire(self) -> None:
        """A dropped file."""
        drop, model = self._side.drop, self._side.controls.model
        drop.upload(self.read_file, [drop, model], [drop, *self._filled], **QUICK)

    def takes_from(self, viewer: gr.HTML) -> Any:
        """Take the settings of pictures that are opened in `viewer`.

        The event after "Same again, new seed", for what comes then.
        """
        model = self._side.controls.model
        viewer.reuse(self.reuse, model, self._filled, **QUICK)
        return viewer.again(self.again, model, self._filled, **QUICK)

    def on_load(self, demo: gr.Blocks, viewer: gr.HTML, last_seed: gr.State) -> None:
        """What a fresh page asks for; from then on the browser remembers what changes."""
        form = self._side.controls.in_order()
        loaded = demo.load(
            self.restore, self._stored, [*self._filled, viewer, last_seed], **QUICK
        )  # fmt: skip
        loaded.then(None, None, None, js=RESTORED, **QUICK)
        gr.on(
            [component.change for component in form],
            None,
            [self._stored, *form],
            self._stored,
            js=STORE_FORM,
            **QUICK,
        )

    @property
    def _filled(self) -> list[Any]:
        return [*self._said, *self._side.controls.in_order(), *self._side.panel]

    # --- handlers

    def read_file(self, path: str | None, model: str) -> list[Update]:
        """The settings of a dropped picture; its place is free for the next one."""
        filled = self._viewing.read_file(Path(path)) if path else Filled({}, "")
        return [None, *self._fill(filled, model)]

    def reuse(self, model: str, request: gr.Request, event: gr.EventData) -> list[Update]:
        """The settings of one of the visitor's pictures."""
        return self._fill(self._viewing.reuse(event_name(event), self._visitor(request)), model)

    def again(self, model: str, request: gr.Request, event: gr.EventData) -> list[Update]:
        """The same, with a new seed."""
        filled = self._viewing.reuse(event_name(event), self._visitor(request))
        if not filled.fields:
            return self._fill(filled, model)
        fields = {**filled.fields, "seed": None}
        return self._fill(Filled(fields, "", filled.drafted), model)

    def restore(self, stored: object, request: gr.Request) -> list[Update]:
        """The form that this browser had before, or the picture that the page's link names."""
        form, visitor = saved_form(stored), self._visitor(request)
        try:
            card = self._studio.model(form.model)
        except ModelUnavailable:
            card = self._studio.model(self._studio.default_model())
        fields: dict[str, object] = {
            name: value for name, value in form._asdict().items() if value is not None
        }
        fields["model"] = card.name
        notice, drafted, dialog = messages.alert(self._studio.model_problem), gr.skip(), ""
        linked = request.query_params.get("recipe", "")
        if linked:
            filled, opened = self._viewing.linked(linked, visitor)
            notice, dialog = filled.notice, opened.dialog
            drafted = filled.drafted or drafted
            fields |= filled.fields
            card = self._studio.model(str(fields["model"]))
        form_updates = controls.fit(card, fields) if stored or linked else controls.fit(card)
        seed = self._viewing.newest_seed(visitor)
        return [notice, drafted, *form_updates, *self._side.panel_of(card), dialog, seed]

    def _fill(self, filled: Filled, model: str) -> list[Update]:
        """Updates for `_filled`."""
        said = [filled.notice, filled.drafted or gr.skip()]
        name = filled.fields.get("model")
        if isinstance(name, str) and name != model:
            card = self._studio.model(name)
            return [*said, *controls.fit(card, filled.fields), *self._side.panel_of(card)]
        stay = [gr.skip()] * len(self._side.panel)
        return [*said, *controls.fill(filled.fields), *stay]
