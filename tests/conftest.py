"""The fakes of every seam, and what most tests need. No torch, no network, no weights.

FakeEngine draws in milliseconds: a picture is the SHA-256 of all that may decide it, so a test can
tell from the pixels alone which request a picture belongs to.
"""

import asyncio
import gc
import hashlib
import logging
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest
from PIL import Image

from sdgen.config import Settings
from sdgen.errors import DownloadNeeded, QueueFull, SdgenError, ShuttingDown
from sdgen.history import History
from sdgen.job import (
    EngineStatus,
    Failed,
    Finished,
    GeneratedImage,
    GenerateResult,
    ImageReady,
    Job,
    Loading,
    Note,
    Preview,
    Progress,
    Queued,
    RunInfo,
    Stopped,
)
from sdgen.launch import ENVIRONMENT
from sdgen.models import ModelSpec
from sdgen.request import GenerateRequest
from sdgen.studio import Studio

# Tests run two at a time; more threads than cores only wait for each other. torch reads it later.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Servers in tests keep no statistics of events either. Made by pandas in a thread of its own, they
# would swap the process's warning filters while a test is putting its own in place.
os.environ.update({k: v for k, v in ENVIRONMENT.items() if k.startswith("GRADIO_")})

# A busy machine is not a failure: examples are counted, not timed.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

FAKE_INFO = RunInfo(
    model="picturebook",
    model_hash="ab" * 32,
    device="cpu",
    dtype="float32",
    versions=(("torch", "2.13.0"), ("diffusers", "0.42.1")),
    shared=False,
)


