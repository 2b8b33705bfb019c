"""Any other pipeline as a whole: the same picture as diffusers alone, stopped within a step."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionXLPipeline,
)
from PIL import Image

from sdgen.errors import BrokenNumbers, InvalidRequest
from sdgen.pipelines.base import WholePipeline
from sdgen.pipelines.whole import WholeDiffusersPipeline
from tests.tiny_models import sd1
from tests.tiny_sdxl import sdxl
from tests.whole_runs import drawn, go_on, plain, request, wrapped


@pytest.fixture(scope="module")
def pipe() -> Any:
    """One SDXL for all; every test leaves it as it was."""
    return sdxl()


@pytest.fixture
def whole(pipe: Any) -> Iterator[WholeDiffusersPipeline]:
    scheduler, dtype = pipe.scheduler, pipe.vae.dtype
    yield wrapped(pipe)
    assert pipe.scheduler is scheduler
    assert pipe.vae.dtype == dtype
    assert "decode" not in vars(pipe.vae)


# --- the picture ----------------------------------------------------------------------------


def test_it_is_a_whole_pipeline(whole: WholeDiffusersPipeline) -> None:
    assert isinstance(whole, WholePipeline)
    assert (whole.model_hash, whole.notes) == ("ab" * 32, ("a note",))


def test_the_picture_is_the_one_that_diffusers_draws(
    whole: WholeDiffusersPipeline, pipe: Any
) -> None:
    asked = request()
    scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    assert np.array_equal(drawn(whole, asked), plain(pipe, asked, scheduler, 7))


def test_the_sampler_of_the_menu_is_used(whole: WholeDiffusersPipeline, pipe: Any) -> None:
    asked = request(sampler="dpmpp_2m_karras", height=72)
    scheduler = DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, use_karras_sigmas=True
    )
    assert np.array_equal(drawn(whole, asked), plain(pipe, asked, scheduler, 7))
    assert whole.check(asked) == ()


def test_the_negative_prompt_arrives(whole: WholeDiffusersPipeline, pipe: Any) -> None:
    asked = request(negative_prompt="the cat")
    scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    expected = plain(pipe, asked, scheduler, 7, negative_prompt="the cat")
    assert np.array_equal(drawn(whole, asked), expected)
    assert not np.array_equal(expected, plain(pipe, asked, scheduler, 7))


def test_clip_skip_acts_on_both_prompts(whole: WholeDiffusersPipeline, pipe: Any) -> None:
    """diffusers' own acts on the prompt alone, so each side is encoded as a prompt here."""
    asked = request(negative_prompt="the cat", clip_skip=1)
    tokens, _, pooled, _ = pipe.encode_prompt(asked.prompt, clip_skip=1)
    no_tokens, _, no_pooled, _ = pipe.encode_prompt(asked.negative_prompt, clip_skip=1)
    embeds = {
        "prompt_embeds": tokens,
        "pooled_prompt_embeds": pooled,
        "negative_prompt_embeds": no_tokens,
        "negative_pooled_prompt_embeds": no_pooled,
    }
    scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    without_prompt = asked.model_copy(update={"prompt": None})
    assert np.array_equal(drawn(whole, asked), plain(pipe, without_prompt, scheduler, 7, **embeds))


def test_image_i_is_the_image_of_seed_plus_i(whole: WholeDiffusersPipeline) -> None:
    third = drawn(whole, request(num_images=3), index=2)
    assert np.array_equal(third, drawn(whole, request(seed=9)))
    assert not np.array_equal(third, drawn(whole, request(num_images=3), index=1))


def test_a_request_repeats_bit_for_bit_whatever_came_between(
    whole: WholeDiffusersPipeline,
) -> None:
    first = drawn(whole, request(sampler="euler_a"))
    drawn(whole, request(sampler="unipc", steps=3))
    assert np.array_equal(first, drawn(whole, request(sampler="euler_a")))


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "ddim", "dpmpp_2m", "unipc", "lcm"])
def test_every_sampler_steps_and_shows_itself(whole: WholeDiffusersPipeline, sampler: str) -> None:
    seen: list[tuple[int, Image.Image | None]] = []
    asked = request(sampler=sampler)
    assert whole.check(asked) == ()
    assert whole.run(asked, 0, lambda step, image: not seen.append((step, image))) is not None
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    assert all(image is not None and image.size == (256, 256) for _, image in seen)


# --- stopping -------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_stop_stops_within_the_step(
    whole: WholeDiffusersPipeline, pipe: Any, stop_after: int
) -> None:
    passes, decodes = [], []
    counters = [
        pipe.unet.register_forward_pre_hook(lambda *given: passes.append(1)),
        pipe.vae.decoder.register_forward_pre_hook(lambda *given: decodes.append(1)),
    ]
    try:
        result = whole.run(request(steps=6), 0, lambda step, _: step < stop_after)
    finally:
        for counter in counters:
            counter.remove()
    assert result is None
    assert len(passes) == stop_after
    assert not decodes
    assert np.array_equal(drawn(whole, request()), drawn(whole, request()))


def test_an_error_of_the_listener_passes_through(whole: WholeDiffusersPipeline) -> None:
    def broken(step: int, preview: Image.Image | None) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        whole.run(request(), 0, broken)
    drawn(whole, request())


