"""Prompts as the denoiser reads them: tokens through CLIP, chunk by chunk, weights applied."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch

from sdgen.pipelines.lora_bank import NO_ADAPTERS, AdapterSet, LoraBank
from sdgen.pipelines.prompts import Chunk, chunks, empty_chunk

_Key = tuple[Chunk, int, tuple[tuple[str, float], ...]]  # the last: adapters that act on it

CACHED_PROMPTS = 64  # encoded chunks kept; the full-size one costs 0.25 MB in float32


class TextEncoding:
    """A CLIP tokenizer and text encoder at work, with a small memory of what they said.

    One chunk of plain text comes out bit for bit as from diffusers' `encode_prompt`; several
    chunks are encoded one by one and joined along n. Weights multiply the encoder's output, token
    by token, and the chunk keeps its mean, as in AUTOMATIC1111.
    """

    def __init__(
        self,
        tokenizer: Any,
        text_encoder: Any,
        device: torch.device,
        dtype: torch.dtype,
        bank: LoraBank | None = None,
    ) -> None:
        """bank: needed for prompts with adapters."""
        self._bank = bank
        self._tokenizer = tokenizer
        self._encoder = text_encoder
        self._device = device
        self._dtype = dtype
        self._known: OrderedDict[_Key, torch.Tensor] = OrderedDict()

    def pair(
        self,
        prompt: str,
        negative_prompt: str | None,
        clip_skip: int,
        adapters: AdapterSet = NO_ADAPTERS,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Both prompts, [1, n, d] each, with equal n: empty chunks fill up the shorter one.

        clip_skip: layers left out at the encoder's end. As in diffusers it does not touch the
        negative prompt. negative_prompt None gives None. adapters: they act on both.
        """
        positive = chunks(self._tokenizer, prompt)
        if negative_prompt is None:
            return self._joined(positive, clip_skip, adapters), None
        negative = chunks(self._tokenizer, negative_prompt)
        filler = empty_chunk(self._tokenizer)
        count = max(len(positive), len(negative))
        positive += [filler] * (count - len(positive))
        negative += [filler] * (count - len(negative))
        return self._joined(positive, clip_skip, adapters), self._joined(negative, 0, adapters)

    def forget(self) -> None:
        """Drop what is remembered; needed whenever the text encoder's weights change."""
        self._known.clear()

    def _joined(
        self, pieces: Sequence[Chunk], clip_skip: int, adapters: AdapterSet
    ) -> torch.Tensor:
        encoded = [self._encoded(piece, clip_skip, adapters) for piece in pieces]
        return encoded[0] if len(encoded) == 1 else torch.cat(encoded, dim=1)

    def _encoded(self, chunk: Chunk, clip_skip: int, adapters: AdapterSet) -> torch.Tensor:
        key = (chunk, clip_skip, adapters.key("text_encoder"))
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        if self._bank is None:
            hidden = self._run(chunk, clip_skip)  # [1, n, d]
        else:
            with self._bank.carrying("text_encoder", [adapters]):
                hidden = self._run(chunk, clip_skip)
        if any(weight != 1.0 for weight in chunk.weights):
            hidden = _weighted(hidden, chunk.weights)
        self._known[key] = hidden
        if len(self._known) > CACHED_PROMPTS:
            self._known.popitem(last=False)
        return hidden

    def _run(self, chunk: Chunk, clip_skip: int) -> torch.Tensor:
        ids = torch.tensor([chunk.ids], device=self._device)
        mask = None
        if getattr(self._encoder.config, "use_attention_mask", False):
            end = chunk.ids.index(self._tokenizer.eos_token_id) + 1
            mask = (torch.arange(len(chunk.ids), device=self._device) < end).long()[None]
        if clip_skip == 0:
            hidden = self._encoder(ids, attention_mask=mask)[0]
        else:
            output = self._encoder(ids, attention_mask=mask, output_hidden_states=True)
            depth = len(output.hidden_states) - 1
            hidden = output.hidden_states[max(depth - clip_skip, 0)]
            # transformers 5 has the norm on the model itself, older ones one level down.
            inner = getattr(self._encoder, "text_model", self._encoder)
            hidden = inner.final_layer_norm(hidden)
        embeds: torch.Tensor = hidden.to(device=self._device, dtype=self._dtype)
        return embeds


def _weighted(hidden: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """hidden [1, n, d] with token i times weights[i], scaled back to its mean.

    Where the mean is so near to zero that scaling would more than double or halve the whole chunk,
    it is left out: then it says nothing about size.
    """
    plain = hidden.float()
    factors = torch.tensor(weights, device=hidden.device)[None, :, None]
    scaled = plain * factors
    ratio = plain.mean() / scaled.mean()
    fits = (ratio > 0.5) & (ratio < 2.0)
    return (scaled * torch.where(fits, ratio, torch.ones_like(ratio))).to(hidden.dtype)
