"""A StepPipeline small enough to reason about, with faults on demand: the engine's test double.

The "model": every step pulls the latents towards a target that depends on prompt and seed, so a
finished picture is a pure function of the request, whoever shares its passes.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image

from sdgen.batcher import BatchKey
from sdgen.errors import BrokenNumbers, InvalidRequest
from sdgen.models import ModelSpec
from sdgen.pipelines.base import Conditioning, Decoded, DenoiseState
from sdgen.request import GenerateRequest


@dataclass
class Trace:
    """What the pipeline was asked to do, in order."""

    passes: list[list[tuple[str, int]]] = field(default_factory=list)  # (prompt, step) per row
    decodes: list[tuple[str, bool, bool]] = field(default_factory=list)  # prompt, tiled, float32


class ToyPipeline:
    """See the module. `max_rows`: more raise torch's out-of-memory error."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        seconds: float = 0.0,
        max_rows: int = 1000,
        decode_fault: Callable[[str, bool, bool], Exception | None] | None = None,
        gate: threading.Semaphore | None = None,
    ) -> None:
        self.spec = spec
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self.label = "cpu"
        self.model_hash = "toy"
        self.notes: tuple[str, ...] = ()
        self.attention = "toy"
        self.trace = Trace()
        self.closed = False
        self._seconds = seconds
        self._max_rows = max_rows
        self._decode_fault = decode_fault
        self._gate = gate

    def check(self, request: GenerateRequest) -> tuple[str, ...]:
        return ("a note",) if "note" in request.prompt else ()

    def encode(self, request: GenerateRequest) -> list[DenoiseState]:
        if "unfit" in request.prompt:
            raise InvalidRequest("prompt", "Prompt does not fit this model.")
        row = torch.zeros(1, 1, 1)
        conditioning = Conditioning(
            row, row if request.guidance_scale > 1 else None, request.guidance_scale
        )
        return [self._state(request, index, conditioning) for index in range(request.num_images)]

    def _state(
        self, request: GenerateRequest, index: int, conditioning: Conditioning
    ) -> DenoiseState:
        seed = request.seed + index
        generator = torch.Generator().manual_seed(seed)
        alone = f"{id(request)}/{index}" if request.exact else ""
        return DenoiseState(
            key=BatchKey(request.model, request.height, request.width, alone),
            request=request,
            index=index,
            seed=seed,
            latents=torch.randn(1, 3, 2, 2, generator=generator),
            conditionings=(conditioning,),
            noise_scheduler=None,
            generator=generator,
            timesteps=torch.arange(request.steps),
        )

    def predict_noise(self, states: Sequence[DenoiseState]) -> list[torch.Tensor]:
        if self._gate is not None:
            self._gate.acquire()
        time.sleep(self._seconds)
        rows = sum(state.rows for state in states)
        if rows > self._max_rows:
            raise torch.OutOfMemoryError("CUDA out of memory (toy)")
        if any("poison" in state.request.prompt for state in states):
            raise ValueError("a tensor has the wrong shape (toy)")
        self.trace.passes.append([(s.request.prompt, s.step) for s in states])
        return [state.latents - target(state.request.prompt) for state in states]

    def advance(self, state: DenoiseState, noise: torch.Tensor) -> None:
        if "stumble" in state.request.prompt and state.step == 1:
            raise RuntimeError("this sampler cannot go on (toy)")
        state.latents = state.latents - 0.5 * noise
        state.step += 1

    def preview(self, states: Sequence[DenoiseState]) -> list[Image.Image]:
        return [Image.new("RGB", (8, 8)) for _ in states]

    def decode(
        self, states: Sequence[DenoiseState], *, tiled: bool = False, float32: bool = False
    ) -> list[Decoded]:
        for state in states:
            prompt = state.request.prompt
            self.trace.decodes.append((prompt, tiled, float32))
            fault = self._decode_fault(prompt, tiled, float32) if self._decode_fault else None
            if fault is not None:
                raise fault
        return [Decoded(picture(state.latents)) for state in states]

    def close(self) -> None:
        self.closed = True


def target(prompt: str) -> torch.Tensor:
    """[1, 3, 1, 1]: the colour that a prompt stands for."""
    digest = hashlib.sha256(prompt.encode()).digest()
    return torch.tensor([byte / 255 for byte in digest[:3]]).view(1, 3, 1, 1)


def picture(latents: torch.Tensor) -> Image.Image:
    """[1, 3, h, w] in about 0..1 -> an RGB image."""
    if not torch.isfinite(latents).all():
        raise BrokenNumbers("The picture came out as broken numbers.")
    pixels = (latents[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.numpy())


class ToyWhole:
    """A WholePipeline: a loop of its own that calls back after every step."""

    def __init__(self, spec: ModelSpec, gate: threading.Semaphore | None = None) -> None:
        self.spec = spec
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self.label = "cpu"
        self.model_hash = "toy whole"
        self.notes: tuple[str, ...] = ()
        self.attention = "toy"
        self.steps_taken = 0
        self._gate = gate

    def check(self, request: GenerateRequest) -> tuple[str, ...]:
        return ()

    def run(
        self,
        request: GenerateRequest,
        index: int,
        on_step: Callable[[int, Image.Image | None], bool],
    ) -> Decoded | None:
        for step in range(request.steps):
            if self._gate is not None:
                self._gate.acquire()
            self.steps_taken += 1
            if not on_step(step + 1, Image.new("RGB", (8, 8))):
                return None
        return Decoded(Image.new("RGB", (8, 8), (request.seed + index, 0, 0)))

    def close(self) -> None:
        pass