class Mute(StableDiffusionXLPipeline):  # type: ignore[misc]  # diffusers is untyped
    """A pipeline that reports no steps and takes neither negative prompt nor clip skip."""

    def __call__(
        self,
        prompt: str,
        height: int,
        width: int,
        num_inference_steps: int,
        guidance_scale: float,
        generator: torch.Generator,
        output_type: str,
    ) -> Any:
        return super().__call__(
            prompt,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=generator,
            output_type=output_type,
        )


def test_a_pipeline_without_callback_reports_and_stops_too(pipe: Any) -> None:
    whole = wrapped(Mute(**pipe.components, add_watermarker=False))
    whole._pipe.set_progress_bar_config(disable=True)
    steps: list[int] = []
    assert whole.run(request(), 0, lambda step, _: not steps.append(step)) is not None
    assert steps == [1, 2, 3]  # the last one shows in the picture
    passes: list[int] = []
    counter = pipe.unet.register_forward_pre_hook(lambda *given: passes.append(1))
    try:
        assert whole.run(request(), 0, lambda step, _: False) is None
    finally:
        counter.remove()
    assert len(passes) <= 2
    sentences = whole.check(request(negative_prompt="x", clip_skip=1))
    assert [s.split(";")[0] for s in sentences] == [
        "This model takes no negative prompt",
        "This model has no clip skip",
    ]


# --- what does not fit ----------------------------------------------------------------------


def test_a_sampler_that_does_not_fit_is_told_and_the_own_one_used(pipe: Any) -> None:
    own = pipe.scheduler
    pipe.scheduler = FlowMatchEulerDiscreteScheduler()
    try:
        whole = wrapped(pipe)
        assert whole.check(request()) == (
            "The sampler Euler does not fit this model; its own (FlowMatchEulerDiscrete) is used.",
        )
        assert type(whole._scheduler(request())) is FlowMatchEulerDiscreteScheduler
    finally:
        pipe.scheduler = own


def test_a_flow_model_keeps_its_sampler_even_an_ordinary_one(pipe: Any) -> None:
    own = pipe.scheduler
    pipe.scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True
    )
    try:
        assert "does not fit" in wrapped(pipe).check(request())[0]
    finally:
        pipe.scheduler = own


def test_more_steps_than_the_sampler_can_take_are_refused(whole: WholeDiffusersPipeline) -> None:
    with pytest.raises(InvalidRequest, match="at most 50 steps"):
        whole.check(request(sampler="lcm", steps=80))


def test_a_latent_consistency_pipeline_runs_as_a_whole() -> None:
    base = sd1(time_cond_proj_dim=16)
    base.scheduler = LCMScheduler.from_config(base.scheduler.config)
    pipe = LatentConsistencyModelPipeline(**base.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    steps: list[int] = []
    whole = wrapped(pipe)
    asked = request(sampler="lcm", guidance_scale=8.0, negative_prompt="x")
    assert whole.run(asked, 0, lambda step, _: not steps.append(step)) is not None
    assert steps == [1, 2, 3, 4]
    assert whole.check(asked) == ("This model takes no negative prompt; it is left out.",)


def test_what_the_models_own_checker_objects_to_is_flagged() -> None:
    pipe = sd1(checker_objects=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    decoded = wrapped(pipe).run(request(sampler="ddim", steps=2), 0, go_on)
    assert decoded is not None
    assert "safety checker" in decoded.flagged


# --- broken numbers -------------------------------------------------------------------------


def test_broken_latents_are_a_clear_failure(whole: WholeDiffusersPipeline, pipe: Any) -> None:
    def spoil(module: Any, given: Any, output: Any) -> Any:
        return tuple(part * float("nan") for part in output)

    hook = pipe.unet.register_forward_hook(spoil)
    try:
        with pytest.raises(BrokenNumbers, match="while it drew"):
            whole.run(request(), 0, go_on)
    finally:
        hook.remove()


def test_a_picture_that_broke_is_decoded_again_in_float32() -> None:
    pipe = sdxl().to(dtype=torch.bfloat16)
    dtypes: list[torch.dtype] = []

    def overflow(module: Any, given: Any, output: torch.Tensor) -> torch.Tensor:
        dtypes.append(output.dtype)
        return output if output.dtype == torch.float32 else output * float("inf")

    pipe.vae.decoder.register_forward_hook(overflow)
    decoded = wrapped(pipe).run(request(steps=2), 0, go_on)
    assert decoded is not None
    assert dtypes == [torch.bfloat16, torch.float32]
    assert pipe.vae.dtype == torch.bfloat16
    assert np.asarray(decoded.image).std() > 0


def test_a_picture_that_stays_broken_is_a_clear_failure(
    whole: WholeDiffusersPipeline, pipe: Any
) -> None:
    hook = pipe.vae.decoder.register_forward_hook(lambda module, given, out: out * float("nan"))
    try:
        with pytest.raises(BrokenNumbers, match="also in float32"):
            whole.run(request(), 0, go_on)
    finally:
        hook.remove()


def test_too_little_memory_for_decoding_leads_to_tiles() -> None:
    pipe = sdxl()
    sizes: list[int] = []

    def full(module: Any, given: Any) -> None:
        sizes.append(given[0].shape[-1])
        if given[0].shape[-1] > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")

    pipe.vae.decoder.register_forward_pre_hook(full)
    decoded = wrapped(pipe).run(request(width=128, steps=2), 0, go_on)
    assert decoded is not None
    assert decoded.image.size == (128, 64)
    assert sizes[0] == 16
    assert set(sizes[1:]) <= set(range(1, 9))


def test_closing_gives_the_model_up() -> None:
    whole = wrapped(sdxl())
    whole.close()
    assert whole._pipe is None
