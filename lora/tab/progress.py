"""One run on the page: how far it is, what it costs, its samples, its pick and its files."""

import base64
import io
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from PIL import Image

from lora.jobs import CAN_GO_ON, RunView, Shown
from sdgen.ui.messages import alert, duration, escape

THUMBNAIL = 224  # pixels
STATES: Mapping[Shown, str] = {
    "queued": "Waiting",
    "preparing": "Preparing the photos",
    "preflight": "Measuring three real steps",
    "training": "Training",
    "evaluating": "Choosing the best checkpoint",
    "exporting": "Writing and checking the files",
    "stopping": "Stopping after this step",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Failed",
    "interrupted": "Interrupted",
}
NOTHING = (
    '<section class="sd-run sd-run-empty"><p>No training yet. Drop photos, check them, press '
    "<b>Start training</b>.</p></section>"
)
SHARED = (
    "Training and drawing share this machine: the training stands still while a picture is drawn, "
    "and goes on a second after."
)
ON_WINDOWS = "Training and drawing share this machine: both are slower while both run."


def head(view: RunView, sharing: str) -> str:
    """Name, state, bar, price. sharing: what is said about drawing meanwhile."""
    status = view.status
    title = view.recipe.name if view.recipe else view.id
    busy = "true" if view.running else "false"
    parts = [f"<h3>{escape(title)}</h3>", _line(view)]
    if view.running:
        parts.append(_bar(view))
    rows = [
        ("A step", f"{status.seconds_per_step:.2f} s" if status.seconds_per_step else ""),
        ("Peak memory", f"{status.peak_gb:.1f} GB" if status.peak_gb else ""),
        ("Trigger word", view.recipe.trigger if view.recipe else ""),
        ("Base model", view.recipe.base.rpartition("/")[2] if view.recipe else ""),
    ]
    listed = "".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>" for a, b in rows if b)
    parts.append(f'<dl class="sd-facts">{listed}</dl>')
    if status.message:
        parts.append(f'<p class="sd-message">{escape(status.message)}</p>')
    if view.error:
        parts.append(alert(view.error))
    if view.running or view.state == "queued":
        parts.append(f'<p class="sd-sharing">{escape(sharing)}</p>')
    if view.state in CAN_GO_ON:
        parts.append(_log_tail(view.folder.log))
    opening = f'<section class="sd-run" aria-label="Training" aria-busy="{busy}">'
    return f"{opening}{''.join(parts)}</section>"


def words(view: RunView) -> str:
    """How far it is: "Training: step 120 of 400, about 3 min left"."""
    status = view.status
    said = STATES[view.state]
    if view.state == "queued":
        return f"{said}: {view.ahead} before it" if view.ahead else f"{said} to begin"
    if view.state in ("training", "stopping", *CAN_GO_ON) and status.steps:
        said += f": step {status.step} of {status.steps}"
    if view.paused:
        return f"{said}. It stands still while a picture is drawn"
    if view.state == "training" and status.seconds_left:
        said += f", about {duration(status.seconds_left)} left"
    return said


def _line(view: RunView) -> str:
    said = f'<span class="sd-state sd-state-{view.state}">{escape(words(view))}</span>'
    speaks = ' role="status"' if not view.running else ""
    return f'<p class="sd-status"{speaks}>{said}</p>'


def _bar(view: RunView) -> str:
    status = view.status
    known = view.state in ("training", "stopping") and status.steps > 0
    share = min(status.step / status.steps, 1.0) if known else 0.0
    now = f' aria-valuenow="{round(100 * share)}"' if known else ""
    width = f' style="width:{100 * share:.1f}%"' if known else ""
    kind = "sd-bar" if known else "sd-bar sd-waiting"
    return (
        f'<div class="{kind}" role="progressbar" aria-label="Training" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuetext="{escape(words(view))}"{now}><i{width}></i></div>'
    )


def _log_tail(path: Path, lines: int = 12) -> str:
    try:
        tail = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return ""
    if not tail:
        return ""
    text = escape("\n".join(tail))
    return (
        '<details class="sd-log"><summary>The end of its log</summary>'
        f'<pre tabindex="0">{text}</pre></details>'
    )


