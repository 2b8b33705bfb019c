"""Stable Diffusion 1.x and 2.x, and the bundled model: latents step by step, many at once.

    encode          the prompts through CLIP, for every step, and noise from a CPU generator
    predict_noise   one UNet call for all pictures, each with its own timestep and guidance
    advance         each picture's own noise scheduler moves its latents
    decode          the VAE, the safety checker, and a look for broken numbers

Letters in shapes as in sdgen.pipelines.base. Latent diffusion: Rombach et al. 2021, arXiv
2112.10752. Classifier-free guidance: Ho and Salimans 2022, arXiv 2207.12598. Guidance embedded in
the timestep of a distilled UNet: Meng et al. 2022, arXiv 2210.03142.
"""

import math
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image

from sdgen.batcher import BatchKey
from sdgen.errors import BrokenNumbers, InvalidRequest
from sdgen.models import FolderSource, ModelSpec
from sdgen.pipelines.base import Conditioning, Decoded, DenoiseState
from sdgen.pipelines.device import DeviceChoice, attention_of
from sdgen.pipelines.faults import free_memory
from sdgen.pipelines.lora_bank import MIB, AdapterSet, LoraBank
from sdgen.pipelines.noise_schedulers import described, noise_scheduler, set_steps, take_step
from sdgen.pipelines.previews import LatentPreview, fitted_preview, known_preview
from sdgen.pipelines.prompt_reading import RequestReading
from sdgen.pipelines.prompts import count_tokens, plain_text
from sdgen.pipelines.text import ClipEncoder, TextEncoding
from sdgen.request import GenerateRequest

LONGEST_SHARED = 8  # chunks; prompts that have no common length up to it go in separate UNet calls
FLAGGED = "The model's safety checker objects to this picture."


