"""Alpha as PEFT and diffusers tell it: not as a tensor but in the file's metadata, as JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdgen.adapters.header import Header

_METADATA_KEY = "lora_adapter_metadata"  # diffusers.loaders.lora_base.LORA_ADAPTER_METADATA_KEY
_PEFT_FILE = "adapter_model.safetensors"  # what PEFT's save_pretrained writes
_CONFIG_BYTES_MAX = 1_000_000
_PARTS = ("unet", "text_encoder", "text_encoder_2")


@dataclass(frozen=True)
class PeftSettings:
    """What a LoraConfig said for each part, as far as it changes what is drawn."""

    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def alpha(self, part: str, module: str) -> tuple[float | None, bool]:
        """(alpha of a module or None where nothing tells it, whether it is rank-stabilised)."""
        told = self.parts.get(part)
        if told is None:
            return None, False
        value = told.get("lora_alpha")
        pattern = told.get("alpha_pattern")
        if isinstance(pattern, Mapping):
            for name, own in pattern.items():
                # Regular expressions of a stranger are not run; diffusers writes plain names.
                plain = str(name).removeprefix("^").removesuffix("$").replace("\\.", ".")
                plain = plain.removeprefix("text_model.")
                if module == plain or module.endswith(f".{plain}"):
                    value = own
                    break
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None, False
        return (float(value) if math.isfinite(value) else None), told.get("use_rslora") is True


def read_peft_settings(header: Header) -> PeftSettings:
    """The settings in the file's metadata, or those that PEFT itself writes beside a file.

    PEFT's adapter_config.json is for one model, in diffusers' case the UNet. Empty where there
    is nothing that can be read.
    """
    told = _object(header.metadata.get(_METADATA_KEY, ""))
    parts: dict[str, dict[str, Any]] = {}
    for name, value in told.items():
        part, dot, setting = name.partition(".")
        if dot and part in _PARTS:
            parts.setdefault(part, {})[setting] = value
    if not parts and header.path.name == _PEFT_FILE:
        config = _object(_text(header.path.with_name("adapter_config.json")))
        return PeftSettings(dict.fromkeys(_PARTS, config)) if config else PeftSettings()
    return PeftSettings(parts)


def _object(text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size <= _CONFIG_BYTES_MAX else ""
    except (OSError, ValueError):
        return ""
