"""The base model that an adapter is trained on: loaded like for drawing, set up for training."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from diffusers.models.attention_processor import AttnProcessor2_0
from PIL import Image

from lora.config import BaseFamily, InvalidRecipe, TrainingRecipe, family_of
from sdgen.config import Settings, read_settings
from sdgen.models import ModelSpec, find_model
from sdgen.pipelines.faults import free_memory
from sdgen.pipelines.loading import load_pipeline
from sdgen.pipelines.noise_schedulers import is_edm, noise_scheduler

SAMPLE_STEPS = 20  # at most; samples are to be looked at, not hung on a wall


@dataclass
class Base:
    """A loaded model without adapters in it. Letters of shapes as in sdgen.pipelines.base."""

    pipe: Any  # of diffusers
    spec: ModelSpec
    family: BaseFamily
    dtype: torch.dtype  # of the frozen weights
    device: torch.device
    label: str  # the device's name
    digest: str  # SHA-256 over the weights files
    alphas: torch.Tensor  # alpha-bar of each timestep [T], float32 on the device
    velocity: bool  # it predicts v, not the noise

    @property
    def unet(self) -> Any:
        return self.pipe.unet

    @property
    def vae(self) -> Any:
        return self.pipe.vae

    @property
    def text_encoders(self) -> tuple[Any, ...]:
        """One, or the two of SDXL."""
        found = (getattr(self.pipe, name, None) for name in ("text_encoder", "text_encoder_2"))
        return tuple(encoder for encoder in found if encoder is not None)

    @property
    def tokenizers(self) -> tuple[Any, ...]:
        """One for each text encoder."""
        found = (getattr(self.pipe, name, None) for name in ("tokenizer", "tokenizer_2"))
        return tuple(tokenizer for tokenizer in found if tokenizer is not None)

    @property
    def noise_scheduler(self) -> Any:
        """The model's own, with its betas and its kind of prediction."""
        return self.pipe.scheduler

    @property
    def is_sdxl(self) -> bool:
        return self.family == "sdxl"

    def encode_text(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Captions as the UNet reads them: [b, n, d], and for SDXL the pooled vectors [b, p].

        Cut at the text encoder's length. Gradients flow where text encoders are trained.
        """
        parts: list[torch.Tensor] = []
        pooled: torch.Tensor | None = None
        for tokenizer, encoder in zip(self.tokenizers, self.text_encoders, strict=True):
            tokens = tokenizer(
                list(captions),
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            )
            ids = tokens.input_ids.to(self.device)
            if self.is_sdxl:
                output = encoder(ids, output_hidden_states=True)
                pooled = output[0]  # of the last encoder, the one with a projection
                parts.append(output.hidden_states[-2])
            else:
                masked = getattr(encoder.config, "use_attention_mask", False)
                mask = tokens.attention_mask.to(self.device) if masked else None
                parts.append(encoder(ids, attention_mask=mask)[0])
        hidden = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        if self.is_sdxl and self.pipe.config.force_zeros_for_empty_prompt and "" in captions:
            kept = torch.tensor([caption != "" for caption in captions], device=self.device)
            hidden = hidden * kept[:, None, None]
            pooled = None if pooled is None else pooled * kept[:, None]
        return hidden, pooled

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """All parts on the device and without gradients for a while."""
        self.wake()
        with torch.no_grad():
            yield

    def rest(self, text_too: bool = True) -> None:
        """Off a GPU with what the training steps do not need; `evaluating` brings it back."""
        if self.device.type == "cpu":
            return
        self.vae.to("cpu")
        if text_too:
            for encoder in self.text_encoders:
                encoder.to("cpu")
        free_memory()

    def wake(self) -> None:
        """All parts on the device again, after `rest`."""
        if self.device.type != "cpu":
            for module in (self.unet, self.vae, *self.text_encoders):
                module.to(self.device)

    def draw(
        self, prompt: str, seed: int, width: int, height: int, steps: int | None = None
    ) -> Image.Image:
        """A picture by the model with whatever adapter is in it, at the model's own settings."""
        steps = steps or min(self.spec.steps, SAMPLE_STEPS)
        kept = self.pipe.scheduler
        self.pipe.scheduler = noise_scheduler(self.spec.sampler, kept.config)
        try:
            with self.evaluating(), self.autocast():
                image: Image.Image = self.pipe(
                    prompt,
                    width=width,
                    height=height,
                    num_inference_steps=steps,
                    guidance_scale=self.spec.guidance_scale,
                    generator=torch.Generator("cpu").manual_seed(seed),
                ).images[0]
        finally:
            self.pipe.scheduler = kept
        return image

    def autocast(self) -> torch.autocast:
        """Half precision where the base has it, so that float32 adapters compute in it too."""
        half = self.dtype != torch.float32
        dtype = self.dtype if half else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=half)


def load_base(
    recipe: TrainingRecipe, settings: Settings | None = None, hub_cache: Path | None = None
) -> Base:
    """The recipe's base model, frozen. Fetches nothing.

    Precision "auto" is what the app draws with: on a GPU half precision, on a CPU bfloat16 for a
    big model where a short self-test shows that it pays, else float32. The adapter is float32.

    Raises DownloadNeeded or ModelUnavailable where it cannot be had, InvalidRecipe where it cannot
    be trained on.
    """
    settings = settings or read_settings()
    spec = find_model(recipe.base, hub_cache)
    family = family_of(spec, hub_cache)
    wanted = settings.model_copy(update={"dtype": recipe.precision, "safety_checker": False})
    loaded: Any = load_pipeline(spec, wanted, settings.data_dir / "cache", hub_cache)
    pipe = loaded.pipe if hasattr(loaded, "pipe") else loaded._pipe
    _undo_savings(pipe, loaded.device)
    if is_edm(pipe.scheduler.config):
        raise InvalidRecipe(
            "base", f"'{spec.title}' was trained on noise levels (EDM), which is not done here."
        )
    scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    prediction = scheduler.config.prediction_type
    if prediction not in ("epsilon", "v_prediction"):
        raise InvalidRecipe(
            "base", f"'{spec.title}' predicts {prediction}, which cannot be trained on here."
        )
    if pipe.unet.config.time_cond_proj_dim is not None:
        raise InvalidRecipe("base", f"'{spec.title}' is distilled; train on what it came from.")
    base = Base(
        pipe=pipe,
        spec=replace(spec, family=loaded.spec.family),
        family=family,
        dtype=loaded.dtype,
        device=loaded.device,
        label=loaded.label,
        digest=loaded.model_hash,
        alphas=scheduler.alphas_cumprod.to(loaded.device, torch.float32),
        velocity=prediction == "v_prediction",
    )
    for module in (base.unet, base.vae, *base.text_encoders):
        module.requires_grad_(False)
        module.eval()
    return base


def _undo_savings(pipe: Any, device: torch.device) -> None:
    """Without what saves memory while drawing and hinders training."""
    pipe.remove_all_hooks()
    pipe.to(device)
    pipe.vae.disable_tiling()
    if any("Sliced" in type(one).__name__ for one in pipe.unet.attn_processors.values()):
        pipe.unet.set_attn_processor(AttnProcessor2_0())
