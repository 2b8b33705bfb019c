"""One request on its way through the engine: its pictures, its progress, its end."""

import functools
import importlib.metadata
import time
from typing import TYPE_CHECKING

from sdgen.errors import SdgenError
from sdgen.job import (
    Failed,
    Finished,
    GeneratedImage,
    GenerateResult,
    ImageReady,
    Job,
    Preview,
    Progress,
    RunInfo,
    Stopped,
)
from sdgen.models import ModelSpec
from sdgen.pipelines.prompts import RULES, RULES_NAME
from sdgen.version import VERSION

if TYPE_CHECKING:
    from PIL import Image

    from sdgen.pipelines.base import Decoded, DenoiseState, StepPipeline, WholePipeline

PREVIEW_SECONDS = 0.25  # at least that long between two previews of a request


class Run:
    """An accepted request and how far it is. Used by the engine thread only, after submit."""

    def __init__(self, job: Job, spec: ModelSpec) -> None:
        self.job = job
        self.request = job.request
        self.spec = spec
        self.states: list[DenoiseState] = []  # pictures still being denoised
        self.images: dict[int, GeneratedImage] = {}  # ready, by index
        self.steps_done = 0
        self._started = time.monotonic()
        self._first_step: float | None = None
        self._last_preview = 0.0

    @property
    def steps(self) -> int:
        """Denoising steps of all pictures together."""
        return self.request.steps * self.request.num_images

    @property
    def rows(self) -> int:
        """Rows of a forward pass that its pictures fill, or will; any thread may ask."""
        if self._first_step is None:
            return self.request.num_images * (2 if self.request.guidance_scale > 1.0 else 1)
        return sum(state.rows for state in tuple(self.states))

    def start(self, states: "list[DenoiseState]") -> None:
        """Its pictures join the running batch."""
        self.states = states
        self._first_step = time.monotonic()

    def stepped(self, count: int) -> None:
        """`count` pictures took one step; the reader is told."""
        now = time.monotonic()
        if self._first_step is None:
            self._first_step = now
        self.steps_done += count
        left = None
        if self.steps_done:
            each = (now - self._first_step) / self.steps_done
            left = each * (self.steps - self.steps_done)
        self.job.publish(Progress(self.steps_done, self.steps, left))

    @property
    def wants_preview(self) -> bool:
        """True when the last preview is old enough."""
        return time.monotonic() - self._last_preview >= PREVIEW_SECONDS

    def preview(self, images: "dict[int, Image.Image]") -> None:
        """Show how pictures look now, by index."""
        self._last_preview = time.monotonic()
        count = self.request.num_images
        self.job.publish(Preview(tuple(images.get(i) for i in range(count)), self.steps_done))

    def ready(
        self,
        index: int,
        decoded: "Decoded",
        pipeline: "StepPipeline | WholePipeline",
        *,
        shared: bool,
        notes: tuple[str, ...],
    ) -> None:
        """Picture `index` is finished; the last one ends the job."""
        info = RunInfo(
            model=self.request.model,
            model_hash=pipeline.model_hash,
            device=pipeline.label,
            dtype=str(pipeline.dtype).removeprefix("torch."),
            versions=versions(),
            shared=shared,
            notes=(*pipeline.notes, *notes),
            noise_scheduler=decoded.noise_scheduler,
            attention=pipeline.attention,
            threads=_threads(pipeline.device.type),
        )
        image = GeneratedImage(
            index, self.request.seed + index, decoded.image, info, decoded.flagged
        )
        self.images[index] = image
        self.job.publish(ImageReady(image))
        if len(self.images) == self.request.num_images:
            self.job.publish(Finished(self._result()))

    def stop(self) -> None:
        """End it as stopped; what is ready is kept."""
        self.states = []
        self.job.publish(Stopped(self._result()))

    def fail(self, error: SdgenError) -> None:
        """End it as failed; what is ready is kept."""
        self.states = []
        self.job.publish(Failed(error))

    def _result(self) -> GenerateResult:
        images = tuple(self.images[index] for index in sorted(self.images))
        return GenerateResult(images, time.monotonic() - self._started)


def _threads(device: str) -> int:
    """CPU threads of torch; 0 on another device."""
    import torch

    return torch.get_num_threads() if device == "cpu" else 0


@functools.cache
def versions() -> tuple[tuple[str, str], ...]:
    """(package or rules, version) of all that decides how a picture comes out."""
    packages = ("torch", "diffusers", "transformers")
    found = [(name, importlib.metadata.version(name)) for name in packages]
    return (("sdgen", VERSION), (RULES_NAME, RULES), *found)
