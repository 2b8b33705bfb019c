"""What the endpoints take and give, as types that describe them to programs."""

from typing import Required, TypedDict

import gradio as gr


class AskedAdapter(TypedDict, total=False):
    """One LoRA adapter of a request: its name, and strengths from -10 to 10."""

    name: Required[str]
    scale: float  # 1 where it is left out
    text_scale: float | None  # in the text encoder; none: as scale


class UsedAdapter(TypedDict):
    """One adapter of a picture, so that the very file can be found again."""

    name: str
    sha256: str
    source: str
    scale: float
    text_scale: float | None


class JudgedAdapter(TypedDict):
    """A LoRA adapter: what its file says, and what of it will apply to the model."""

    name: str
    title: str
    local: bool
    level: str  # "fits", "warns", "refused"; "" for one that is not on this machine
    share: float  # of its keys that will apply, 0 to 1
    verdict: str
    left_out: list[list[str]]  # [module, why]
    triggers: list[str]
    strength: float  # recommended
    licence: str
    source: str
    size_bytes: int
    sha256: str
    family: str
    layout: str
    kind: str
    ranks: list[int]
    alphas: list[float]
    parts: dict[str, int]
    base: str


class MadePicture(TypedDict):
    """One picture: its PNG file, its seed, and its recipe in words that other tools read."""

    id: str  # in the gallery
    image: gr.FileData | None  # None: withheld, see `flagged`
    seed: int
    recipe: str
    flagged: str
    prompt: str  # as it was drawn
    original_prompt: str  # as it was asked, where it was enhanced
    enhanced_by: str  # "built-in", "api", or ""
    adapters: list[UsedAdapter]


class ToldJob(TypedDict):
    """How far a job is: waiting, running, done, stopped, refused or failed."""

    id: str  # for `job` and `cancel`
    state: str
    ahead: int  # jobs that will start before it
    step: int  # denoising steps done, of all its pictures; 0 once it has ended
    steps: int  # of how many
    seconds_left: float | None  # None: not known
    pictures: list[MadePicture]  # those that are ready
    error: str  # why it failed or was refused
    prompt: str
    created: float  # seconds since the epoch
    started: float | None
    ended: float | None


class MadeDraft(TypedDict):
    """A richer prompt: the whole text, what was added, what was lost, who wrote it, and a note."""

    text: str
    added: list[str]
    dropped: list[str]
    engine: str
    model: str
    note: str


class Verified(TypedDict):
    """How a picture and its recipe, drawn again, compare."""

    answer: str  # identical, nearly (1/255), alike, different, impossible
    sentence: str
    ssim: float | None
    largest: int | None  # the greatest difference of a channel, 0 to 255
    differs: list[str]  # what is not as it was, e.g. "torch 2.10.0 became 2.13.0"
    altered: bool | None  # its pixels are not those that were saved; None: not known


class OfferedModel(TypedDict):
    """One model that can be asked for."""

    name: str
    title: str
    local: bool
    download_bytes: int
    licence: str
    width: int
    height: int
    steps: int
    guidance_scale: float
    sampler: str
