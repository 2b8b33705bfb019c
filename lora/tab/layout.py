"""The Train tab's components, and where they stand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from lora.config import BaseFamily
from lora.tab import progress
from lora.tab.form import FIELDS, TITLES, usual
from lora.tab.further import captioner_choices
from lora.tab.report import TEMPLATES
from sdgen.html import render

HERE = Path(__file__).parent
FAMILY: BaseFamily = "sd1"  # whose usual values are shown before a base is chosen
INFO = {
    "name": "What the adapter is called",
    "trigger": "A word or two that stand for it in prompts",
    "class_word": "What kind of thing it is: man, dog, teapot. May stay empty",
    "batch_size": "How many photos each step looks at",
    "learning_rate": "Higher learns faster and breaks sooner. Prodigy finds its own",
    "rank": "Size of the adapter; alpha is always the same",
    "resolution": "Pixels, as the side of a square of the same area",
    "prior_weight": "Keeps what the class word draws as it was; needs the class word",
    "caption_dropout": "Share of the steps in which a photo goes without its caption",
    "held_out": "Photos kept away from training, to judge with",
    "samples": "A prompt on each line, drawn at every checkpoint with the same seed",
    "save_every": "Steps",
    "text_encoder": "Learns the trigger word deeper, and overfits sooner",
}
OPTIMIZERS = [("AdamW", "adamw"), ("AdamW, 8 bit", "adamw8bit"), ("Prodigy", "prodigy")]
PARTS = [
    ("Attention", "attention"),
    ("Feed-forward", "feed_forward"),
    ("Convolutions", "convolutions"),
]


@dataclass(frozen=True)
class Layout:
    """The components that handlers read and change."""

    photos: gr.File
    check: gr.Button
    notice: gr.HTML
    report: gr.HTML
    form: tuple[Any, ...]  # in the order of TrainForm
    effective: gr.HTML
    start: gr.Button
    head: gr.HTML
    curves: gr.HTML
    samples: gr.HTML
    outcome: gr.HTML
    runs: gr.HTML
    stop: gr.Button
    resume: gr.Button
    sample_now: gr.Button
    save_now: gr.Button
    delete: gr.Button
    delete_yes: gr.Button
    own_choice: gr.Accordion
    step: gr.Dropdown
    strength: gr.Slider
    choose: gr.Button
    captioner: gr.Dropdown
    write: gr.Button
    repo: gr.Textbox
    private: gr.Checkbox
    push: gr.Button
    timer: gr.Timer

    def field(self, name: str) -> Any:
        """The component of one field of the form."""
        return self.form[FIELDS.index(name)]


def lay_out(bases: list[tuple[str, str]]) -> Layout:
    """Make all components, inside whatever tab or column is open."""
    script = (HERE / "train.js").read_text(encoding="utf-8")
    style = (HERE / "train.css").read_text(encoding="utf-8")
    with gr.Column(elem_id="train"):
        gr.HTML(render(TEMPLATES, "report.html", "intro", style=Markup(style)))
        with gr.Row(equal_height=False, elem_id="train-columns"):
            with gr.Column(scale=7, min_width=300):
                photos = gr.File(
                    label="Photos, or a zip of them; captions as .txt beside them are read too",
                    file_count="multiple",
                    file_types=["image", ".zip", ".txt", ".jsonl"],
                    height=150,
                    elem_id="train-photos",
                )
                fields = _what(bases)
                check = gr.Button("Check photos", elem_id="train-check")
                notice = gr.HTML(elem_id="train-notice")
                report = gr.HTML(js_on_load=script, elem_id="train-report")
                captioner, write = _captions()
                fields |= _how()
                effective = gr.HTML(elem_id="train-effective")
                start = gr.Button("Start training", variant="primary", elem_id="train-start")
            with gr.Column(scale=5, min_width=280):
                head = gr.HTML(progress.nothing(), elem_id="train-head")
                with gr.Row(elem_id="train-buttons"):
                    stop = _button("Stop", "train-stop", variant="stop")
                    resume = _button("Continue", "train-continue", variant="primary")
                    sample_now = _button("Sample now", "train-sample-now")
                    save_now = _button("Save now", "train-save-now")
                    delete = _button("Delete", "train-delete")
                    delete_yes = _button(
                        "Yes, delete it with its photos", "train-delete-yes", variant="stop"
                    )
                outcome = gr.HTML(js_on_load=script, elem_id="train-outcome")
                with gr.Accordion(
                    "Another checkpoint, or the Hub",
                    open=False,
                    visible=False,
                    elem_id="train-choice",
                ) as own_choice:
                    step = gr.Dropdown(
                        [], label="Checkpoint", filterable=False, elem_id="train-step"
                    )
                    strength = gr.Slider(
                        0.1, 2.0, 1.0, step=0.1, label="Strength", info="Recommended for its use",
                        elem_id="train-strength", buttons=[],
                    )  # fmt: skip
                    choose = gr.Button(
                        "Make the adapter from it", size="sm", elem_id="train-choose"
                    )
                    repo = gr.Textbox(
                        "", label="Repository on the Hub", placeholder="owner/my-cat",
                        info="Files, card and samples; no photos, no captions", max_length=96,
                        max_lines=1, elem_id="train-repo",
                    )  # fmt: skip
                    private = gr.Checkbox(True, label="Private", elem_id="train-private")
                    push = gr.Button("Push to the Hub", size="sm", elem_id="train-push")
                curves = gr.HTML(elem_id="train-curves")
                samples = gr.HTML(elem_id="train-samples")
                runs = gr.HTML(js_on_load=script, elem_id="train-runs")
        timer = gr.Timer(1.5, active=False)
    return Layout(
        photos, check, notice, report, tuple(fields[name] for name in FIELDS), effective, start,
        head, curves, samples, outcome, runs, stop, resume, sample_now, save_now, delete,
        delete_yes, own_choice, step, strength, choose, captioner, write, repo,
        private, push, timer,
    )  # fmt: skip


def _what(bases: list[tuple[str, str]]) -> dict[str, Any]:
    """Name, words, base."""
    with gr.Row():
        name = _text("name", placeholder="My cat")
        trigger = _text("trigger", placeholder="mycat")
    with gr.Row():
        class_word = _text("class_word", placeholder="cat")
        base = gr.Dropdown(
            bases,
            value=bases[0][1] if bases else None,
            label=TITLES["base"],
            info="Models on this machine; others are fetched in Generate",
            filterable=False,
            elem_id="train-base",
        )
    return {"name": name, "trigger": trigger, "class_word": class_word, "base": base}


def _captions() -> tuple[gr.Dropdown, gr.Button]:
    """Captions by a model, for who does not want to type them all."""
    with gr.Accordion("Captions by a model", open=False, elem_id="train-captions"):
        choices = captioner_choices()
        captioner = gr.Dropdown(
            choices, value=choices[0][1], label="Captioning model", filterable=False,
            info="It runs here. One that is not here is downloaded first when you press the button",
            elem_id="train-captioner",
        )  # fmt: skip
        write = gr.Button("Write all captions", size="sm", elem_id="train-write")
    return captioner, write


def _how() -> dict[str, Any]:
    """All settings that have a usual value, folded away."""
    shown = usual(FAMILY)
    made: dict[str, Any] = {}
    with gr.Accordion("Advanced", open=False, elem_id="train-advanced"):
        for row in (
            ("steps", "batch_size", "learning_rate"),
            ("rank", "resolution", "seed"),
            ("prior_weight", "min_snr_gamma", "caption_dropout"),
            ("noise_offset", "ema", "accumulation"),
            ("save_every", "held_out"),
        ):
            with gr.Row():
                made |= {field: _text(field, placeholder=shown[field]) for field in row}
        with gr.Row():
            made["optimizer"] = _choice("optimizer", OPTIMIZERS, "adamw")
            made["precision"] = _choice(
                "precision",
                [("Automatic", "auto"), "float32", "float16", "bfloat16"],
                "auto",
            )
        made["targets"] = gr.CheckboxGroup(
            PARTS,
            value=[],
            label=TITLES["targets"],
            info="None chosen: the usual ones of the base model",
            elem_id="train-targets",
        )
        with gr.Row():
            for field in ("text_encoder", "gradient_checkpointing"):
                made[field] = gr.Checkbox(
                    label=TITLES[field], info=INFO.get(field), elem_id=f"train-{field}"
                )
        made["samples"] = _text("samples", lines=3, placeholder="made from the trigger word")
    return made


def _text(field: str, lines: int = 1, placeholder: str = "") -> gr.Textbox:
    return gr.Textbox(
        "",
        label=TITLES[field],
        info=INFO.get(field),
        placeholder=placeholder,
        lines=lines,
        max_lines=max(lines, 1) + (4 if lines > 1 else 0),
        max_length=2000 if lines > 1 else 80,
        min_width=140,
        elem_id=f"train-{field}",
        html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
    )


def _choice(field: str, choices: list[Any], value: str) -> gr.Dropdown:
    return gr.Dropdown(
        choices,
        value=value,
        label=TITLES[field],
        filterable=False,
        min_width=140,
        elem_id=f"train-{field}",
    )


def _button(label: str, elem_id: str, variant: Any = "secondary") -> gr.Button:
    return gr.Button(label, size="sm", scale=0, visible=False, variant=variant, elem_id=elem_id)
