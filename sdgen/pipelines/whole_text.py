"""The prompts of a pipeline of diffusers that has CLIP encoders: read here, given to it as tensors.

diffusers' pipelines read no weights and cut prompts off after 77 tokens; they take what was
encoded elsewhere, and let it change between steps (callback_on_step_end).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sdgen.adapters.names import Part
from sdgen.pipelines.device import DeviceChoice
from sdgen.pipelines.lora_bank import AdapterSet, LoraBank
from sdgen.pipelines.prompt_reading import RequestReading
from sdgen.pipelines.text import ClipEncoder, EncodedText, TextEncoding
from sdgen.request import GenerateRequest

Tensors = dict[str, torch.Tensor]
_Step = tuple[EncodedText, EncodedText | None]  # the prompt and the negative one

# Pipelines whose prompt_embeds are CLIP's output alone, joined as TextEncoding joins it.
_FAMILIES = ("StableDiffusion", "LatentConsistency")
_PARTS: tuple[tuple[Part, str], ...] = (
    ("text_encoder", "tokenizer"),
    ("text_encoder_2", "tokenizer_2"),
)


class WholeText:
    """The CLIP encoders of one pipeline. Engine thread only."""

    def __init__(
        self,
        pipe: Any,
        takes: Collection[str],
        encoders: Sequence[ClipEncoder],
        choice: DeviceChoice,
        bank: LoraBank | None,
    ) -> None:
        """takes: the arguments of the pipeline's call. See `whole_text`."""
        is_sdxl = "pooled_prompt_embeds" in takes
        self._pipe = pipe
        self._takes_negative = "negative_prompt_embeds" in takes
        self._encoding = TextEncoding(encoders, choice.device, choice.dtype, bank, is_sdxl=is_sdxl)
        wanted = {"prompt_embeds", "add_text_embeds"} if is_sdxl else {"prompt_embeds"}
        self._can_change = (
            "callback_on_step_end" in takes
            and wanted <= set(getattr(pipe, "_callback_tensor_inputs", ()))
            and not hasattr(pipe, "set_pag_applied_layers")  # its rows are three, in its own order
        )

    def sentences(self, request: GenerateRequest) -> list[str]:
        """What the user should know of the prompts. Raises InvalidRequest for too much of them."""
        guided = self._guided(request)
        reading = RequestReading.of(request, guided)
        sentences = reading.sentences(self._encoding.tokenizer)
        if reading.changes and not self._can_change:
            sentences.append(
                "This model's prompt cannot change between steps; it is read as at the first one."
            )
        if request.negative_prompt.strip() and self._takes_negative and not guided:
            sentences.append("The negative prompt has no effect here, as guidance is off.")
        return sentences

    @torch.no_grad()
    def encoded(self, request: GenerateRequest, adapters: AdapterSet) -> "EncodedSteps":
        """Both prompts of a request. Raises InvalidRequest for too much of them."""
        guided = self._guided(request)
        zeros = self._pipe.config.get("force_zeros_for_empty_prompt", False)
        silent = bool(guided and zeros and not request.negative_prompt)
        reading = RequestReading.of(request, guided and not silent)
        steps = self._encoding.steps(reading, request.clip_skip, adapters)
        if silent:
            nothing = _nothing_like(steps[0][0])
            steps = [(positive, nothing) for positive, _ in steps]
        return EncodedSteps(steps if reading.changes and self._can_change else steps[:1])

    def _guided(self, request: GenerateRequest) -> bool:
        """True when the pipeline looks at a negative prompt: guidance is on, and not built in."""
        embedded = self._pipe.unet.config.time_cond_proj_dim is not None
        return self._takes_negative and request.guidance_scale > 1 and not embedded


class EncodedSteps:
    """Both prompts of one picture as the pipeline takes them, at the first step and later."""

    def __init__(self, steps: Sequence[_Step]) -> None:
        """steps: one, or one a step of the request."""
        self._steps = steps
        self._now = 0

    @property
    def arguments(self) -> Tensors:
        """The call's arguments for the first step."""
        positive, negative = self._steps[0]
        found = {"prompt_embeds": positive.tokens}
        if positive.pooled is not None:
            found["pooled_prompt_embeds"] = positive.pooled
        if negative is not None:
            found["negative_prompt_embeds"] = negative.tokens
            if negative.pooled is not None:
                found["negative_pooled_prompt_embeds"] = negative.pooled
        return found

    @property
    def watched(self) -> list[str]:
        """The tensors that the pipeline's callback is to be given, so that they can change."""
        if len(self._steps) == 1:
            return []
        pooled = self._steps[0][0].pooled is not None
        return ["prompt_embeds", "add_text_embeds"] if pooled else ["prompt_embeds"]

    def changes(self, done: int, count: int, tensors: Mapping[str, torch.Tensor]) -> Tensors:
        """What the next step reads otherwise than the last one, as the callback returns it.

        done: steps done, of `count` that the pipeline takes; samplers of second order take more
        than were asked for.
        """
        after = min(done * len(self._steps) // max(count, 1), len(self._steps) - 1)
        if self._steps[after] == self._steps[self._now]:
            return {}
        self._now = after
        positive, negative = self._steps[after]
        rows = [positive] if negative is None else [negative, positive]
        found = {"prompt_embeds": torch.cat([row.tokens for row in rows])}
        pooled = [row.pooled for row in rows if row.pooled is not None]
        if pooled:
            found["add_text_embeds"] = torch.cat(pooled)
        return {name: value.to(tensors[name]) for name, value in found.items()}


def whole_text(
    pipe: Any, takes: Collection[str], choice: DeviceChoice, bank: LoraBank | None
) -> WholeText | None:
    """The CLIP encoders of a pipeline; None where others read its prompts, alone or besides."""
    if not type(pipe).__name__.startswith(_FAMILIES) or "prompt_embeds" not in takes:
        return None
    if getattr(pipe, "text_encoder_3", None) is not None or not hasattr(pipe, "unet"):
        return None
    encoders = [
        ClipEncoder(part, getattr(pipe, tokenizer, None), module)
        for part, tokenizer in _PARTS
        if (module := getattr(pipe, part, None)) is not None
    ]
    kinds = (
        (CLIPTextModel, CLIPTextModelWithProjection)
        if "pooled_prompt_embeds" in takes
        else CLIPTextModel
    )
    if not encoders or not all(
        isinstance(one.module, kinds) and isinstance(one.tokenizer, CLIPTokenizer)
        for one in encoders
    ):
        return None
    return WholeText(pipe, takes, encoders, choice, bank)


def _nothing_like(text: EncodedText) -> EncodedText:
    """Zeros, as Stable Diffusion XL was trained to read no prompt at all."""
    pooled = None if text.pooled is None else torch.zeros_like(text.pooled)
    return EncodedText(torch.zeros_like(text.tokens), pooled)
