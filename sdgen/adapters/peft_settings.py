"""What PEFT and diffusers tell of a file beside its tensors: alpha, by module, as JSON.

It stands in the file's own metadata (diffusers), in adapter_config.json beside it (PEFT), or, of a
file that was taken into the data folder, in NAME.peft.json there, where NAME is of its content, so
that the file may be renamed.
"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import regex  # type: ignore[import-untyped]

from sdgen.adapters.header import Header
from sdgen.errors import AdapterRefused

CONFIG_FILE = "adapter_config.json"  # of PEFT's save_pretrained
CONFIG_BYTES_MAX = 1_000_000
KEPT_SUFFIX = ".peft.json"
NAME_DIGITS = 12  # of the SHA-256, hex: a name for people that no two files share by chance
PATTERN_CHARS_MAX, PATTERNS_MAX = 500, 4_000
MATCHING_SECONDS = 0.5  # of the CPU, for all of a file's; a stranger's may never end

_METADATA_KEY = "lora_adapter_metadata"  # diffusers.loaders.lora_base.LORA_ADAPTER_METADATA_KEY
_PARTS = ("unet", "text_encoder", "text_encoder_2")
_PLAIN = regex.compile(r"\^?(?:(?:\w|\\\.)+|[\w.]+)\$?")  # a name; its dots escaped or not, all
# What changes what is drawn, or names the kind. Never base_model_name_or_path, which is a path of
# somebody's machine.
_KEPT = (
    *("peft_type", "r", "lora_alpha", "alpha", "rank_pattern", "alpha_pattern"),
    *("use_rslora", "use_dora", "lora_bias"),
)


class Patterns:
    """A mapping by pattern, looked up as PEFT does it: the first that a module's name ends with,
    `re.match(rf"(.*\\.)?({pattern})$", name)` (peft.utils.other.get_pattern_key).

    Names without any sign of regular expressions but dots, which are nearly all, are found by
    their text; a dot that is not escaped stands for any character, there too.
    """

    def __init__(self, table: Mapping[str, object]) -> None:
        """Raises AdapterRefused where a pattern is none, or there are too many or too long ones."""
        if len(table) > PATTERNS_MAX or any(len(key) > PATTERN_CHARS_MAX for key in table):
            raise AdapterRefused("The adapter's settings hold too many or too long patterns.")
        self._table = list(table.items())
        self._plain: dict[int, list[tuple[int, str, bool]]] = {}  # by length
        self._others: list[tuple[int, Any]] = []
        self._left = MATCHING_SECONDS
        for place, (key, _) in enumerate(self._table):
            if _PLAIN.fullmatch(key):
                name = key.removeprefix("^").removesuffix("$")
                text = name.replace("\\.", "\0") if "\\" in name else name
                entry = (place, text, key.startswith("^"))
                self._plain.setdefault(len(text), []).append(entry)
                continue
            try:
                self._others.append((place, regex.compile(rf"(.*\.)?({key})$")))
            except regex.error as error:
                raise AdapterRefused(
                    f"The adapter's settings hold the pattern '{key[:80]}', which is no regular "
                    "expression."
                ) from error

    def find(self, *names: str) -> object:
        """The value for a module by one of its names; None where no pattern matches."""
        places = [place for name in names for place in self._places(name)]
        return self._table[min(places)][1] if places else None

    def _places(self, name: str) -> list[int]:
        starts = [0, *(at + 1 for at, char in enumerate(name) if char == ".")]
        found = [
            place
            for start in starts
            for place, text, is_whole in self._plain.get(len(name) - start, ())
            if (start == 0 or not is_whole) and _is_alike(text, name[start:])
        ]
        found += [place for place, pattern in self._others if self._matches(pattern, name)]
        return found

    def _matches(self, pattern: Any, name: str) -> bool:
        begin = time.thread_time()
        try:
            return pattern.match(name, timeout=max(self._left, 0.001)) is not None
        except TimeoutError as error:
            raise AdapterRefused(
                "The adapter's settings hold a pattern that takes too long to match."
            ) from error
        finally:
            self._left -= time.thread_time() - begin


def _is_alike(text: str, name: str) -> bool:
    """Whether a name is a pattern's text, in which a dot is any character and NUL is a dot."""
    if text == name:
        return True
    return all(a == b or a == "." or (a, b) == ("\0", ".") for a, b in zip(text, name, strict=True))


