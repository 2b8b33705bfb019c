"""Where a model runs and in which numbers, and what to give up when memory is short."""

import copy
import time
from dataclasses import dataclass, replace
from typing import Any

import psutil  # type: ignore[import-untyped]  # comes with accelerate
import torch

from sdgen.errors import SettingError

GIB = 2**30
BIG_MODEL = 100_000_000  # parameters; smaller denoisers stay in float32 on a CPU
TEST_SECONDS = 2.0  # for the self-test of a CPU in bfloat16, both dtypes together
LEAST_GAIN = 1.25  # bfloat16 must be this much faster to be worth its three digits
WORKING_BYTES = 3 * GIB  # for activations of one 512 px picture and its decoding

CPU = torch.device("cpu")
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class DeviceChoice:
    """A device, a dtype, and the device's name for a recipe: "cpu", "cuda (NVIDIA H200)"."""

    device: torch.device
    dtype: torch.dtype
    label: str
    dtype_open: bool = False  # nobody asked for this dtype: `settle_dtype` may change it


def choose_device(device: str = "auto", dtype: str = "auto") -> DeviceChoice:
    """The device and dtype to load models with.

    device: "auto" (CUDA, else MPS, else CPU), "cuda", "mps" or "cpu". dtype: "auto" (bfloat16 on
    CUDA of capability 8.0 and up, float16 on older ones and on MPS, float32 on a CPU), "float32",
    "float16" or "bfloat16". Raises SettingError where the machine cannot do it.
    """
    name = _best_device() if device == "auto" else device
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingError("SDGEN_DEVICE is 'cuda', but PyTorch finds no CUDA device here.")
    if name == "mps" and not torch.backends.mps.is_available():
        raise SettingError("SDGEN_DEVICE is 'mps', but PyTorch finds no Apple GPU here.")
    if name not in ("cpu", "cuda", "mps"):
        raise SettingError(f"SDGEN_DEVICE must be auto, cpu, cuda or mps, not '{name}'.")
    if dtype not in ("auto", *_DTYPES):
        raise SettingError(
            f"SDGEN_DTYPE must be auto, float32, float16 or bfloat16, not '{dtype}'."
        )
    if name == "cpu" and dtype == "float16":
        raise SettingError("SDGEN_DTYPE float16 is not for a CPU; use float32 or bfloat16.")
    label = f"cuda ({torch.cuda.get_device_name()})" if name == "cuda" else name
    chosen = _best_dtype(name) if dtype == "auto" else _DTYPES[dtype]
    return DeviceChoice(torch.device(name), chosen, label, dtype_open=dtype == "auto")


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _best_dtype(device: str) -> torch.dtype:
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16
    return torch.float16 if device == "mps" else torch.float32


def settle_dtype(pipe: Any, choice: DeviceChoice) -> DeviceChoice:
    """The choice with the dtype that suits this very model; call it once, after loading.

    Only a big model on a CPU whose dtype nobody asked for is ever changed. `pipe` keeps its dtype;
    move it by `save_memory(pipe, choice)`.
    """
    if choice.device.type != "cpu" or not choice.dtype_open:
        return choice
    return replace(choice, dtype=cpu_dtype(pipe.unet))


def cpu_dtype(unet: Any) -> torch.dtype:
    """bfloat16 where a part of this very UNet runs clearly faster in it, else float32.

    Takes at most about TEST_SECONDS, and nothing for a UNet of under BIG_MODEL parameters or of
    another kind than Stable Diffusion's.
    """
    big = sum(parameter.numel() for parameter in unet.parameters()) >= BIG_MODEL
    if not big or not _can_be_timed(unet):
        return torch.float32
    seconds = {
        dtype: _block_seconds(unet, dtype, TEST_SECONDS / 2)
        for dtype in (torch.float32, torch.bfloat16)
    }
    faster = seconds[torch.float32] / seconds[torch.bfloat16]
    return torch.bfloat16 if faster >= LEAST_GAIN else torch.float32


def _can_be_timed(unet: Any) -> bool:
    """True for the UNets of Stable Diffusion, whose stages `_block_seconds` knows how to call."""
    kinds = {type(block).__name__ for block in getattr(unet, "down_blocks", ())}
    known = bool(kinds) and kinds <= {"CrossAttnDownBlock2D", "DownBlock2D"}
    return known and isinstance(unet.config.cross_attention_dim, int)


