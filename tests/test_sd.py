"""The step pipeline on tiny models with random weights: shared equals solo, exact repeats, and
one picture alone is what diffusers' own pipeline draws."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EDMEulerScheduler, LatentConsistencyModelPipeline
from PIL import Image

from sdgen.errors import BrokenNumbers, InvalidRequest
from sdgen.models import FolderSource, ModelSpec, ModelWords
from sdgen.pipelines.base import StepPipeline
from sdgen.pipelines.device import choose_device, save_memory
from sdgen.pipelines.noise_schedulers import noise_scheduler
from sdgen.pipelines.previews import LatentPreview, fitted_preview
from sdgen.pipelines.sd import SdPipeline
from sdgen.request import SAMPLERS, GenerateRequest, Sampler
from tests import tiny_models
from tests.sd_steps import PIXEL, SPEC, pixels, relative, run

LONG = ", ".join(f"a red cat number {number}" for number in range(20))  # 3 chunks and more


def wrap(pipe: Any, spec: ModelSpec = SPEC, safety: bool = True) -> SdPipeline:
    return SdPipeline(pipe, spec, choose_device("cpu", "float32"), "", safety=safety)


@pytest.fixture(scope="module")
def pipeline() -> SdPipeline:
    return wrap(tiny_models.sd1())


def test_it_is_a_step_pipeline(pipeline: SdPipeline) -> None:
    stepped: StepPipeline = pipeline
    assert stepped.spec is SPEC


def test_mixed_requests_in_shared_batches_match_solo_runs(pipeline: SdPipeline) -> None:
    mixed: list[dict[str, object]] = [
        {"prompt": "a red cat", "seed": 1, "steps": 4, "guidance_scale": 7.5},
        {"prompt": "(the:1.4) [cat]", "seed": 2, "steps": 9, "guidance_scale": 1.0},
        {"prompt": LONG, "seed": 3, "steps": 3, "sampler": "ddim", "guidance_scale": 3.0},
        {"prompt": "a BREAK cat", "seed": 4, "steps": 5, "sampler": "euler_a"},
        {"prompt": "cat", "negative_prompt": LONG, "seed": 5, "steps": 2, "sampler": "dpmpp_2m"},
        {"prompt": "red", "seed": 6, "steps": 7, "sampler": "dpmpp_2m_karras", "num_images": 2},
        {"prompt": "the", "seed": 7, "steps": 6, "sampler": "unipc", "clip_skip": 1},
        {"prompt": "the red", "seed": 8, "steps": 4, "sampler": "lcm", "guidance_scale": 0.0},
    ]
    requests = [SPEC.request(**fields) for fields in mixed]
    shared = run(pipeline, [state for request in requests for state in pipeline.encode(request)])
    solo = [state for request in requests for state in run(pipeline, pipeline.encode(request))]
    for together, alone in zip(shared, solo, strict=True):
        assert relative(together.latents, alone.latents) < 1e-5
    for together, alone in zip(pixels(pipeline, shared), pixels(pipeline, solo), strict=True):
        assert np.abs(together - alone).max() <= PIXEL


def test_prompt_lengths_without_a_short_common_multiple_take_several_calls(
    pipeline: SdPipeline,
) -> None:
    prompts = [" BREAK ".join(["cat"] * parts) for parts in (2, 3, 5)]
    shared = [pipeline.encode(SPEC.request(prompt=prompt, seed=1))[0] for prompt in prompts]
    solo = [pipeline.encode(SPEC.request(prompt=prompt, seed=1))[0] for prompt in prompts]
    run(pipeline, shared)
    for together, alone in zip(shared, solo, strict=True):
        run(pipeline, [alone])
        assert relative(together.latents, alone.latents) < 1e-5


def test_an_exact_request_repeats_bit_for_bit_and_shares_with_nobody(
    pipeline: SdPipeline,
) -> None:
    request = SPEC.request(prompt="a red cat", seed=5, exact=True, num_images=2, sampler="euler_a")
    first, second = pipeline.encode(request), pipeline.encode(request)
    keys = {state.key for state in [*first, *second]}
    assert len(keys) == 4
    for state in [*first, *second]:
        run(pipeline, [state])
    for once, again in zip(first, second, strict=True):
        assert torch.equal(once.latents, again.latents)
        assert np.array_equal(*(pixels(pipeline, [state])[0] for state in (once, again)))


def test_image_i_of_a_request_equals_a_request_with_seed_plus_i(pipeline: SdPipeline) -> None:
    several = pipeline.encode(SPEC.request(prompt="cat", seed=40, num_images=3, sampler="lcm"))
    assert [state.seed for state in several] == [40, 41, 42]
    run(pipeline, several)
    for state in several:
        [lone] = run(
            pipeline, pipeline.encode(SPEC.request(prompt="cat", seed=state.seed, sampler="lcm"))
        )
        assert relative(state.latents, lone.latents) < 1e-5


@pytest.mark.parametrize("make", [tiny_models.sd1, tiny_models.sd2, tiny_models.lcm])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_lone_picture_is_what_diffusers_draws(make: Any, sampler: Sampler) -> None:
    pipe = make()
    request = SPEC.request(
        prompt="a red cat", negative_prompt="the", seed=9, steps=7, guidance_scale=6.0,
        sampler=sampler,
    )  # fmt: skip
    pipeline = wrap(pipe)
    states = run(pipeline, pipeline.encode(request))
    [picture] = pixels(pipeline, states)

    pipe.scheduler = noise_scheduler(sampler, pipe.scheduler.config)
    options: dict[str, object] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "width": 64,
        "height": 64,
    }
    latents = pipe(
        **options, generator=torch.Generator().manual_seed(9), output_type="latent"
    ).images
    assert relative(states[0].latents, latents) < 1e-5
    theirs = pipe(**options, generator=torch.Generator().manual_seed(9)).images[0]
    assert np.abs(picture - np.asarray(theirs)).max() <= PIXEL


def test_plain_prompts_are_encoded_as_diffusers_does(pipeline: SdPipeline) -> None:
    for prompt in ("a red cat", "", "the cat, the red: cat! 3 % ü", "a" * 75):
        theirs, negative = pipeline.pipe.encode_prompt(prompt, "cpu", 1, True, "the cat")
        state = pipeline.encode(
            SPEC.request(prompt=prompt or "()", negative_prompt="the cat", seed=1)
        )[0]
        assert torch.equal(state.conditioning.positive, theirs)
        assert state.conditioning.negative is not None
        assert torch.equal(state.conditioning.negative, negative)


def test_clip_skip_leaves_out_layers_of_both_prompts(pipeline: SdPipeline) -> None:
    encoder = pipeline.pipe.text_encoder
    ids = [
        pipeline.pipe.tokenizer(
            text, padding="max_length", max_length=77, return_tensors="pt"
        ).input_ids
        for text in ("a cat", "the red")
    ]
    for skipped in (0, 1, 2):
        request = SPEC.request(prompt="a cat", negative_prompt="the red", seed=1, clip_skip=skipped)
        found = pipeline.encode(request)[0].conditioning
        assert found.negative is not None
        with torch.inference_mode():
            wanted = [
                encoder.final_layer_norm(
                    encoder(part, output_hidden_states=True).hidden_states[-1 - skipped]
                )
                for part in ids
            ]
        assert torch.equal(found.positive, wanted[0])
        assert torch.equal(found.negative, wanted[1])


def test_long_prompts_are_read_in_whole_chunks(pipeline: SdPipeline) -> None:
    request = SPEC.request(prompt=LONG, negative_prompt="cat", seed=1)
    conditioning = pipeline.encode(request)[0].conditioning
    assert conditioning.negative is not None
    assert conditioning.positive.shape == conditioning.negative.shape
    parts = conditioning.positive.shape[1] // 77
    assert parts >= 3
    [sentence] = pipeline.check(request)
    assert str(pipeline.count_tokens(LONG)) in sentence
    assert f"in {parts} parts" in sentence
    changed = pipeline.encode(SPEC.request(prompt=LONG + "x", seed=1))[0].conditioning
    assert not torch.equal(conditioning.positive, changed.positive)  # the end counts


def test_weights_change_the_conditioning(pipeline: SdPipeline) -> None:
    def encoded(prompt: str) -> torch.Tensor:
        return pipeline.encode(SPEC.request(prompt=prompt, seed=1))[0].conditioning.positive

    plain = encoded("a red cat")
    assert torch.equal(encoded("a (red:1.0) cat"), plain)
    heavy = encoded("a (red:1.5) cat")
    assert heavy.shape == plain.shape
    ratio = (heavy / plain)[0].median(dim=1).values
    assert float(ratio[2] / ratio[0]) == pytest.approx(1.5, rel=1e-3)


def test_weights_are_restored_to_their_mean_as_in_a1111(pipeline: SdPipeline) -> None:
    """z * weights * mean(z) / mean(z * weights), its "original" emphasis, for moderate weights and
    for a chunk that weighs as a whole."""
    encoder, words = pipeline.pipe.text_encoder, pipeline.pipe.tokenizer
    with torch.no_grad():
        encoder.final_layer_norm.bias.add_(0.5)  # a mean that says something, as trained ones have
    try:
        for prompt, plain, tokens, weight in (
            ("a (red:1.4) cat", "a red cat", slice(2, 3), 1.4),
            ("a [red] cat", "a red cat", slice(2, 3), 1 / 1.1),
            ("(" + "cat " * 75 + ":3)", "cat " * 75, slice(1, 76), 3.0),
            ("(" + "cat " * 75 + ":0.3)", "cat " * 75, slice(1, 76), 0.3),
        ):
            ids = words(plain, padding="max_length", max_length=77, return_tensors="pt").input_ids
            with torch.inference_mode():
                hidden = encoder(ids)[0]
            weights = torch.ones(77)
            weights[tokens] = weight
            scaled = hidden * weights[None, :, None]
            wanted = scaled * (hidden.mean() / scaled.mean())
            pipeline._text.forget()
            found = pipeline.encode(SPEC.request(prompt=prompt, seed=1))[0].conditioning.positive
            assert relative(found, wanted) < 1e-5
    finally:
        with torch.no_grad():
            encoder.final_layer_norm.bias.sub_(0.5)
        pipeline._text.forget()


def drawn_by_diffusers(pipeline: SdPipeline, request: GenerateRequest, texts: Any) -> torch.Tensor:
    """The latents of diffusers' own loop; texts: the prompt and the negative one at each step."""
    pipe = pipeline.pipe

    def embeds(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        return pipe.encode_prompt(texts[step][0], "cpu", 1, True, texts[step][1])

    def change(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, torch.Tensor]:
        if step + 1 == len(texts):
            return {}
        positive, negative = embeds(step + 1)
        return {"prompt_embeds": torch.cat([negative, positive])}

    own, pipe.scheduler = (
        pipe.scheduler,
        noise_scheduler(request.sampler, pipe.scheduler.config),
    )
    try:
        positive, negative = embeds(0)
        latents: torch.Tensor = pipe(
            prompt_embeds=positive,
            negative_prompt_embeds=negative,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            width=64,
            height=64,
            generator=torch.Generator().manual_seed(request.seed),
            output_type="latent",
            callback_on_step_end=change,
            callback_on_step_end_tensor_inputs=["prompt_embeds"],
        ).images
    finally:
        pipe.scheduler = own
    return latents


EDITED: list[tuple[dict[str, object], list[tuple[str, str]]]] = [
    (
        {"prompt": "a [red:the:0.5] cat", "negative_prompt": "z"},
        [("a red cat", "z")] * 2 + [("a the cat", "z")] * 2,
    ),
    (
        {"prompt": "a [red|the|] cat", "negative_prompt": "[z|cat]", "sampler": "euler_a"},
        [("a red cat", "z"), ("a the cat", "cat"), ("a  cat", "z"), ("a red cat", "cat")],
    ),
    (
        {"prompt": "cat", "negative_prompt": "[the:3] [red::1]", "sampler": "dpmpp_2m"},
        [("cat", " red"), ("cat", " "), ("cat", " "), ("cat", "the ")],
    ),
]


@pytest.mark.parametrize(("fields", "texts"), EDITED)
def test_prompt_editing_is_what_diffusers_draws_with_changing_prompts(
    pipeline: SdPipeline, fields: dict[str, object], texts: list[tuple[str, str]]
) -> None:
    request = SPEC.request(seed=9, steps=4, guidance_scale=6.0, **fields)
    [state] = run(pipeline, pipeline.encode(request))
    assert relative(state.latents, drawn_by_diffusers(pipeline, request, texts)) < 1e-5
    unchanging = drawn_by_diffusers(pipeline, request, [texts[0]] * 4)
    assert relative(state.latents, unchanging) > 1e-3


def test_edited_prompts_share_batches_each_on_its_own_schedule(pipeline: SdPipeline) -> None:
    mixed: list[dict[str, object]] = [
        {"prompt": "a [red:the:0.5] cat", "seed": 1, "steps": 4},
        {"prompt": "[cat|the:2]", "seed": 2, "steps": 9, "guidance_scale": 1.0},
        {"prompt": f"[cat|{LONG}]", "seed": 3, "steps": 3, "sampler": "ddim"},
        {
            "prompt": "red",
            "negative_prompt": "[the|(red:1.3)|cat BREAK cat]",
            "seed": 4,
            "steps": 6,
        },
        {"prompt": "a cat", "seed": 5, "steps": 5, "sampler": "euler_a", "num_images": 2},
    ]
    requests = [SPEC.request(**fields) for fields in mixed]
    shared = run(pipeline, [state for request in requests for state in pipeline.encode(request)])
    solo = [state for request in requests for state in run(pipeline, pipeline.encode(request))]
    for together, alone in zip(shared, solo, strict=True):
        assert relative(together.latents, alone.latents) < 1e-5
    for together, alone in zip(pixels(pipeline, shared), pixels(pipeline, solo), strict=True):
        assert np.abs(together - alone).max() <= PIXEL


def test_an_exact_request_with_an_edited_prompt_repeats_bit_for_bit(pipeline: SdPipeline) -> None:
    request = SPEC.request(prompt="[red|the] cat [z:0.5]", seed=5, steps=5, exact=True)
    once, again = (run(pipeline, pipeline.encode(request))[0] for _ in range(2))
    assert torch.equal(once.latents, again.latents)


def test_each_different_text_is_encoded_once() -> None:
    pipeline = wrap(tiny_models.sd1())
    passes: list[int] = []
    pipeline.pipe.text_encoder.register_forward_pre_hook(lambda *given: passes.append(1))
    request = SPEC.request(
        prompt="[cat|red]", negative_prompt="the", seed=1, steps=50, num_images=3
    )
    states = pipeline.encode(request)
    assert len(passes) == 3
    assert len(states[0].conditionings) == 50
    assert len({id(found.positive) for found in states[0].conditionings}) == 2
    pipeline.encode(SPEC.request(prompt="[the|cat]", negative_prompt="red", seed=1, steps=4))
    assert len(passes) == 3


def test_what_is_said_of_prompts_that_change(pipeline: SdPipeline) -> None:
    words = ModelWords((), (), (), (), (), frozenset({"a", "red", "cat"}), ())
    spec = ModelSpec(**{**SPEC.__dict__, "words": words})
    picky = wrap(pipeline.pipe, spec)
    assert picky.check(spec.request(prompt="a [red:(cat:1.2):0.5] [cat|a]", seed=1)) == ()
    [sentence] = picky.check(spec.request(prompt="a [red:blue:0.5] [fe|]cat", seed=1, steps=4))
    assert sentence == "This model does not know: fecat, blue."
    assert "AND" in pipeline.check(spec.request(prompt="cat AND red", seed=1))[0]
    options = "|".join(str(number) for number in range(90))
    with pytest.raises(InvalidRequest, match="different texts in 90 steps"):
        pipeline.encode(SPEC.request(prompt=f"[{options}]", seed=1, steps=90))


def test_what_the_model_does_not_know_is_named() -> None:
    words = ModelWords((), (), (), (), (), frozenset({"a", "red", "cat"}), ())
    spec = ModelSpec(**{**SPEC.__dict__, "words": words})
    pipeline = wrap(tiny_models.sd1(), spec)
    assert pipeline.check(spec.request(prompt="a (red:1.2) BREAK cat")) == ()
    [sentence] = pipeline.check(spec.request(prompt="A red Zeppelin, a ship"))
    assert "zeppelin, ship" in sentence
    [sentence] = pipeline.check(
        spec.request(prompt="a cat", negative_prompt="red", guidance_scale=1.0)
    )
    assert "no effect" in sentence


def test_rows_follow_guidance() -> None:
    plain = wrap(tiny_models.sd1())
    assert plain.encode(SPEC.request(prompt="cat", guidance_scale=1.0))[0].rows == 1
    assert plain.encode(SPEC.request(prompt="cat", guidance_scale=1.1))[0].rows == 2
    distilled = wrap(tiny_models.lcm())
    state = distilled.encode(SPEC.request(prompt="cat", guidance_scale=8.0, sampler="lcm"))[0]
    assert state.rows == 1
    assert state.conditioning.timestep_cond is not None
    deaf = ModelSpec(**{**SPEC.__dict__, "ignores": frozenset({"guidance_scale"})})
    assert (
        wrap(plain.pipe, deaf).encode(SPEC.request(prompt="cat", guidance_scale=9.0))[0].rows == 1
    )


def test_distilled_pictures_of_different_guidance_share_a_call() -> None:
    pipeline = wrap(tiny_models.lcm())
    requests = [
        SPEC.request(prompt="cat", seed=1, guidance_scale=scale, sampler="lcm", steps=steps)
        for scale, steps in ((2.0, 3), (8.0, 4), (0.0, 2))
    ]
    shared = run(pipeline, [pipeline.encode(request)[0] for request in requests])
    for together, request in zip(shared, requests, strict=True):
        [alone] = run(pipeline, pipeline.encode(request))
        assert relative(together.latents, alone.latents) < 1e-5


def test_sizes_that_the_vae_cannot_make_are_refused(pipeline: SdPipeline) -> None:
    halved = wrap(tiny_models.sd1())
    halved.pipe.vae_scale_factor = 16
    with pytest.raises(InvalidRequest, match="multiple of 16") as caught:
        halved.encode(SPEC.request(prompt="cat", width=72, height=64))
    assert caught.value.field == "width"
    states = pipeline.encode(SPEC.request(prompt="cat", width=72, height=104, steps=1))
    assert pixels(pipeline, run(pipeline, states))[0].shape == (104, 72, 3)


def test_too_many_steps_for_lcm_are_refused(pipeline: SdPipeline) -> None:
    with pytest.raises(InvalidRequest, match="at most 50 steps") as caught:
        pipeline.encode(SPEC.request(prompt="cat", sampler="lcm", steps=51))
    assert caught.value.field == "steps"


def test_broken_numbers_are_never_a_picture(pipeline: SdPipeline) -> None:
    good, bad = pipeline.encode(SPEC.request(prompt="cat", seed=3, num_images=2))
    bad.latents[0, 0, 0, 0] = float("nan")
    with pytest.raises(BrokenNumbers, match="seed 4"):
        pipeline.decode([bad])
    with pytest.raises(BrokenNumbers):
        pipeline.decode([bad], float32=True)
    assert len(pipeline.decode([good])) == 1


def test_decoding_in_float32_leaves_the_vae_as_it_was(pipeline: SdPipeline) -> None:
    half = wrap(tiny_models.sd1())
    [state] = run(pipeline, pipeline.encode(SPEC.request(prompt="cat", seed=3)))
    [wanted] = pixels(pipeline, [state])
    half.pipe.vae.to(torch.bfloat16)
    [coarse] = pixels(half, [state])
    [fine] = pixels(half, [state], float32=True)
    assert half.pipe.vae.dtype == torch.bfloat16
    assert np.abs(fine - wanted).max() <= np.abs(coarse - wanted).max() <= 12
    assert np.abs(fine - wanted).mean() < 1


def test_tiles_look_like_the_whole() -> None:
    pipeline = wrap(tiny_models.sd1(tile=64))
    [state] = run(
        pipeline, pipeline.encode(SPEC.request(prompt="cat", width=128, height=128, seed=3))
    )
    [whole], [tiled] = pixels(pipeline, [state]), pixels(pipeline, [state], tiled=True)
    assert whole.shape == tiled.shape
    assert np.abs(whole - tiled).mean() < 12
    assert not pipeline.pipe.vae.use_tiling


def test_the_safety_checker_flags_and_leaves_the_picture_alone() -> None:
    strict, lax = (wrap(tiny_models.sd1(checker_objects=objects)) for objects in (True, False))
    off = wrap(strict.pipe, safety=False)
    [state] = run(strict, strict.encode(SPEC.request(prompt="cat", seed=3)))
    [flagged], [passed], [unchecked] = (one.decode([state]) for one in (strict, lax, off))
    assert "safety checker" in flagged.flagged
    assert passed.flagged == unchecked.flagged == ""
    assert np.array_equal(np.asarray(flagged.image), np.asarray(unchecked.image))


def test_previews_are_small_pictures_at_every_step(pipeline: SdPipeline) -> None:
    states = pipeline.encode(SPEC.request(prompt="cat", width=128, height=64, num_images=2))
    assert pipeline.preview([]) == []
    for sampler in SAMPLERS:
        states += pipeline.encode(
            SPEC.request(prompt="cat", width=128, height=64, sampler=sampler, steps=2)
        )
    for _ in range(3):
        images = pipeline.preview(states)
        assert len(images) == len(states)
        assert all(isinstance(image, Image.Image) for image in images)
        assert {image.size for image in images} == {(256, 128)}
        running = [state for state in states if not state.done]
        for state, noise in zip(running, pipeline.predict_noise(running), strict=True):
            pipeline.advance(state, noise)


def test_the_preview_after_the_last_step_is_the_finished_latents(pipeline: SdPipeline) -> None:
    for sampler in ("euler", "ddim", "dpmpp_2m", "unipc", "lcm"):
        states = pipeline.encode(SPEC.request(prompt="cat", sampler=sampler, steps=4, seed=2))
        [state] = run(pipeline, states)
        assert state.denoised is not None
        assert relative(state.denoised, state.latents) < 0.1


def test_a_model_brings_its_own_preview(tmp_path: Path) -> None:
    red = {"latent_rgb_factors": [[0.0] * 3] * 4, "latent_rgb_bias": [1.0, -1.0, -1.0]}
    spec = ModelSpec(**{**SPEC.__dict__, "source": FolderSource(tmp_path)})
    for text, is_red in ((json.dumps(red), True), ("[]", False), ("{", False)):
        (tmp_path / "preview.json").write_text(text, encoding="utf-8")
        pipeline = wrap(tiny_models.sd1(), spec)
        [image] = pipeline.preview(pipeline.encode(spec.request(prompt="cat", seed=1)))
        assert (image.getextrema() == ((255, 255), (0, 0), (0, 0))) is is_red


def test_a_preview_without_a_known_map_is_fitted_to_the_vae() -> None:
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    factors, bias = torch.randn(4, 3) / 8, torch.tensor([0.1, 0.0, -0.1])
    truth = LatentPreview(factors, bias)
    images = (latents.movedim(1, -1) @ factors + bias).movedim(-1, 1).repeat_interleave(8, 2)
    found = fitted_preview(latents, images.repeat_interleave(8, 3))
    assert torch.allclose(found.factors, truth.factors, atol=1e-4)
    assert torch.allclose(found.bias, truth.bias, atol=1e-4)
    broken = found.images(torch.full((1, 4, 8, 8), float("nan")))
    assert broken[0].getextrema() == ((128, 128),) * 3


def test_a_latent_consistency_pipeline_has_the_same_parts() -> None:
    parts = tiny_models.lcm().components
    own = noise_scheduler("lcm", parts["scheduler"].config)
    pipe = LatentConsistencyModelPipeline(
        **{name: part for name, part in parts.items() if name != "scheduler"},
        scheduler=own,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    pipeline = wrap(pipe)
    request = SPEC.request(prompt="cat", seed=2, guidance_scale=8.0, sampler="lcm", steps=4)
    [picture] = pixels(pipeline, run(pipeline, pipeline.encode(request)))
    [theirs] = pipe(
        "cat",
        num_inference_steps=4,
        guidance_scale=8.0,
        width=64,
        height=64,
        generator=torch.Generator().manual_seed(2),
    ).images
    assert np.abs(picture - np.asarray(theirs)).max() <= PIXEL


@pytest.mark.gpu
def test_mixed_requests_on_a_gpu_match_solo_runs() -> None:
    for dtype, tolerance in (("float32", 1), ("auto", 8)):  # of 255; half precision is coarser
        choice = choose_device("cuda", dtype)
        pipe = tiny_models.sd1()
        pipeline = SdPipeline(pipe, SPEC, choice, "", save_memory(pipe, choice))
        requests = [
            SPEC.request(prompt="a (red:1.2) cat", sampler=sampler, steps=4 + number, seed=number)
            for number, sampler in enumerate(SAMPLERS)
        ]
        shared = run(pipeline, [pipeline.encode(request)[0] for request in requests])
        assert len(pipeline.preview(shared)) == len(shared)
        for together, request in zip(shared, requests, strict=True):
            [alone] = run(pipeline, pipeline.encode(request))
            one, other = (pixels(pipeline, [state])[0] for state in (together, alone))
            assert np.abs(one - other).max() <= tolerance


def test_close_gives_the_model_back() -> None:
    pipeline = wrap(tiny_models.sd1())
    pipeline.close()
    pipeline.close()
    assert pipeline.pipe is None


def test_a_model_of_noise_levels_is_stepped_as_diffusers_steps_it() -> None:
    pipe = tiny_models.sd1()
    pipe.scheduler = EDMEulerScheduler()
    request = SPEC.request(prompt="a red cat", seed=9, steps=5, sampler="euler")
    pipeline = wrap(pipe)
    states = run(pipeline, pipeline.encode(request))
    options = {"num_inference_steps": 5, "guidance_scale": request.guidance_scale}
    latents = pipe(
        "a red cat", **options, width=64, height=64,
        generator=torch.Generator().manual_seed(9), output_type="latent",
    ).images  # fmt: skip
    assert relative(states[0].latents, latents) < 1e-5
    with pytest.raises(InvalidRequest, match="noise levels"):
        pipeline.encode(SPEC.request(prompt="a red cat", seed=9, sampler="ddim"))
