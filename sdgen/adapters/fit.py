"""Whether what a file holds for a module fits the module's weight."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from sdgen.adapters.header import Header
from sdgen.adapters.keys import Group, group_keys, kind_of
from sdgen.adapters.modules import Modules, family_modules
from sdgen.adapters.names import Resolver
from sdgen.adapters.report import Kind
from sdgen.model_formats import CheckpointKind

MIXED: tuple[Kind, ...] = ("lora", "locon")  # the kinds that sdgen.pipelines can mix

KIND_TITLES: Mapping[Kind, str] = {
    "lora": "LoRA",
    "locon": "LoRA",
    "dora": "DoRA",
    "loha": "LoHa",
    "lokr": "LoKr",
    "oft": "OFT",
    "other": "LoRA with biases or whole weights",
}


@dataclass(frozen=True)
class Fit:
    """What of a file applies to the modules of a model, in keys."""

    applies: int
    keys: int
    left_out: tuple[tuple[str, str, int], ...]  # (name in the file, why, keys)
    unmixed: Kind | None = None  # a kind that it holds for the model and that cannot be mixed

    @property
    def share(self) -> float:
        """Of the file's keys those that apply, 0 to 1."""
        return self.applies / self.keys if self.keys else 0.0


def fit(
    header: Header,
    modules: Modules,
    find: Resolver | None = None,
    grouped: tuple[list[Group], list[str]] | None = None,
) -> Fit:
    """How a file fits a model. Kinds that cannot be mixed count as if they could.

    find: a Resolver of these modules, grouped: of group_keys, where they are there already.
    """
    groups, left = grouped or group_keys(header)
    find = find or Resolver(modules)
    applies = 0
    unmixed: Kind | None = None
    left_out = []
    for group in groups:
        reason = _misfit(header, group, modules, find)
        if reason:
            left_out.append((group.label, reason, len(group.roles)))
            continue
        applies += len(group.roles)
        kind = kind_of(group.roles, header)
        if kind not in MIXED:
            unmixed = kind if unmixed in (None, "other") else unmixed
    left_out += [(key, "not a key of a LoRA that sdgen knows", 1) for key in left]
    return Fit(applies, len(header.entries), tuple(left_out), unmixed)


def fit_family(
    header: Header, family: CheckpointKind, grouped: tuple[list[Group], list[str]]
) -> Fit:
    """How a file fits Stable Diffusion 1.x, 2.x or XL."""
    return fit(header, family_modules(family), _family_resolver(family), grouped)


@functools.cache
def _family_resolver(family: CheckpointKind) -> Resolver:
    return Resolver(family_modules(family))


def _misfit(header: Header, group: Group, modules: Modules, find: Resolver) -> str:
    """Why a group of keys does not apply; "" when it does."""
    module = find(group.part, group.stem, flat=group.flat)
    if module is None:
        return "not in this model"
    shape = modules[f"{group.part}.{module}"]
    sizes = _sizes(header, group)
    if sizes is not None:
        inner, outer, kernel = sizes
        if inner != shape[1]:
            return f"other shape: {inner} wide, this model has {shape[1]}"
        if outer != shape[0]:
            return f"other shape: {outer} high, this model has {shape[0]}"
        if kernel != (shape[2:] or (1, 1)):
            return "other shape: another size of convolution"
    return ""


def _sizes(header: Header, group: Group) -> tuple[int, int, tuple[int, ...]] | None:
    """(in, out, kernel) of the weight that a group of keys was made for; None: not told."""
    shapes = {role: header.entries[key].shape for role, key in group.roles.items()}
    if "down" in shapes and "up" in shapes:
        down, up = shapes["down"], shapes["up"]
        if len(down) < 2 or not up:
            return -1, -1, ()
        return down[1], up[0], shapes.get("mid", down)[2:] or (1, 1)
    whole = shapes.get("diff")
    if whole is not None and len(whole) in (2, 4):
        return whole[1], whole[0], whole[2:] or (1, 1)
    return None