class SdPipeline:
    """A loaded StableDiffusionPipeline, driven step by step (a StepPipeline).

    pipe: it is on `choice.device` in `choice.dtype` (see device.save_memory). diffusers'
    LatentConsistencyModelPipeline has the same parts and will do.
    model_hash: SHA-256 over its weights files, or "". notes: savings in use, for the recipe.
    safety: use the model's safety checker where it has one.
    adapter_memory_mb: for LoRA adapters; above it those that nobody uses leave.
    """

    def __init__(
        self,
        pipe: Any,
        spec: ModelSpec,
        choice: DeviceChoice,
        model_hash: str,
        notes: Sequence[str] = (),
        safety: bool = True,
        adapter_memory_mb: int = 512,
    ) -> None:
        self.pipe = pipe
        self.spec = spec
        self.device = choice.device
        self.dtype = choice.dtype
        self.label = choice.label
        self.model_hash = model_hash
        self.notes = tuple(notes)
        self.attention = attention_of(pipe)
        self._safety = safety and pipe.safety_checker is not None
        self._bank = LoraBank(
            {"unet": pipe.unet, "text_encoder": pipe.text_encoder},
            self.device,
            self.dtype,
            adapter_memory_mb * MIB,
        )
        encoder = ClipEncoder("text_encoder", pipe.tokenizer, pipe.text_encoder)
        self._text = TextEncoding([encoder], self.device, self.dtype, self._bank)
        self._preview: LatentPreview | None = None

    # What the user should know

    def count_tokens(self, prompt: str) -> int:
        """Tokens of a prompt as this model reads it, without the notation of weights."""
        return count_tokens(self.pipe.tokenizer, prompt)

    def check(self, request: GenerateRequest) -> tuple[str, ...]:
        """Sentences on prompts of more tokens than one chunk holds, notation that is not followed,
        words the model does not know, and a negative prompt without effect.

        Raises InvalidRequest for prompts that are too much to encode.
        """
        guided = self._guided(request)
        reading = RequestReading.of(request, guided)
        sentences = reading.sentences(self.pipe.tokenizer)
        if self.spec.words is not None:
            taught = self._trigger_words(request)
            said = " ".join(plain_text(text) for text in dict.fromkeys(reading.positive.texts))
            unknown = [word for word in self.spec.words.unknown(said) if word not in taught]
            if unknown:
                sentences.append(f"This model does not know: {', '.join(unknown)}.")
        if request.negative_prompt.strip() and not guided:
            sentences.append("The negative prompt has no effect here, as guidance is off.")
        return tuple(sentences)

    def _trigger_words(self, request: GenerateRequest) -> frozenset[str]:
        """The words that the request's adapters teach the model, lower case."""
        if self.spec.words is None:
            return frozenset()
        triggers = [text for use in request.adapters for text in self._bank.report(use).triggers]
        return frozenset(self.spec.words.unknown(" ".join(triggers)))

    # One picture's way

    def encode(self, request: GenerateRequest) -> list[DenoiseState]:
        """One state per picture of the request; picture i has noise of seed + i.

        Raises InvalidRequest: a size that the VAE cannot make, steps that the sampler cannot take,
        prompts that are too much to encode.
        Raises AdapterUnavailable, AdapterRefused: a LoRA file that is gone or cannot work here.
        """
        self._check_size(request)
        adapters = self._bank.adapters(request.adapters)
        conditionings = self._conditionings(request, adapters)
        return [
            self._state(request, conditionings, adapters, index)
            for index in range(request.num_images)
        ]

    def _check_size(self, request: GenerateRequest) -> None:
        factor = self.pipe.vae_scale_factor
        for field, pixels in (("width", request.width), ("height", request.height)):
            if pixels % factor:
                low = pixels // factor * factor
                choices = f"{low} or {low + factor}" if low else f"{factor}"
                raise InvalidRequest(
                    field,
                    f"{field.capitalize()} must be a multiple of {factor} for this model; "
                    f"{pixels} is not. Try {choices}.",
                )

    def _guided(self, request: GenerateRequest) -> bool:
        """True when a picture takes two rows: guidance is on and not built into the UNet."""
        return self._guidance_scale(request) > 1 and self._guidance_width() is None

    def _guidance_scale(self, request: GenerateRequest) -> float:
        return 1.0 if "guidance_scale" in self.spec.ignores else request.guidance_scale

    def _guidance_width(self) -> int | None:
        """Width e of the guidance embedding of a distilled UNet; None for all others."""
        width: int | None = self.pipe.unet.config.time_cond_proj_dim
        return width

    @torch.inference_mode()
    def _conditionings(
        self, request: GenerateRequest, adapters: AdapterSet
    ) -> tuple[Conditioning, ...]:
        """One a step; steps that read the same share the tensors."""
        guidance_scale = self._guidance_scale(request)
        reading = RequestReading.of(request, self._guided(request))
        timestep_cond = None
        if (width := self._guidance_width()) is not None:
            embedding = self.pipe.get_guidance_scale_embedding(
                torch.tensor([guidance_scale - 1]), embedding_dim=width
            )
            timestep_cond = embedding.to(device=self.device, dtype=self.dtype)
        return tuple(
            Conditioning(
                positive.tokens,
                None if negative is None else negative.tokens,
                guidance_scale,
                timestep_cond,
            )
            for positive, negative in self._text.steps(reading, request.clip_skip, adapters)
        )

    def _state(
        self,
        request: GenerateRequest,
        conditionings: Sequence[Conditioning],
        adapters: AdapterSet,
        index: int,
    ) -> DenoiseState:
        seed = request.seed + index
        generator = torch.Generator("cpu").manual_seed(seed)
        scheduler = noise_scheduler(request.sampler, self.pipe.scheduler.config)
        timesteps = set_steps(scheduler, request.sampler, request.steps)
        factor = self.pipe.vae_scale_factor
        shape = (
            1,
            self.pipe.unet.config.in_channels,
            request.height // factor,
            request.width // factor,
        )
        noise = torch.randn(shape, generator=generator, dtype=self.dtype).to(self.device)
        return DenoiseState(
            key=BatchKey(
                model=request.model,
                height=request.height,
                width=request.width,
                alone=uuid.uuid4().hex if request.exact else "",
            ),
            request=request,
            index=index,
            seed=seed,
            latents=noise * scheduler.init_noise_sigma,
            conditionings=conditionings,
            noise_scheduler=scheduler,
            generator=generator,
            timesteps=timesteps,
            adapters=adapters,
        )

    @torch.inference_mode()
    def predict_noise(self, states: Sequence[DenoiseState]) -> list[torch.Tensor]:
        """One UNet call for all states of one size; per state the prediction [1, c, h, w].

        Timesteps, step counts, guidance, samplers, adapters and prompt lengths may all differ. A
        shorter prompt is repeated to the longest one's length: attention over repeated keys is
        attention over them once. Only lengths without a common multiple of up to LONGEST_SHARED
        chunks are split into several calls.
        """
        lengths = {state.conditioning.positive.shape[1] for state in states}
        if len(lengths) > 1:
            tokens = math.lcm(*lengths)
            if tokens > LONGEST_SHARED * self.pipe.tokenizer.model_max_length:
                return self._predict_by_length(states)
            return self._predict(states, tokens)
        return self._predict(states, lengths.pop())

    def _predict_by_length(self, states: Sequence[DenoiseState]) -> list[torch.Tensor]:
        groups: dict[int, list[int]] = {}
        for index, state in enumerate(states):
            groups.setdefault(state.conditioning.positive.shape[1], []).append(index)
        predictions: dict[int, torch.Tensor] = {}
        for tokens, members in groups.items():
            found = self._predict([states[index] for index in members], tokens)
            predictions.update(zip(members, found, strict=True))
        return [predictions[index] for index in range(len(states))]

    def _predict(self, states: Sequence[DenoiseState], tokens: int) -> list[torch.Tensor]:
        """The UNet call. Rows: the negative ones of all guided states, then all positive ones;
        with adapters in the order of `_by_adapters`."""
        times = [state.timesteps[state.step] for state in states]
        inputs = [
            state.noise_scheduler.scale_model_input(state.latents, time)
            for state, time in zip(states, times, strict=True)
        ]
        guided = [index for index, state in enumerate(states) if state.rows == 2]
        order = guided + list(range(len(states)))
        prompts = [negative for s in states if (negative := s.conditioning.negative) is not None]
        prompts += [state.conditioning.positive for state in states]
        places: Sequence[int] = range(len(order))  # where each of these rows lies in the pass
        if any(state.adapters.row("unet") for state in states):
            sequence = _by_adapters([states[index].adapters for index in order])
            places = sorted(places, key=sequence.__getitem__)
            order = [order[row] for row in sequence]
            prompts = [prompts[row] for row in sequence]
        time_conds = [
            cond
            for index in order
            if (cond := states[index].conditioning.timestep_cond) is not None
        ]
        if len(states) == 1:
            time_rows = times[0]
        else:
            time_rows = torch.stack([times[index].float() for index in order])
        with self._bank.carrying("unet", [states[index].adapters for index in order]):
            noise = self.pipe.unet(
                _cat([inputs[index] for index in order]),
                time_rows.to(self.device),
                encoder_hidden_states=_cat([_repeated(prompt, tokens) for prompt in prompts]),
                timestep_cond=_cat(time_conds) if time_conds else None,
                return_dict=False,
            )[0]
        split = noise.split(1)
        rows = [split[place] for place in places]
        predictions = rows[len(guided) :]
        for row, index in enumerate(guided):
            scale = states[index].conditioning.guidance_scale
            predictions[index] = rows[row] + scale * (predictions[index] - rows[row])
        return predictions

    @torch.inference_mode()
    def advance(self, state: DenoiseState, noise: torch.Tensor) -> None:
        """x_t -> x_{t-1} with the state's own noise scheduler; counts the step."""
        state.latents, state.denoised = take_step(
            state.noise_scheduler,
            noise,
            state.timesteps[state.step],
            state.latents,
            state.generator,
        )
        state.step += 1

    # Looking at it

    @torch.inference_mode()
    def preview(self, states: Sequence[DenoiseState]) -> list[Image.Image]:
        """Per state a small picture of the finished latents as its last step estimated them."""
        if not states:
            return []
        if self._preview is None:
            self._preview = self._find_preview()
        latents = [state.latents if state.denoised is None else state.denoised for state in states]
        if len({tuple(part.shape) for part in latents}) > 1:
            return [image for part in latents for image in self._preview.images(part)]
        return self._preview.images(_cat(latents))

    def _find_preview(self) -> LatentPreview:
        source = self.spec.source
        folder = source.path if isinstance(source, FolderSource) else None
        known = known_preview(self.pipe.vae, folder)
        if known is not None:
            return known
        generator = torch.Generator("cpu").manual_seed(0)
        channels = int(self.pipe.vae.config.latent_channels)
        latents = torch.randn(2, channels, 8, 8, generator=generator)
        return fitted_preview(latents, self._decoded(latents.to(self.device, self.dtype)))

    def decode(
        self, states: Sequence[DenoiseState], *, tiled: bool = False, float32: bool = False
    ) -> list[Decoded]:
        """Latents to pictures, one by one, so that no picture depends on its neighbours.

        tiled: in overlapping tiles, for less memory. float32: the VAE in float32, for latents that
        are too much for half precision.
        Raises BrokenNumbers when a picture holds NaN or infinity.
        """
        with self._vae_as(tiled, float32):
            return [self._finished(state) for state in states]

    @torch.inference_mode()
    def _finished(self, state: DenoiseState) -> Decoded:
        pixels = self._decoded(state.latents)
        if not bool(torch.isfinite(pixels).all()):
            raise BrokenNumbers(
                f"The picture of seed {state.seed} came out as broken numbers. Please try another "
                "seed, a lower guidance or another sampler."
            )
        image: Image.Image = self.pipe.image_processor.postprocess(pixels)[0]
        return Decoded(image, self._objection(image), described(state.noise_scheduler))

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [b, c, h, w] through the VAE: pixels [b, 3, H, W] in about [-1, 1]."""
        vae = self.pipe.vae
        latents = latents.to(vae.dtype) / vae.config.scaling_factor
        if (shift := getattr(vae.config, "shift_factor", None)) is not None:
            latents = latents + shift
        pixels: torch.Tensor = vae.decode(latents, return_dict=False)[0]
        return pixels

    @contextmanager
    def _vae_as(self, tiled: bool, float32: bool) -> Iterator[None]:
        """The VAE in tiles or float32 for a while; afterwards as it was."""
        vae = self.pipe.vae
        dtype = vae.dtype
        add_tiling = tiled and not vae.use_tiling
        if add_tiling:
            vae.enable_tiling()
        if float32 and dtype != torch.float32:
            vae.to(torch.float32)
        try:
            yield
        finally:
            if vae.dtype != dtype:
                vae.to(dtype)
            if add_tiling:
                vae.disable_tiling()

    def _objection(self, image: Image.Image) -> str:
        """The safety checker's reason against a picture, "" where it has none or is off."""
        if not self._safety:
            return ""
        seen = self.pipe.feature_extractor(image, return_tensors="pt").pixel_values
        blank = [np.zeros((1, 1, 3))]  # it blackens what it objects to: this, not the picture
        _, flags = self.pipe.safety_checker(
            images=blank, clip_input=seen.to(self.device, self.pipe.safety_checker.dtype)
        )
        return FLAGGED if flags[0] else ""

    def close(self) -> None:
        """Give the memory back. The pipeline is of no use afterwards."""
        if self.pipe is None:
            return
        self.pipe.remove_all_hooks()
        self.pipe = None
        del self._text, self._bank
        free_memory()


def _cat(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """The rows as one tensor; a lone one as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _by_adapters(sets: Sequence[AdapterSet]) -> list[int]:
    """The rows in an order in which equal adapters are neighbours and rows without come last.

    It depends on the adapters alone, so a batch keeps its composition whoever was first.
    """
    keys = [found.key("unet") for found in sets]
    return sorted(range(len(keys)), key=lambda row: (not keys[row], keys[row]))


def _repeated(prompt: torch.Tensor, tokens: int) -> torch.Tensor:
    """prompt [1, n, d] as often as it takes to `tokens`, a multiple of n."""
    times = tokens // prompt.shape[1]
    return prompt if times == 1 else prompt.repeat(1, times, 1)
