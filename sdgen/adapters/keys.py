"""What a LoRA file holds for the modules of a model: which of its keys apply, and how.

`layers(header, modules)` is what the mixing of adapters (sdgen.pipelines) reads a file by, and what
the verdict counts by, so that the one never says otherwise than the other does. All of it comes
from names and shapes. For the sorts of change see FileLayer.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sdgen.adapters.groups import Group, group_keys, kind_of
from sdgen.adapters.header import Header
from sdgen.adapters.names import Part, Resolver
from sdgen.adapters.peft_settings import PeftSettings, read_peft_settings
from sdgen.adapters.report import Kind
from sdgen.errors import AdapterRefused

RANK_MAX = 256
NOT_KNOWN = "not a key of a LoRA that sdgen knows"
Shape = tuple[int, ...]


@dataclass(frozen=True)
class FileLayer:
    """What of a file applies to one module. `roles` gives the keys of the file by what they are.

    Let W [out, in] or [out, in, kh, kw] be the module's weight, b [out] its bias. Added are

        down, up, mid        a pair: down [r, in(, kh, kw)], up [out, r(, 1, 1)]; with the middle of
                             LoCon [r, r, kh, kw] down is 1x1. W += m up (mid) down
        hada_w1_a ...        LoHa (arXiv 2108.06098): W += m (w1_a w1_b) * (w2_a w2_b), elementwise;
                             with hada_t1, hada_t2 [r, r, kh, kw] each factor is Tucker's
        lokr_w1, lokr_w2     LoKr (arXiv 2212.10650): W += m kron(w1, w2), each whole or w_a w_b,
                             the second also with lokr_t2
        diff, diff_b         W += diff, b += diff_b; of a norm likewise, [c] each
        bias                 PEFT's lora_bias [out]: b += m bias
        magnitude,           DoRA (arXiv 2402.09353): the sum of W and all changes above, each row
        dora_scale           (or column, `axis`) brought to that length

    at strength 1, where m is `multiplier`.
    """

    part: Part
    module: str  # as in the model: "down_blocks.0...attn1.to_q"; never with "text_model."
    stem: str  # as the file names it
    kind: Kind
    roles: Mapping[str, str]  # role -> key, those that apply
    rank: int  # 0 where it has none
    alpha: float | None  # as the file tells it; None: it does not
    multiplier: float  # a file without alpha means 1
    axis: Literal["", "out", "in"]  # of DoRA's lengths; "" for none
    keys: tuple[str, ...]  # all of the file's keys for this module
    unused: tuple[tuple[str, str], ...]  # (key, why) of those that do not apply

    @property
    def down(self) -> str:
        """The key of a pair's first half; "" where it has none."""
        return self.roles.get("down", "")

    @property
    def up(self) -> str:
        """The key of a pair's second half; "" where it has none."""
        return self.roles.get("up", "")


def layers(
    header: Header, modules: Mapping[str, Shape], settings: PeftSettings | None = None
) -> tuple[list[FileLayer], list[str]]:
    """The file's layers that name a module of the model, and the keys that name none.

    modules: names of the model's Linear, convolution and norm modules with their part before them
    and the shapes of their weights (see sdgen.adapters.modules). settings: None, those in the file
    or beside it. Raises AdapterRefused: a pair that does not fit together, a rank beyond 256, an
    alpha that is no number.
    """
    groups, left = group_keys(header)
    settings = read_peft_settings(header) if settings is None else settings
    find = Resolver(modules)
    found = []
    for group in groups:
        module = find(group.part, group.stem, flat=group.flat)
        if module is None:
            left += group.roles.values()
        else:
            shape = modules[f"{group.part}.{module}"]
            found.append(file_layer(header, group, module, shape, settings))
    return found, left


def file_layer(
    header: Header, group: Group, module: str, shape: Shape, settings: PeftSettings
) -> FileLayer:
    """What of a group of keys applies to a module with a weight of that shape. Raises
    AdapterRefused as `layers` does."""
    shapes = {role: header.entries[key].shape for role, key in group.roles.items()}
    rank = group_rank(header, group)
    alpha, multiplier = _scale(header, group, module, rank, settings)
    unused: dict[str, str] = {}  # role -> why
    axis: Literal["", "out", "in"] = ""
    if len(shape) == 1:
        for role, own in shapes.items():
            if role not in ("diff", "diff_b"):
                unused[role] = "a norm has only .diff and .diff_b"
            elif math.prod(own) != shape[0]:
                unused[role] = f"other shape: {math.prod(own)} numbers, this model has {shape[0]}"
    else:
        unused = _misfits(shapes, shape)
        if multiplier == 0.0:
            scaled = [role for role in shapes if role.startswith(_SCALED)]
            unused |= dict.fromkeys(scaled, "its alpha is 0, so it changes nothing")
        dora = next((role for role in ("dora_scale", "magnitude") if role in shapes), "")
        has_change = any(role.startswith(_CHANGES) and role not in unused for role in shapes)
        if dora and not unused and has_change:
            axis = _axis(dora, shapes[dora], shape)
        if dora and not axis:  # what it scales is not as it was when it was trained
            why = next(iter(unused.values()), "other shape: DoRA's lengths are of another size")
            unused |= {role: why for role in shapes if role != "diff_b" and role not in unused}
        if "alpha" in shapes and shapes.keys() - unused.keys() <= {"alpha", "diff_b"}:
            unused.setdefault("alpha", next(iter(unused.values()), "it has nothing to scale"))
    return FileLayer(
        part=group.part,
        module=module,
        stem=group.label,
        kind=kind_of(group.roles, header),
        roles={role: key for role, key in group.roles.items() if role not in unused},
        rank=rank,
        alpha=alpha,
        multiplier=multiplier,
        axis=axis,
        keys=tuple(group.roles.values()),
        unused=tuple((group.roles[role], why) for role, why in unused.items()),
    )