def _block_seconds(unet: Any, dtype: torch.dtype, budget: float) -> float:
    """The best time of the UNet's second stage (convolutions, attention) on one 256 px row."""
    stage = 1 if len(unet.config.block_out_channels) > 1 else 0
    block = copy.deepcopy(unet.down_blocks[stage]).to(dtype, memory_format=_layout(CPU, dtype))
    channels = unet.config.block_out_channels
    sample = torch.zeros(1, channels[max(stage - 1, 0)], 16, 16, dtype=dtype).normal_()
    time_embedding = torch.zeros(1, unet.time_embedding.linear_2.out_features, dtype=dtype)
    text = torch.zeros(1, 77, unet.config.cross_attention_dim, dtype=dtype)
    arguments: dict[str, torch.Tensor] = {"hidden_states": sample, "temb": time_embedding}
    if getattr(block, "has_cross_attention", False):
        arguments["encoder_hidden_states"] = text
    best = float("inf")
    began = time.perf_counter()
    with torch.inference_mode():
        while True:
            start = time.perf_counter()
            block(**arguments)
            end = time.perf_counter()
            best = min(best, end - start)
            if end - began > budget / 2:  # the first runs also pay for the copy and set-up
                return best


def save_memory(pipe: Any, choice: DeviceChoice, free: int | None = None) -> tuple[str, ...]:
    """Put the pipeline on its device in its dtype, with the savings that free memory asks for.

    pipe: a loaded diffusers pipeline, wherever it is. free: bytes; None: what is free now.
    Returns a sentence for each saving taken; none where memory is plenty.
    """
    if any(module.dtype != choice.dtype for module in _modules(pipe)):
        pipe.to(dtype=choice.dtype)
    weights = _weight_bytes(pipe, outside=choice.device)
    if free is None:
        free = free_bytes(choice.device)
    notes: list[str] = []
    if choice.device.type == "cuda" and weights + WORKING_BYTES > free:
        pipe.enable_model_cpu_offload(device=choice.device)
        notes.append(
            f"Only {free / GIB:.1f} GB of GPU memory are free, so the model's parts take turns on "
            "the GPU; this is slower."
        )
        left = free - weights / 2
    else:
        pipe.to(choice.device)
        left = free - weights
    layout = _layout(choice.device, choice.dtype)
    pipe.unet.to(memory_format=layout)
    pipe.vae.to(memory_format=layout)
    if choice.device.type == "mps" and psutil.virtual_memory().total < 64 * GIB:
        pipe.enable_attention_slicing()  # diffusers' own advice for Macs under 64 GB
        notes.append("Attention runs in slices, as is best on a Mac with less than 64 GB.")
    elif left < WORKING_BYTES / 2:
        pipe.enable_attention_slicing()
        notes.append("Attention runs in slices to save memory; this is slower.")
    if left < WORKING_BYTES:
        pipe.vae.enable_tiling()
        notes.append(
            f"About {max(left, 0) / GIB:.1f} GB of memory are left, so big pictures are decoded in "
            "tiles."
        )
    return tuple(notes)


def _layout(device: torch.device, dtype: torch.dtype) -> torch.memory_format:
    """Channels last where convolutions are faster so: in half precision on CUDA and on CPUs."""
    if device.type != "mps" and dtype != torch.float32:
        return torch.channels_last
    return torch.contiguous_format


def free_bytes(device: torch.device) -> int:
    """Memory that a model could take on this device right now, bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)  # an Apple GPU shares the machine's memory


def _modules(pipe: Any) -> list[Any]:
    return [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]


def _weight_bytes(pipe: Any, outside: torch.device) -> int:
    """Bytes of the weights that are not in this device's memory yet."""
    return sum(
        parameter.numel() * parameter.element_size()
        for module in _modules(pipe)
        for parameter in module.parameters()
        if parameter.device.type != outside.type
    )


def attention_of(pipe: Any) -> str:
    """How the denoiser computes attention: the class of diffusers' processors; "" without any."""
    denoiser = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    processors = getattr(denoiser, "attn_processors", {})
    return ", ".join(sorted({type(processor).__name__ for processor in processors.values()}))