def fake_picture(request: GenerateRequest, seed: int) -> Image.Image:
    """The picture that FakeEngine draws: the digest of prompt, seed and settings, repeated."""
    decisive = request.model_dump(exclude={"num_images", "seed", "exact"}) | {"seed": seed}
    digest = hashlib.sha256(repr(sorted(decisive.items())).encode()).digest()
    count = request.width * request.height * 3
    pixels = (digest * (count // len(digest) + 1))[:count]
    return Image.frombytes("RGB", (request.width, request.height), pixels)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request: `error` after `step` steps of image `index`."""

    error: SdgenError
    index: int = 0
    step: int = 0


@dataclass
class FakeEngine:
    """An Engine with a real thread and no model: one request at a time, a step at a time.

    seconds_per_step: how long a step takes. faults: taken one a request, None = all goes well.
    before_step: called before each step, e.g. to hold the engine at a point a test wants.
    """

    seconds_per_step: float = 0.0
    max_queue: int = 32
    faults: deque[Fault | None] = field(default_factory=deque)
    notes: tuple[str, ...] = ()
    flagged: str = ""
    info: RunInfo = FAKE_INFO
    before_step: Callable[[Job, int], None] = lambda job, step: None

    def __post_init__(self) -> None:
        self.submitted: list[GenerateRequest] = []
        self.steps_taken = 0
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="fake-engine", daemon=True)
        self._thread.start()

    def submit(self, request: GenerateRequest, job_id: str = "") -> Job:
        with self._changed:
            if self._closed:
                raise ShuttingDown
            if len(self._waiting) >= self.max_queue:
                raise QueueFull(len(self._waiting))
            job = Job(request, on_cancel=self._wake, job_id=job_id)
            self.submitted.append(request)
            job.publish(Queued(len(self._waiting) + (self._running is not None)))
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def status(self) -> EngineStatus:
        with self._changed:
            running = int(self._running is not None)
            return EngineStatus(running, len(self._waiting), "cpu", "float32", (self.info.model,))

    def close(self, grace: float = 5.0) -> None:
        with self._changed:
            self._closed = True
            jobs = [*self._waiting] + ([self._running] if self._running else [])
        for job in jobs:
            job.cancel()
        self._wake()
        self._thread.join(grace)

    def _wake(self) -> None:
        with self._changed:
            for job in [job for job in self._waiting if job.cancelled]:
                self._waiting.remove(job)
                job.publish(Stopped(GenerateResult((), 0.0)))
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._running = None
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                job = self._running = self._waiting.popleft()
            fault = self.faults.popleft() if self.faults else None
            self._draw(job, fault)

    def _draw(self, job: Job, fault: Fault | None) -> None:
        request = job.request
        done: list[GeneratedImage] = []
        total = request.steps * request.num_images
        job.publish(Loading(self.info.model))
        for text in self.notes:
            job.publish(Note(text))
        for index in range(request.num_images):
            picture = fake_picture(request, request.seed + index)
            for step in range(request.steps + 1):
                if fault and (fault.index, fault.step) == (index, step):
                    job.publish(Failed(fault.error))
                    return
                if job.cancelled:
                    job.publish(Stopped(GenerateResult(tuple(done), 0.1)))
                    return
                if step == request.steps:
                    break
                self.before_step(job, step)
                self._pause(job)
                self.steps_taken += 1
                taken = index * request.steps + step + 1
                left = (total - taken) * self.seconds_per_step
                job.publish(Progress(taken, total, left))
                looks = [None] * request.num_images
                job.publish(
                    Preview((*looks[:index], picture.resize((32, 32)), *looks[index + 1 :]), taken)
                )
            image = GeneratedImage(
                index, request.seed + index, picture, self.info, flagged=self.flagged
            )
            done.append(image)
            job.publish(ImageReady(image))
        job.publish(Finished(GenerateResult(tuple(done), 0.1)))

    def _pause(self, job: Job) -> None:
        if self.seconds_per_step:
            with self._changed:
                self._changed.wait_for(lambda: job.cancelled, self.seconds_per_step)


@dataclass
class FakeModelFiles:
    """The seam to sdgen.model_files: names that are on this machine, downloads that take no time.

    error: what the next downloads raise, and questions about their size.
    """

    local: set[str] = field(default_factory=lambda: {"picturebook"})
    error: SdgenError | None = None

    def is_local(self, spec: ModelSpec) -> bool:
        return spec.name in self.local

    def local_folder(self, spec: ModelSpec) -> Path:
        if spec.name not in self.local:
            raise DownloadNeeded(spec.name, spec.download_bytes)
        return Path()

    def download_size(self, spec: ModelSpec) -> int:
        if self.error is not None:
            raise self.error
        return 0 if self.is_local(spec) else spec.download_bytes

    def download(
        self, spec: ModelSpec, on_progress: Callable[[int, int], None] | None = None
    ) -> Path:
        for part in range(5):
            if on_progress is not None:
                on_progress(spec.download_bytes * part // 4, spec.download_bytes)
            if self.error is not None:
                raise self.error
        self.local.add(spec.name)
        return Path()


@pytest.fixture(scope="module", autouse=True)
def _light_sweeps(request: pytest.FixtureRequest) -> Iterator[None]:
    """Modules with Gradio sweep up after each test (see GRADIO_WARNINGS): what was imported before
    need not be looked through each time, and nothing is left for the next module."""
    gradio = hasattr(request.module, "GRADIO_WARNINGS")
    if gradio:
        gc.collect()
        gc.freeze()
    yield
    if gradio:
        gc.unfreeze()
        asyncio.set_event_loop(None)  # the last of Gradio's loops is held as this thread's own
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see no SDGEN_ variable of the person who runs them, and no Space."""
    for name in list(os.environ):
        own = name.startswith(("SDGEN_", "OPENAI_"))
        if own or name in ("SPACE_ID", "SPACES_ZERO_GPU", "ACCELERATOR"):
            monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Default settings with a data folder of the test's own."""
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine that draws at once."""
    fake = FakeEngine()
    yield fake
    fake.close()


@pytest.fixture
def model_files() -> FakeModelFiles:
    """Only the bundled model is on this machine."""
    return FakeModelFiles()


@pytest.fixture
def studio(settings: Settings, engine: FakeEngine, model_files: FakeModelFiles) -> Iterator[Studio]:
    """A studio over the fakes."""
    made = Studio(settings, engine, model_files)
    yield made
    made.close()


def ask(prompt: str = "a red robot on a beach", **given: object) -> GenerateRequest:
    """A small valid request; `given` are its other fields."""
    fields: dict[str, object] = {
        "model": "picturebook",
        "width": 64,
        "height": 64,
        "steps": 3,
        "guidance_scale": 3.0,
        "seed": 7,
        "sampler": "dpmpp_2m",
    }
    return GenerateRequest.checked(prompt=prompt, **(fields | given))


@pytest.fixture(autouse=True)
def no_log_is_left_open() -> Iterator[None]:
    """What a test had written to its own stderr, as an app does, the next one has not."""
    root = logging.getLogger()
    before = [*root.handlers]
    yield
    for handler in [*root.handlers]:
        if type(handler) is logging.StreamHandler and handler not in before:
            root.removeHandler(handler)


OpenHistory = Callable[..., History]


@pytest.fixture
def open_history() -> Iterator[OpenHistory]:
    """Opens a History as its class does, and lets go of it when the test is over."""
    opened: list[History] = []

    def open_(data_dir: Path, **given: bool) -> History:
        opened.append(History(data_dir, **given))
        return opened[-1]

    yield open_
    for history in opened:
        history.close()
