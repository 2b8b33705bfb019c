"""The doctor: all that one LoRA file tells before it is loaded. Reads its header, no weights."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sdgen.adapters.fit import MIXED, fit, fit_family
from sdgen.adapters.header import Header, read_header
from sdgen.adapters.keys import Group, group_keys, kind_of, pair_rank
from sdgen.adapters.modules import FAMILIES, model_modules
from sdgen.adapters.names import is_like_a_lora
from sdgen.adapters.peft_settings import read_peft_settings
from sdgen.adapters.report import AdapterReport, Family, Kind, Layout, Parts
from sdgen.adapters.words import card_words, clean, metadata_words
from sdgen.errors import AdapterRefused, ModelUnavailable
from sdgen.models import DEFAULT_MODEL, bundled_models

_KINDS: tuple[Kind, ...] = ("lora", "locon", "dora", "loha", "lokr", "oft", "other")


def inspect(
    path: Path, *, name: str = "", title: str = "", source: str = "", sha256: str = ""
) -> AdapterReport:
    """The report on a file; name, title and source are what the catalogue calls it.

    sha256: where it is known already; reading 100 MB for it takes a tenth of a second.
    Raises AdapterRefused with a sentence: not safetensors, damaged, beyond the limits, no LoRA.
    """
    header = read_header(path)
    groups, left = group_keys(header)
    kinds = {kind_of(group.roles, header) for group in groups}
    if not groups and not any(is_like_a_lora(key) for key in left):
        raise AdapterRefused(_what_else(header))
    kind = _kind(kinds)
    ranks, alphas, told = _ranks(header, groups)
    words = card_words(path).or_else(metadata_words(header.metadata))
    family = _family(header, (groups, left))
    return AdapterReport(
        name=name or path.stem[:80],
        title=title or words.title or clean(path.stem),
        path=path,
        sha256=sha256 or file_sha256(path),
        size_bytes=header.size_bytes,
        family=family,
        layout=_layout(groups),
        kind=kind,
        ranks=tuple(sorted(ranks)),
        alphas=tuple(sorted(alphas)),
        alpha_is_told=told,
        parts=_parts(header, groups),
        triggers=words.triggers,
        licence=words.licence,
        strength=1.0 if words.strength is None else words.strength,
        source=source or words.source or "file",
        base=words.base or (_other_base(header) if family == "other" else ""),
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hex. Raises AdapterRefused when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AdapterRefused(f"The file cannot be read: {error.strerror}.") from error


def _kind(kinds: Iterable[Kind]) -> Kind:
    """The kind of a file from those of its layers: what is hardest to mix names it."""
    found = set(kinds)
    if found & set(MIXED):
        found.discard("other")
    return max(found, key=_KINDS.index, default="lora")


def _ranks(header: Header, groups: list[Group]) -> tuple[set[int], set[float], bool]:
    """(ranks, alphas, whether the file tells every alpha)."""
    settings = read_peft_settings(header)
    ranks: set[int] = set()
    alphas: set[float] = set()
    told = True
    for group in groups:
        if kind_of(group.roles, header) not in (*MIXED, "dora") or not _is_pair(group):
            continue
        rank = pair_rank(header, group.roles)
        alpha = header.scalars.get(group.roles.get("alpha", ""))
        if alpha is None:
            alpha, _ = settings.alpha(group.part, group.stem)
        told = told and alpha is not None
        ranks.add(rank)
        alphas.add(float(rank) if alpha is None else alpha)
    return ranks, alphas, told and bool(ranks)


def _is_pair(group: Group) -> bool:
    return "down" in group.roles and "up" in group.roles


def _layout(groups: list[Group]) -> Layout:
    common = Counter(group.layout for group in groups).most_common(1)
    return common[0][0] if common else "other"


def _parts(header: Header, groups: list[Group]) -> Parts:
    counts: Counter[str] = Counter()
    for group in groups:
        counts[_sort(group)] += 1
    return Parts(**counts)


def _sort(group: Group) -> str:
    """The field of Parts that a group of keys counts for."""
    if group.part != "unet":
        return group.part
    name = group.stem.replace(".", "_")
    if re.search(r"_attn\d_", name):
        return "attention"
    if "_ff_net_" in name:
        return "feed_forward"
    if _CONVOLUTION.search(name):
        return "convolutions"
    return "other"


_CONVOLUTION = re.compile(
    r"(conv\d?|conv_in|conv_out|conv_shortcut|_op|in_layers_2|out_layers_3|skip_connection"
    r"|input_blocks_0_0|out_2)\Z"
)


def _family(header: Header, grouped: tuple[list[Group], list[str]]) -> Family:
    """The family whose modules and shapes fit best; words count only where two fit alike."""
    shares = {family: fit_family(header, family, grouped).share for family in FAMILIES}
    best = max(shares.values())
    if best <= 0:
        return "other"
    alike = [family for family, share in shares.items() if share == best]
    told = " ".join(
        header.metadata.get(key, "")[:200].lower()
        for key in ("ss_base_model_version", "modelspec.architecture")
    )
    is_xl = "xl" in told or any(key.startswith("lora_te1_") for key in header.entries)
    return "sdxl" if is_xl and "sdxl" in alike else alike[0]


def _other_base(header: Header) -> str:
    """The kind of model that a LoRA for no family was made for, where names or shapes tell."""
    bundled = bundled_models()[DEFAULT_MODEL]
    with suppress(ModelUnavailable):
        if fit(header, model_modules(bundled) or {}).share >= _IS_FOR:
            return bundled.title.removesuffix(" (bundled)")
    for pattern, title in _OTHERS.items():
        if any(re.search(pattern, key) for key in header.entries):
            return title
    return ""


_IS_FOR = 0.95  # of the keys that apply
_OTHERS = {
    r"double_blocks|single_transformer_blocks|single_blocks": "Flux",
    r"joint_blocks|transformer_blocks.\d+.attn.add_[kqv]_proj": "Stable Diffusion 3",
    r"lora_prior_|lora_te_.*_cascade": "Stable Cascade",
}


def _what_else(header: Header) -> str:
    """What a file without LoRA keys is, as a sentence."""

    def holds(*starts: str) -> bool:
        return any(key.startswith(starts) for key in header.entries)

    if holds("model.diffusion_model.", "first_stage_model.", "conditioner.", "cond_stage_model."):
        return "This is a base model, not a LoRA; give it as the model instead."
    if holds("emb_params", "string_to_param", "<") or set(header.entries) <= {"clip_g", "clip_l"}:
        return "This is a textual inversion embedding, not a LoRA."
    if holds("control_model.", "controlnet_", "input_hint_block."):
        return "This is a ControlNet, not a LoRA."
    if holds("down_blocks.", "decoder.", "encoder.", "up_blocks.", "text_model."):
        return "This is one part of a base model, not a LoRA."
    return "The file holds no tensors that a LoRA has."