@dataclass(frozen=True)
class PeftSettings:
    """What a LoraConfig said for each part, as far as it changes what is drawn."""

    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def alpha(self, part: str, module: str) -> tuple[float | None, bool]:
        """(alpha of a module or None where nothing tells it, whether it is rank-stabilised).

        Raises AdapterRefused where its patterns cannot be used.
        """
        told = self.parts.get(part)
        if told is None:
            return None, False
        value = self._by_pattern(part, "alpha_pattern", module)
        if value is None:
            value = told.get("lora_alpha", told.get("alpha"))  # LoHa's and LoKr's have the latter
        return _number(value), told.get("use_rslora") is True

    def rank(self, part: str, module: str) -> int:
        """The rank of a module as the settings tell it; 0 where they do not."""
        told = self.parts.get(part, {})
        value = self._by_pattern(part, "rank_pattern", module)
        number = _number(told.get("r") if value is None else value)
        return int(number) if number and number > 0 else 0

    def _by_pattern(self, part: str, name: str, module: str) -> object:
        patterns = self._patterns.get((part, name))
        if patterns is None:
            return None
        # Transformers before 5.6 had one more level in text encoders.
        return patterns.find(module, *([f"text_model.{module}"] if part != "unet" else []))

    @cached_property
    def _patterns(self) -> dict[tuple[str, str], Patterns]:
        return {
            (part, name): Patterns({str(key): value for key, value in told[name].items()})
            for part, told in self.parts.items()
            for name in ("alpha_pattern", "rank_pattern")
            if isinstance(told.get(name), Mapping)
        }


def read_peft_settings(header: Header, sha256: str = "") -> PeftSettings:
    """The settings in the file's metadata, else those that lie beside it.

    sha256: of the file, by which those in the data folder are found. Empty where there is nothing
    that can be read.
    """
    parts: dict[str, dict[str, Any]] = {}
    for name, value in _object(header.metadata.get(_METADATA_KEY, "")).items():
        part, dot, setting = name.partition(".")
        if dot and part in _PARTS:
            parts.setdefault(part, {})[setting] = value
    if parts:
        return PeftSettings(parts)
    kept = header.path.with_name(f"{sha256[:NAME_DIGITS]}{KEPT_SUFFIX}")
    for path in (kept, config_beside(header.path)):
        settings = None if path is None else read_peft_config(path)
        if settings is not None:
            return settings
    return PeftSettings()


def config_beside(path: Path) -> Path | None:
    """PEFT's adapter_config.json for a file; None where there is none, or it may be another's."""
    config = path.with_name(CONFIG_FILE)
    try:
        if not config.is_file():
            return None
        alone = path.name.startswith("adapter_model") or len(list(path.parent.glob("*.saf*"))) == 1
    except OSError:
        return None
    return config if alone else None


def read_peft_config(path: Path) -> PeftSettings | None:
    """The settings of an adapter_config.json, which is for one model, in diffusers' case the UNet;
    None where it is none."""
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= CONFIG_BYTES_MAX else ""
    except (OSError, ValueError):
        return None
    config = {name: value for name, value in _object(text).items() if name in _KEPT}
    return PeftSettings(dict.fromkeys(_PARTS, config)) if config else None


def kept_text(settings: PeftSettings) -> str:
    """What `read_peft_config` reads again; "" where a file's own metadata says all, or nothing."""
    told = list(settings.parts.values())
    if not told or any(part != told[0] for part in told) or len(told) < len(_PARTS):
        return ""
    return json.dumps({name: value for name, value in told[0].items() if name in _KEPT}, indent=1)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _object(text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}
