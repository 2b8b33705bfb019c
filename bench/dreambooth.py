"""The steps of diffusers' examples/dreambooth/train_dreambooth_lora.py, for `bench.train`.

What that script does for each step with its documented options, in its order: photos are opened,
resized, cropped and tokenized anew (DreamBoothDataset), the VAE encodes them, the text encoder
encodes the one prompt of all photos, the UNet predicts, one mean squared error; everything in
float32, LoRA of rank 4 on the four projections of attention, AdamW at 1e-4, constant rate.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from peft import LoraConfig
from PIL import Image
from PIL.ImageOps import exif_transpose
from torch.nn import functional as F

RANK = 4
TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]
RATE, DECAY, LONGEST_GRADIENT = 1e-4, 1e-2, 1.0


class DreamBooth:
    """One run of the script on a pipeline's parts. `step()` is one optimizer step."""

    def __init__(
        self, pipe: Any, photos: Sequence[Path], prompt: str, side: int, batch: int, device: str
    ) -> None:
        """side: pixels of the square that photos are cropped to."""
        self._pipe, self._photos, self._prompt = pipe, list(photos), prompt
        self._side, self._batch = side, batch
        self._scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
        for part in (pipe.unet, pipe.vae, pipe.text_encoder):
            part.requires_grad_(False)
            part.to(device, torch.float32)
        self._device = torch.device(device)
        pipe.unet.add_adapter(
            LoraConfig(
                r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=TARGETS
            )
        )
        pipe.unet.train()
        self._weights = [value for value in pipe.unet.parameters() if value.requires_grad]
        self._optimizer = torch.optim.AdamW(self._weights, lr=RATE, weight_decay=DECAY, eps=1e-8)
        self._batches = self._forever()

    def step(self) -> float:
        """One step; the loss."""
        pipe, scheduler = self._pipe, self._scheduler
        pixels, tokens = next(self._batches)
        latents = pipe.vae.encode(pixels.to(self._device)).latent_dist.sample()
        latents = latents * pipe.vae.config.scaling_factor
        noise = torch.randn_like(latents)
        times = torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),))
        times = times.to(self._device)
        noisy = scheduler.add_noise(latents, noise, times)
        states = pipe.text_encoder(tokens.to(self._device))[0]
        predicted = pipe.unet(noisy, times, states).sample
        velocity = scheduler.config.prediction_type == "v_prediction"
        goal = scheduler.get_velocity(latents, noise, times) if velocity else noise
        loss = F.mse_loss(predicted.float(), goal.float(), reduction="mean")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights, LONGEST_GRADIENT)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(loss.detach())

    def _forever(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Shuffled epochs of whole batches, like the script's loader in the main process."""
        while True:
            order = torch.randperm(len(self._photos)).tolist()
            for at in range(0, len(order) - self._batch + 1, self._batch):
                chosen = order[at : at + self._batch]
                pixels = torch.stack([self._pixels(self._photos[place]) for place in chosen])
                yield pixels, torch.cat([self._tokens() for _ in chosen])

    def _pixels(self, path: Path) -> torch.Tensor:
        """The middle of a photo, its short side resized [3, h, w], -1 to 1."""
        image = exif_transpose(Image.open(path)).convert("RGB")
        scale = self._side / min(image.size)
        size = tuple(max(self._side, round(edge * scale)) for edge in image.size)
        image = image.resize(size, Image.Resampling.BILINEAR)  # type: ignore[arg-type]
        left, top = (size[0] - self._side) // 2, (size[1] - self._side) // 2
        image = image.crop((left, top, left + self._side, top + self._side))
        data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        return data.view(self._side, self._side, 3).permute(2, 0, 1).float() / 127.5 - 1

    def _tokens(self) -> torch.Tensor:
        tokenizer = self._pipe.tokenizer
        return tokenizer(  # type: ignore[no-any-return]
            self._prompt,
            truncation=True,
            padding="max_length",
            max_length=tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids
