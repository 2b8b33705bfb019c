"""Prompts as the denoiser reads them: tokens through CLIP, chunk by chunk, weights applied."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sdgen.adapters.names import Part
from sdgen.pipelines.lora_bank import NO_ADAPTERS, AdapterSet, LoraBank
from sdgen.pipelines.prompt_reading import RequestReading
from sdgen.pipelines.prompts import Chunk, empty_chunk

# Of a chunk: which encoder, how many layers less, the adapters that act on it.
_Key = tuple[Chunk, Part, int, tuple[tuple[str, float], ...]]

CACHED_PROMPTS = 64  # encoded chunks kept; the full-size one costs 0.25 MB in float32
LEAST_WEIGHT = 0.1  # a chunk of lesser weights is not made ten times as large


@dataclass(frozen=True)
class ClipEncoder:
    """A text encoder with its tokenizer. part: what adapters call it."""

    part: Part
    tokenizer: Any
    module: Any


@dataclass(frozen=True, eq=False)
class EncodedText:
    """One text: tokens [1, n, d], and where the model wants it the whole in one row, [1, p]."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None = None


class TextEncoding:
    """The CLIP text encoders of a model at work, with a small memory of what they said.

    One chunk of plain text comes out bit for bit as from diffusers' `encode_prompt`; several
    chunks are encoded one by one and joined along n, several encoders along d. Weights multiply
    each encoder's output, token by token, and the chunk keeps its mean, as in AUTOMATIC1111.
    """

    def __init__(
        self,
        encoders: Sequence[ClipEncoder],
        device: torch.device,
        dtype: torch.dtype,
        bank: LoraBank | None = None,
        *,
        is_sdxl: bool = False,
    ) -> None:
        """bank: needed for prompts with adapters.

        is_sdxl: as Stable Diffusion XL reads them: the layer before the last, without the last
        norm, and the pooled output of the first chunk.
        """
        self._encoders = tuple(encoders)
        self._bank = bank
        self._device = device
        self._dtype = dtype
        self._is_sdxl = is_sdxl
        self._known: OrderedDict[_Key, EncodedText] = OrderedDict()

    @property
    def tokenizer(self) -> Any:
        """The first encoder's; the others cut texts alike."""
        return self._encoders[0].tokenizer

    def steps(
        self, reading: RequestReading, clip_skip: int, adapters: AdapterSet = NO_ADAPTERS
    ) -> list[tuple[EncodedText, EncodedText | None]]:
        """Both prompts at each step, with equal n throughout; equal texts are the same object.

        clip_skip: layers left out at the encoders' end, of both prompts as in AUTOMATIC1111.
        adapters: they act on both. Raises InvalidRequest where there is too much to encode.
        """
        chunks = [reading.chunks(encoder.tokenizer) for encoder in self._encoders]
        count = max(len(parts) for found in chunks for parts in found.values())
        encoded: dict[str, EncodedText] = {}
        for text in chunks[0]:
            wholes = [
                self._whole(encoder, found[text], count, clip_skip, adapters)
                for encoder, found in zip(self._encoders, chunks, strict=True)
            ]
            encoded[text] = EncodedText(
                _joined([whole.tokens for whole in wholes], dim=-1),
                next((w.pooled for w in wholes if w.pooled is not None), None),
            )
        positive = [encoded[text] for text in reading.positive.texts]
        if reading.negative is None:
            return [(text, None) for text in positive]
        negative = [encoded[text] for text in reading.negative.texts]
        return list(zip(positive, negative, strict=True))

    def forget(self) -> None:
        """Drop what is remembered; needed whenever a text encoder's weights change."""
        self._known.clear()

    def _whole(
        self,
        encoder: ClipEncoder,
        pieces: Sequence[Chunk],
        count: int,
        clip_skip: int,
        adapters: AdapterSet,
    ) -> EncodedText:
        """A text in `count` chunks through one encoder."""
        filler = [empty_chunk(encoder.tokenizer)] * (count - len(pieces))
        parts = [self._encoded(encoder, p, clip_skip, adapters) for p in [*pieces, *filler]]
        return EncodedText(_joined([part.tokens for part in parts], dim=1), parts[0].pooled)

    def _encoded(
        self, encoder: ClipEncoder, chunk: Chunk, clip_skip: int, adapters: AdapterSet
    ) -> EncodedText:
        key = (chunk, encoder.part, clip_skip, adapters.key(encoder.part))
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        if self._bank is None:
            found = self._run(encoder, chunk, clip_skip)
        else:
            with self._bank.carrying(encoder.part, [adapters]):
                found = self._run(encoder, chunk, clip_skip)
        if any(weight != 1.0 for weight in chunk.weights):
            found = EncodedText(_weighted(found.tokens, chunk.weights), found.pooled)
        self._known[key] = found
        if len(self._known) > CACHED_PROMPTS:
            self._known.popitem(last=False)
        return found

    def _run(self, encoder: ClipEncoder, chunk: Chunk, clip_skip: int) -> EncodedText:
        ids = torch.tensor([chunk.ids], device=self._device)
        if self._is_sdxl:
            output = encoder.module(ids, output_hidden_states=True)
            hidden = output.hidden_states[max(len(output.hidden_states) - 2 - clip_skip, 0)]
            pooled = output[0] if output[0].ndim == 2 else None
            return EncodedText(
                self._placed(hidden), None if pooled is None else self._placed(pooled)
            )
        mask = None
        if getattr(encoder.module.config, "use_attention_mask", False):
            end = chunk.ids.index(encoder.tokenizer.eos_token_id) + 1
            mask = (torch.arange(len(chunk.ids), device=self._device) < end).long()[None]
        if clip_skip == 0:
            hidden = encoder.module(ids, attention_mask=mask)[0]
        else:
            output = encoder.module(ids, attention_mask=mask, output_hidden_states=True)
            depth = len(output.hidden_states) - 1
            hidden = output.hidden_states[max(depth - clip_skip, 0)]
            # transformers 5 has the norm on the model itself, older ones one level down.
            inner = getattr(encoder.module, "text_model", encoder.module)
            hidden = inner.final_layer_norm(hidden)
        return EncodedText(self._placed(hidden))

    def _placed(self, found: torch.Tensor) -> torch.Tensor:
        return found.to(device=self._device, dtype=self._dtype)


def _joined(parts: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """The parts as one tensor; a lone one as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=dim)


def _weighted(hidden: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """hidden [1, n, d] with token i times weights[i], scaled back to its mean.

    Where the mean is so near to zero that it says nothing about size, it is left out: then scaling
    would more than double or halve the whole chunk, and by more than the weights could.
    """
    plain = hidden.float()
    factors = torch.tensor(weights, device=hidden.device)[None, :, None]
    scaled = plain * factors
    ratio = plain.mean() / scaled.mean()
    least = min(0.5, 1 / max(weights))
    most = max(2.0, 1 / max(min(weights), LEAST_WEIGHT))
    fits = (ratio > least) & (ratio < most)
    return (scaled * torch.where(fits, ratio, torch.ones_like(ratio))).to(hidden.dtype)
