"""The doctor: all that one LoRA file tells before it is loaded. Reads its header, no weights."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sdgen.adapters.fit import REFUSED, extras, fit, fit_family
from sdgen.adapters.groups import Group, group_keys, kind_of
from sdgen.adapters.header import FILE_BYTES_MAX, Header, read_header
from sdgen.adapters.keys import group_rank, told_alpha
from sdgen.adapters.modules import FAMILIES, model_modules
from sdgen.adapters.names import is_like_a_lora
from sdgen.adapters.other_models import other_model
from sdgen.adapters.peft_settings import PeftSettings, read_peft_settings
from sdgen.adapters.report import AdapterReport, Family, Kind, Layout, Parts
from sdgen.adapters.words import card_words, clean, metadata_words
from sdgen.errors import AdapterRefused, ModelUnavailable
from sdgen.models import DEFAULT_MODEL, bundled_models

_KINDS: tuple[Kind, ...] = (
    *("full", "lora", "locon", "loha", "lokr", "dora"),
    *("other", "ia3", "glora", "oft"),
)


def inspect(
    path: Path,
    *,
    name: str = "",
    title: str = "",
    source: str = "",
    sha256: str = "",
    settings: PeftSettings | None = None,
    bytes_max: int | None = FILE_BYTES_MAX,
    hashes: Path | None = None,
) -> AdapterReport:
    """The report on a file; name, title and source are what the catalogue calls it.

    sha256: where it is known already; reading 100 MB for it takes a tenth of a second. settings:
    PEFT's, where they came apart from the file. bytes_max: the largest file that is taken; None:
    any. hashes: the file of a FileHashes, for the hash that is computed when it is asked for.
    Raises AdapterRefused with a sentence: not safetensors, damaged, beyond the limits, no LoRA.
    """
    header = read_header(path, bytes_max)
    sha256 = sha256 or file_sha256(path)
    groups, left = group_keys(header)
    if settings is None or header.metadata.get("lora_adapter_metadata"):
        settings = read_peft_settings(header, sha256)
    kinds = {kind_of(group.roles, header) for group in groups}
    if not groups and not any(is_like_a_lora(key) for key in left):
        raise AdapterRefused(_what_else(header))
    kind = _kind(kinds)
    ranks, alphas, told = _ranks(header, groups, settings)
    words = card_words(path).or_else(metadata_words(header.metadata))
    family = _family(header, settings, (groups, left))
    return AdapterReport(
        name=name or path.stem[:80],
        title=title or words.title or clean(path.stem),
        path=path,
        sha256=sha256,
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
        base=_base(header, settings, words.base, family),
        told_hash=_told_hash(header),
        settings=settings,
        extras=extras(left),
        hashes=hashes,
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
    if found - set(REFUSED):
        found -= set(REFUSED)  # what can be mixed is, and the verdict tells the rest
    return max(found, key=_KINDS.index, default="lora")


def _told_hash(header: Header) -> str:
    told = header.metadata.get("sshs_model_hash", "").lower()
    return told if re.fullmatch(r"(0x)?[0-9a-f]{12,64}", told) else ""


def _ranks(
    header: Header, groups: list[Group], settings: PeftSettings
) -> tuple[set[int], set[float], bool]:
    """(ranks, alphas, whether every alpha is told)."""
    ranks: set[int] = set()
    alphas: set[float] = set()
    told = True
    for group in groups:
        rank = group_rank(header, group)
        if not rank:
            continue
        alpha, _ = told_alpha(header, group, group.stem, settings)
        told = told and alpha is not None
        ranks.add(rank)
        alphas.add(float(rank) if alpha is None else alpha)
    return ranks, alphas, told and bool(ranks)


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


def _family(
    header: Header, settings: PeftSettings, grouped: tuple[list[Group], list[str]]
) -> Family:
    """The family whose modules and shapes fit best; words count only where two fit alike.

    A LoRA for FLUX.1 may hold the text encoder of Stable Diffusion 1, which does not make it one.
    """
    if other_model({key: entry.shape for key, entry in header.entries.items()}):
        return "other"
    shares = {family: fit_family(header, family, settings, grouped).share for family in FAMILIES}
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


def _base(header: Header, settings: PeftSettings, told: str, family: Family) -> str:
    """The base model's name: as the file tells it, unless its modules' names show another."""
    if family != "other":
        return told
    shown = other_model({key: entry.shape for key, entry in header.entries.items()})
    if shown and " or " not in shown:
        return shown
    return told or shown or _bundled_base(header, settings)


def _bundled_base(header: Header, settings: PeftSettings) -> str:
    """The bundled model's name, where that is what it was made for."""
    bundled = bundled_models()[DEFAULT_MODEL]
    with suppress(ModelUnavailable):
        if fit(header, model_modules(bundled) or {}, settings).share >= _IS_FOR:
            return bundled.title.removesuffix(" (bundled)")
    return ""


_IS_FOR = 0.95  # of the keys that apply


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
