"""Any text-to-image pipeline of diffusers: one picture at a time, the loop inside diffusers."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, LCMScheduler
from PIL import Image

from sdgen.adapters.names import PARTS
from sdgen.errors import BrokenNumbers, InvalidRequest
from sdgen.models import ModelSpec
from sdgen.pipelines.base import Decoded
from sdgen.pipelines.device import DeviceChoice, attention_of
from sdgen.pipelines.faults import free_memory, is_out_of_memory
from sdgen.pipelines.lora_bank import MIB, NO_ADAPTERS, AdapterSet, LoraBank
from sdgen.pipelines.noise_schedulers import (
    described,
    is_edm,
    noise_scheduler,
    sampler_problem,
    set_steps,
)
from sdgen.pipelines.previews import LatentPreview, known_preview
from sdgen.pipelines.prompt_reading import has_notation
from sdgen.pipelines.whole_text import EncodedSteps, whole_text
from sdgen.request import GenerateRequest
from sdgen.samplers import sampler_title

OnStep = Callable[[int, Image.Image | None], bool]

# For the autoencoder of SDXL, on scaled latents, towards [-1, 1]; the figures that ComfyUI uses
# (comfy/latent_formats.py, class SDXL).
_SDXL_SCALING = 0.13025
_SDXL_FACTORS = (
    (0.3651, 0.4232, 0.4341),
    (-0.2533, -0.0042, 0.1068),
    (0.1076, 0.1111, -0.0362),
    (-0.3165, -0.2492, -0.2188),
)
_SDXL_BIAS = (0.1084, -0.0175, -0.0011)


_ROWS_MAX = 16  # rows of a pass in diffusers' own loops: 2 with guidance, 3 or 4 in some


class _Stop(Exception):
    """Ends a pipeline's loop from within a step; diffusers' own flag would still decode."""


class WholeDiffusersPipeline:
    """A diffusers pipeline as a WholePipeline. Everything on the engine thread."""

    def __init__(
        self,
        pipe: Any,
        spec: ModelSpec,
        choice: DeviceChoice,
        model_hash: str,
        notes: tuple[str, ...] = (),
        adapter_memory_mb: int = 512,
    ) -> None:
        """pipe: a loaded text-to-image pipeline, on its device. adapter_memory_mb: for LoRA
        adapters; above it those that nobody uses leave."""
        self.spec = spec
        self.device = choice.device
        self.label = choice.label
        self.dtype = choice.dtype
        self.model_hash = model_hash
        self.notes = notes
        self.attention = attention_of(pipe)
        self._pipe = pipe
        self._takes = frozenset(inspect.signature(pipe.__call__).parameters)
        self._own_scheduler = getattr(pipe, "scheduler", None)
        self._menu_fits = _menu_fits(self._own_scheduler)
        self._preview_map = _preview_map(getattr(pipe, "vae", None))
        self._bank = _bank(pipe, choice, adapter_memory_mb * MIB)
        self._text = whole_text(pipe, self._takes, choice, self._bank)

    def check(self, request: GenerateRequest) -> tuple[str, ...]:
        """What of the request this model cannot follow, one sentence each.

        Raises InvalidRequest where the sampler cannot take that many steps, for prompts that are
        too much to encode, and for adapters where the model can have none.
        """
        if request.adapters and self._bank is None:
            raise InvalidRequest(
                "adapters",
                f"{self.spec.title} takes no LoRA adapters here: they work with Stable Diffusion "
                "1, 2 and XL. Please take them out, or choose another model.",
            )
        if self._text is not None:
            sentences = self._text.sentences(request)
        elif has_notation(request.prompt) or has_notation(request.negative_prompt):
            sentences = [
                "This model reads no notation (weights, BREAK, prompt editing, tags); what is "
                "written so in a prompt is read as words."
            ]
        else:
            sentences = []
        if request.negative_prompt and "negative_prompt" not in self._takes:
            sentences.append("This model takes no negative prompt; it is left out.")
        if request.clip_skip and self._text is None and "clip_skip" not in self._takes:
            sentences.append("This model has no clip skip; it is left out.")
        if self._follows_menu(request):
            set_steps(self._scheduler(request), request.sampler, request.steps)
        else:
            own = type(self._own_scheduler).__name__.removesuffix("Scheduler")
            sentences.append(
                f"The sampler {sampler_title(request.sampler)} does not fit this model; "
                f"its own ({own}) is used."
            )
        return tuple(sentences)

    def run(self, request: GenerateRequest, index: int, on_step: OnStep) -> Decoded | None:
        """Draw picture `index` (seed + index). After every step `on_step(steps_done, preview)` is
        called; when it returns False the run ends within that step and None comes back.

        Raises BrokenNumbers when latents or picture are not finite even in float32, and
        AdapterUnavailable, AdapterRefused for a LoRA file that is gone or cannot work here.
        """
        pipe = self._pipe
        adapters = NO_ADAPTERS if self._bank is None else self._bank.adapters(request.adapters)
        scheduler = self._scheduler(request)
        text = None if self._text is None else self._text.encoded(request, adapters)
        estimates = _Estimates(scheduler)
        if scheduler is not None:
            pipe.scheduler = scheduler
        steps_done = 0

        def after_step(step: int, latents: torch.Tensor | None) -> None:
            nonlocal steps_done
            steps_done = step + 1
            estimate = estimates.newest if estimates.newest is not None else latents
            if not on_step(steps_done, self._preview(estimate)):
                raise _Stop

        try:
            with (
                torch.no_grad(),
                self._reporting(after_step, text) as callback,
                self._careful_decoding(),
                self._carrying(adapters),
            ):
                output = pipe(**self._arguments(request, index, text), **callback)
        except _Stop:
            pipe.maybe_free_model_hooks()
            return None
        finally:
            if self._own_scheduler is not None:
                pipe.scheduler = self._own_scheduler
        return replace(_picture(output), noise_scheduler=described(scheduler))

    def close(self) -> None:
        """Give the memory back; the pipeline cannot be used afterwards."""
        self._pipe = None
        self._bank = None
        self._text = None
        self._own_scheduler = None
        free_memory()

    # ---- what diffusers is called with --------------------------------------------------------

    def _arguments(
        self, request: GenerateRequest, index: int, text: EncodedSteps | None
    ) -> dict[str, Any]:
        """The call's arguments, only those that this pipeline takes."""
        generator = torch.Generator("cpu").manual_seed(request.seed + index)
        wanted: dict[str, Any] = {
            "height": request.height,
            "width": request.width,
            "num_inference_steps": request.steps,
            "guidance_scale": request.guidance_scale,
            "generator": generator,
            "output_type": "np",
        }
        if text is not None:
            wanted |= text.arguments
        else:
            wanted["prompt"] = request.prompt
            if request.negative_prompt:
                wanted["negative_prompt"] = request.negative_prompt
            if request.clip_skip:
                wanted["clip_skip"] = request.clip_skip
        return {name: value for name, value in wanted.items() if name in self._takes}

    def _follows_menu(self, request: GenerateRequest) -> bool:
        """True where the sampler that was asked for can stand in for the model's own."""
        own = self._own_scheduler
        if own is None or not self._menu_fits:
            return False
        return not sampler_problem(request.sampler, own.config)

    def _scheduler(self, request: GenerateRequest) -> Any:
        """A noise scheduler of this picture's own; None where the pipeline has none."""
        own = self._own_scheduler
        if own is None:
            return None
        if self._follows_menu(request):
            return noise_scheduler(request.sampler, own.config)
        return type(own).from_config(own.config)

    # ---- during the loop ----------------------------------------------------------------------

    @contextmanager
    def _carrying(self, adapters: AdapterSet) -> Iterator[None]:
        """While it lasts, all passes of denoiser and text encoders carry these adapters."""
        with ExitStack() as stack:
            if self._bank is not None:
                for part in PARTS:
                    if adapters.row(part):
                        stack.enter_context(self._bank.carrying(part, [adapters] * _ROWS_MAX))
            yield

    @contextmanager
    def _reporting(
        self,
        after_step: Callable[[int, torch.Tensor | None], None],
        text: EncodedSteps | None,
    ) -> Iterator[dict[str, Any]]:
        """The arguments that make the pipeline report its steps, and change its prompts."""
        if "callback_on_step_end" in self._takes:

            def on_step_end(
                pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]
            ) -> dict[str, Any]:
                del timestep
                after_step(step, tensors.get("latents"))
                if not watched or text is None:
                    return {}
                return dict(text.changes(step + 1, pipe.num_timesteps, tensors))

            watched = [] if text is None else text.watched
            arguments: dict[str, Any] = {"callback_on_step_end": on_step_end}
            if watched:
                arguments["callback_on_step_end_tensor_inputs"] = ["latents", *watched]
            yield arguments
            return
        denoiser = getattr(self._pipe, "unet", None) or getattr(self._pipe, "transformer", None)
        if denoiser is None:
            yield {}
            return
        timesteps: list[Any] = []  # those seen; a new one means that the one before is done

        def before_pass(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            del module
            now = kwargs.get("timestep", args[1] if len(args) > 1 else len(timesteps))
            now = float(torch.as_tensor(now).flatten()[0])
            if now not in timesteps:
                timesteps.append(now)
                if len(timesteps) > 1:
                    after_step(len(timesteps) - 2, None)

        handle = denoiser.register_forward_pre_hook(before_pass, with_kwargs=True)
        try:
            yield {}
        finally:
            handle.remove()

    def _preview(self, latents: torch.Tensor | None) -> Image.Image | None:
        if self._preview_map is None or latents is None or latents.ndim != 4:
            return None
        return self._preview_map.images(latents[:1])[0]

    @contextmanager
    def _careful_decoding(self) -> Iterator[None]:
        """While it lasts, decoding goes on in tiles when memory runs out, and in float32 when
        numbers break."""
        vae = getattr(self._pipe, "vae", None)
        if vae is None:
            yield
            return
        decode = vae.decode

        @functools.wraps(decode)
        def careful(latents: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if not torch.isfinite(latents).all():
                raise BrokenNumbers(
                    "The model's numbers broke (NaN) while it drew; try another sampler, fewer "
                    "guidance or SDGEN_DTYPE=float32."
                )
            try:
                decoded = decode(latents, *args, **kwargs)
            except RuntimeError as error:
                if not is_out_of_memory(error) or not hasattr(vae, "enable_tiling"):
                    raise
                decoded = None
            if decoded is None:
                free_memory()
                vae.enable_tiling()  # and stays so: the next picture would not fit either
                decoded = decode(latents, *args, **kwargs)
            if torch.isfinite(decoded[0]).all():
                return decoded
            dtype = vae.dtype
            vae.to(dtype=torch.float32)
            try:
                return decode(latents.float(), *args, **kwargs)
            finally:
                vae.to(dtype=dtype)

        vae.decode = careful
        try:
            yield
        finally:
            del vae.decode


class _Estimates:
    """Keeps the newest estimate of the finished latents that a noise scheduler's steps make."""

    def __init__(self, scheduler: Any) -> None:
        self.newest: torch.Tensor | None = None
        if scheduler is None:
            return
        step = scheduler.step

        @functools.wraps(step)
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = step(*args, **kwargs)
            predictions = getattr(scheduler, "model_outputs", None)  # DPM++ and UniPC: of x_0
            if isinstance(result, tuple) and len(result) > 1:
                self.newest = result[1]
            elif predictions:
                self.newest = predictions[-1]
            return result

        scheduler.step = watched  # an instance of this run alone


def _bank(pipe: Any, choice: DeviceChoice, memory: int) -> LoraBank | None:
    """A bank for the parts that adapters can act on; None where the model can have none."""
    if not hasattr(pipe, "load_lora_weights") or not hasattr(pipe, "unet"):
        return None
    found = {part: getattr(pipe, part, None) for part in PARTS}
    parts = {part: module for part, module in found.items() if isinstance(module, torch.nn.Module)}
    return LoraBank(parts, choice.device, choice.dtype, memory)


def _menu_fits(own: Any) -> bool:
    """True when the samplers of the menu can stand in for the model's own: not for flow models."""
    if own is None or own.config.get("use_flow_sigmas"):
        return False
    if is_edm(own.config):
        return True
    if own.config.get("prediction_type", "epsilon") not in ("epsilon", "v_prediction", "sample"):
        return False
    return isinstance(own, LCMScheduler) or DDIMScheduler in getattr(own, "compatibles", ())


def _preview_map(vae: Any) -> LatentPreview | None:
    """The linear map that suits the pipeline's autoencoder, where one is known."""
    if vae is None or not hasattr(vae.config, "latent_channels"):
        return None
    if vae.config.latent_channels != 4 or not vae.config.get("block_out_channels"):
        return None
    if abs((vae.config.get("scaling_factor") or 0.0) - _SDXL_SCALING) < 1e-4:
        return LatentPreview(torch.tensor(_SDXL_FACTORS), torch.tensor(_SDXL_BIAS))
    return known_preview(vae, None)


def _picture(output: Any) -> Decoded:
    """The first picture of a pipeline's output. Raises BrokenNumbers where it is not finite."""
    first = output.images[0]
    flags = getattr(output, "nsfw_content_detected", None)
    flagged = "The model's own safety checker objects to it." if flags and flags[0] else ""
    if isinstance(first, Image.Image):
        return Decoded(first.convert("RGB"), flagged)
    pixels = np.asarray(first)  # [h, w, 3], 0 to 1
    if not np.isfinite(pixels).all():
        raise BrokenNumbers(
            "The decoded picture held no numbers (NaN), also in float32; try SDGEN_DTYPE=float32."
        )
    return Decoded(Image.fromarray((pixels * 255).round().astype("uint8")), flagged)
