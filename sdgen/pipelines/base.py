"""What the engine asks of a model: the state of one picture, and the pipeline protocols.

Letters in shapes: b pictures, c latent channels, h and w the latent grid, n text tokens, d their
width, r rows of one forward pass (a picture takes two rows with guidance, one without).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from PIL import Image

from sdgen.batcher import BatchKey
from sdgen.models import ModelSpec
from sdgen.pipelines.lora_bank import NO_ADAPTERS, AdapterSet
from sdgen.request import GenerateRequest


@dataclass(frozen=True)
class Conditioning:
    """The text side of one step, shared by its request's pictures; on the pipeline's device."""

    positive: torch.Tensor  # [1, n, d]
    negative: torch.Tensor | None  # [1, n, d]; None: no guidance, one row instead of two
    guidance_scale: float
    timestep_cond: torch.Tensor | None = None  # [1, e]: guidance embedded, for LCM-distilled UNets


@dataclass
class DenoiseState:
    """One picture on its way. Owned by the engine thread; only its conditionings are shared."""

    key: BatchKey
    request: GenerateRequest
    index: int  # which picture of the request
    seed: int  # request.seed + index
    latents: torch.Tensor  # [1, c, h, w], on the pipeline's device, in its dtype
    conditionings: Sequence[Conditioning]  # one a step; the last one counts for all that follow
    noise_scheduler: Any  # a diffusers scheduler of its own, timesteps set
    generator: torch.Generator  # on the CPU, seeded with `seed`
    timesteps: torch.Tensor  # [steps]
    adapters: AdapterSet = NO_ADAPTERS  # of the request; both rows of a guided picture carry them
    denoised: torch.Tensor | None = None  # [1, c, h, w]: what the last step took for finished
    step: int = 0  # steps done
    tick: int = 0  # the engine's step count when this picture last moved; for fair turns
    shared: bool = False  # some step ran together with another request's rows
    notes: list[str] = field(default_factory=list)  # fall-backs taken

    @property
    def conditioning(self) -> Conditioning:
        """That of its next step."""
        return self.conditionings[min(self.step, len(self.conditionings) - 1)]

    @property
    def rows(self) -> int:
        """Rows this picture takes in a forward pass."""
        return 1 if self.conditioning.negative is None else 2

    @property
    def done(self) -> bool:
        """All steps are taken."""
        return self.step >= len(self.timesteps)


@dataclass(frozen=True)
class Decoded:
    """A finished picture. `flagged`: the safety checker's reason, "" where it has none.

    noise_scheduler: diffusers' class and its settings as JSON, for the recipe.
    """

    image: Image.Image
    flagged: str = ""
    noise_scheduler: str = ""


class StepPipeline(Protocol):
    """A model that the engine drives step by step. All methods run on the engine thread only."""

    spec: ModelSpec
    device: torch.device
    dtype: torch.dtype
    label: str  # the device's name for a recipe: "cpu", "cuda (NVIDIA H200)"
    model_hash: str
    notes: tuple[str, ...]  # memory savings in use, and why
    attention: str  # diffusers' attention processor, for a recipe

    def check(self, request: GenerateRequest) -> tuple[str, ...]:
        """Sentences the user should know before it starts (prompt too long, unknown words ...)."""

    def encode(self, request: GenerateRequest) -> list[DenoiseState]:
        """One state per picture. Raises InvalidRequest where prompt and model do not fit, and
        AdapterUnavailable where an adapter cannot be had or used."""

    def predict_noise(self, states: Sequence[DenoiseState]) -> list[torch.Tensor]:
        """One forward pass for all; per state the prediction [1, c, h, w], guidance applied."""

    def advance(self, state: DenoiseState, noise: torch.Tensor) -> None:
        """x_t -> x_{t-1} with the state's own noise scheduler; counts the step."""

    def preview(self, states: Sequence[DenoiseState]) -> list[Image.Image]:
        """Small pictures of how the latents look now, by a linear map; cheap."""

    def decode(
        self, states: Sequence[DenoiseState], *, tiled: bool = False, float32: bool = False
    ) -> list[Decoded]:
        """Latents to pictures. Raises BrokenNumbers when a picture holds NaN or infinity."""

    def close(self) -> None:
        """Give the memory back."""


@runtime_checkable
class WholePipeline(Protocol):
    """Any other model: one request at a time, the loop inside diffusers."""

    spec: ModelSpec
    device: torch.device
    dtype: torch.dtype
    label: str  # the device's name for a recipe: "cpu", "cuda (NVIDIA H200)"
    model_hash: str
    notes: tuple[str, ...]
    attention: str

    def check(self, request: GenerateRequest) -> tuple[str, ...]:
        """Sentences the user should know before it starts."""

    def run(
        self,
        request: GenerateRequest,
        index: int,
        on_step: Callable[[int, Image.Image | None], bool],
    ) -> Decoded | None:
        """Draw picture `index` (seed + index). After every step `on_step(steps_done, preview)`
        is called; when it returns False the run ends within that step and None comes back."""

    def close(self) -> None:
        """Give the memory back."""
