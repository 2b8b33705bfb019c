"""The app's trainings: one at a time, the others wait; each in a process of its own.

A training and the engine share a device, so one of them waits: a training starts only when nothing
is being drawn, and is paused (its process stands still) while a picture is drawn.
"""

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from lora.config import TrainingRecipe, default_runs_folder
from lora.environment import child_environment
from lora.jobs import views
from lora.jobs.traces import forget_exit, is_kept
from lora.jobs.views import RunView
from lora.runs import Command, RunFolder, list_runs, new_run_folder, write_whole
from sdgen.errors import SdgenError, ShuttingDown

log = logging.getLogger(__name__)

TRAIN = (sys.executable, "-m", "lora", "_run")  # and the run's folder
CHOOSE = (sys.executable, "-m", "lora.jobs.choice")  # and step, strength, the run's folder
KEEPER = (sys.executable, "-m", "lora.jobs.keeper")
TICK_SECONDS = 0.1
CALM_SECONDS = 1.0  # without drawing, until a training goes on
DRAFT_SECONDS = 24 * 3600.0  # photos that were dropped and never trained on are removed after
PAUSES = sys.platform != "win32"


class TrainingRefused(SdgenError):
    """What was asked of a training cannot be done now; the sentence says why."""


class Trainings:
    """Starts, watches, stops and finds training runs. Thread-safe; imports no torch."""

    def __init__(
        self,
        data_dir: Path,
        drawing: Callable[[], bool] = lambda: False,
        command: Sequence[str] = TRAIN,
    ) -> None:
        """drawing: whether the engine has work. command: what trains, without the run's folder."""
        self.data_dir = data_dir
        self._drawing = drawing
        self._command = tuple(command)
        self._changed = threading.Condition()
        self._queue: deque[str] = deque()  # guarded by _changed, like all that follows
        self._choices: dict[str, tuple[str, ...]] = {}  # of queued runs that are trained already
        self._current: tuple[str, subprocess.Popen[bytes]] | None = None
        self._stopping: set[str] = set()
        self._paused = False
        self._closed = False
        self._thread: threading.Thread | None = None

    # --- what there is

    def runs(self) -> list[RunView]:
        """All runs of the data folder, newest first."""
        return [self._view(folder) for folder in list_runs(self.data_dir)]

    def find(self, run_id: str) -> RunView:
        """One run. Raises TrainingRefused where there is none of that name."""
        return self._view(self._folder(run_id))

    def newest(self) -> RunView | None:
        """The run that a page shows when it opens: the one that runs, else the newest."""
        with self._changed:
            current = self._current
        if current is not None:
            with contextlib.suppress(TrainingRefused):
                return self.find(current[0])
        runs = self.runs()
        return next((run for run in runs if run.running), runs[0] if runs else None)

    # --- what can be done

    def draft(self, name: str = "photos") -> RunFolder:
        """An empty folder for photos that are looked at first; `start` makes a run of it."""
        for path in default_runs_folder(self.data_dir).glob("*/"):
            with contextlib.suppress(OSError):
                old = time.time() - path.stat().st_mtime > DRAFT_SECONDS
                if old and not (path / "recipe.json").exists():
                    shutil.rmtree(path, ignore_errors=True)
        return new_run_folder(self.data_dir, name)

    def start(self, recipe: TrainingRecipe, folder: RunFolder | None = None) -> str:
        """Queue a new run; its name. folder: from `draft`, by default a new one."""
        folder = folder or new_run_folder(self.data_dir, recipe.name)
        write_whole(folder.recipe, recipe.to_json().encode())
        self._train(folder)
        return folder.name

    def resume(self, run_id: str) -> None:
        """Queue a run that was stopped, interrupted or failed, to go on where it was.

        Raises TrainingRefused for all others.
        """
        view = self.find(run_id)
        if view.state not in views.CAN_GO_ON:
            raise TrainingRefused("This training runs, waits or is done; there is nothing to add.")
        self._train(view.folder)

    def choose(self, run_id: str, step: int, strength: float) -> None:
        """Make the finished adapter from that checkpoint instead, once nothing else runs.

        Raises TrainingRefused for a run that is not done, or has no such checkpoint.
        """
        view = self.find(run_id)
        if view.state != "done":
            raise TrainingRefused("Another checkpoint can be chosen once the training is done.")
        if step not in view.folder.saved_steps():
            raise TrainingRefused(f"There is no checkpoint of step {step}.")
        self._enqueue(view.folder, (*CHOOSE, str(step), f"{strength:g}"))

    def send(self, run_id: str, command: Command) -> None:
        """Ask a running training for samples or a checkpoint after its step."""
        view = self.find(run_id)
        if not view.running:
            raise TrainingRefused("This training does not run now.")
        view.folder.send(command)

    def stop(self, run_id: str) -> None:
        """Ask to stop after the running step; what is there is kept. One that waits stops now."""
        view = self.find(run_id)
        with self._changed:
            if run_id in self._queue:
                self._queue.remove(run_id)
                if self._choices.pop(run_id, None) is None:
                    view.status.changed(state="stopped").write(view.folder.status)
                return
            ours = self._current is not None and self._current[0] == run_id
            if ours:
                self._stopping.add(run_id)
                self._order("stop")
        if not ours and view.running:  # from the command line
            view.folder.send("stop")

    def delete(self, run_id: str) -> None:
        """Remove a run with its photos, checkpoints and samples. Its adapter, once exported to the
        app's adapters, stays. Raises TrainingRefused while it runs."""
        view = self.find(run_id)
        if view.running:
            raise TrainingRefused("This training runs. Stop it first.")
        self.stop(run_id)
        away = view.folder.path.with_name(f".{view.folder.name}.deleted")
        with contextlib.suppress(OSError):
            view.folder.path.rename(away)
            shutil.rmtree(away, ignore_errors=True)

    def close(self, grace: float = 5.0) -> None:
        """Start nothing more; the running training stops and keeps what it has. Idempotent.

        grace: seconds to wait for it; its keeper sees to it also after this process has ended.
        """
        deadline = time.monotonic() + grace
        with self._changed:
            self._closed = True
            self._queue.clear()
            current = self._current
            if current is not None and current[1].stdin is not None:
                with contextlib.suppress(OSError):
                    current[1].stdin.close()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(max(0.0, deadline - time.monotonic()))
        if current is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                current[1].wait(max(0.0, deadline - time.monotonic()))

    # --- inside

    def _folder(self, run_id: str) -> RunFolder:
        for folder in list_runs(self.data_dir):
            if folder.name == run_id:
                return folder
        raise TrainingRefused("There is no such training here; it may have been deleted.")

    def _view(self, folder: RunFolder) -> RunView:
        status, recipe = folder.read_status(), views.read_recipe(folder)
        with self._changed:
            current = self._current[0] if self._current else ""
            stopping, paused = folder.name in self._stopping, self._paused
            waiting = list(self._queue)
        if folder.name in waiting:
            ahead = waiting.index(folder.name) + bool(current)
            return RunView(folder, recipe, "queued", status, ahead=ahead)
        ours = folder.name == current
        alive = ours or is_kept(folder)
        state = views.shown_state(folder, status, alive=alive, stopping=stopping or not ours)
        error = views.what_went_wrong(folder, state, status)
        return RunView(folder, recipe, state, status, error, paused=ours and paused)

    def _train(self, folder: RunFolder) -> None:
        forget_exit(folder)
        folder.read_status().changed(state="queued", error="", message="").write(folder.status)
        folder.take("stop")
        self._enqueue(folder)

    def _enqueue(self, folder: RunFolder, choice: tuple[str, ...] = ()) -> None:
        with self._changed:
            if self._closed:
                raise ShuttingDown
            if folder.name in self._queue:
                return
            self._queue.append(folder.name)
            if choice:
                self._choices[folder.name] = choice
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work, name="sdgen-trainings", daemon=True
                )
                self._thread.start()

    def _work(self) -> None:
        """The thread: starts what waits, pauses and wakes what runs, until nothing is left."""
        calm_since = 0.0
        while True:
            drawing = self._drawing()
            now = time.monotonic()
            if drawing:
                calm_since = now
            with self._changed:
                if self._current is not None and self._current[1].poll() is not None:
                    self._ended()
                calm = not drawing and now - calm_since >= CALM_SECONDS
                if self._current is not None:
                    self._share(drawing, calm)
                elif self._queue and calm and not self._closed:
                    self._begin(self._queue.popleft())
                elif not self._queue:
                    self._thread = None
                    return
                self._changed.wait(TICK_SECONDS)

    def _begin(self, run_id: str) -> None:
        folder = RunFolder(default_runs_folder(self.data_dir) / run_id)
        command = self._choices.pop(run_id, self._command)
        try:
            forget_exit(folder)
            with folder.log.open("ab") as file:
                process = subprocess.Popen(
                    [*KEEPER, str(folder.path), *command, str(folder.path)],
                    stdin=subprocess.PIPE,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=child_environment(os.environ)
                    | {"PYTHONUNBUFFERED": "1", "SDGEN_DATA_DIR": str(self.data_dir)},
                    start_new_session=True,
                )
        except OSError as error:  # disk full, no memory for a process, the folder taken away
            log.warning("training %s could not start", run_id, exc_info=error)
            return
        self._current, self._paused = (run_id, process), False

    def _ended(self) -> None:
        if self._current is None:
            return
        run_id, process = self._current
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        self._stopping.discard(run_id)
        self._current, self._paused = None, False

    def _share(self, drawing: bool, calm: bool) -> None:
        """Stand still while pictures are drawn."""
        if not PAUSES or self._closed:
            return
        if drawing and not self._paused:
            self._paused = True
            self._order("pause")
        elif calm and self._paused:
            self._paused = False
            self._order("go")

    def _order(self, order: str) -> None:
        if self._current is None or self._current[1].stdin is None:
            return
        with contextlib.suppress(OSError, ValueError):  # it has just ended
            self._current[1].stdin.write(f"{order}\n".encode())
            self._current[1].stdin.flush()
