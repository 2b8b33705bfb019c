"""LoRA files with random weights for the tiny models, written by diffusers' and PEFT's own code."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import _collate_lora_metadata
from diffusers.utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_kohya,
    logging,
)
from peft import LoraConfig, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from lora.export.loading import load_lora_file
from tests import tiny_models

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
LOCON = (
    *ATTENTION,
    *("proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "time_emb_proj"),
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv"),
)
TEXT_PARTS = ("text_encoder", "text_encoder_2")
TEXT = ("q_proj", "v_proj", "out_proj", "fc1")


def lora_file(
    path: Path,
    *,
    layout: str = "peft",
    rank: int = 4,
    alpha: float | None = None,
    targets: Sequence[str] = ATTENTION,
    text: Sequence[str] = (),
    text_2: Sequence[str] = (),
    seed: int = 0,
    size: float = 0.1,
    rslora: bool = False,
    pipe: Any = None,
) -> Path:
    """A LoRA for tiny_models.sd1(), or for `pipe`, which is left with it attached; returns path.

    layout: "peft", "diffusers" or "kohya". alpha: None, the rank. text: modules of the text
    encoder, text_2: of SDXL's second one. size: of its numbers; 0 gives one that does nothing.
    rslora: alpha is over the root of the rank, as the metadata of "peft" and "diffusers" tell.
    """
    pipe = pipe or tiny_models.sd1()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wanted = {"unet": targets, "text_encoder": text, "text_encoder_2": text_2}
        states: dict[str, dict[str, torch.Tensor]] = {}
        for part, names in wanted.items():
            if not names:
                continue
            model = getattr(pipe, part)
            config = LoraConfig(
                r=rank, lora_alpha=alpha or rank, target_modules=list(names), use_rslora=rslora
            )
            inject_adapter_in_model(config, model, "default")
            state = get_peft_model_state_dict(model)
            states[part] = {key: torch.randn(v.shape) * size for key, v in state.items()}
    if layout == "kohya":
        save_file(kohya(states, alpha or rank), path)
        return path
    convert = convert_state_dict_to_diffusers if layout == "diffusers" else dict
    layers = {f"{part}_lora_layers": convert(state) for part, state in states.items()}
    metadata = _collate_lora_metadata({part: getattr(pipe, part) for part in states})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        type(pipe).save_lora_weights(path.parent, weight_name=path.name, **layers, **metadata)
    return path


def kohya(states: dict[str, dict[str, torch.Tensor]], alpha: float) -> dict[str, torch.Tensor]:
    """The layers as kohya's sd-scripts name them, alpha as it is (diffusers writes the rank)."""
    found: dict[str, torch.Tensor] = {}
    for part, state in states.items():
        start = "lora_unet_" if part == "unet" else "lora_te_text_model_"
        for key, value in convert_state_dict_to_kohya(state).items():
            name = start + key.removeprefix("lora_").removeprefix("unet_").removeprefix("te_")
            found[name] = torch.tensor(float(alpha)) if name.endswith(".alpha") else value
    return {key: value.contiguous() for key, value in found.items()}


def with_loras(
    uses: Sequence[tuple[Path, float, float]], pipe: Any = None
) -> StableDiffusionPipeline:
    """What diffusers makes of files with (UNet, text encoder) strengths: the yardstick."""
    pipe = pipe or tiny_models.sd1()
    logging.disable_default_handler()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's remarks on loading a second adapter
        for number, (path, _, _) in enumerate(uses):
            load_lora_file(pipe, path, f"a{number}")
        pipe.set_adapters(
            [f"a{number}" for number in range(len(uses))],
            [
                {"unet": unet} | {part: text for part in TEXT_PARTS if hasattr(pipe, part)}
                for _, unet, text in uses
            ],
        )
    logging.enable_default_handler()
    return pipe


def lora_modules(model: Any, adapter: str) -> int:
    """How many of a model's modules PEFT put that adapter on."""
    return sum(adapter in getattr(module, "lora_A", ()) for module in model.modules())
