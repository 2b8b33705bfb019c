"""What the doctor says about one LoRA file: the facts, and the verdict for a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from sdgen.adapters.peft_settings import PeftSettings
from sdgen.file_hashes import tensor_sha256

Family = Literal["sd1", "sd2", "sdxl", "other"]  # of the base model that it was made for
Layout = Literal["kohya", "peft", "diffusers", "diffusers-old", "other"]  # how its keys are named
# locon: convolutions too; full: whole weights and biases (.diff)
Kind = Literal["lora", "locon", "full", "loha", "lokr", "dora", "oft", "glora", "ia3", "other"]
Level = Literal["fits", "warns", "refused"]

KIND_TITLES: Mapping[Kind, str] = {
    "lora": "LoRA",
    "locon": "LoRA",
    "full": "LoRA of whole weights",
    "loha": "LoHa",
    "lokr": "LoKr",
    "dora": "DoRA",
    "oft": "OFT",
    "glora": "GLoRA",
    "ia3": "(IA)^3",
    "other": "LoRA of an unknown kind",
}


@dataclass(frozen=True)
class Parts:
    """How many modules it touches, by kind."""

    attention: int = 0  # of the denoiser
    feed_forward: int = 0
    convolutions: int = 0
    other: int = 0  # projections, time embeddings ...
    text_encoder: int = 0
    text_encoder_2: int = 0


@dataclass(frozen=True)
class AdapterReport:
    """All that the header and the card of an adapter tell; nothing of it was loaded."""

    name: str  # in the catalogue
    title: str
    path: Path = field(repr=False)
    sha256: str  # hex, of the whole file
    size_bytes: int
    family: Family
    layout: Layout
    kind: Kind
    ranks: tuple[int, ...]  # ascending, each once
    alphas: tuple[float, ...]  # ascending, each once; where the file has none: equal to the rank
    alpha_is_told: bool  # False: the file names no alpha, so it counts as equal to the rank
    parts: Parts
    triggers: tuple[str, ...]
    licence: str  # "" where nothing says so
    strength: float  # recommended; 1.0 where nothing says so
    source: str  # "bundled", "upload", "file", "trained", or "hub:owner/name@revision:file"
    base: str  # the base model as the file names it; "" where it does not
    told_hash: str = ""  # sshs_model_hash of its metadata, which A1111 believes
    # What PEFT wrote of it, in the file or in a file beside it.
    settings: PeftSettings = field(default=PeftSettings(), repr=False, hash=False)
    extras: tuple[str, ...] = ()  # what it carries that is no LoRA's and is not used
    # Where its hashes are remembered between runs; None: not at all.
    hashes: Path | None = field(default=None, repr=False, compare=False)

    @cached_property
    def tensor_sha256(self) -> str:
        """SHA-256 of all bytes behind the header, hex, by which A1111 and kohya's tools know the
        file ("Lora hashes", sshs_model_hash); "" where it cannot be read. Read once."""
        try:
            return tensor_sha256(self.path, self.hashes)
        except OSError:
            return ""

    @property
    def a1111_hash(self) -> str:
        """The twelve digits by which A1111 finds the file: of the hash that its metadata tells, as
        kohya's scripts and LyCORIS write it, else of `tensor_sha256`; "" where that is unknown."""
        return (self.told_hash or self.tensor_sha256)[:12]


@dataclass(frozen=True)
class Verdict:
    """What of an adapter will apply to one model."""

    level: Level
    share: float  # of its keys, 0 to 1
    sentence: str  # for the user
    left_out: tuple[tuple[str, str], ...] = ()  # (module as the file names it, why), at most 20
