"""Adapters in a diffusers pipeline that runs as a whole: as diffusers' own loading draws them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler

from sdgen.errors import AdapterRefused, InvalidRequest
from sdgen.pipelines.whole import WholeDiffusersPipeline
from sdgen.request import AdapterUse
from tests.tiny_loras import ATTENTION, LOCON, TEXT, lora_file, with_loras
from tests.tiny_sdxl import sdxl
from tests.whole_runs import drawn, plain, request, wrapped

PIXEL = 1


@pytest.fixture(scope="module")
def pipe() -> Any:
    return sdxl()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("loras")
    options: dict[str, Any] = {"size": 0.2, "rank": 4, "alpha": 6.0}
    return [
        lora_file(
            folder / "both.safetensors", text=TEXT, text_2=TEXT, seed=1, pipe=sdxl(), **options
        ),
        lora_file(folder / "locon.safetensors", targets=LOCON, seed=2, pipe=sdxl(), **options),
    ]


def hooks(pipe: Any) -> int:
    parts = (pipe.unet, pipe.text_encoder, pipe.text_encoder_2)
    return sum(len(module._forward_hooks) for part in parts for module in part.modules())


def test_they_act_as_diffusers_own_and_leave_the_base_as_it_was(
    pipe: Any, files: list[Path]
) -> None:
    whole = wrapped(pipe)
    state = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    base = drawn(whole, request())
    before = hooks(pipe)
    uses = [(files[0], 0.8, -0.6), (files[1], -0.5, 1.0)]
    adapters = tuple(AdapterUse(name=str(p), scale=s, text_scale=t) for p, s, t in uses)
    asked = request(adapters=adapters)
    ours = drawn(whole, asked)
    assert np.array_equal(base, drawn(whole, request())), "the base is no longer what it was"
    assert list(pipe.unet.state_dict()) == list(state)
    assert all(torch.equal(state[name], value) for name, value in pipe.unet.state_dict().items())
    assert hooks(pipe) == before  # transformers has some of its own
    reference = with_loras(uses, sdxl())
    scheduler = EulerDiscreteScheduler.from_config(reference.scheduler.config)
    theirs = plain(reference, asked, scheduler, 7)
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= PIXEL
    assert np.abs(ours.astype(int) - base.astype(int)).max() > 2 * PIXEL


def test_a_stopped_run_leaves_nothing_behind(pipe: Any, files: list[Path]) -> None:
    whole = wrapped(pipe)
    asked = request(adapters=(AdapterUse(name=str(files[0])),))
    assert whole.run(asked, 0, lambda step, preview: False) is None
    assert not any(module._forward_hooks for module in pipe.unet.modules())


def test_what_does_nothing_is_refused(pipe: Any, tmp_path: Path) -> None:
    path = lora_file(tmp_path / "zero.safetensors", targets=ATTENTION, size=0.0, pipe=sdxl())
    with pytest.raises(AdapterRefused, match="changes nothing"):
        drawn(wrapped(pipe), request(adapters=(AdapterUse(name=str(path)),)))


def test_a_model_without_a_unet_says_that_it_takes_none(pipe: Any, files: list[Path]) -> None:
    class Other:
        def __call__(self, prompt: str) -> None:
            """Never runs."""

    whole = WholeDiffusersPipeline(
        Other(), wrapped(pipe).spec, cast(Any, SimpleNamespace(device="", label="", dtype="")), ""
    )
    with pytest.raises(InvalidRequest, match="takes no LoRA adapters") as caught:
        whole.check(request(adapters=(AdapterUse(name=str(files[0])),)))
    assert caught.value.field == "adapters"
