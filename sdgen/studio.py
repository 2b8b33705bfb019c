"""The use cases. Page, command line and API call these and nothing below.

studio = Studio(settings, engine)
job = studio.start(request)             # refusals happen here, before anything runs
for event in job.events(): ...          # the engine's events, with Saved for each picture
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from sdgen import credentials
from sdgen import model_files as default_model_files
from sdgen.adapters import AdapterReport, Catalogue
from sdgen.config import Settings
from sdgen.enhance import (
    OWN_WORDS,
    Choice,
    Context,
    Draft,
    Enhancer,
    KeyRing,
    Service,
    operators_service,
    users_service,
)
from sdgen.errors import (
    GenerationFailed,
    InvalidRequest,
    ModelUnavailable,
    ShuttingDown,
    StorageFailed,
)
from sdgen.job import (
    Engine,
    EngineStatus,
    Failed,
    Finished,
    GeneratedImage,
    Heartbeat,
    ImageReady,
    Job,
    Loading,
    Note,
    Saved,
    Stopped,
)
from sdgen.metadata import (
    Enhancement,
    FormFields,
    Recipe,
    encode_png,
    form_fields,
    public_model_name,
    read_recipe,
    recipe_for,
)
from sdgen.models import (
    DEFAULT_MODEL,
    ModelSpec,
    ModelWords,
    bundled_models,
    find_model,
)
from sdgen.pictures import day_folder, list_pictures, remove_stumps, save_picture
from sdgen.request import GenerateRequest, Sampler
from sdgen.studio_adapters import (
    AdapterCard,
    AdapterDesk,
    Resolved,
    tag_of,
    with_tags,
    without_tags,
)
from sdgen.studio_verify import verify_picture
from sdgen.tokens import BUDGET, SENTENCE_BUDGET, Tokens, reads_sentences, rough_count
from sdgen.verify import Verification

OnProgress = Callable[[int, int], None]  # bytes here, bytes in all (0: not known)


class ModelFiles(Protocol):
    """Which models are on this machine, and how to fetch one: the module sdgen.model_files."""

    def is_local(self, spec: ModelSpec) -> bool: ...
    def local_folder(self, spec: ModelSpec) -> Path: ...
    def download_size(self, spec: ModelSpec) -> int: ...
    def download(self, spec: ModelSpec, on_progress: OnProgress) -> Path: ...


@dataclass(frozen=True)
class ModelCard:
    """What a person needs to know to choose a model."""

    name: str  # for GenerateRequest.model
    title: str
    local: bool  # on this machine: needs no download
    download_bytes: int  # 0: nothing to fetch, or not known
    licence: str
    width: int  # native size, pixels
    height: int
    steps: int  # defaults
    guidance_scale: float
    sampler: Sampler
    ignores: frozenset[str]  # fields of GenerateRequest without effect
    words: ModelWords | None = field(default=None, repr=False)


class Studio:
    """Starts requests, keeps every picture, knows the models. Thread-safe; imports no torch."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        model_files: ModelFiles | None = None,
        enhancer: Enhancer | None = None,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._model_files = model_files or default_model_files
        self._enhancer = enhancer or Enhancer(
            operators_service(
                settings.enhance_url, settings.enhance_model, settings.openai_api_key
            ),
            per_day=settings.enhance_per_day,
        )
        self._keys = KeyRing()
        sign = settings.credentials and credentials.available()
        self._signer = credentials.Signer(settings.data_dir / "credentials") if sign else None
        self._tokens = Tokens()
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Job, threading.Thread]] = {}
        self._closed = False
        self._adapters = AdapterDesk(Catalogue(settings.data_dir))
        self._specs = bundled_models()
        self._default = DEFAULT_MODEL
        self.model_problem = ""  # why the configured model cannot be had, as a sentence
        self._offer(settings.model)
        remove_stumps(settings.data_dir)

    # --- drawing

    def request(self, model: object = None, **given: object) -> GenerateRequest:
        """A checked request with the model's defaults for all that is absent or None.

        model: a name of models(), by default default_model(). Tags of adapters in the prompt,
        `<lora:name:0.8>`, move into `adapters`. Raises InvalidRequest, ModelUnavailable
        and AdapterUnavailable.
        """
        name = model or self._default
        if not isinstance(name, str):
            raise InvalidRequest("model", "Model must be text.")
        spec = self._spec(name)
        request = spec.request(**with_tags({**given, "model": name}))
        for use in request.adapters:
            self._adapters.find(use.name, spec)
        return request

    def start(
        self,
        request: GenerateRequest,
        folder: Path | None = None,
        enhancement: Enhancement | None = None,
    ) -> Job:
        """Queue a request; its job's pictures go to disk at once, whether anybody watches or not.

        The job has the engine's events, with Saved in the place of ImageReady. folder: where the
        pictures go, by default the day's folder of the data folder. enhancement: where its prompt
        came from, for the recipe. Raises what Engine.submit raises, ModelUnavailable for a model
        that is not offered or damaged, DownloadNeeded, and AdapterRefused.
        """
        asked, adapters = self._for_engine(request)
        with self._lock:
            if self._closed:
                raise ShuttingDown
            inner = self._engine.submit(asked)
            outer = Job(request, on_cancel=inner.cancel, job_id=inner.id)
            for note in adapters.notes:
                outer.publish(Note(note))
            thread = threading.Thread(
                target=self._follow,
                args=(inner, outer, folder, enhancement, adapters),
                name=f"save-{outer.id[:8]}",
                daemon=True,  # close() waits for it; a process that is killed does not
            )
            self._running[outer.id] = outer, thread
            thread.start()
        return outer

    def _for_engine(self, request: GenerateRequest) -> tuple[GenerateRequest, Resolved]:
        """The request with the engine's names for model and adapters, and those adapters.

        Raises ModelUnavailable, DownloadNeeded, AdapterUnavailable and AdapterRefused.
        """
        spec = self._spec(request.model)
        self._model_files.local_folder(replace(spec, name=request.model))  # raises, if not here
        adapters = self._adapters.resolve(request.adapters, spec)
        asked = {"model": spec.name, "adapters": adapters.uses}
        return request.model_copy(update=asked), adapters

    def job(self, job_id: str) -> Job | None:
        """The job of that id while it runs, so that a page can find its own again."""
        with self._lock:
            found = self._running.get(job_id)
        return found[0] if found else None

    def _follow(
        self,
        inner: Job,
        outer: Job,
        folder: Path | None,
        enhancement: Enhancement | None,
        adapters: Resolved,
    ) -> None:
        """Pass the inner job's events on, writing pictures on the way. Ends with the outer job."""
        try:
            for event in inner.events():
                match event:
                    case ImageReady(image):
                        recipe = recipe_for(
                            outer.request, image, enhancement=enhancement, adapters=adapters.recipes
                        )
                        into = folder or day_folder(self._settings.data_dir)
                        path = save_picture(
                            into, self._sealed(encode_png(image.image, recipe), outer)
                        )
                        outer.publish(Saved(image.index, image.seed, path, image.flagged))
                    case Loading():
                        outer.publish(Loading(outer.request.model))
                    case Heartbeat():
                        pass
                    case Finished() | Stopped() | Failed():
                        self._forget(outer)
                        outer.publish(event)
                    case _:
                        outer.publish(event)
        except StorageFailed as error:
            inner.cancel()
            self._forget(outer)
            outer.publish(Failed(error))
        finally:
            if outer.end is None:  # a defect of ours: it goes to the log, and nobody waits forever
                inner.cancel()
                self._forget(outer)
                outer.publish(
                    Failed(GenerationFailed(f"Something went wrong inside (job {outer.id})."))
                )

    def _sealed(self, png: bytes, job: Job) -> bytes:
        """The file with content credentials; without them, and said so, where that fails."""
        if self._signer is None:
            return png
        try:
            return self._signer.sign(png)
        except StorageFailed as error:
            job.publish(Note(f"Saved without content credentials. {error}"))
            return png

    def _forget(self, job: Job) -> None:
        with self._lock:
            self._running.pop(job.id, None)

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
        session: str = "",
        key_name: str = "",
        on_text: Callable[[str], None] | None = None,
    ) -> Draft:
        """A draft of a richer prompt for that model; outside the engine's queue, in at most 8 s.

        choice: "auto" asks the API where there is one. triggers: words that must be in it.
        adapters: names whose trigger words must be in it too, beside those of the prompt's tags;
        the tags stay at its end. again: how often another draft was wished for. session: who
        asks, for the limits. key_name: from keep_key. on_text: is called with the draft as it
        grows, and may raise GivenUp to have none. Raises InvalidRequest for a prompt that could
        not be drawn, and ModelUnavailable.
        """
        request = self.request(model=model, prompt=prompt)
        spec = self._spec(request.model)
        sentences = reads_sentences(spec)
        names = (*adapters, *(use.name for use in request.adapters))
        words = tuple(dict.fromkeys((*triggers, *self._adapters.triggers(names, spec))))

        def count(text: str) -> int:
            counted = self._tokens.count(spec, text)
            return rough_count(text) if counted is None else counted

        context = Context(
            model=request.model,
            budget=SENTENCE_BUDGET if sentences else BUDGET,
            count=count,
            rewrites=sentences,
            words=spec.words,
            triggers=words,
            again=again,
        )
        own = self._keys.find(key_name)
        draft = self._enhancer.enhance(request.prompt, context, choice, own, session, on_text)
        tags = " ".join(map(tag_of, request.adapters))
        if not tags:
            return draft
        return replace(draft, text=f"{draft.text} {tags}", original=str(prompt))

    def prepare_enhancer(self) -> None:
        """Import what the API needs, so that the first draft need not wait for it."""
        self._enhancer.prepare()

    def keep_key(self, key: str, url: str = "", model: str = "", *, urls_allowed: bool) -> str:
        """A name for a user's own key and service, good for an hour. Raises InvalidRequest."""
        return self._keys.keep(users_service(key, url, model, urls_allowed=urls_allowed))

    def forget_key(self, key_name: str) -> None:
        """Drop a user's key."""
        self._keys.forget(key_name)

    def service(self, key_name: str = "") -> Service | None:
        """Who would be asked: the user's own service, else the operator's, else nobody."""
        return self._keys.find(key_name) or self._enhancer.service

    def count_tokens(self, model: str, prompt: str) -> int | None:
        """The tokens of a prompt for a model of models(); None where it cannot say."""
        return self._tokens.count(self._spec(model), without_tags(prompt))

    # --- pictures

    def recipe_of(self, path: Path) -> Recipe:
        """The recipe inside a picture file. Raises PictureUnreadable."""
        return read_recipe(path)

    def form_of(self, recipe: Recipe) -> FormFields:
        """A recipe as fields of a form, with sentences on what could not be taken over."""
        return form_fields(recipe, self._specs.keys(), self._adapters.catalogue.list())

    def verify(self, path: Path) -> Verification:
        """Draw the recipe inside a picture file again, exactly, and say how the two compare.

        Waits for its turn in the queue. Raises PictureUnreadable, and what Engine.submit and a job
        raise; a model or an adapter that is not here is an answer.
        """
        return verify_picture(path, self._adapters.catalogue.list(), self.request, self._draw_one)

    def _draw_one(self, request: GenerateRequest) -> GeneratedImage:
        """The one picture of a request, kept nowhere."""
        job = self._engine.submit(self._for_engine(request)[0])
        return job.result().images[0]

    def recent(self, limit: int = 100) -> list[Path]:
        """The newest pictures of the data folder, newest first."""
        return list_pictures(self._settings.data_dir, limit)

    # --- models

    def models(self) -> list[ModelCard]:
        """The models that can be asked for: the table, and the configured one if it is another."""
        return [self._card(name, spec) for name, spec in self._specs.items()]

    def model(self, name: str) -> ModelCard:
        """The card of one model. Raises ModelUnavailable for a name that is not offered."""
        return self._card(name, self._spec(name))

    def default_model(self) -> str:
        """The configured model's name; the bundled one where `model_problem` says why not."""
        return self._default

    def download_size(self, name: str) -> int:
        """Bytes that download() would fetch now; asks the Hub, fetches nothing.

        Raises ModelUnavailable with the reason: no network, no such model, no access.
        """
        return self._model_files.download_size(replace(self._spec(name), name=name))

    def download(self, name: str, on_progress: OnProgress) -> Path:
        """Fetch a model; only ever called when somebody has agreed. Its folder.

        Raises ModelUnavailable with the reason: no network, no access, disk full, wrong content.
        """
        spec = self._spec(name)
        folder = self._model_files.download(replace(spec, name=name), on_progress)
        if name not in bundled_models():
            self._offer(spec.name)  # only the files themselves tell what a foreign model is
        return folder

    def _offer(self, model: str) -> None:
        """Offer the configured model beside the table, as the default.

        One that is given as a path is known by the last part of it: paths stay on this machine.
        """
        if not model or model in self._specs:
            self._default = model or self._default
            return
        try:
            spec = find_model(model)
        except ModelUnavailable as error:
            self.model_problem = str(error)
            return
        name = public_model_name(spec.name)
        if name in bundled_models():
            name = f"{name} (local)"
        spec = replace(spec, title=public_model_name(spec.title))
        self._specs = {name: spec, **bundled_models()}
        self._default = name

    def _spec(self, name: str) -> ModelSpec:
        spec = self._specs.get(name)
        if spec is None:
            raise ModelUnavailable(
                f"The model '{name}' is not offered here. There are: {', '.join(self._specs)}. "
                "Another one is added with --model or SDGEN_MODEL when the app starts."
            )
        return spec

    def _card(self, name: str, spec: ModelSpec) -> ModelCard:
        return ModelCard(
            name=name,
            title=spec.title,
            local=self._model_files.is_local(spec),
            download_bytes=spec.download_bytes,
            licence=spec.licence,
            width=spec.width,
            height=spec.height,
            steps=spec.steps,
            guidance_scale=spec.guidance_scale,
            sampler=spec.sampler,
            ignores=spec.ignores,
            words=spec.words,
        )

    # --- adapters

    def adapters(self, model: str) -> list[AdapterCard]:
        """The LoRA adapters, judged for a model of models(). Raises ModelUnavailable."""
        return self._adapters.cards(self._spec(model))

    def inspect_adapter(self, name: str, model: str = "") -> AdapterCard:
        """One adapter of adapters(), judged for a model.

        Raises InvalidRequest for an unknown name, AdapterUnavailable, and ModelUnavailable.
        """
        spec = self._spec(model or self._default)
        return self._adapters.card(self._adapters.find(name, spec), spec)

    def inspect_adapter_file(self, path: Path, model: str = "") -> AdapterCard:
        """A file that is not taken in, judged for a model. Raises AdapterRefused."""
        return self._adapters.examine(path, self._spec(model or self._default))

    def add_adapter_file(self, path: Path, original_name: str) -> AdapterReport:
        """Take a user's file in: a copy goes to the data folder. Raises AdapterRefused and
        StorageFailed."""
        return self._adapters.catalogue.add_upload(path, original_name)

    def use_adapter_file(self, path: Path) -> AdapterReport:
        """Use a file of this machine where it lies, for as long as this program runs; for the
        command line, never for a page. Raises AdapterRefused."""
        return self._adapters.catalogue.add_path(path)

    def broken_adapters(self) -> list[tuple[str, str]]:
        """Files among the adapters that cannot be used: (name, why)."""
        return self._adapters.catalogue.broken()

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
        """Remove one that somebody added. Raises AdapterUnavailable."""
        self._adapters.catalogue.remove(name)

    # --- the whole

    def status(self) -> EngineStatus:
        """What the engine is doing now; models under the names they have here."""
        names = {spec.name: name for name, spec in self._specs.items()}
        status = self._engine.status()
        return replace(status, loaded=tuple(names.get(model, model) for model in status.loaded))

    def close(self, grace: float = 5.0) -> None:
        """Take nothing new, stop what runs, keep what was finished. Idempotent.

        grace: seconds for the engine to stop, and then again for pictures on their way to disk.
        """
        with self._lock:
            self._closed = True
            threads = [thread for _, thread in self._running.values()]
        self._enhancer.close()
        self._engine.close(grace)
        deadline = time.monotonic() + grace
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def enhancement_of(draft: Draft, prompt: str) -> Enhancement | None:
    """What the recipe of a picture of `prompt` says about the draft; None where it added nothing.

    prompt: what is drawn; a person may have changed the draft.
    """
    if draft.engine == OWN_WORDS or prompt == draft.original:
        return None
    return Enhancement(draft.original, draft.engine, draft.model)
