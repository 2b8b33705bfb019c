"""One step's loss against the formulas of diffusers' training scripts and schedulers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, EDMEulerScheduler
from diffusers.training_utils import compute_snr

from lora.base import Base, load_base
from lora.config import InvalidRecipe, completed
from lora.loss import Batch, Text, add_noise, denoising_loss, min_snr_weights, step_loss, velocity
from lora.network import (
    adapter_state,
    attach,
    detach,
    disabled,
    load_adapter_state,
    named_weights,
    set_strength,
)
from sdgen.config import Settings
from tests.tiny_models import saved, sd1, sd2
from tests.tiny_sdxl import sdxl
from tests.tiny_training import recipe

CAPTIONS = ["the red cat", "a house"]


def loaded(pipe: Any, folder: Path, **fields: Any) -> Base:
    """The model as training loads it, with an adapter whose B is not zero."""
    wanted = recipe(saved(pipe, folder / "base"), **fields)
    base = load_base(wanted, Settings(data_dir=folder / "data"))
    attach(base, completed(wanted, base.family, 4))
    state = {name: torch.full_like(value, 0.05) for name, value in adapter_state(base).items()}
    load_adapter_state(base, state)
    return base


def batch_for(base: Base) -> Batch:
    rng = torch.Generator().manual_seed(5)
    shape = (2, base.unet.config.in_channels, 8, 8)
    ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2) if base.is_sdxl else None
    return Batch(
        clean=torch.randn(shape, generator=rng),
        noise=torch.randn(shape, generator=rng),
        timesteps=torch.tensor([30, 700]),
        text=Text(*base.encode_text(CAPTIONS)),
        time_ids=ids,
    )


@pytest.fixture(scope="module")
def epsilon(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return loaded(sd1(), tmp_path_factory.mktemp("sd1"))


@pytest.fixture(scope="module")
def v(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return loaded(sd2(), tmp_path_factory.mktemp("sd2"))


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return loaded(sdxl(), tmp_path_factory.mktemp("sdxl"))


@pytest.mark.parametrize("name", ["epsilon", "v"])
def test_noise_velocity_and_weights_are_diffusers(
    name: str, request: pytest.FixtureRequest
) -> None:
    base: Base = request.getfixturevalue(name)
    batch = batch_for(base)
    scheduler = DDPMScheduler.from_config(base.pipe.scheduler.config)
    steps = batch.timesteps
    noisy = scheduler.add_noise(batch.clean, batch.noise, steps)
    torch.testing.assert_close(add_noise(base.alphas, batch.clean, batch.noise, steps), noisy)
    wanted = scheduler.get_velocity(batch.clean, batch.noise, steps)
    torch.testing.assert_close(velocity(base.alphas, batch.clean, batch.noise, steps), wanted)
    ratio = compute_snr(scheduler, steps)
    for is_v, divisor in ((False, ratio), (True, ratio + 1)):
        weights = torch.stack([ratio, torch.full_like(ratio, 5.0)], dim=1).min(dim=1)[0] / divisor
        torch.testing.assert_close(min_snr_weights(base.alphas, steps, 5.0, is_v), weights)


@pytest.mark.parametrize("name", ["epsilon", "v"])
@pytest.mark.parametrize("gamma", [0.0, 5.0])
def test_the_loss_is_that_of_diffusers_script(
    name: str, gamma: float, request: pytest.FixtureRequest
) -> None:
    base: Base = request.getfixturevalue(name)
    batch = batch_for(base)
    scheduler = DDPMScheduler.from_config(base.pipe.scheduler.config)
    noisy = scheduler.add_noise(batch.clean, batch.noise, batch.timesteps)
    prediction = base.unet(noisy, batch.timesteps, batch.text.hidden).sample
    target = batch.noise
    if scheduler.config.prediction_type == "v_prediction":
        target = scheduler.get_velocity(batch.clean, batch.noise, batch.timesteps)
    losses = F.mse_loss(prediction, target, reduction="none").mean(dim=(1, 2, 3))
    if gamma:
        ratio = compute_snr(scheduler, batch.timesteps)
        weights = ratio.clamp(max=gamma) / (ratio + (1 if name == "v" else 0))
        losses = losses * weights
    torch.testing.assert_close(step_loss(base, batch, gamma), losses)


def test_terminal_noise_has_a_finite_weight() -> None:
    weights = min_snr_weights(torch.tensor([0.9, 0.0]), torch.tensor([0, 1]), 5.0, False)
    assert weights.tolist() == pytest.approx([5 / 9, 1.0])


def test_sdxl_reads_text_and_sizes_as_its_pipeline_does(xl: Base) -> None:
    with disabled(xl), torch.no_grad():
        hidden, pooled = xl.encode_text([*CAPTIONS, ""])
        for row, caption in enumerate(CAPTIONS):
            wanted = xl.pipe.encode_prompt(caption, device="cpu", do_classifier_free_guidance=True)
            torch.testing.assert_close(hidden[row : row + 1], wanted[0])
            assert pooled is not None
            torch.testing.assert_close(pooled[row : row + 1], wanted[2])
            torch.testing.assert_close(hidden[2:], wanted[1])  # what it takes without a prompt
    batch = batch_for(xl)
    loss = step_loss(xl, batch)
    assert batch.time_ids is not None
    other = step_loss(xl, replace(batch, time_ids=batch.time_ids * 2))
    assert bool(torch.isfinite(loss).all())
    assert not torch.allclose(loss, other)


@pytest.mark.parametrize("name", ["epsilon", "v"])
def test_text_is_what_the_pipeline_reads(name: str, request: pytest.FixtureRequest) -> None:
    base: Base = request.getfixturevalue(name)
    with torch.no_grad():
        hidden, pooled = base.encode_text(CAPTIONS)
        wanted, _ = base.pipe.encode_prompt(CAPTIONS[0], "cpu", 1, False)
    assert pooled is None
    torch.testing.assert_close(hidden[:1], wanted)


def test_the_prior_pulls_towards_the_base_alone(epsilon: Base) -> None:
    batch = batch_for(epsilon)
    with disabled(epsilon), torch.no_grad():
        own = Text(*epsilon.encode_text(["a cat", "a cat"]))
    batch = replace(batch, prior=own, base_prior=own)
    plain = step_loss(epsilon, batch)
    pulled = step_loss(epsilon, batch, prior_weight=2.0)
    noisy = add_noise(epsilon.alphas, batch.clean, batch.noise, batch.timesteps)
    with torch.no_grad():
        now = epsilon.unet(noisy, batch.timesteps, own.hidden).sample
        with disabled(epsilon):
            was = epsilon.unet(noisy, batch.timesteps, own.hidden).sample
    apart = (now - was).square().mean(dim=(1, 2, 3))
    assert float(apart.min()) > 1e-7, "the adapter is seen"
    torch.testing.assert_close(pulled, plain + 2.0 * apart)
    set_strength(epsilon, 0.0)
    try:
        torch.testing.assert_close(
            step_loss(epsilon, batch, prior_weight=2.0), step_loss(epsilon, batch)
        )
    finally:
        set_strength(epsilon, 1.0)


def test_only_the_adapter_learns_and_in_float32(tmp_path: Path) -> None:
    fields = {"text_encoder": True, "precision": "bfloat16"}
    base = loaded(sd1(), tmp_path, **fields)
    assert base.dtype == torch.bfloat16
    asked = {
        value
        for module in (base.unet, base.vae, *base.text_encoders)
        for value in module.parameters()
        if value.requires_grad
    }
    assert asked == {value for _, value in named_weights(base)}
    assert {value.dtype for value in asked} == {torch.float32}
    batch = batch_for(base)
    torch.autograd.backward(step_loss(base, batch).sum())
    assert all(value.grad is not None and bool(value.grad.any()) for value in asked)


def test_taken_out_the_base_is_what_it_was(tmp_path: Path) -> None:
    plain = sd1()
    names = {name for name, _ in plain.unet.named_modules()}
    base = loaded(sd1(), tmp_path, text_encoder=True)
    state = adapter_state(base)
    batch = batch_for(base)
    adapted = denoising_loss(
        base, batch, base.unet(batch.clean, batch.timesteps, batch.text.hidden)[0]
    )
    detach(base)
    assert {name for name, _ in base.unet.named_modules()} == names
    assert all(
        torch.equal(v, plain.unet.state_dict()[k]) for k, v in base.unet.state_dict().items()
    )
    assert not any(value.requires_grad for value in base.unet.parameters())
    load_adapter_state(base, state)
    assert all(torch.equal(value, state[name]) for name, value in adapter_state(base).items())
    again = denoising_loss(
        base, batch, base.unet(batch.clean, batch.timesteps, batch.text.hidden)[0]
    )
    torch.testing.assert_close(again, adapted)


def test_a_base_of_noise_levels_is_refused(tmp_path: Path) -> None:
    """Its training knew no timesteps; betas that nobody gave would be made up."""
    pipe = sd1()
    pipe.scheduler = EDMEulerScheduler()
    with pytest.raises(InvalidRecipe, match=r"noise levels \(EDM\)"):
        load_base(recipe(saved(pipe, tmp_path / "b")), Settings(data_dir=tmp_path / "data"))
