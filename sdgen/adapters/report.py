"""What the doctor says about one LoRA file: the facts, and the verdict for a model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Family = Literal["sd1", "sd2", "sdxl", "other"]  # of the base model that it was made for
Layout = Literal["kohya", "peft", "diffusers", "diffusers-old", "other"]  # how its keys are named
Kind = Literal["lora", "locon", "dora", "loha", "lokr", "oft", "other"]  # locon: convolutions too
Level = Literal["fits", "warns", "refused"]


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
    tensor_sha256: str = ""  # hex, of the bytes behind the header, as A1111 takes it; "": not known


@dataclass(frozen=True)
class Verdict:
    """What of an adapter will apply to one model."""

    level: Level
    share: float  # of its keys, 0 to 1
    sentence: str  # for the user
    left_out: tuple[tuple[str, str], ...] = ()  # (module as the file names it, why), at most 20