def samples(view: RunView) -> str:
    """The samples, a strip for each prompt: the same seed after more and more steps."""
    steps = view.folder.sampled_steps()
    if not steps:
        return ""
    prompts = sample_prompts(view)
    folders = [view.folder.sample_folder(step) for step in steps]
    names = sorted({path.name for folder in folders for path in folder.glob("*.png")})
    strips = ""
    for index, name in enumerate(names):
        prompt = prompts[index] if index < len(prompts) else ""
        frames = "".join(_frame(view, step, name, prompt) for step in steps)
        strips += (
            f'<h4>{escape(prompt)}</h4><ol class="sd-strip" tabindex="0" '
            f'aria-label="Samples of: {escape(prompt)}">{frames}</ol>'
        )
    return f'<section class="sd-samples" aria-label="Samples"><h3>Samples</h3>{strips}</section>'


def sample_prompts(view: RunView) -> list[str]:
    """The prompts of the samples, in the order of their files."""
    try:
        raw = json.loads(view.folder.samples_index.read_bytes())
    except (OSError, ValueError):
        return []
    prompts = raw.get("prompts") if isinstance(raw, dict) else None
    return [str(prompt) for prompt in prompts] if isinstance(prompts, list) else []


def _frame(view: RunView, step: int, name: str, prompt: str) -> str:
    path = view.folder.sample_folder(step) / name
    try:
        uri = thumbnail(path, path.stat().st_mtime_ns)
    except (OSError, ValueError):
        return ""
    chosen = " class=sd-picked" if view.status.best_step == step else ""
    label = "the base" if step == 0 else f"step {step}"
    alt = f"{prompt}, {label}"
    return f'<li{chosen}><img src="{uri}" alt="{escape(alt)}"><span>{label}</span></li>'


@lru_cache(maxsize=2000)
def thumbnail(path: Path, changed: int, side: int = THUMBNAIL) -> str:
    """A small picture as a data URI. changed: so that a newer file is read anew. Raises OSError."""
    del changed
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def outcome(view: RunView, adapter: str, url: Callable[[Path], str]) -> str:
    """What came out: the pick with its reason, use, files.

    adapter: its name in Generate, or "". url: where a file is served.
    """
    if view.state != "done":
        return ""
    status, recipe = view.status, view.recipe
    trigger = recipe.trigger if recipe else ""
    strength = status.best_strength if status.best_strength is not None else 1.0
    parts = ["<h3>The adapter</h3>"]
    if status.best_step is not None:
        parts.append(
            f"<p><b>Step {status.best_step} of {status.steps}, strength {strength:g}.</b> "
            f"{escape(status.reason)}</p>"
        )
    buttons = ""
    if adapter:
        tag = f"<lora:{adapter}:{strength:g}>"
        buttons = (
            '<button type="button" class="sd-button sd-primary" data-action="use" '
            f'data-name="{escape(adapter)}" data-words="{escape(f"{trigger} {tag}".strip())}">'
            "Use it in Generate</button>"
        )
    for path in sorted(view.folder.exports.glob("*.safetensors"), key=lambda path: len(path.name)):
        buttons += (
            f'<a class="sd-button" href="{escape(url(path))}" download="{escape(path.name)}">'
            f"{escape(_file_words(path))}</a>"
        )
    parts.append(f'<div class="sd-actions">{buttons}</div>')
    return f'<section class="sd-outcome" aria-label="The adapter">{"".join(parts)}</section>'


def _file_words(path: Path) -> str:
    kind = "for kohya, A1111, ComfyUI" if ".kohya" in path.name else "for diffusers and sdgen"
    return f"Download {kind}"


def run_list(runs: list[RunView], chosen: str) -> str:
    """Earlier and waiting runs; a press shows one."""
    if not runs:
        return ""
    rows = ""
    for view in runs:
        title = view.recipe.name if view.recipe else view.id
        mark = ' aria-current="true"' if view.id == chosen else ""
        rows += (
            f'<li><button type="button" class="sd-chip" data-action="open" '
            f'data-name="{escape(view.id)}"{mark}><b>{escape(title)}</b> '
            f"<span>{escape(words(view))} · {escape(_when(view.id))}</span></button></li>"
        )
    return (
        '<section class="sd-runs" aria-labelledby="sd-runs"><h3 id="sd-runs">Trainings</h3>'
        f"<ul>{rows}</ul></section>"
    )


def _when(run_id: str) -> str:
    """The day and time that a run's name begins with, UTC."""
    day, _, rest = run_id.partition("-")
    time = rest.partition("-")[0]
    if len(day) != 8 or len(time) != 6 or not (day + time).isdigit():
        return ""
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {time[:2]}:{time[2:4]} UTC"
