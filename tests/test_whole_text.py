"""Prompts of pipelines that run as a whole: what CLIP reads is given to diffusers as tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, LatentConsistencyModelPipeline, LCMScheduler

from sdgen.errors import InvalidRequest
from sdgen.pipelines.lora_bank import NO_ADAPTERS
from sdgen.pipelines.noise_schedulers import noise_scheduler
from sdgen.pipelines.whole import WholeDiffusersPipeline
from sdgen.request import GenerateRequest
from tests.sd_steps import relative
from tests.tiny_models import sd1
from tests.tiny_sdxl import sdxl
from tests.whole_runs import drawn, go_on, plain, request, wrapped

Weighed = Sequence[tuple[str, float]]  # words and their weight, or BREAK
BREAK: tuple[str, float] = ("BREAK", 0.0)


@pytest.fixture(scope="module")
def pipe() -> Any:
    """An SDXL whose text encoders' outputs have a mean that says something, as trained ones do."""
    made = sdxl()
    with torch.no_grad():
        for encoder in (made.text_encoder, made.text_encoder_2):
            inner = getattr(encoder, "text_model", encoder)  # transformers 5 dropped the level
            for layer in inner.encoder.layers:
                layer.mlp.fc2.bias.add_(0.5)
    return made


@pytest.fixture
def whole(pipe: Any) -> WholeDiffusersPipeline:
    return wrapped(pipe)


