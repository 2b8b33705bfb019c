"""The form's components, and the updates that fill them or fit them to a model."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from sdgen import several
from sdgen.request import GUIDANCE_MAX, IMAGES_MAX, PROMPT_CHARS, STEPS_MAX
from sdgen.samplers import SAMPLER_TITLES
from sdgen.studio import ModelCard
from sdgen.ui import model_panel
from sdgen.ui.events import Update
from sdgen.ui.form import FIELDS, chosen_adapters


@dataclass(frozen=True)
class Controls:
    """The components of the form, named like the fields of Form."""

    prompt: gr.Textbox
    negative_prompt: gr.Textbox
    model: gr.Dropdown
    seed: gr.Textbox
    steps: gr.Slider
    guidance_scale: gr.Slider
    width: gr.Number
    height: gr.Number
    num_images: gr.Slider
    sampler: gr.Dropdown
    exact: gr.Checkbox
    adapters: gr.HTML  # of AdapterPanel
    leave_out_prompt: gr.Checkbox
    several: gr.Checkbox

    def in_order(self) -> list[Any]:
        """The components in the order of Form's fields."""
        return [getattr(self, name) for name in FIELDS]


def prompt_box() -> gr.Textbox:
    """Where the sentence goes."""
    return gr.Textbox(
        label="What should the picture show?",
        placeholder="a red robot on a beach at sunset",
        lines=2,
        max_lines=8,
        autofocus=True,
        elem_id="prompt",
        max_length=several.TEXT_CHARS,  # of all prompts together; one has its own limit
    )


def several_box() -> gr.Checkbox:
    """Whether the prompt is many."""
    return gr.Checkbox(
        label="Several prompts",
        info="One a line; {red|blue} robot makes each",
        container=False,
        elem_id="several",
    )


def leave_out_box() -> gr.Checkbox:
    """Whether the file says what was asked for."""
    return gr.Checkbox(
        label="Leave the prompt out of the file",
        info="The rest of its recipe and its marks stay",
        elem_id="leave-out",
    )


def model_picker(cards: list[ModelCard], chosen: str) -> gr.Dropdown:
    """The models, each with what it costs to have."""
    return gr.Dropdown(
        model_panel.choices(cards), value=chosen, label="Model", filterable=False, elem_id="model"
    )


def seed_box() -> gr.Textbox:
    """The seed as text: Gradio's Number shows 0 where nothing was chosen."""
    return gr.Textbox(
        label="Seed",
        placeholder="a new one each time",
        max_lines=1,
        max_length=20,
        elem_id="seed",
        html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
    )


def steps_slider(card: ModelCard) -> gr.Slider:
    """How many denoising steps."""
    return gr.Slider(1, STEPS_MAX, card.steps, step=1, label="Steps", elem_id="steps", buttons=[])


def guidance_slider(card: ModelCard) -> gr.Slider:
    """How closely the picture follows the prompt."""
    return gr.Slider(
        0,
        GUIDANCE_MAX,
        card.guidance_scale,
        step=0.1,
        label="Guidance",
        info="How closely the picture follows the sentence; 1 is off",
        visible="guidance_scale" not in card.ignores,
        elem_id="guidance",
        buttons=[],
    )


def side(value: int, label: str, elem_id: str) -> gr.Number:
    """Width or height in pixels."""
    return gr.Number(value, label=label, precision=0, step=8, min_width=90, elem_id=elem_id)


def images_slider() -> gr.Slider:
    """How many pictures of one request."""
    return gr.Slider(
        1, IMAGES_MAX, 1, step=1, label="Pictures", info="Picture i uses seed + i",
        elem_id="images", buttons=[],
    )  # fmt: skip


def sampler_picker(card: ModelCard) -> gr.Dropdown:
    """The sampler menu."""
    return gr.Dropdown(
        [(title, name) for name, title in SAMPLER_TITLES.items()],
        value=card.sampler,
        label="Sampler",
        filterable=False,
        elem_id="sampler",
    )


def negative_box(card: ModelCard) -> gr.Textbox:
    """What should not be there."""
    return gr.Textbox(
        label="Negative prompt",
        info="What the picture should not show",
        lines=1,
        max_lines=4,
        visible="negative_prompt" not in card.ignores,
        elem_id="negative",
        max_length=PROMPT_CHARS,
    )


def fill(fields: dict[str, object]) -> list[Update]:
    """Updates for `Controls.in_order()`: the given fields get their values, the others stay."""
    return [
        gr.update(value=_shown(name, fields)) if name in fields else gr.skip() for name in FIELDS
    ]


def fit(card: ModelCard, fields: dict[str, object] | None = None) -> list[Update]:
    """Updates for `Controls.in_order()`: the model's defaults, or `fields` where they are given.

    What the model ignores is hidden; what the person wrote stays.
    """
    values: dict[str, object] = {
        "model": card.name,
        "steps": card.steps,
        "guidance_scale": card.guidance_scale,
        "width": card.width,
        "height": card.height,
        "sampler": card.sampler,
        **(fields or {}),
    }
    updates = fill(values)
    for name in ("negative_prompt", "guidance_scale", "sampler"):
        at = FIELDS.index(name)
        shown = {"visible": name not in card.ignores}
        updates[at] = (
            gr.update(value=values[name], **shown) if name in values else gr.update(**shown)
        )
    return updates


def _shown(name: str, fields: dict[str, object]) -> object:
    """A field's value as its component wants it."""
    if name == "adapters":
        return [chosen.as_value() for chosen in chosen_adapters(fields[name])]
    if name != "seed":
        return fields[name]
    return "" if fields[name] is None else str(fields[name])
