"""LocalEngine: one thread owns the weights; requests join and leave the running batch at any step.

    inbox -> encode -> running pictures
    turn:  drop what was stopped, admit what waits, one step for next_batch(...), decode one picture

A picture is the unit: a request of four is four states that share their text side. A failure is
its own request's; the ladder is smaller batch, then alone, then tiled or float32 decoding.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sdgen.batcher import next_batch
from sdgen.config import Settings
from sdgen.engine.attempt import Fault, attempt
from sdgen.engine.row_budget import RowBudgets
from sdgen.engine.row_limits import RowLimits
from sdgen.engine.run import Run
from sdgen.engine.shelf import Loader, Shelf
from sdgen.errors import (
    BrokenNumbers,
    GenerationFailed,
    OutOfMemory,
    QueueFull,
    SdgenError,
    ShuttingDown,
)
from sdgen.job import EngineStatus, Job, Loading, Note, Queued
from sdgen.models import ModelSpec, find_model
from sdgen.request import GenerateRequest

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import TypeIs

    from sdgen.pipelines.base import Decoded, DenoiseState, StepPipeline, WholePipeline

log = logging.getLogger(__name__)


class LocalEngine:
    """The Engine in this process. The thread starts with the first request or `preload`."""

    def __init__(
        self,
        settings: Settings,
        load: Loader | None = None,
        budgets: RowBudgets | None = None,
        on_step: Callable[[float, int], None] = lambda seconds, rows: None,
    ) -> None:
        """load: makes a pipeline from a spec (default: sdgen.pipelines.loading, with settings).

        on_step: is told of each forward pass its seconds and rows, for the operator's figures.
        """
        self._settings = settings
        self._load = load
        self._on_step = on_step
        self._changed = threading.Condition()
        self._waiting: deque[Run] = deque()  # guarded by _changed
        self._preload: ModelSpec | None = None  # guarded by _changed
        self._closing = False  # guarded by _changed
        self._thread: threading.Thread | None = None  # guarded by _changed
        # From here on: the engine thread's own (status() reads snapshots of it).
        self._runs: list[Run] = []
        self._decoding: deque[tuple[Run, DenoiseState]] = deque()
        self._shelf = Shelf(self._load_pipeline, settings.models_in_memory)
        self._whole: Run | None = None
        budgets = budgets or RowBudgets(settings.data_dir / "row_budgets.json")
        self._limits = RowLimits(budgets, settings.max_rows, self._pipeline_of)
        self._worth = 0  # rows worth filling for what runs now; 0: not measured
        self._tick = 0
        self._device = ("", "")
        self._notes: tuple[str, ...] = ()

    # ---- called from any thread ---------------------------------------------------------------

    def submit(self, request: GenerateRequest, job_id: str = "") -> Job:
        """Queue a request. Raises QueueFull, ModelUnavailable or ShuttingDown."""
        spec = find_model(request.model)
        job = Job(request, on_cancel=lambda: self._withdraw(job), job_id=job_id)
        with self._changed:
            if self._closing:
                raise ShuttingDown
            waiting = len(self._waiting)
            if waiting + len(self._runs) >= self._settings.max_queue:
                raise QueueFull(waiting)
            job.publish(Queued(waiting))
            self._waiting.append(Run(job, spec))
            self._wake()
        return job

    def preload(self, name: str) -> None:
        """Load a model and measure its row budget before the first request. Failures are logged.

        Raises ModelUnavailable where there is no such model.
        """
        spec = find_model(name)
        with self._changed:
            self._preload = spec
            self._wake()

    def status(self) -> EngineStatus:
        """A snapshot, at once."""
        with self._changed:
            waiting = len(self._waiting)
            rows = sum(run.rows for run in (*self._runs, *self._waiting))
        device, dtype = self._device
        return EngineStatus(
            running=len(self._runs),
            waiting=waiting,
            device=device,
            dtype=dtype,
            loaded=self._shelf.names(),
            notes=self._notes,
            rows=rows,
            room=max(0, self._worth - rows),
        )

    def close(self, grace: float = 5.0) -> None:
        """Take nothing new, end all as stopped after the running step; wait `grace` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(grace)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="sdgen-engine", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _withdraw(self, job: Job) -> None:
        """A job was cancelled: if it still waits, it ends here, whatever the thread is doing."""
        with self._changed:
            for run in self._waiting:
                if run.job is job:
                    self._waiting.remove(run)
                    run.stop()
                    break
            self._changed.notify_all()

    # ---- the engine thread --------------------------------------------------------------------

    def _loop(self) -> None:
        import torch

        if self._settings.threads:
            torch.set_num_threads(self._settings.threads)
        with torch.inference_mode():
            while self._wait_for_work():
                self._turn()
        for run in self._runs:
            run.stop()
        self._runs, self._decoding = [], deque()
        with self._changed:
            while self._waiting:
                self._waiting.popleft().stop()
        self._shelf.close()

    def _wait_for_work(self) -> bool:
        """Block until there is something to do; False when the engine is to end."""
        with self._changed:
            while not (self._closing or self._waiting or self._runs or self._preload):
                self._changed.wait()
            return not self._closing

    def _turn(self) -> None:
        self._drop_cancelled()
        self._admit()
        self._step()
        self._decode_one()
        self._runs = [run for run in self._runs if run.job.end is None]

    def _drop_cancelled(self) -> None:
        for run in self._runs:
            if run.job.cancelled and run is not self._whole:
                run.stop()
        self._runs = [run for run in self._runs if run.job.end is None]
        self._decoding = deque(pair for pair in self._decoding if pair[0].job.end is None)

    def _admit(self) -> None:
        """Start what waits, in order. Who needs a model that has no room yet lets nobody pass."""
        if self._preload is not None:
            spec, self._preload = self._preload, None
            self._warm_up(spec)
        while (run := self._next_admissible()) is not None:
            self._runs.append(run)
            if not self._shelf.has(run.spec.name):
                run.job.publish(Loading(run.spec.title))
            pipeline = attempt(partial(self._shelf.get, run.spec, self._busy(run)))
            if isinstance(pipeline, Fault):
                self._fail(run, pipeline)
                continue
            self._describe(pipeline)
            self._begin(run, pipeline)

    def _next_admissible(self) -> Run | None:
        with self._changed:
            for run in self._waiting:
                has = self._shelf.has(run.spec.name)
                if not has and not self._shelf.has_room(self._busy()):
                    return None
                if self._whole is not None and (not has or run.spec.family == "whole"):
                    continue  # inside another model's loop: only what can join at once
                self._waiting.remove(run)
                for ahead, other in enumerate(self._waiting):
                    other.job.publish(Queued(ahead))
                return run
        return None

    def _busy(self, besides: Run | None = None) -> set[str]:
        return {run.spec.name for run in self._runs if run is not besides}

    def _begin(self, run: Run, pipeline: "StepPipeline | WholePipeline") -> None:
        notes = attempt(partial(pipeline.check, run.request))
        if isinstance(notes, Fault):
            self._fail(run, notes)
            return
        for note in notes:
            run.job.publish(Note(note))
        if _is_whole(pipeline):
            self._run_whole(run, pipeline)
            return
        states = attempt(partial(pipeline.encode, run.request))
        if isinstance(states, Fault):
            self._fail(run, states)
            return
        for state in states:
            state.tick = self._tick
        run.start(states)

    def _step(self) -> None:
        """One forward pass for those who waited longest."""
        owners = {id(state): run for run in self._runs for state in run.states}
        states = [state for run in self._runs for state in run.states]
        batch = next_batch(states, self._limits.rows) if len(states) > 1 else states
        if batch:
            self._worth = self._limits.known_rows(batch[0].key)
            self._tick += 1
            for state in batch:
                state.tick = self._tick
            self._step_batch(batch, owners)

    def _step_batch(self, batch: "list[DenoiseState]", owners: dict[int, Run]) -> None:
        run = owners[id(batch[0])]
        pipeline = self._step_pipeline(run)
        begun = time.perf_counter()
        outcome = attempt(partial(pipeline.predict_noise, batch))
        if isinstance(outcome, Fault):
            if len(batch) == 1:
                self._fail(run, outcome)
            elif outcome.out_of_memory:
                self._limits.did_not_fit(batch[0].key, sum(state.rows for state in batch))
            else:
                for state in batch:  # one of them is at fault; the others go on
                    if owners[id(state)].job.end is None:
                        self._step_batch([state], owners)
            return
        self._on_step(time.perf_counter() - begun, sum(state.rows for state in batch))
        if len({id(owners[id(state)]) for state in batch}) > 1:
            for state in batch:
                state.shared = True
        moved: dict[int, list[DenoiseState]] = {}
        for state, noise in zip(batch, outcome, strict=True):
            run = owners[id(state)]
            if run.job.end is not None:
                continue
            advanced = attempt(partial(pipeline.advance, state, noise))
            if isinstance(advanced, Fault):
                self._fail(run, advanced)
                continue
            moved.setdefault(id(run), []).append(state)
            if state.done:
                run.states.remove(state)
                self._decoding.append((run, state))
        for moved_states in moved.values():
            self._report(owners[id(moved_states[0])], moved_states, pipeline)

    def _report(self, run: Run, moved: "list[DenoiseState]", pipeline: "StepPipeline") -> None:
        if run.job.end is not None:
            return
        run.stepped(len(moved))
        if run.wants_preview:
            shown = [state for state in run.states if state.step]
            images = attempt(partial(pipeline.preview, shown)) if shown else []
            if not isinstance(images, Fault):
                run.preview({s.index: image for s, image in zip(shown, images, strict=True)})

    def _decode_one(self) -> None:
        """Decode one finished picture a turn, so that nobody's steps wait for many."""
        if not self._decoding:
            return
        run, state = self._decoding.popleft()
        if run.job.end is not None:
            return
        pipeline = self._step_pipeline(run)
        decoded = attempt(partial(_only, pipeline, state))
        if isinstance(decoded, Fault) and decoded.out_of_memory:
            state.notes.append("decoded in tiles, because memory ran out")
            decoded = attempt(partial(_only, pipeline, state, tiled=True))
        elif isinstance(decoded, Fault) and isinstance(decoded.error, BrokenNumbers):
            state.notes.append("decoded in float32, because the numbers broke")
            decoded = attempt(partial(_only, pipeline, state, float32=True))
        if isinstance(decoded, Fault):
            self._fail(run, decoded)
            return
        run.ready(state.index, decoded, pipeline, shared=state.shared, notes=tuple(state.notes))

    def _run_whole(self, run: Run, pipeline: "WholePipeline") -> None:
        """A model with a loop of its own; between its steps the others take theirs."""
        self._whole = run

        def on_step(step: int, preview: "Image.Image | None", index: int) -> bool:
            del step
            run.stepped(1)
            if preview is not None and run.wants_preview:
                run.preview({index: preview})
            self._turn()
            return not (run.job.cancelled or self._closing)

        for index in range(run.request.num_images):
            report = partial(on_step, index=index)
            decoded = attempt(partial(pipeline.run, run.request, index, report))
            if isinstance(decoded, Fault):
                self._fail(run, decoded)
                break
            if decoded is None or run.job.cancelled:
                run.stop()
                break
            run.ready(index, decoded, pipeline, shared=False, notes=())
        self._whole = None

    # ---- helpers of the thread ----------------------------------------------------------------

    def _fail(self, run: Run, fault: Fault) -> None:
        """End a run with words for the user; the log gets the cause under the job's id."""
        if isinstance(fault.error, SdgenError):
            error = fault.error
            log.info("job %s refused: %s", run.job.id, type(error).__name__)  # it quotes users
        elif fault.out_of_memory:
            width, height = run.request.width, run.request.height
            error = OutOfMemory(
                f"There is not enough memory to draw {width}x{height} pixels with this model. "
                "Please choose a smaller size or fewer pictures."
            )
        else:
            error = GenerationFailed(
                "The picture could not be made because of an unexpected error. "
                f"The log has the details under job {run.job.id}."
            )
            log.error("job %s failed", run.job.id, exc_info=fault.error)
        run.fail(error)

    def _pipeline_of(self, name: str) -> "StepPipeline":
        """The pipeline of a model that somebody is drawing with."""
        return self._step_pipeline(next(run for run in self._runs if run.spec.name == name))

    def _warm_up(self, spec: ModelSpec) -> None:
        pipeline = attempt(partial(self._shelf.get, spec, self._busy()))
        if isinstance(pipeline, Fault):
            log.error("%s is not ready: %s", spec.name, pipeline.error)
            return
        self._describe(pipeline)
        if not _is_whole(pipeline) and not self._settings.max_rows:
            attempt(partial(self._limits.measure, pipeline, spec.width, spec.height))

    def _describe(self, pipeline: "StepPipeline | WholePipeline") -> None:
        self._device = (pipeline.label, str(pipeline.dtype).removeprefix("torch."))
        self._notes = pipeline.notes

    def _step_pipeline(self, run: Run) -> "StepPipeline":
        pipeline = self._shelf.get(run.spec, set())
        assert not _is_whole(pipeline)
        return pipeline

    def _load_pipeline(self, spec: ModelSpec) -> "StepPipeline | WholePipeline":
        if self._load is not None:
            return self._load(spec)
        from sdgen.pipelines.loading import load_pipeline

        return load_pipeline(spec, self._settings, self._settings.data_dir / "cache")


def _is_whole(pipeline: "StepPipeline | WholePipeline") -> "TypeIs[WholePipeline]":
    from sdgen.pipelines.base import WholePipeline

    return isinstance(pipeline, WholePipeline)


def _only(
    pipeline: "StepPipeline", state: "DenoiseState", *, tiled: bool = False, float32: bool = False
) -> "Decoded":
    """The one picture of one state."""
    return pipeline.decode([state], tiled=tiled, float32=float32)[0]
