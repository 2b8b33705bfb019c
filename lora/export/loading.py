"""A LoRA file in a pipeline as diffusers reads it, whatever versions of PEFT transformers wants.

diffusers hands a text encoder's part to `load_adapter` of transformers, which looks at PEFT's
version first: 5.24 asks for one that 5.23 does not know. What it does then, PEFT does itself.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from peft.utils import set_peft_model_state_dict
from torch import Tensor, nn

TEXT_ENCODERS = ("text_encoder", "text_encoder_2")


def load_lora_file(pipe: Any, path: Path, name: str) -> None:
    """`pipe.load_lora_weights` of one file, under that name. Raises what it raises."""
    with _text_encoders_by_peft(pipe):
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=name)


@contextmanager
def _text_encoders_by_peft(pipe: Any) -> Iterator[None]:
    """While it lasts, diffusers finds PEFT's own way in the place of transformers'."""
    encoders = [getattr(pipe, part, None) for part in TEXT_ENCODERS]
    found: list[Any] = [encoder for encoder in encoders if encoder is not None]
    for encoder in found:
        encoder.load_adapter = partial(_load_adapter, encoder)  # shadows that of its class
    try:
        yield
    finally:
        for encoder in found:
            del encoder.load_adapter


def _load_adapter(
    encoder: nn.Module,
    *,
    adapter_name: str,
    adapter_state_dict: Mapping[str, Tensor],
    peft_config: LoraConfig,
    **options: Any,
) -> None:
    """Raises ValueError for tensors that find no module."""
    in_empty = bool(options.get("low_cpu_mem_usage"))
    inject_adapter_in_model(peft_config, encoder, adapter_name, low_cpu_mem_usage=in_empty)
    wrong = set_peft_model_state_dict(
        encoder, dict(adapter_state_dict), adapter_name, low_cpu_mem_usage=in_empty
    )
    if wrong.unexpected_keys:
        raise ValueError(f"no module for {', '.join(wrong.unexpected_keys[:3])}")
    encoder.eval()
