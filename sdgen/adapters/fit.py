"""How many of a file's keys apply to a model, and why the others do not."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sdgen.adapters.groups import Group, group_keys, is_foreign
from sdgen.adapters.header import Header
from sdgen.adapters.keys import NOT_KNOWN, FileLayer, file_layer
from sdgen.adapters.modules import Modules, family_modules
from sdgen.adapters.names import Resolver
from sdgen.adapters.peft_settings import PeftSettings
from sdgen.adapters.report import Kind
from sdgen.adapters.words import clean
from sdgen.model_formats import CheckpointKind

REFUSED: tuple[Kind, ...] = ("oft", "glora", "ia3", "other")  # that sdgen.pipelines cannot mix


@dataclass(frozen=True)
class Fit:
    """What of a file applies to the modules of a model, in keys."""

    applies: int
    keys: int  # without what is certainly no LoRA's
    left_out: tuple[tuple[str, str, int], ...]  # (name in the file, why, keys)
    unmixed: Kind | None = None  # a kind that it holds for the model and that cannot be mixed

    @property
    def share(self) -> float:
        """Of the file's keys those that apply, 0 to 1."""
        return self.applies / self.keys if self.keys else 0.0


def fit(
    header: Header,
    modules: Modules,
    settings: PeftSettings,
    find: Resolver | None = None,
    grouped: tuple[list[Group], list[str]] | None = None,
) -> Fit:
    """How a file fits a model.

    find: a Resolver of these modules, grouped: of group_keys, where they are there already. Raises
    AdapterRefused as `sdgen.adapters.keys.layers` does.
    """
    groups, left = grouped or group_keys(header)
    find = find or Resolver(modules)
    applies = 0
    unmixed: Kind | None = None
    left_out: list[tuple[str, str, int]] = []
    for group in groups:
        module = find(group.part, group.stem, flat=group.flat)
        if module is None:
            left_out.append((_shown(group.label), "not in this model", len(group.roles)))
            continue
        shape = modules[f"{group.part}.{module}"]
        layer = file_layer(header, group, module, shape, settings)
        applies += len(layer.roles)
        left_out += _left_of(layer)
        if layer.kind in REFUSED:
            unmixed = layer.kind if unmixed in (None, "other") else unmixed
    own = [key for key in left if not is_foreign(key)]
    left_out += [(_shown(key), NOT_KNOWN, 1) for key in own]
    return Fit(applies, len(header.entries) - len(left) + len(own), tuple(left_out), unmixed)


def fit_family(
    header: Header,
    family: CheckpointKind,
    settings: PeftSettings,
    grouped: tuple[list[Group], list[str]],
) -> Fit:
    """How a file fits Stable Diffusion 1.x, 2.x or XL."""
    return fit(header, family_modules(family), settings, _family_resolver(family), grouped)


def extras(left: list[str]) -> tuple[str, ...]:
    """What a file carries that is no LoRA's, by name, each once: "the embedding my-token"."""
    found = {_extra(key): None for key in left if is_foreign(key)}
    return tuple(found)


def _extra(key: str) -> str:
    bundled = re.match(r"bundle_emb\.(.+?)\.(?:[^.]+|string_to_param\..+)\Z", key)
    return f"the embedding {_shown(bundled[1])}" if bundled else f"'{_shown(key)}'"


@functools.cache
def _family_resolver(family: CheckpointKind) -> Resolver:
    return Resolver(family_modules(family))


def _left_of(layer: FileLayer) -> list[tuple[str, str, int]]:
    """What of a layer does not apply: the module once where all has one reason, else by key."""
    reasons: Mapping[str, str] = dict(layer.unused)
    if len(reasons) == len(layer.keys) and len(set(reasons.values())) == 1:
        return [(_shown(layer.stem), layer.unused[0][1], len(reasons))]
    return [(_shown(key), why, 1) for key, why in layer.unused]


def _shown(name: str) -> str:
    return clean(name) or "a name that cannot be shown"