def group_rank(header: Header, group: Group) -> int:
    """The rank of a pair, LoHa or LoKr; 0 where there is none.

    Raises AdapterRefused when two halves do not fit together, or above the limit.
    """
    shapes = {role: header.entries[key].shape for role, key in group.roles.items()}
    if "down" in shapes and "up" in shapes:
        return _pair_rank(group, shapes)
    for role in ("hada_w1_b", "hada_w2_b", "lokr_w2_b", "lokr_w1_b"):
        if shapes.get(role):
            if shapes[role][0] > RANK_MAX:
                raise AdapterRefused(_beyond(shapes[role][0]))
            return shapes[role][0]
    return 0


def _pair_rank(group: Group, shapes: Mapping[str, Shape]) -> int:
    down, up = shapes["down"], shapes["up"]
    key = group.roles["down"][:120]
    if len(down) not in (2, 4) or len(up) not in (2, 4) or up[1] != down[0]:
        raise AdapterRefused(f"The two halves of '{key}' do not fit together.")
    if down[0] > RANK_MAX:
        raise AdapterRefused(_beyond(down[0]))
    if "mid" in shapes and (len(shapes["mid"]) != 4 or shapes["mid"][:2] != (down[0], down[0])):
        raise AdapterRefused(f"The middle of '{key}' does not fit its halves.")
    return down[0]


def _beyond(rank: int) -> str:
    return f"The LoRA has rank {rank:,}; at most {RANK_MAX} is taken."


def told_alpha(
    header: Header, group: Group, module: str, settings: PeftSettings
) -> tuple[float | None, bool]:
    """(alpha, whether it is over the root of the rank: arXiv 2312.03732); None: nothing tells it.

    Raises AdapterRefused where it is no number.
    """
    key = group.roles.get("alpha")
    if key is None:
        return settings.alpha(group.part, module)
    value = header.scalars[key]
    if not math.isfinite(value):
        what = "a finite" if math.prod(header.entries[key].shape) == 1 else "a single"
        if what == "a single":
            raise AdapterRefused("An alpha of the file is no single number; the file is damaged.")
        raise AdapterRefused("An alpha of the file is not a finite number.")
    return value, False


def _scale(
    header: Header, group: Group, module: str, rank: int, settings: PeftSettings
) -> tuple[float | None, float]:
    """(alpha, what the change is multiplied with).

    LyCORIS takes a LoKr of two whole factors as it is, whatever alpha says; PEFT scales it too.
    """
    alpha, rslora = told_alpha(header, group, module, settings)
    over = rank
    if not rank and "alpha" not in group.roles:
        over = settings.rank(group.part, module)
    if alpha is None or not over:
        return alpha, 1.0
    return alpha, alpha / (math.sqrt(over) if rslora else over)


_CHANGES = ("down", "hada_", "lokr_", "diff")
_SCALED = ("down", "up", "mid", "hada_", "lokr_", "bias", "alpha", "dora_scale", "magnitude")


def _misfits(shapes: Mapping[str, Shape], shape: Shape) -> dict[str, str]:
    """Role -> why, of what does not fit a Linear or a convolution with a weight of that shape."""
    unused: dict[str, str] = {}
    for start, find in _FORMS.items():
        roles = [role for role in shapes if role.startswith(start)]
        why = find(shapes, shape) if roles else ""
        if why:
            unused |= dict.fromkeys(roles, why)
    if unused:
        hanging = ("alpha", "bias", "dora_scale", "magnitude")
        why = next(iter(unused.values()))
        unused |= {role: why for role in shapes if role.startswith(hanging)}
    for role in ("diff_b", "bias"):
        if role in shapes and math.prod(shapes[role]) != shape[0]:
            unused.setdefault(
                role, f"other shape: {math.prod(shapes[role])} numbers, this model has {shape[0]}"
            )
    known = (*_SCALED, "diff")
    unused |= {role: NOT_KNOWN for role in shapes if not role.startswith(known)}
    return unused


