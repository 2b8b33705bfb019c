"""The use cases. Page, command line and API call these and nothing below.

studio = Studio(settings, engine)
request = studio.request(prompt="a red robot")      # checked, with the model's defaults
(job,) = studio.submit([Order(request)], visitor)   # on disk before anything runs
for event in job.events(): ...                      # the engine's events, Saved for each picture
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sdgen import model_files as default_model_files
from sdgen.adapters import AdapterReport, Catalogue
from sdgen.config import Settings
from sdgen.data_folder import has_no_room
from sdgen.enhance import Choice, Draft, Enhancer, Service
from sdgen.errors import GenerationFailed, InvalidRequest, ShuttingDown, StorageFailed
from sdgen.gallery import Gallery, free_bytes
from sdgen.grid import Grid
from sdgen.history import NO_ROOM_SENTENCE, History, Leave
from sdgen.job import Engine, EngineStatus, GeneratedImage, Job
from sdgen.keeping import PictureKeeper
from sdgen.metadata import Enhancement, FormFields, Recipe, form_fields, read_recipe
from sdgen.metrics import Metrics
from sdgen.models import ModelSpec
from sdgen.owners import Visitor
from sdgen.pictures import remove_stumps
from sdgen.queue import DiskState, JobQueue, JobTold, Order, Prepared, QueueView, Tools, disk_state
from sdgen.request import GenerateRequest, folded_seed_note
from sdgen.scratch import shortage
from sdgen.studio_adapters import AdapterCard, AdapterDesk, with_tags, without_tags
from sdgen.studio_direct import DirectJobs
from sdgen.studio_enhance import EnhanceDesk, enhancement_of
from sdgen.studio_models import ModelCard, ModelDesk, ModelFiles, OnProgress
from sdgen.studio_store import Store
from sdgen.studio_verify import NOT_HERE, Redrawing, drawn_again, impossible, redrawing
from sdgen.tokens import Tokens
from sdgen.verify import Verification

__all__ = ["ModelCard", "ModelFiles", "OnProgress", "Order", "Studio", "enhancement_of"]

VERIFY_LABEL = "Verify"  # what a job is called that draws a picture again
COMPARED_AT_ONCE = 2


class Studio:
    """Starts requests, keeps every picture, knows the models. Thread-safe; imports no torch."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        model_files: ModelFiles | None = None,
        enhancer: Enhancer | None = None,
        *,
        public: bool | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """public: strangers come; None: as the settings say. metrics: where figures are kept."""
        self._settings = settings
        self._engine = engine
        self.metrics = metrics or Metrics()
        self.metrics.watch(lambda: self.queue_counts, lambda: free_bytes(settings.data_dir))
        self._models = ModelDesk(
            model_files or default_model_files, settings.model, settings.safety_checker
        )
        self._tokens = Tokens()
        self._adapters = AdapterDesk(
            Catalogue(settings.data_dir, bytes_max=settings.max_adapter_mb * 1_000_000)
        )
        self._enhance = EnhanceDesk(settings, self._adapters, self._tokens, enhancer)
        self._store = Store(settings)
        tools = Tools(
            data_dir=settings.data_dir,
            prepare=self._prepare,
            submit=engine.submit,
            keeper=PictureKeeper(
                settings.data_dir,
                lambda: self._store.gallery,
                sign=settings.credentials,
                saved=self.metrics.saved,
            ),
            gallery=lambda: self._store.gallery,
        )
        self._direct = DirectJobs(tools)
        self._comparing = threading.BoundedSemaphore(COMPARED_AT_ONCE)
        self._queue_lock = threading.Lock()
        self._queue: JobQueue | None = None
        self._no_queue = ""  # why there is none yet, on a full disk
        self._closed = False
        self._public = settings.is_public if public is None else public
        self._tools = tools
        remove_stumps(settings.data_dir)

    # --- drawing

    def request(self, model: object = None, **given: object) -> GenerateRequest:
        """A checked request with the model's defaults for all that is absent or None.

        model: a name of models(), by default default_model(). Tags of adapters in the prompt,
        `<lora:name:0.8>`, move into `adapters`. Raises InvalidRequest, ModelUnavailable
        and AdapterUnavailable.
        """
        name = model or self._models.default
        if not isinstance(name, str):
            raise InvalidRequest("model", "Model must be text.")
        spec = self._models.spec(name)
        request = spec.request(**with_tags({**given, "model": name}))
        for use in request.adapters:
            self._adapters.find(use.name, spec)
        return request

    def start(
        self,
        request: GenerateRequest,
        folder: Path | None = None,
        enhancement: Enhancement | None = None,
        grid: Grid | None = None,
    ) -> Job:
        """Draw at once, outside the queue: the way of the command line, which ends with its job.

        folder: where the pictures go, by default the local user's part of the data folder. grid:
        one sheet instead of the request's pictures. The job's events are as of submit(). Raises
        what Engine.submit raises, ModelUnavailable for a model that is not offered or damaged,
        DownloadNeeded, AdapterRefused, and InvalidRequest for a cell of the grid that cannot be.
        """
        if self._closed:
            raise ShuttingDown
        return self._direct.start(Order(request, enhancement, grid=grid), folder)

    def _prepare(self, request: GenerateRequest) -> Prepared:
        """The request with the engine's names for model and adapters.

        Raises ModelUnavailable, DownloadNeeded, AdapterUnavailable and AdapterRefused.
        """
        spec = self._models.local_spec(request.model)
        adapters = self._adapters.resolve(request.adapters, spec)
        asked = request.model_copy(update={"model": spec.name, "adapters": adapters.uses})
        folded = folded_seed_note(request.seed, request.num_images)
        notes = (*adapters.notes, folded) if folded else adapters.notes
        return Prepared(asked, adapters.recipes, notes)

    # --- the queue

    def open_queue(self, *, waits_for_room: bool = False) -> None:
        """Take up the jobs that an earlier run of the app left. Idempotent; submit() does it too.

        waits_for_room: on a full disk there is no queue until there is room, which is looked for
        now and then; disk() says so. Raises StorageFailed: another app uses the data folder, or it
        cannot be written to.
        """
        try:
            self._opened()
        except StorageFailed:
            if not (waits_for_room and has_no_room(self._settings.data_dir)):
                raise
            self._no_queue = NO_ROOM_SENTENCE
            self._store.watch(self._recovered)

    def _recovered(self) -> None:
        """The data folder can be used, for the first time or again. Raises StorageFailed."""
        self._opened().write_again()

    def submit(
        self,
        orders: Sequence[Order],
        visitor: Visitor,
        leave: Leave | None = None,
        side_by_side: bool = False,
    ) -> list[Job]:
        """Queue orders, all or none; they are on disk once this returns, in this order.

        leave: what happens when nobody watches; None: as the settings say for pages.
        side_by_side: they start and are shown together. Their jobs have the engine's events, with
        Saved for each picture and an end without pictures in it. Raises QueueFull, TooMuch,
        ModelUnavailable, DownloadNeeded, AdapterUnavailable, StorageFailed and ShuttingDown.
        """
        return self._opened().submit(orders, visitor, leave, side_by_side=side_by_side)

    def queue(self, owner: str) -> QueueView:
        """What of an owner's has not ended, running jobs first, then waiting ones in order."""
        return self._queue.view(owner) if self._queue else QueueView()

    def shown_jobs(self, owner: str) -> tuple[Job, ...]:
        """Running jobs of an owner and those that ended lately, oldest first."""
        return self._queue.shown(owner) if self._queue else ()

    @contextmanager
    def watching(self, owner: str, wake: Callable[[], None]) -> Iterator[None]:
        """Be a watcher of an owner's queue; `wake` is called, from any thread, when it changed."""
        with self._opened().watching(owner, wake):
            yield

    def find_job(self, job_id: str, visitor: Visitor) -> JobTold | None:
        """A job, waiting, running or ended; None where the visitor has none of that id."""
        return self._opened().told(job_id, visitor)

    def job(self, job_id: str) -> Job | None:
        """The job of that id until it ends."""
        queued = self._queue.job(job_id) if self._queue else None
        return queued or self._direct.job(job_id)

    def cancel(self, job_id: str, visitor: Visitor) -> bool:
        """Stop a job of the visitor's within one step; False where there is none that runs."""
        queue = self._opened()
        return queue.told(job_id, visitor) is not None and queue.cancel(job_id)

    def cancel_all(self, owner: str) -> int:
        """Cancel all waiting jobs of an owner; how many."""
        return self._opened().cancel_waiting(owner)

    def move(self, job_id: str, owner: str, by: int) -> bool:
        """Move a waiting job among the owner's own: -1 one earlier, +1 one later."""
        return self._opened().move(job_id, owner, by)

    def pause(self, owner: str, paused: bool) -> None:
        """Start none of an owner's waiting jobs until this is called with False."""
        self._opened().pause(owner, paused)

    def _opened(self) -> JobQueue:
        with self._queue_lock:
            if self._queue is None:
                if self._closed:
                    raise ShuttingDown
                self._store.hold()
                queue = JobQueue(
                    self._settings,
                    self._store.history,
                    self._tools,
                    self._engine.status,
                    public=self._public,
                    ended=self.metrics.ended,
                    problem=lambda: self._store.problem,
                )
                queue.open()
                self._queue, self._no_queue = queue, ""
                self._store.look_after()
                self._store.watch(self._recovered)
            return self._queue

    @property
    def gallery(self) -> Gallery:
        """All pictures of the data folder, each shown to its owner alone."""
        return self._store.gallery

    @property
    def history(self) -> History:
        """Jobs and pictures as rows."""
        return self._store.history

    def disk(self) -> DiskState:
        """How much room is left for pictures; full, too, where nothing can be kept."""
        state = disk_state(self._settings)
        problem = self._store.problem or self._no_queue
        if problem:
            return replace(state, full=True, sentence=problem)
        return state if state.sentence else replace(state, sentence=shortage(self._settings))

    # --- enhancing

    def enhance(
        self,
        prompt: object,
        model: object = None,
        choice: Choice = "auto",
        *,
        triggers: tuple[str, ...] = (),
        adapters: tuple[str, ...] = (),
        again: int = 0,
        payer: str = "",
        key_name: str = "",
        on_text: Callable[[str], None] | None = None,
    ) -> Draft:
        """A draft of a richer prompt for that model; outside the engine's queue, in at most 8 s.

        choice: "auto" asks the API where there is one. triggers: words that must be in it.
        adapters: names whose trigger words must be in it too, beside those of the prompt's tags;
        the tags stay at its end. again: how often another draft was wished for. payer: whom
        limits count for, as of a Visitor. key_name: from keep_key. on_text: is called with the
        draft as it grows, and may raise GivenUp to have none. Raises InvalidRequest for a prompt
        that could not be drawn, and ModelUnavailable.
        """
        request = self.request(model=model, prompt=prompt)
        return self._enhance.draft(
            request,
            self._models.spec(request.model),
            str(prompt),
            choice,
            triggers=triggers,
            adapters=adapters,
            again=again,
            payer=payer,
            key_name=key_name,
            on_text=on_text,
        )

    def prepare_enhancer(self) -> None:
        """Import what the API needs, so that the first draft need not wait for it."""
        self._enhance.enhancer.prepare()

    def keep_key(self, key: str, url: str = "", model: str = "", *, urls_allowed: bool) -> str:
        """A name for a user's own key and service, good for an hour. Raises InvalidRequest."""
        return self._enhance.keep_key(key, url, model, urls_allowed=urls_allowed)

    def forget_key(self, key_name: str) -> None:
        """Drop a user's key."""
        self._enhance.keys.forget(key_name)

    def service(self, key_name: str = "") -> Service | None:
        """Who would be asked: the user's own service, else the operator's, else nobody."""
        return self._enhance.service(key_name)

    def count_tokens(self, model: str, prompt: str) -> int | None:
        """The tokens of a prompt for a model of models(); None where it cannot say."""
        return self._tokens.count(self._models.spec(model), without_tags(prompt))

    # --- pictures

    def recipe_of(self, path: Path) -> Recipe:
        """The recipe inside a picture file. Raises PictureUnreadable."""
        return read_recipe(path)

    def form_of(self, recipe: Recipe) -> FormFields:
        """A recipe as fields of a form, with sentences on what could not be taken over."""
        return form_fields(recipe, self._models.names.values(), self._adapters.catalogue.list())

    def verify(self, path: Path, visitor: Visitor | None = None) -> Verification:
        """Draw the recipe inside a picture file again, exactly, and say how the two compare.

        visitor: whose turn it takes in the queue; None: outside the queue, the way of the command
        line. Raises PictureUnreadable, and what submit() and a job raise; a model or an adapter
        that is not here is an answer.
        """
        *_, found = self.verifying(path, visitor)
        if found is None:
            raise GenerationFailed("The engine ended without a word.")
        return found

    def verifying(
        self, path: Path, visitor: Visitor | None = None, heartbeat: float = 1.0
    ) -> Iterator[Verification | None]:
        """As verify(), the answer at last; before it None, now and then.

        heartbeat: seconds between two of them. Closing the generator stops the drawing.
        """
        asked = self.redrawing(path)
        if isinstance(asked, Verification):
            yield asked
            return
        try:
            job = self.redraw(asked, visitor)
            for made in drawn_again(job, heartbeat):
                yield None if made is None else self.compared(asked, made)
        except NOT_HERE as error:
            yield impossible(str(error))

    def redrawing(self, path: Path) -> Redrawing | Verification:
        """What has to be drawn to verify a picture file, or the answer where nothing has to be.

        Raises PictureUnreadable.
        """
        return redrawing(path, self._adapters.catalogue.list(), self.request, self._prepare)

    def redraw(self, asked: Redrawing, visitor: Visitor | None) -> Job:
        """Draw a picture again, kept nowhere: it comes as ImageReady. Raises what submit() does.

        visitor: as of verify(). The job ends with its caller, who cancels it.
        """
        if visitor is None:
            return self._engine.submit(self._prepare(asked.request).asked)
        order = Order(asked.request, label=VERIFY_LABEL, kept=False)
        (job,) = self.submit([order], visitor, leave="call")
        return job

    def compared(self, asked: Redrawing, again: GeneratedImage) -> Verification:
        """How the file and the picture drawn again compare; a few at a time, as each takes some
        hundred MB. Raises PictureUnreadable."""
        with self._comparing:
            return asked.compared(again)

    # --- models

    @property
    def model_problem(self) -> str:
        """Why the configured model cannot be had, as a sentence; "" where it can."""
        return self._models.problem

    def models(self) -> list[ModelCard]:
        """The models that can be asked for: the table, and the configured one if it is another."""
        return self._models.cards()

    def model(self, name: str) -> ModelCard:
        """The card of one model. Raises ModelUnavailable for a name that is not offered."""
        return self._models.card(name)

    def default_model(self) -> str:
        """The configured model's name; the bundled one where `model_problem` says why not."""
        return self._models.default

    def default_spec(self) -> ModelSpec:
        """The default model's spec; its name is what the engine calls it, a path where one was
        configured."""
        return self._models.spec(self._models.default)

    def download_size(self, name: str) -> int:
        """Bytes that download() would fetch now; asks the Hub, fetches nothing.

        Raises ModelUnavailable with the reason: no network, no such model, no access.
        """
        return self._models.download_size(name)

    def download(self, name: str, on_progress: OnProgress) -> Path:
        """Fetch a model; only ever called when somebody has agreed. Its folder.

        Raises ModelUnavailable with the reason: no network, no access, disk full, wrong content.
        """
        return self._models.download(name, on_progress)

    # --- adapters

    def adapters(self, model: str) -> list[AdapterCard]:
        """The LoRA adapters, judged for a model of models(). Raises ModelUnavailable."""
        return self._adapters.cards(self._models.spec(model))

    def inspect_adapter(self, name: str, model: str = "") -> AdapterCard:
        """One adapter of adapters(), judged for a model.

        Raises InvalidRequest for an unknown name, AdapterUnavailable, and ModelUnavailable.
        """
        spec = self._models.spec(model or self._models.default)
        return self._adapters.card(self._adapters.find(name, spec), spec)

    def inspect_adapter_file(self, path: Path, model: str = "") -> AdapterCard:
        """A file that is not taken in, judged for a model. Raises AdapterRefused."""
        return self._adapters.examine(path, self._models.spec(model or self._models.default))

    def add_adapter_file(
        self, path: Path, original_name: str, config: Path | None = None
    ) -> AdapterReport:
        """Take a user's file in: a copy goes to the data folder. config: PEFT's
        adapter_config.json, where it came along. Raises AdapterRefused and StorageFailed."""
        return self._adapters.catalogue.add_upload(path, original_name, config)

    def use_adapter_file(self, path: Path) -> AdapterReport:
        """Use a file of this machine where it lies, for as long as this program runs; for the
        command line, never for a page. Raises AdapterRefused."""
        return self._adapters.catalogue.add_path(path)

    def broken_adapters(self) -> list[tuple[str, str]]:
        """Files among the adapters that cannot be used: (name, why)."""
        return self._adapters.catalogue.broken()

    def removable_adapters(self) -> list[tuple[str, str]]:
        """Those that remove_adapter() can delete, broken files too: (name, title)."""
        return self._adapters.catalogue.removable()

    def adapter_download_size(self, hub_id: str) -> int:
        """Bytes that fetch_adapter() would fetch now; 0: it is here. Fetches nothing.

        Raises AdapterUnavailable with the reason: no network, no such file, no access.
        """
        return self._adapters.catalogue.download_size(hub_id)

    def fetch_adapter(self, hub_id: str, on_progress: OnProgress) -> AdapterReport:
        """Fetch one from the Hub; only ever called when somebody has agreed.

        Raises AdapterUnavailable with the reason: no network, no such file, refused content.
        """
        return self._adapters.catalogue.fetch(hub_id, on_progress)

    def remove_adapter(self, name: str) -> None:
        """Remove one that somebody added, by name or Hub id.

        Raises AdapterUnavailable and StorageFailed.
        """
        self._adapters.catalogue.remove(name)

    # --- the whole

    def status(self) -> EngineStatus:
        """What the engine is doing now; models under the names they have here."""
        names = self._models.names
        status = self._engine.status()
        return replace(status, loaded=tuple(names.get(model, model) for model in status.loaded))

    @property
    def queue_counts(self) -> tuple[int, int]:
        """(waiting, running) jobs of the queue."""
        return self._queue.counts if self._queue else (0, 0)

    @property
    def last_run_ok(self) -> bool | None:
        """Whether the job that ended last came to its pictures; None before the first."""
        return self._queue.last_run_ok if self._queue else None

    def alive(self) -> bool:
        """True while the queue's thread works, or waits for room on the disk to begin."""
        return bool(self._no_queue) if self._queue is None else self._queue.alive

    def close(self, grace: float = 5.0) -> None:
        """Take nothing new, stop what runs, keep what was finished. Idempotent.

        Jobs of the queue wait for the next start. grace: seconds, in all.
        """
        deadline = time.monotonic() + grace
        with self._queue_lock:
            self._closed = True
            queue = self._queue
        if queue is not None:
            queue.drain()
        self._enhance.enhancer.close()
        self._engine.close(grace)
        rest = max(0.5, deadline - time.monotonic())  # the disk gets its moment in any case
        if queue is not None:
            queue.close(rest)
        self._direct.close(rest)
        self._store.close()
