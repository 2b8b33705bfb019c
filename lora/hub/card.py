"""The model card of a trained adapter: what it is, how to use it, how it was made and measured."""

import json
from collections.abc import Sequence
from statistics import fmean

from lora.evaluate.scores import ScoreSheet, percent
from lora.export.recipe_in_file import TrainedRecipe
from sdgen.models import HubSource, bundled_models

CONSENT = (
    "Whoever is to be seen in the training photos, or owns them, has to have agreed to this use. "
    "Do not make pictures with it that deceive or hurt the people it shows."
)


def model_card(
    made: TrainedRecipe, file_name: str, samples: Sequence[tuple[str, str]] = (), licence: str = ""
) -> str:
    """The card as Markdown with front matter. Names no photo, no folder and no caption.

    file_name: of the adapter in the repository. samples: (path in the repository, prompt).
    licence: as the Hub spells it ("cc0-1.0"); "": "other".
    """
    settings = made.settings
    title, trigger = str(settings.get("name", "")), str(settings.get("trigger", ""))
    base, repo = str(settings.get("base", "")), base_repo(str(settings.get("base", "")))
    pipeline_base = repo or f"path/to/{base}"
    lines = [
        "---",
        *_front_matter(trigger, repo, licence, samples),
        "---",
        f"# {_plain(title)}",
        "",
        f"A LoRA adapter for {_plain(repo or base)}, trained with {made.app} on "
        f"{len(made.photos)} photos.",
        "",
        "## Use",
        "",
        f"Write `{_code(trigger)}` in the prompt; strength {made.strength:g}.",
        "",
        "```python",
        "from diffusers import DiffusionPipeline",
        "",
        f"pipe = DiffusionPipeline.from_pretrained({json.dumps(pipeline_base)})",
        f'pipe.load_lora_weights("<this repository>", weight_name={json.dumps(file_name)}, '
        'adapter_name="it")',
        f'pipe.set_adapters("it", {made.strength:g})',
        f"pipe({json.dumps(trigger, ensure_ascii=False)}).images[0]",
        "```",
        "",
        "The file ending in `.kohya.safetensors` is the same for A1111, Forge, ComfyUI and kohya's "
        "scripts.",
        "",
    ]
    if samples:
        lines += ["## Samples", ""]
        lines += [f"![{_plain(prompt)}]({path})" for path, prompt in samples]
        lines.append("")
    if made.scores is not None:
        lines += ["## How it was chosen", "", *_scores(made, made.scores), ""]
    lines += ["## How it was made", "", *_recipe(made), "", "## Consent", "", CONSENT, ""]
    return "\n".join(lines)


def base_repo(base: str) -> str:
    """The Hub id of a base model, or "" where it has none."""
    spec = bundled_models().get(base)
    if spec is not None:
        return spec.source.repo if isinstance(spec.source, HubSource) else ""
    name = base.partition("@")[0]
    return name if name.count("/") == 1 else ""


def _front_matter(
    trigger: str, repo: str, licence: str, samples: Sequence[tuple[str, str]]
) -> list[str]:
    """YAML; every text of a user is a JSON string, which YAML reads as it is."""
    said = [f"license: {licence or 'other'}"]
    if repo:
        said += [f"base_model: {repo}", "base_model_relation: adapter"]
    said += [
        f"instance_prompt: {json.dumps(trigger, ensure_ascii=False)}",
        "library_name: diffusers",
        "pipeline_tag: text-to-image",
        "tags: [text-to-image, diffusers, diffusers-training, lora, template:sd-lora, sdgen]",
    ]
    if samples:
        said.append("widget:")
    for path, prompt in samples:
        said.append(f"- text: {json.dumps(prompt, ensure_ascii=False)}")
        said.append(f"  output: {{url: {json.dumps(path)}}}")
    return said


def _scores(made: TrainedRecipe, sheet: ScoreSheet) -> list[str]:
    lines = [_plain(sheet.choice.reason), "", _plain(sheet.measured_on), ""]
    lines += ["| step | strength | subject | training photos | drift |", "|---|---|---|---|---|"]
    for row in (*sheet.rows, *sheet.strengths):
        mark = "**" if (row.step, row.strength) == (made.step, made.strength) else ""
        lines.append(
            f"| {mark}{row.step}{mark} | {row.strength:g} | {percent(row.subject)} | "
            f"{percent(row.training)} | {fmean(row.drift):.3f} |"
        )
    lines += [
        "",
        "Subject and training photos: how much lower the denoising loss is than the base's. Drift: "
        "how far predictions without the trigger move, as a share of what a prompt moves them. "
        "± is one standard error.",
    ]
    return lines


def _recipe(made: TrainedRecipe) -> list[str]:
    shown = {key: value for key, value in made.settings.items() if value not in (None, "")}
    shown |= {"step": made.step, "strength": made.strength, "base_hash": made.base_hash}
    return [
        "The same stands in the files, so that they can be trained again.",
        "",
        "```json",
        json.dumps(shown, indent=1, ensure_ascii=False).replace("```", "'''"),
        json.dumps(made.versions, ensure_ascii=False),
        "```",
    ]


def _plain(text: str) -> str:
    """A user's text in Markdown without effect: no links, no HTML, no new lines."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in r"\`*_[]()<>#!|~" else char for char in line)


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")
