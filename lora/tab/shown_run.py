"""The run that a page shows: which of its parts have changed since the page looked last."""

import hashlib
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from lora.jobs import CAN_GO_ON, Curves, RunView, TrainingRefused, Trainings
from lora.jobs.trainings import PAUSES
from lora.tab import progress
from lora.tab.curves import curves

Update = Any  # what Gradio takes for a component: a value, gr.update(...) or gr.skip()
VIEW = 17  # components that `show` updates
KEPT_CURVES = 20  # runs whose losses are kept in memory


class ShownRun:
    """Makes updates from what lies on disk."""

    def __init__(self, trainings: Trainings, data_dir: Path, server: Any) -> None:
        """server: a component, whose cache files are served from."""
        self._trainings = trainings
        self._data_dir = data_dir
        self._server = server
        self._curves: dict[str, Curves] = {}
        self._lock = threading.Lock()  # guards _curves

    def show(self, run_id: str, seen: tuple[str, ...]) -> list[Update]:
        """Updates for a run's view: its id, the digests, the HTML parts, the buttons, the timer."""
        try:
            view: RunView | None = self._trainings.find(run_id)
        except TrainingRefused:
            view = None
        runs = self._trainings.runs()
        html = [
            progress.head(view, progress.SHARED if PAUSES else progress.ON_WINDOWS)
            if view
            else progress.nothing(),
            progress.outcome(view, self._adapter(view), self._url) if view else "",
            self._drawn_curves(view) if view else "",
            progress.samples(view) if view else "",
            progress.run_list(runs, run_id),
        ]
        on = any(run.running or run.state == "queued" for run in runs)
        active = view is not None and view.running
        buttons = {
            "stop": active or (view is not None and view.state == "queued"),
            "resume": view is not None and view.state in CAN_GO_ON,
            "sample_now": active and view is not None and view.state == "training",
            "save_now": active and view is not None and view.state == "training",
            "delete": view is not None and not active,
        }
        choice = _choice(view)
        digests = tuple(
            hashlib.sha256(repr(part).encode()).hexdigest()
            for part in (*html, *buttons.values(), choice, on)
        )
        old = seen if len(seen) == len(digests) else ("",) * len(digests)
        fresh = [new != before for new, before in zip(digests, old, strict=True)]
        updates: list[Update] = [
            part if new else gr.skip() for part, new in zip(html, fresh, strict=False)
        ]
        updates += [
            gr.update(visible=visible) if new else gr.skip()
            for visible, new in zip(buttons.values(), fresh[len(html) :], strict=False)
        ]
        updates += _choice_updates(*choice) if fresh[-2] else [gr.skip()] * 3
        updates.append(gr.update(visible=False) if not seen or active else gr.skip())
        updates.append(gr.Timer(active=on) if fresh[-1] else gr.skip())
        if not any(fresh):
            return [gr.skip()] * VIEW
        return [view.id if view else "", digests, *updates]

    def _drawn_curves(self, view: RunView) -> str:
        with self._lock:
            found = self._curves.get(view.id)
            if found is None:
                while len(self._curves) >= KEPT_CURVES:
                    self._curves.pop(next(iter(self._curves)))
                found = self._curves[view.id] = Curves(view.folder.metrics)
            found.read()
            return curves(found.loss, found.held_out, view.status.best_step)

    def _adapter(self, view: RunView) -> str:
        """The name in Generate of what the run has made; "" once that was removed."""
        home = self._data_dir / "adapters"
        return next((path.stem for path in view.files if path.parent == home), "")

    def _url(self, path: Path) -> str:
        """A file's copy in Gradio's cache, so no folder of ours is open to the web."""
        served = self._server.move_resource_to_block_cache(path)
        return f"gradio_api/file={quote(str(served))}"


def _choice(view: RunView | None) -> tuple[list[int], int | None, float]:
    """The checkpoints that may be chosen, and what is chosen now; none before the run is done."""
    if view is None or view.state != "done":
        return [], None, 1.0
    strength = view.status.best_strength
    return view.folder.saved_steps(), view.status.best_step, 1.0 if strength is None else strength


def _choice_updates(steps: list[int], step: int | None, strength: float) -> list[Update]:
    choices = [(f"Step {number}", number) for number in steps]
    return [
        gr.update(visible=bool(steps)),
        gr.update(choices=choices, value=step if step in steps else None),
        gr.update(value=strength),
    ]
