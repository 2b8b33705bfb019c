"""The adapter inside the model: attached, read, written, taken out. Its weights are float32.

A state is a dictionary of tensors, "unet.<module>.lora_A.weight" [r, in] and "...lora_B.weight"
[out, r] (convolutions: [r, in, kh, kw] and [out, r, 1, 1]), likewise "text_encoder." and
"text_encoder_2.", with the model's own names of modules. LoRA: Hu et al. 2021, arXiv 2106.09685.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.utils.peft_utils import recurse_remove_peft_layers
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer

from lora.base import Base
from lora.config import CompleteRecipe, Target
from lora.draws import generator
from sdgen.errors import SdgenError

ADAPTER = "default"  # the only name from which diffusers collects metadata
TEXT_MODULES = re.compile(r"self_attn\.(q_proj|k_proj|v_proj|out_proj)$")
UNET_MODULES: Mapping[Target, re.Pattern[str]] = {
    "attention": re.compile(r"\.attn[12]\.(to_q|to_k|to_v|to_out\.0)$"),
    "feed_forward": re.compile(r"\.ff\.net\.(0\.proj|2)$"),
    "convolutions": re.compile(
        r"\.resnets\.\d+\.(conv1|conv2|conv_shortcut)$|samplers\.\d+\.conv$|\.proj_(in|out)$"
    ),
}
TEXT_NAME = "text_model."  # a level that some text encoders of transformers have, others not


class AdapterMismatch(SdgenError):
    """An adapter's tensors do not fit the model they are put into."""


def attach(base: Base, recipe: CompleteRecipe) -> None:
    """Put a fresh adapter into the model: alpha = rank, A random by the seed, B zero.

    Only the adapter asks for gradients afterwards. Raises AdapterMismatch when the model has none
    of the recipe's targets.
    """
    detach(base)
    wanted = [UNET_MODULES[target] for target in recipe.targets]
    modules = [
        name
        for name, module in base.unet.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
        and any(pattern.search(name) for pattern in wanted)
    ]
    if not modules:
        raise AdapterMismatch(f"'{base.spec.title}' has no modules of {', '.join(recipe.targets)}.")
    _add(base.unet, modules, recipe.rank)
    if recipe.text_encoder:
        for encoder in base.text_encoders:
            names = [name for name, _ in encoder.named_modules() if TEXT_MODULES.search(name)]
            _add(encoder, names, recipe.rank)
    with torch.no_grad():
        for name, weights in named_weights(base):
            if ".lora_A." in name:
                drawn = torch.randn(weights.shape, generator=generator(recipe.seed, "A", name))
                weights.copy_(drawn / recipe.rank)
            else:
                weights.zero_()


def detach(base: Base) -> None:
    """Take any adapter out; the model is bit for bit what it was."""
    for _, module in _parts(base):
        if has_adapter(module):
            recurse_remove_peft_layers(module)
            if hasattr(module, "peft_config"):
                del module.peft_config
            module._hf_peft_config_loaded = False
            module.requires_grad_(False)


def has_adapter(module: torch.nn.Module) -> bool:
    """True when an adapter is in this part of the model."""
    return any(isinstance(inner, BaseTunerLayer) for inner in module.modules())


def named_weights(base: Base) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """The adapter's parameters with their names in a state, always in the same order."""
    mark = f".{ADAPTER}.weight"
    for part, module in _parts(base):
        for name, weights in module.named_parameters():
            if ".lora_" in name and name.endswith(mark):
                plain = name.removesuffix(mark).removeprefix(TEXT_NAME)
                yield f"{part}.{plain}.weight", weights


def adapter_state(base: Base) -> dict[str, torch.Tensor]:
    """The adapter's tensors as they are now: copies on the CPU, float32."""
    return {
        name: weights.detach().to("cpu", torch.float32, copy=True).contiguous()
        for name, weights in named_weights(base)
    }


def load_adapter_state(
    base: Base, state: Mapping[str, torch.Tensor], strength: float = 1.0
) -> None:
    """Put these tensors into the model, for training on or for drawing at a strength.

    A fitting adapter that is there is overwritten in place; else it is replaced. Raises
    AdapterMismatch when a tensor finds no module or another shape.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if {name: tuple(weights.shape) for name, weights in named_weights(base)} != shapes:
        _attach_like(base, state)
    with torch.no_grad():
        for name, weights in named_weights(base):
            if tuple(weights.shape) != shapes.get(name):
                raise AdapterMismatch(f"The adapter does not fit '{base.spec.title}' at {name}.")
            weights.copy_(state[name])
    set_strength(base, strength)


def set_strength(base: Base, strength: float) -> None:
    """Scale the adapter's effect; 1.0 is as trained."""
    for _, module in _parts(base):
        for inner in module.modules():
            if isinstance(inner, BaseTunerLayer) and ADAPTER in getattr(inner, "scaling", {}):
                layer: Any = inner
                layer.set_scale(ADAPTER, strength)


@contextmanager
def disabled(base: Base) -> Iterator[None]:
    """The base alone for a while, the adapter left where it is."""
    layers = [
        inner
        for _, module in _parts(base)
        for inner in module.modules()
        if isinstance(inner, BaseTunerLayer)
    ]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


def _attach_like(base: Base, state: Mapping[str, torch.Tensor]) -> None:
    """An empty adapter with the modules and the rank of a state."""
    detach(base)
    found: dict[str, list[str]] = {}
    ranks: set[int] = set()
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        module, mark, _ = rest.partition(".lora_A.")
        if mark:
            found.setdefault(part, []).append(module)
            ranks.add(tensor.shape[0])
    parts = dict(_parts(base))
    if len(ranks) != 1 or not found.keys() <= parts.keys():
        raise AdapterMismatch(f"The adapter does not fit '{base.spec.title}'.")
    for part, modules in found.items():
        known = {name.removeprefix(TEXT_NAME): name for name, _ in parts[part].named_modules()}
        if not known.keys() >= set(modules):
            raise AdapterMismatch(f"The adapter has modules that '{base.spec.title}' has not.")
        _add(parts[part], [known[module] for module in modules], next(iter(ranks)))


def _add(module: Any, targets: Sequence[str], rank: int) -> None:
    """A LoRA in these modules, float32 whatever the module has."""
    config = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=list(targets), init_lora_weights=False
    )
    # Not the module's own add_adapter: that of transformers looks at PEFT's version first.
    inject_adapter_in_model(config, module, ADAPTER)
    for name, weights in module.named_parameters():
        if ".lora_" in name:
            weights.data = weights.data.to(torch.float32)


def _parts(base: Base) -> list[tuple[str, Any]]:
    """The parts that may hold an adapter, with their names in a state."""
    names = ("unet", "text_encoder", "text_encoder_2")
    found = [(name, getattr(base.pipe, name, None)) for name in names]
    return [(name, module) for name, module in found if module is not None]
