"""A grid on the page: one request with two of its settings changed from picture to picture."""

from typing import Any

import gradio as gr

from sdgen.grid import AXIS_FIELDS, AXIS_TITLES
from sdgen.ui import messages
from sdgen.ui.events import NEWEST, QUICK, Update
from sdgen.ui.form import chosen_adapters
from sdgen.ui.page import AskedGrid, grid_size

HINTS = {
    "seed": "1-4, or 7, 42, 99",
    "steps": "4, 8, 12 or 10-50 [5]: five of them",
    "guidance_scale": "1, 3, 7.5 or 1-9 [5]",
    "sampler": "Euler, DDIM, UniPC",
    "adapter": "0, 0.5, 1 or 0-1 [5]",
    "prompt": "beach, forest, city: the first is in the prompt, the others take its place",
}
CHOICES: list[tuple[str, str]] = [(AXIS_TITLES[field], field) for field in AXIS_FIELDS]
NONE = ("None", "")
VALUES_CHARS = 2000


class GridRow:
    """Layout and wiring. The methods are what Gradio calls: plain values in, updates out."""

    # --- layout

    def lay_out(self) -> None:
        """The accordion: two axes, how many pictures that makes, and the button."""
        with gr.Accordion("Grid (X/Y)", open=False, elem_id="grid"):
            self.x = self._axis("x", "Across", CHOICES, "steps")
            self.y = self._axis("y", "Down", [NONE, *CHOICES], "")
            with gr.Row(elem_id="grid-foot"):
                self.draw = gr.Button("Draw the grid", size="sm", scale=0, elem_id="grid-draw")
                self.said = gr.HTML(elem_id="grid-said")

    def _axis(self, name: str, label: str, choices: list[tuple[str, str]], field: str) -> list[Any]:
        """The three components of an axis, in the order of AskedGrid."""
        with gr.Row(elem_id=f"grid-{name}"):
            what = gr.Dropdown(
                choices, value=field, label=label, filterable=False, scale=1, min_width=130,
                elem_id=f"grid-{name}-field",
            )  # fmt: skip
            values = gr.Textbox(
                label="Values", placeholder=HINTS.get(field, ""), max_lines=1, scale=2,
                min_width=150, visible=bool(field), max_length=VALUES_CHARS,
                elem_id=f"grid-{name}-values",
            )  # fmt: skip
            target = gr.Dropdown(
                [], value=None, label="Adapter", filterable=False, visible=False,
                 scale=1, min_width=130, elem_id=f"grid-{name}-target",
            )  # fmt: skip
        return [what, values, target]

    @property
    def inputs(self) -> list[Any]:
        """What AskedGrid is made of."""
        return [*self.x, *self.y]

    # --- what happens when

    def wire(self, adapters: gr.HTML) -> None:
        """All but the button, which draws."""
        for what, values, target in (self.x, self.y):
            asked = [what, target, adapters]
            what.change(self.fit, asked, [values, target], **NEWEST)
            target.focus(self.fit, asked, [values, target], **NEWEST)
        gr.on(
            [part.change for part in self.inputs], self.count, self.inputs, self.said, **NEWEST
        )  # fmt: skip
        for _, values, _ in (self.x, self.y):
            values.submit(
                None, None, None, js="() => document.getElementById('grid-draw').click()", **QUICK
            )

    # --- handlers

    def fit(self, field: str, target: str | None, adapters: object) -> list[Update]:
        """What an axis of that field needs: its values' form, and which adapter it means."""
        names = [chosen.name for chosen in chosen_adapters(adapters)]
        kept = target if target in names else next(iter(names), None)
        return [
            gr.update(visible=bool(field), placeholder=HINTS.get(field, "")),
            gr.update(choices=names, value=kept, visible=field == "adapter" and len(names) > 1),
        ]

    def count(self, *values: Any) -> str:
        """How many pictures, or what is wrong."""
        return messages.status(grid_size(asked_grid(*values)), "sd-grid-said")


def asked_grid(*values: Any) -> AskedGrid:
    """What the components say; a browser may send anything."""
    return AskedGrid(*(value if isinstance(value, str) else "" for value in values))
