"""One run on the page: how far it is, what it costs, its samples, its pick and its files."""

import base64
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from lora.jobs import CAN_GO_ON, RunView, Shown
from sdgen.html import render
from sdgen.ui import messages

TEMPLATES = Path(__file__).parent / "templates"
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
SHARED = (
    "Training and drawing share this machine: the training stands still while a picture is drawn, "
    "and goes on a second after."
)
ON_WINDOWS = "Training and drawing share this machine: both are slower while both run."


def head(view: RunView, sharing: str) -> str:
    """Name, state, bar, price. sharing: what is said about drawing meanwhile."""
    status = view.status
    recipe = view.recipe
    facts = (
        ("A step", f"{status.seconds_per_step:.2f} s" if status.seconds_per_step else ""),
        ("Peak memory", f"{status.peak_gb:.1f} GB" if status.peak_gb else ""),
        ("Trigger word", recipe.trigger if recipe else ""),
        ("Base model", recipe.base.rpartition("/")[2] if recipe else ""),
    )
    known = view.state in ("training", "stopping") and status.steps > 0
    return render(
        TEMPLATES,
        "run.html",
        "head",
        view=view,
        title=_title(view),
        words=words(view),
        share=min(status.step / status.steps, 1.0) if known else None,
        facts=Markup(messages.facts(facts)),
        problem=Markup(messages.alert(view.error)),
        sharing=sharing,
        log=_log_tail(view.folder.log) if view.state in CAN_GO_ON else "",
    )


def nothing() -> str:
    """What is shown before the first training."""
    return render(TEMPLATES, "run.html", "nothing")


def _title(view: RunView) -> str:
    return view.recipe.name if view.recipe else view.id


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
        said += f", about {messages.duration(status.seconds_left)} left"
    return said


def _log_tail(path: Path, lines: int = 12) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


@dataclass(frozen=True)
class _Sample:
    """One sample picture."""

    uri: str  # data:
    label: str
    picked: bool


def samples(view: RunView) -> str:
    """The samples, a strip for each prompt: the same seed after more and more steps."""
    steps = view.folder.sampled_steps()
    if not steps:
        return ""
    prompts = sample_prompts(view)
    folders = [view.folder.sample_folder(step) for step in steps]
    names = sorted({path.name for folder in folders for path in folder.glob("*.png")})
    strips = [
        (
            prompts[index] if index < len(prompts) else "",
            [sample for step in steps if (sample := _sample(view, step, name))],
        )
        for index, name in enumerate(names)
    ]
    return render(TEMPLATES, "run.html", "samples", strips=strips)


def sample_prompts(view: RunView) -> list[str]:
    """The prompts of the samples, in the order of their files."""
    try:
        raw = json.loads(view.folder.samples_index.read_bytes())
    except (OSError, ValueError):
        return []
    prompts = raw.get("prompts") if isinstance(raw, dict) else None
    return [str(prompt) for prompt in prompts] if isinstance(prompts, list) else []


def _sample(view: RunView, step: int, name: str) -> _Sample | None:
    path = view.folder.sample_folder(step) / name
    try:
        uri = thumbnail(path, path.stat().st_mtime_ns)
    except (OSError, ValueError):
        return None
    label = "the base" if step == 0 else f"step {step}"
    return _Sample(uri, label, picked=view.status.best_step == step)


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
    pick = f"Step {status.best_step} of {status.steps}, strength {strength:g}."
    exports = sorted(view.folder.exports.glob("*.safetensors"), key=lambda path: len(path.name))
    return render(
        TEMPLATES,
        "run.html",
        "outcome",
        pick=pick if status.best_step is not None else "",
        reason=status.reason,
        adapter=adapter,
        tag=f"{trigger} <lora:{adapter}:{strength:g}>".strip(),
        files=[_File(url(path), path.name, _file_words(path)) for path in exports],
    )


@dataclass(frozen=True)
class _File:
    """A file to download."""

    url: str
    name: str
    words: str


def _file_words(path: Path) -> str:
    kind = "for kohya, A1111, ComfyUI" if ".kohya" in path.name else "for diffusers and sdgen"
    return f"Download {kind}"


def run_list(runs: list[RunView], chosen: str) -> str:
    """Earlier and waiting runs; a press shows one."""
    if not runs:
        return ""
    lines = [
        _Line(view.id, _title(view), words(view), _when(view.id), chosen=view.id == chosen)
        for view in runs
    ]
    return render(TEMPLATES, "run.html", "runs", runs=lines)


@dataclass(frozen=True)
class _Line:
    """One run of the list."""

    id: str
    title: str
    words: str
    when: str
    chosen: bool


def _when(run_id: str) -> str:
    """The day and time that a run's name begins with, UTC."""
    day, _, rest = run_id.partition("-")
    time = rest.partition("-")[0]
    if len(day) != 8 or len(time) != 6 or not (day + time).isdigit():
        return ""
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {time[:2]}:{time[2:4]} UTC"