def _pair_misfit(shapes: Mapping[str, Shape], shape: Shape) -> str:
    if "down" not in shapes or "up" not in shapes:
        return "half a pair"
    down, up = shapes["down"], shapes["up"]
    kernel = shapes.get("mid", down)[2:] or (1, 1)
    if "mid" in shapes and any(side != 1 for side in down[2:]):
        return "a middle of LoCon between halves that are not 1x1"
    if any(side != 1 for side in up[2:]):
        return "a second half that is not 1x1"
    return _other_sizes(up[0], down[1], kernel, shape)


def _diff_misfit(shapes: Mapping[str, Shape], shape: Shape) -> str:
    whole = shapes.get("diff")
    if whole is None:
        return ""
    if len(whole) not in (2, 4):
        return "other shape: another number of axes"
    return _other_sizes(whole[0], whole[1], whole[2:] or (1, 1), shape)


def _loha_misfit(shapes: Mapping[str, Shape], shape: Shape) -> str:
    for n in ("1", "2"):
        a, b = shapes.get(f"hada_w{n}_a"), shapes.get(f"hada_w{n}_b")
        if a is None or b is None or len(a) not in (2, 4) or len(b) not in (2, 4):
            return "a LoHa that lacks a factor"
        why = _factors_misfit(a, b, shapes.get(f"hada_t{n}"), shape)
        if why:
            return why
    if ("hada_t1" in shapes) != ("hada_t2" in shapes):
        return "a LoHa that lacks a factor"
    return ""


def _lokr_misfit(shapes: Mapping[str, Shape], shape: Shape) -> str:
    first = _whole_or_product(shapes, "lokr_w1", None)
    second = _whole_or_product(shapes, "lokr_w2", shapes.get("lokr_t2"))
    if first is None or second is None or len(first) != 2:
        return "a LoKr that lacks a factor"
    if second[0] * first[0] != shape[0]:
        return f"other shape: {second[0] * first[0]} high, this model has {shape[0]}"
    inner = first[1] * math.prod(second[1:])
    wanted = math.prod(shape[1:])
    if inner != wanted or (len(second) > 2 and second[2:] != (shape[2:] or (1, 1))):
        return f"other shape: {inner} wide, this model has {wanted}"
    return ""


def _whole_or_product(shapes: Mapping[str, Shape], name: str, tucker: Shape | None) -> Shape | None:
    """The shape of a factor of LoKr; None where it is not there or does not fit together."""
    if name in shapes:
        return shapes[name] if len(shapes[name]) in (2, 4) else None
    a, b = shapes.get(f"{name}_a"), shapes.get(f"{name}_b")
    if a is None or b is None or len(a) != 2 or len(b) not in (2, 4):
        return None
    if tucker is not None:
        fits = len(tucker) == 4 and tucker[:2] == (a[0], b[0]) and len(b) == 2
        return (a[1], b[1], *tucker[2:]) if fits else None
    return (a[0], *b[1:]) if a[1] == b[0] else None


def _factors_misfit(a: Shape, b: Shape, tucker: Shape | None, shape: Shape) -> str:
    """Why one factor of LoHa is not of the weight's shape; "" when it is."""
    if tucker is not None:
        if len(tucker) != 4 or tucker[:2] != (a[0], b[0]) or len(a) != 2 or len(b) != 2:
            return "a LoHa whose factors do not fit together"
        return _other_sizes(a[1], b[1], tucker[2:], shape)
    if a[1] != b[0] or any(side != 1 for side in a[2:]):
        return "a LoHa whose factors do not fit together"
    if a[0] != shape[0]:
        return f"other shape: {a[0]} high, this model has {shape[0]}"
    if math.prod(b[1:]) != math.prod(shape[1:]):
        return f"other shape: {math.prod(b[1:])} wide, this model has {math.prod(shape[1:])}"
    return ""


def _other_sizes(outer: int, inner: int, kernel: Shape, shape: Shape) -> str:
    if inner != shape[1]:
        return f"other shape: {inner} wide, this model has {shape[1]}"
    if outer != shape[0]:
        return f"other shape: {outer} high, this model has {shape[0]}"
    if kernel != (shape[2:] or (1, 1)):
        return "other shape: another size of convolution"
    return ""


def _axis(role: str, own: Shape, shape: Shape) -> Literal["", "out", "in"]:
    """Along which axis DoRA's lengths lie. PEFT's magnitudes and those of ai-toolkit are always of
    the outputs, [out] or [1, out, 1, 1]; LyCORIS and OneTrainer have [out, 1 ...] or [1, in ...].
    """
    if role == "dora_scale" and len(own) > 1:
        if own == (shape[0], *(1 for _ in own[1:])):
            return "out"
        return "in" if own == (1, shape[1], *(1 for _ in own[2:])) else ""
    return "out" if math.prod(own) == shape[0] else ""


_FORMS: Mapping[tuple[str, ...], Callable[[Mapping[str, Shape], Shape], str]] = {
    ("down", "up", "mid"): _pair_misfit,
    ("hada_",): _loha_misfit,
    ("lokr_",): _lokr_misfit,
    ("diff",): _diff_misfit,
}
