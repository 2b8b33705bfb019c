"""Where a model runs: what is refused, what is chosen, what is given up when memory is short."""

import time

import pytest
import torch

from sdgen.errors import SettingError
from sdgen.pipelines import device as module
from sdgen.pipelines.device import (
    GIB,
    DeviceChoice,
    choose_device,
    cpu_dtype,
    free_bytes,
    save_memory,
    settle_dtype,
)
from tests import tiny_models

CPU = DeviceChoice(torch.device("cpu"), torch.float32, "cpu", dtype_open=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU")
def test_a_machine_without_gpu_says_so() -> None:
    with pytest.raises(SettingError, match="no CUDA device"):
        choose_device("cuda")


def test_what_a_cpu_gets() -> None:
    assert choose_device("cpu") == CPU
    asked = choose_device("cpu", "bfloat16")
    assert (asked.dtype, asked.dtype_open) == (torch.bfloat16, False)
    with pytest.raises(SettingError, match="float16"):
        choose_device("cpu", "float16")


@pytest.mark.parametrize(("device", "dtype"), [("tpu", "auto"), ("cpu", "int8")])
def test_unknown_names_are_refused(device: str, dtype: str) -> None:
    with pytest.raises(SettingError, match="must be"):
        choose_device(device, dtype)


def test_small_models_stay_in_float32_without_a_test() -> None:
    pipe = tiny_models.sd1()
    assert cpu_dtype(pipe.unet) == torch.float32
    assert settle_dtype(pipe, CPU) == CPU


def test_a_dtype_that_was_asked_for_is_never_changed() -> None:
    asked = choose_device("cpu", "bfloat16")
    assert settle_dtype(None, asked) is asked


def test_plenty_of_memory_needs_no_savings() -> None:
    pipe = tiny_models.sd1()
    assert save_memory(pipe, CPU, free=64 * GIB) == ()
    assert not pipe.vae.use_tiling
    assert free_bytes(CPU.device) > 0


def test_little_memory_is_saved_and_said() -> None:
    pipe = tiny_models.sd1()
    [tiles] = save_memory(pipe, CPU, free=2 * GIB)
    assert "tiles" in tiles
    assert pipe.vae.use_tiling
    notes = save_memory(pipe, CPU, free=GIB)
    assert any("slices" in note for note in notes)


def test_the_pipeline_comes_in_the_chosen_dtype() -> None:
    pipe = tiny_models.sd1()
    save_memory(pipe, choose_device("cpu", "bfloat16"), free=64 * GIB)
    assert pipe.unet.dtype == pipe.vae.dtype == pipe.text_encoder.dtype == torch.bfloat16


@pytest.mark.gpu
def test_a_gpu_short_of_memory_gets_the_parts_in_turns() -> None:
    pipe = tiny_models.sd1()
    notes = save_memory(pipe, choose_device("cuda"), free=GIB)
    assert any("take turns" in note for note in notes)


@pytest.mark.slow
def test_the_self_test_of_a_big_model_keeps_to_its_seconds() -> None:
    unet = tiny_models.unet(
        768,
        block_out_channels=(320, 640),
        layers_per_block=2,
        attention_head_dim=8,
        norm_num_groups=32,
    )
    unet.register_parameter("weight", torch.nn.Parameter(torch.zeros(module.BIG_MODEL)))
    start = time.process_time()  # a busy machine is no fault of the test
    assert cpu_dtype(unet) in (torch.float32, torch.bfloat16)
    assert time.process_time() - start < 2 * module.TEST_SECONDS * torch.get_num_threads()