@torch.no_grad()
def read(pipe: Any, parts: Weighed, clip_skip: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A prompt through both encoders, by hand: tokens [1, n, d] and pooled [1, p].

    Chunks end at BREAK alone; each encoder pads with its own tokenizer's padding, keeps the mean of
    a weighed chunk, and the first chunk is the pooled one.
    """
    sides, pooled = [], None
    for words, encoder in (
        (pipe.tokenizer, pipe.text_encoder),
        (pipe.tokenizer_2, pipe.text_encoder_2),
    ):
        chunks: list[list[tuple[int, float]]] = [[]]
        for text, weight in parts:
            if text == "BREAK":
                chunks.append([])
                continue
            ids = words(text, add_special_tokens=False).input_ids
            chunks[-1] += [(token, weight) for token in ids]
        found = []
        for number, chunk in enumerate(chunks):
            ids = [words.bos_token_id, *(token for token, _ in chunk), words.eos_token_id]
            ids += [words.pad_token_id] * (77 - len(ids))
            weights = torch.tensor([1.0, *(weight for _, weight in chunk)])
            weights = torch.cat([weights, torch.ones(77 - len(weights))])
            output = encoder(torch.tensor([ids]), output_hidden_states=True)
            hidden = output.hidden_states[-2 - clip_skip]
            scaled = hidden * weights[None, :, None]
            found.append(scaled * (hidden.mean() / scaled.mean()))
            if number == 0 and encoder is pipe.text_encoder_2:
                pooled = output.text_embeds
        sides.append(torch.cat(found, dim=1))
    assert pooled is not None
    return torch.cat(sides, dim=-1), pooled


def diffusers_draws(
    pipe: Any, asked: GenerateRequest, positive: list[Weighed], negative: list[Weighed] | None
) -> np.ndarray:
    """The picture of diffusers' own loop, with the prompts read by hand, one a step.

    negative None: zeros, as it does by itself for no negative prompt.
    """

    def both(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        tokens, pooled = read(pipe, positive[step], asked.clip_skip)
        if negative is None:
            return tokens, pooled, torch.zeros_like(tokens), torch.zeros_like(pooled)
        return tokens, pooled, *read(pipe, negative[step], asked.clip_skip)

    def change(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, torch.Tensor]:
        if step + 1 == len(positive):
            return {}
        tokens, pooled, no_tokens, no_pooled = both(step + 1)
        if asked.guidance_scale <= 1:
            return {"prompt_embeds": tokens, "add_text_embeds": pooled}
        return {
            "prompt_embeds": torch.cat([no_tokens, tokens]),
            "add_text_embeds": torch.cat([no_pooled, pooled]),
        }

    tokens, pooled, no_tokens, no_pooled = both(0)
    own, pipe.scheduler = pipe.scheduler, noise_scheduler(asked.sampler, pipe.scheduler.config)
    try:
        image = pipe(
            prompt_embeds=tokens,
            pooled_prompt_embeds=pooled,
            negative_prompt_embeds=no_tokens,
            negative_pooled_prompt_embeds=no_pooled,
            height=asked.height,
            width=asked.width,
            num_inference_steps=asked.steps,
            guidance_scale=asked.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(asked.seed),
            callback_on_step_end=change,
            callback_on_step_end_tensor_inputs=["prompt_embeds", "add_text_embeds"],
        ).images[0]
    finally:
        pipe.scheduler = own
    return np.asarray(image)


def agree(one: np.ndarray, other: np.ndarray) -> bool:
    return int(np.abs(one.astype(int) - other.astype(int)).max()) <= 1


PLAIN: Weighed = [("a red cat", 1.0)]
WRITTEN: list[tuple[str, Weighed]] = [
    ("a (red:1.4) [cat]", [("a ", 1.0), ("red", 1.4), ("cat", 1 / 1.1)]),
    ("((a red)) cat", [("a red", 1.1 * 1.1), (" cat", 1.0)]),
    (r"a \(red\) cat", [("a (red) cat", 1.0)]),
    ("a red BREAK (cat:0.7)", [("a red", 1.0), BREAK, ("cat", 0.7)]),
    ("cat " * 100, [("cat " * 75, 1.0), BREAK, ("cat " * 25, 1.0)]),
    (
        "cat " * 70 + ", " + "red " * 20,
        [("cat " * 70 + ",", 1.0), BREAK, ("red " * 20, 1.0)],
    ),
]


@pytest.mark.parametrize(("prompt", "parts"), WRITTEN)
@pytest.mark.parametrize("clip_skip", [0, 1])
def test_notation_reaches_both_encoders(
    whole: WholeDiffusersPipeline, pipe: Any, prompt: str, parts: Weighed, clip_skip: int
) -> None:
    chunks = [part for part in parts if part is BREAK]
    negative: Weighed = [("the ", 1.0), ("z", 1.3), *((*chunks, ("", 1.0)) if chunks else ())]
    asked = request(prompt=prompt, negative_prompt="the (z:1.3)", clip_skip=clip_skip)
    assert whole._text is not None
    found = whole._text.encoded(asked, NO_ADAPTERS).arguments
    tokens, pooled = read(pipe, parts, clip_skip)
    assert relative(found["prompt_embeds"], tokens) < 1e-5
    assert relative(found["pooled_prompt_embeds"], pooled) < 1e-5
    tokens, pooled = read(pipe, negative, clip_skip)
    assert relative(found["negative_prompt_embeds"], tokens) < 1e-5
    assert relative(found["negative_pooled_prompt_embeds"], pooled) < 1e-5
    assert agree(drawn(whole, asked), diffusers_draws(pipe, asked, [parts] * 4, [negative] * 4))


def test_a_longer_negative_prompt_lengthens_the_prompt(
    whole: WholeDiffusersPipeline, pipe: Any
) -> None:
    asked = request(negative_prompt="the BREAK z")
    positive: Weighed = [*PLAIN, BREAK]
    negative: Weighed = [("the", 1.0), BREAK, ("z", 1.0)]
    expected = diffusers_draws(pipe, asked, [positive] * 4, [negative] * 4)
    assert agree(drawn(whole, asked), expected)


def test_no_negative_prompt_is_zeros_of_the_same_length(
    whole: WholeDiffusersPipeline, pipe: Any
) -> None:
    asked = request(prompt="a red BREAK cat")
    parts: Weighed = [("a red", 1.0), BREAK, ("cat", 1.0)]
    assert agree(drawn(whole, asked), diffusers_draws(pipe, asked, [parts] * 4, None))
    pipe.register_to_config(force_zeros_for_empty_prompt=False)
    try:
        empty: Weighed = [("", 1.0), BREAK]
        expected = diffusers_draws(pipe, asked, [parts] * 4, [empty] * 4)
        assert agree(drawn(whole, asked), expected)
    finally:
        pipe.register_to_config(force_zeros_for_empty_prompt=True)


def test_plain_prompts_are_drawn_bit_for_bit_as_by_diffusers(
    whole: WholeDiffusersPipeline, pipe: Any
) -> None:
    for fields in ({}, {"negative_prompt": "the"}, {"guidance_scale": 1.0}):
        asked = request(prompt="a red cat, the: 3 % ü", **fields)
        scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
        more = {"negative_prompt": asked.negative_prompt} if asked.negative_prompt else {}
        assert np.array_equal(drawn(whole, asked), plain(pipe, asked, scheduler, 7, **more))


EDITED: list[tuple[dict[str, Any], list[Weighed], list[Weighed] | None]] = [
    (
        {"prompt": "a [red:the:0.5] cat", "negative_prompt": "z"},
        [[("a red cat", 1.0)]] * 2 + [[("a the cat", 1.0)]] * 2,
        [[("z", 1.0)]] * 4,
    ),
    (
        {"prompt": "a cat", "negative_prompt": "[(z:1.3)|the]", "sampler": "euler_a"},
        [[("a cat", 1.0)]] * 4,
        [[("z", 1.3)], [("the", 1.0)]] * 2,
    ),
    (
        {"prompt": "[red|the|a BREAK cat]", "sampler": "dpmpp_2m"},
        [
            [("red", 1.0), BREAK],
            [("the", 1.0), BREAK],
            [("a", 1.0), BREAK, ("cat", 1.0)],
            [("red", 1.0), BREAK],
        ],
        None,
    ),
    (
        {"prompt": "[red|the] cat", "guidance_scale": 1.0},
        [[("red cat", 1.0)], [("the cat", 1.0)]] * 2,
        None,
    ),
]


@pytest.mark.parametrize(("fields", "positive", "negative"), EDITED)
def test_prompt_editing_changes_what_the_loop_reads(
    whole: WholeDiffusersPipeline,
    pipe: Any,
    fields: dict[str, Any],
    positive: list[Weighed],
    negative: list[Weighed] | None,
) -> None:
    asked = request(**fields)
    picture = drawn(whole, asked)
    assert agree(picture, diffusers_draws(pipe, asked, positive, negative))
    first = diffusers_draws(
        pipe, asked, positive[:1] * 4, negative if negative is None else negative[:1] * 4
    )
    assert not agree(picture, first)
    assert np.array_equal(picture, drawn(whole, asked))
    assert whole.check(asked) == ()


def test_what_is_said_of_prompts(whole: WholeDiffusersPipeline) -> None:
    [sentence] = whole.check(request(prompt="cat " * 100))
    assert sentence.startswith("The prompt has 100 tokens; the model reads 75 at a time")
    assert "AND" in whole.check(request(prompt="cat AND red"))[0]
    assert whole.check(request(negative_prompt="cat", guidance_scale=1.0)) == (
        "The negative prompt has no effect here, as guidance is off.",
    )
    options = "|".join(str(number) for number in range(90))
    asked = request(prompt=f"[{options}]", steps=90)
    with pytest.raises(InvalidRequest, match="different texts in 90 steps"):
        whole.check(asked)
    with pytest.raises(InvalidRequest, match="different texts in 90 steps"):
        whole.run(asked, 0, go_on)


def test_a_pipeline_of_one_encoder_reads_notation_too() -> None:
    base = sd1(time_cond_proj_dim=16)
    base.scheduler = LCMScheduler.from_config(base.scheduler.config)
    pipe = LatentConsistencyModelPipeline(**base.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    whole = wrapped(pipe)
    asked = request(prompt="a red BREAK cat", sampler="lcm", guidance_scale=8.0, clip_skip=1)
    encoder = base.text_encoder
    chunks = []
    for text in ("a red", "cat"):
        ids = base.tokenizer(
            text, padding="max_length", max_length=77, return_tensors="pt"
        ).input_ids
        with torch.no_grad():
            layers = encoder(ids, output_hidden_states=True).hidden_states
            chunks.append(encoder.final_layer_norm(layers[-2]))
    theirs = pipe(
        prompt_embeds=torch.cat(chunks, dim=1),
        height=64,
        width=64,
        num_inference_steps=4,
        guidance_scale=8.0,
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    assert agree(drawn(whole, asked), np.asarray(theirs))
    edited = drawn(whole, request(prompt="[a|cat]", sampler="lcm", guidance_scale=8.0))
    assert not agree(edited, drawn(whole, request(prompt="a", sampler="lcm", guidance_scale=8.0)))


def test_a_model_whose_prompt_cannot_change_says_so(pipe: Any) -> None:
    class Fixed(type(pipe)):  # type: ignore[misc]  # diffusers is untyped
        _callback_tensor_inputs = ("latents", "prompt_embeds")  # and not the pooled text

    Fixed.__name__ = "StableDiffusionXLFixedPipeline"
    fixed = Fixed(**pipe.components, add_watermarker=False)
    fixed.set_progress_bar_config(disable=True)
    whole = wrapped(fixed)
    asked = request(prompt="[red|the] (cat:1.2)")
    assert whole.check(asked) == (
        "This model's prompt cannot change between steps; it is read as at the first one.",
    )
    assert np.array_equal(drawn(whole, asked), drawn(whole, request(prompt="red (cat:1.2)")))


def test_a_model_that_reads_sentences_says_that_it_reads_no_notation(pipe: Any) -> None:
    whole = wrapped(pipe)
    whole._text = None  # as for a pipeline with T5 alone
    [sentence] = whole.check(request(prompt="a (cat:1.2)"))
    assert sentence == (
        "This model reads no notation (weights, BREAK, prompt editing, tags); what is written so "
        "in a prompt is read as words."
    )
    assert whole.check(request(negative_prompt="[a|b]")) == (sentence,)
    assert whole.check(request(prompt="a sign that says (hello)")) == ()
