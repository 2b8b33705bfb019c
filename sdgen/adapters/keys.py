"""Which tensor of a LoRA file belongs to which module of a model: all ways that keys are named.

`layers(header, modules)` is what the mixing of adapters (sdgen.pipelines) reads a file by. The
names come from kohya's sd-scripts, PEFT, diffusers new and old, ComfyUI; see also
diffusers/loaders/lora_conversion_utils.py and diffusers/utils/state_dict_utils.py.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sdgen.adapters.header import Header
from sdgen.adapters.names import Part, Resolver, split_part
from sdgen.adapters.peft_settings import PeftSettings, read_peft_settings
from sdgen.adapters.report import Kind, Layout
from sdgen.errors import AdapterRefused

RANK_MAX = 256


@dataclass(frozen=True)
class FileLayer:
    """What a file holds for one module. `down`, `up` and `mid` are keys of the file.

    down: [rank, in] or [rank, in, kh, kw]; up: [out, rank] or [out, rank, 1, 1]; mid (LoCon):
    [rank, rank, kh, kw], and then down is 1x1. Files for Linear modules may have two more axes
    of 1. The change of the module's weight is multiplier * up @ (mid @) down.
    """

    part: Part
    module: str  # as in the model: "down_blocks.0...attn1.to_q"; never with "text_model."
    stem: str  # as the file names it
    kind: Kind  # "lora" or "locon" is a pair; of other kinds down and up are ""
    down: str
    up: str
    mid: str | None
    rank: int  # 0 where it is no pair
    alpha: float | None  # as the file tells it; None: it does not
    rslora: bool  # alpha is over the root of the rank (arXiv 2312.03732)
    keys: tuple[str, ...]  # all of the file's keys for this module

    @property
    def multiplier(self) -> float:
        """What up @ down is multiplied with at strength 1; a file without alpha means 1."""
        if self.alpha is None or not self.rank:
            return 1.0
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


@dataclass
class Group:
    """The keys of a file that belong together, before the module is looked up."""

    part: Part
    stem: str  # without the part's prefix
    label: str  # with it: as the file names it
    flat: bool  # kohya: underscores for dots
    layout: Layout
    roles: dict[str, str] = field(default_factory=dict)  # role -> key


def layers(header: Header, modules: Collection[str]) -> tuple[list[FileLayer], list[str]]:
    """The file's layers that name a module of the model, and the keys that name none.

    modules: names of the model's Linear and convolution modules with their part before them:
    "unet.down_blocks.0...", "text_encoder.encoder.layers.0.self_attn.q_proj" (see
    sdgen.adapters.modules). Raises AdapterRefused: a pair that does not fit together, or a rank
    beyond 256.
    """
    groups, left = group_keys(header)
    settings = read_peft_settings(header)
    find = Resolver(modules)
    found = []
    for group in groups:
        module = find(group.part, group.stem, flat=group.flat)
        if module is None:
            left += group.roles.values()
        else:
            found.append(file_layer(header, group, module, settings))
    return found, left


def file_layer(header: Header, group: Group, module: str, settings: PeftSettings) -> FileLayer:
    """One layer with its facts. Raises AdapterRefused as `layers` does."""
    roles, keys = group.roles, tuple(group.roles.values())
    kind = kind_of(roles, header)
    alpha = header.scalars.get(roles.get("alpha", ""))
    if kind not in ("lora", "locon"):
        return FileLayer(group.part, module, group.label, kind, "", "", None, 0, alpha, False, keys)
    rank = pair_rank(header, roles)
    rslora = False
    if alpha is None:
        alpha, rslora = settings.alpha(group.part, module)
    return FileLayer(
        group.part,
        module,
        group.label,
        kind,
        roles["down"],
        roles["up"],
        roles.get("mid"),
        rank,
        alpha,
        rslora,
        keys,
    )


def pair_rank(header: Header, roles: Mapping[str, str]) -> int:
    """The rank of a pair. Raises AdapterRefused when the two do not fit, or above the limit."""
    down, up = (header.entries[roles[role]].shape for role in ("down", "up"))
    if len(down) not in (2, 4) or len(up) not in (2, 4) or up[1] != down[0]:
        raise AdapterRefused(f"The two halves of '{roles['down'][:120]}' do not fit together.")
    if down[0] > RANK_MAX:
        raise AdapterRefused(f"The LoRA has rank {down[0]:,}; at most {RANK_MAX} is taken.")
    if "mid" in roles and header.entries[roles["mid"]].shape[:2] != (down[0], down[0]):
        raise AdapterRefused(f"The middle of '{roles['down'][:120]}' does not fit its halves.")
    return down[0]


def kind_of(roles: Mapping[str, str], header: Header) -> Kind:
    """What sort of change a group of keys describes."""
    if "dora" in roles:
        return "dora"
    for start, kind in _KINDS.items():
        if any(role.startswith(start) for role in roles):
            return kind
    if "down" not in roles or "up" not in roles or "bias" in roles:
        return "other"
    sides = header.entries[roles["mid" if "mid" in roles else "down"]].shape[2:]
    return "locon" if any(side > 1 for side in sides) else "lora"


_HALVES = {"alpha", "mid", "dora", "bias"}  # of no use without a pair
_KINDS: dict[str, Kind] = {"hada": "loha", "lokr": "lokr", "oft": "oft"}


# --- from keys to groups --------------------------------------------------------------------

# How nearly all keys end: (role, layout or None for any).
_PLAIN: dict[str, tuple[str, Layout | None]] = {
    ".lora_down.weight": ("down", "kohya"),
    ".lora_up.weight": ("up", "kohya"),
    ".alpha": ("alpha", None),
    ".lora_A.weight": ("down", "peft"),
    ".lora_B.weight": ("up", "peft"),
    ".lora_mid.weight": ("mid", "kohya"),
    ".lora.down.weight": ("down", "diffusers"),
    ".lora.up.weight": ("up", "diffusers"),
    ".lora_linear_layer.down.weight": ("down", "diffusers"),
    ".lora_linear_layer.up.weight": ("up", "diffusers"),
    "_lora.down.weight": ("down", "diffusers-old"),
    "_lora.up.weight": ("up", "diffusers-old"),
    ".dora_scale": ("dora", None),
}
# And the others: (regular expression, role or "" for its own name, layout).
_TABLE: tuple[tuple[str, str, Layout | None], ...] = (
    (r"\.lora_A\.\w+\.weight", "down", "peft"),  # with the name of PEFT's adapter
    (r"\.lora_B\.\w+\.weight", "up", "peft"),
    (r"\.lora_B(\.\w+)?\.bias", "bias", "peft"),
    (r"\.lora_magnitude_vector(\.\w+)*", "dora", "peft"),
    (r"\.(?P<own>hada_\w+|lokr_\w+|oft_\w+)(\.default)?(\.weight)?", "", None),
    (r"\.(?P<own>diff|diff_b|w_norm|b_norm)", "", None),
)
_ENDS = tuple((re.compile(rf"{end}\Z"), role, layout) for end, role, layout in _TABLE)


def group_keys(header: Header) -> tuple[list[Group], list[str]]:
    """The keys of a file in groups, one for each module that it names, and all other keys."""
    groups: dict[tuple[Part, str], Group] = {}
    left: list[str] = []
    for key in header.entries:
        stem, role, layout = _split_end(key)
        split = split_part(stem) if role else None
        if split is None:
            left.append(key)
            continue
        part, rest, flat = split
        group = groups.setdefault((part, rest), Group(part, rest, stem, flat, "other"))
        if role in group.roles:
            left.append(key)  # two names for one thing: neither is certain
            continue
        group.roles[role] = key
        if layout is not None or flat:
            group.layout = "kohya" if flat else layout or group.layout
    whole = []
    for group in groups.values():
        if group.roles.keys() <= _HALVES or len(group.roles.keys() & {"down", "up"}) == 1:
            left += group.roles.values()  # half a pair
        else:
            whole.append(group)
    return whole, left


def _split_end(key: str) -> tuple[str, str, Layout | None]:
    """A key as (what it is for, the role of the tensor, layout); the role is "" if unknown."""
    for end, (role, layout) in _PLAIN.items():
        if key.endswith(end):
            return key.removesuffix(end), role, layout
    for pattern, role, layout in _ENDS:
        match = pattern.search(key)
        if match:
            return key[: match.start()], role or match["own"], layout
    return key, "", None
