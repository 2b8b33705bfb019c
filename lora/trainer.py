"""The training of an adapter, step by step: everything that changes from step to step is here.

    trainer = Trainer(base, recipe, examples, latents)
    for step in range(recipe.steps):
        trainer.step(step)

What a step does follows from the recipe, the photos, the weights and the step's number alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lora import draws
from lora.base import Base
from lora.cache import Latents, Row, Rows, TextCache
from lora.checkpoints import Checkpoint, prefixed, without_prefix
from lora.config import CompleteRecipe
from lora.dataset import Example
from lora.loss import Text, step_loss
from lora.network import adapter_state, attach, disabled, load_adapter_state, named_weights
from lora.optimizers import (
    Average,
    load_optimizer,
    make_optimizer,
    optimizer_numbers,
    optimizer_tensors,
    rate_share,
    set_rates,
)
from lora.processes import Alone
from sdgen.models import ModelSpec

LONGEST_GRADIENT = 1.0  # norm; longer ones are shortened to it


@dataclass(frozen=True)
class Step:
    """What one step was like. loss: the mean over the whole batch, weighted as trained.

    finite: False when numbers broke and the run must go back. Nothing was learnt from such a step,
    nor from one in float16 whose gradients overflowed, after which the next is scaled lower.
    """

    loss: float
    gradient_norm: float
    learning_rate: float
    finite: bool


class Trainer:
    """A base with a fresh adapter in it, its optimizer, and the cached photos and captions."""

    def __init__(
        self,
        base: Base,
        recipe: CompleteRecipe,
        examples: Sequence[Example],
        latents: Mapping[str, Latents],
        group: Alone | None = None,
    ) -> None:
        self.base = base
        self.recipe = recipe
        self.rate_factor = 1.0  # halved each time that numbers broke
        self._group = group or Alone()
        self._rows = Rows(base, recipe, examples, latents)
        self._text = TextCache(base)
        attach(base, recipe)
        self._priors = self._base_priors() if recipe.prior_weight else {}
        weights = dict(named_weights(base))
        unet = [value for name, value in weights.items() if name.startswith("unet.")]
        text = [value for name, value in weights.items() if not name.startswith("unet.")]
        self._weights, self._unet_weights, self._text_weights = weights, unet, text
        self._optimizer = make_optimizer(recipe, unet, text)
        self._average = Average(weights, recipe.ema) if recipe.ema else None
        scaled = base.dtype == torch.float16 and base.device.type == "cuda"
        self._scaler = torch.amp.GradScaler(base.device.type, enabled=scaled)
        self._set_checkpointing(recipe.gradient_checkpointing)

    @property
    def batch(self) -> int:
        """Rows of one optimizer step, over all processes and accumulated parts."""
        return self.recipe.batch_size * self.recipe.accumulation * self._group.world

    def step(self, step: int) -> Step:
        """One optimizer step on the step's photos; `step` is how many were done before.

        Raises WrongPair. A step whose numbers broke changes no weight.
        """
        share = rate_share(step, self.recipe.steps, self.recipe.warm_up) * self.rate_factor
        rates = (self.recipe.learning_rate, self.recipe.text_learning_rate)
        set_rates(self._optimizer, rates, share)
        with_text = self._trains_text(step)
        for value in self._text_weights:
            value.requires_grad_(with_text)
        total = torch.zeros((), device=self.base.device)
        for part in range(self.recipe.accumulation):
            first = (part * self._group.world + self._group.rank) * self.recipe.batch_size
            samples = range(first, first + self.recipe.batch_size)
            for rows in self._rows.of_step(step, self.batch, samples):
                total += self._learn(step, rows, with_text)
        asked = self._unet_weights + (self._text_weights if with_text else [])
        gradients = [value.grad for value in asked if value.grad is not None]
        self._group.average([*gradients, total])
        if self._scaler.is_enabled():
            self._scaler.unscale_(self._optimizer)
        norm = torch.nn.utils.clip_grad_norm_(asked, LONGEST_GRADIENT)
        loss, length = float(total), float(norm)
        finite = math.isfinite(loss) and (math.isfinite(length) or self._overflow_is_usual())
        if finite:
            self._scaler.step(self._optimizer)  # it leaves out steps of overflowed gradients
            self._scaler.update()
            if self._average is not None:
                self._average.follow(self._weights, step)
            if with_text:
                self._text.forget()
        self._optimizer.zero_grad(set_to_none=True)
        return Step(loss, length, self.recipe.learning_rate * share, finite)

    def _learn(self, step: int, rows: Sequence[Row], with_text: bool) -> torch.Tensor:
        """Adds the gradients of these rows; their share of the whole batch's mean loss."""
        captions = [row.caption for row in rows]
        priors = None
        if with_text:
            with self.base.autocast():
                hidden, pooled = self.base.encode_text(captions)
            text = Text(hidden, pooled)
        else:
            text = self._text(captions)
        if self._priors:
            prompts = tuple(self._priors)
            seed, count = self.recipe.seed, len(prompts)
            asked = [prompts[draws.prior_prompt(seed, step, row.sample, count)] for row in rows]
            priors = (self._text(asked), _stacked([self._priors[prompt] for prompt in asked]))
        batch = self._rows.batch(step, self.batch, rows, text, priors)
        losses = step_loss(self.base, batch, self.recipe.min_snr_gamma, self.recipe.prior_weight)
        loss = losses.sum() / (self.recipe.batch_size * self.recipe.accumulation)
        torch.autograd.backward(self._scaler.scale(loss))
        return loss.detach()

    # Where it stands

    def checkpoint(self, step: int) -> Checkpoint:
        """All that is needed to go on after `step` steps, copied to the CPU."""
        weights = adapter_state(self.base)
        tensors = prefixed("optimizer", optimizer_tensors(self._optimizer))
        adapter = weights
        if self._average is not None:
            tensors |= prefixed("weights", weights)
            adapter = {
                name: value.to("cpu", copy=True) for name, value in self._average.weights.items()
            }
        numbers: dict[str, Any] = {
            "optimizer": optimizer_numbers(self._optimizer),
            "rate_factor": self.rate_factor,
            "scaler": self._scaler.state_dict(),
        }
        return Checkpoint(step, adapter, tensors, numbers)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Stand where that checkpoint was made."""
        weights = without_prefix("weights", checkpoint.tensors)
        load_adapter_state(self.base, weights or checkpoint.adapter)
        if self._average is not None:
            self._average.weights = {
                name: value.to(self.base.device, copy=True)
                for name, value in checkpoint.adapter.items()
            }
        load_optimizer(
            self._optimizer,
            without_prefix("optimizer", checkpoint.tensors),
            checkpoint.numbers["optimizer"],
        )
        self.rate_factor = float(checkpoint.numbers["rate_factor"])
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(checkpoint.numbers["scaler"])
        self._text.forget()

    def moved(self) -> bool:
        """True when the adapter does something: every B was zero before the first step."""
        return all(
            bool(value.detach().any())
            for name, value in self._weights.items()
            if name.startswith("unet.") and ".lora_B." in name
        )

    def averaged(self) -> "_Averaged":
        """`with trainer.averaged():` the model holds the averaged weights, where there are any."""
        return _Averaged(self.base, self._weights, self._average)

    def _overflow_is_usual(self) -> bool:
        """True while float16's scale may still be lowered; below 1 it is not the scale's fault."""
        return self._scaler.is_enabled() and self._scaler.get_scale() >= 1

    def _trains_text(self, step: int) -> bool:
        return bool(self._text_weights) and step < self._text_steps()

    def _text_steps(self) -> int:
        return math.ceil(self.recipe.text_encoder_share * self.recipe.steps)

    def _base_priors(self) -> dict[str, Text]:
        """The prompts of the prior as the base alone reads them."""
        prompts = prior_prompts(self.base.spec, self.recipe.class_word)
        with disabled(self.base), self.base.evaluating():
            return {prompt: Text(*self.base.encode_text([prompt])) for prompt in prompts}

    def _set_checkpointing(self, on: bool) -> None:
        if on:
            self.base.unet.enable_gradient_checkpointing()
        else:
            self.base.unet.disable_gradient_checkpointing()


class _Averaged:
    """Exchanges the weights for their average and back."""

    def __init__(
        self,
        base: Base,
        weights: Mapping[str, torch.nn.Parameter],
        average: Average | None,
    ) -> None:
        self._base, self._weights, self._average = base, weights, average

    def __enter__(self) -> None:
        self._exchange()

    def __exit__(self, *_: object) -> None:
        self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        if self._average is None:
            return
        for name, value in self._weights.items():
            other = self._average.weights[name]
            kept = value.detach().clone()
            value.copy_(other)
            other.copy_(kept)


def prior_prompts(spec: ModelSpec, class_word: str) -> tuple[str, ...]:
    """Where the adapter is to leave the base alone: the class word, no words at all, which guidance
    asks the base for, and what the base is known to draw."""
    examples = () if spec.words is None else spec.words.examples
    return tuple(dict.fromkeys((class_word, "", *examples)))


def _stacked(texts: Sequence[Text]) -> Text:
    """One text a row."""
    pooled = [text.pooled for text in texts if text.pooled is not None]
    return Text(torch.cat([t.hidden for t in texts]), torch.cat(pooled) if pooled else None)
