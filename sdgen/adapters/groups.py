"""The keys of a LoRA file in groups, one for each module that it names: all ways they are named.

The names come from kohya's sd-scripts, PEFT, diffusers new and old, ComfyUI, LyCORIS, OneTrainer
and ai-toolkit; see also diffusers/loaders/lora_conversion_utils.py and
diffusers/utils/state_dict_utils.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sdgen.adapters.header import WEIGHTS, Header
from sdgen.adapters.names import Part, is_like_a_lora, split_part
from sdgen.adapters.report import Kind, Layout
from sdgen.errors import AdapterRefused
from sdgen.model_formats import TensorEntry


@dataclass
class Group:
    """The keys of a file that belong together, before the module is looked up."""

    part: Part
    stem: str  # without the part's prefix
    label: str  # with it: as the file names it
    flat: bool  # kohya: underscores for dots
    layout: Layout
    roles: dict[str, str] = field(default_factory=dict)  # role -> key


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
}
_NAMED = r"(\.[^.]+)?"  # the name of PEFT's adapter: a key of torch's ModuleDict, so without a dot
# And the others: (regular expression, role or "" for its own name, layout).
_TABLE: tuple[tuple[str, str, Layout | None], ...] = (
    (rf"\.lora_A{_NAMED}\.weight", "down", "peft"),
    (rf"\.lora_B{_NAMED}\.weight", "up", "peft"),
    (rf"\.lora_B{_NAMED}\.bias", "bias", "peft"),
    (r"\.lora_layer\.down\.weight", "down", "diffusers"),
    (r"\.lora_layer\.up\.weight", "up", "diffusers"),
    (r"\.(lora_)?magnitude(_vector)?(\.[^.]+)*", "magnitude", None),
    (r"\.dora_scale(\.[^.]+)*", "dora_scale", None),
    (rf"\.(?P<own>hada_\w+?|lokr_\w+?){_NAMED}(\.weight)?", "", None),
    (r"\.(?P<own>oft_\w+|boft_\w+)(\.[^.]+)*", "", None),
    (r"\.(?P<own>[ab][12])\.weight", "", None),  # GLoRA
    (r"\.(?P<own>on_input|diff|diff_b|set_weight|reshape_weight)", "", None),
    (r"\.w_norm", "diff", None),
    (r"\.b_norm", "diff_b", None),
)
_ENDS = tuple((re.compile(rf"{end}\Z"), role, layout) for end, role, layout in _TABLE)
_SCALED = {"alpha", "mid", "magnitude", "dora_scale", "bias"}  # of no use without a pair
_FOREIGN = re.compile(
    r"\A(bundle_emb|embeddings?)\.|(\A|\.)(string_to_param|string_to_token|emb_params)(\.|\Z)"
)


def group_keys(header: Header) -> tuple[list[Group], list[str]]:
    """The keys of a file in groups, one for each module that it names, and all other keys.

    Raises AdapterRefused: numbers of a LoRA in a type that is not taken, or none at all.
    """
    groups: dict[tuple[Part, str], Group] = {}
    left: list[str] = []
    for key, entry in header.entries.items():
        stem, role, layout = ("", "", None) if is_foreign(key) else _split_end(key)
        split = split_part(stem) if role else None
        if role or (is_like_a_lora(key) and not is_foreign(key)):
            _check(key, entry, role)
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
        left += _take_halves(group)
        if group.roles:
            whole.append(group)
    return whole, left


def is_foreign(key: str) -> bool:
    """Whether a tensor is certainly none of a LoRA's, but something that travels with it."""
    return bool(_FOREIGN.search(key))


def kind_of(roles: Mapping[str, str], header: Header) -> Kind:
    """What sort of change a group of keys describes."""
    if "magnitude" in roles or "dora_scale" in roles:
        return "dora"
    for start, kind in _KINDS.items():
        if any(role.startswith(start) for role in roles):
            return kind
    if "down" in roles:
        sides = header.entries[roles["mid" if "mid" in roles else "down"]].shape[2:]
        return "locon" if any(side > 1 for side in sides) else "lora"
    return "full" if roles.keys() & {"diff", "diff_b"} else "other"


_KINDS: dict[str, Kind] = {
    "hada": "loha",
    "lokr": "lokr",
    "oft": "oft",
    "boft": "oft",
    "a1": "glora",
    "a2": "glora",
    "b1": "glora",
    "b2": "glora",
    "on_input": "ia3",
}


def _take_halves(group: Group) -> list[str]:
    """Takes half a pair out of a group, with all that hangs on it; returns these keys."""
    roles = group.roles
    halves = roles.keys() & {"down", "up"}
    has_form = len(halves) == 2 or any(r.startswith(tuple(_KINDS)) for r in roles)
    has_form = has_form or "diff" in roles
    useless = set(halves) if len(halves) == 1 else set()
    if not has_form:
        useless |= roles.keys() & _SCALED
    return [roles.pop(role) for role in list(roles) if role in useless]


def _check(key: str, entry: TensorEntry, role: str) -> None:
    """Raises AdapterRefused where the numbers of a LoRA cannot be read."""
    if role in ("alpha", "on_input", "reshape_weight"):
        return  # alpha is looked at where it is used, the others are not read
    if entry.dtype not in WEIGHTS:
        kind = "".join(char for char in entry.dtype if char.isalnum() or char == "_")[:20]
        raise AdapterRefused(
            f"The file holds numbers of type {kind or 'unknown'} for '{key[:120]}'; "
            "F16, BF16, F32 and F64 are taken."
        )
    if 0 in entry.shape:
        raise AdapterRefused("The file holds empty tensors, so it is no LoRA.")


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
