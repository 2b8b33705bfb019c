"""What the endpoints take and give: types that describe them, and checks of what comes in."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Required, TypedDict

import gradio as gr
from gradio.utils import get_upload_folder

from sdgen.enhance import CHOICES, Choice
from sdgen.errors import InvalidRequest
from sdgen.job import Saved
from sdgen.metadata import parameters_text
from sdgen.studio import Studio
from sdgen.studio_adapters import AdapterCard

TRIGGERS_MAX, TRIGGER_CHARS = 8, 100


class AskedAdapter(TypedDict, total=False):
    """One LoRA adapter of a request: its name, and strengths from -2 to 2."""

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

    image: gr.FileData | None  # None: withheld, see `flagged`
    seed: int
    recipe: str
    flagged: str
    prompt: str  # as it was drawn
    original_prompt: str  # as it was asked, where it was enhanced
    enhanced_by: str  # "built-in", "api", or ""
    adapters: list[UsedAdapter]


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


def helper(name: object) -> Choice:
    """A choice of enhancer. Raises InvalidRequest for another word."""
    for choice in CHOICES:
        if name == choice:
            return choice
    raise InvalidRequest("enhance", f"Enhance must be off or one of {', '.join(CHOICES)}.")


def words(triggers: object) -> tuple[str, ...]:
    """Trigger words from outside. Raises InvalidRequest."""
    if triggers is None:
        return ()
    if not isinstance(triggers, list) or len(triggers) > TRIGGERS_MAX:
        raise InvalidRequest("triggers", f"Triggers must be at most {TRIGGERS_MAX} texts.")
    for trigger in triggers:
        if not isinstance(trigger, str) or len(trigger) > TRIGGER_CHARS:
            raise InvalidRequest("triggers", f"A trigger is text of up to {TRIGGER_CHARS} letters.")
    return tuple(triggers)


def whole(number: object) -> int:
    """A count from outside. Raises InvalidRequest."""
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 10**6:
        return number
    raise InvalidRequest("again", "Again must be a whole number from 0 on.")


def names_of(adapters: object) -> tuple[str, ...]:
    """The names in a list of adapters from outside; what is wrong with it is said elsewhere."""
    entries = adapters if isinstance(adapters, list) else []
    names = [entry.get("name") for entry in entries if isinstance(entry, dict)]
    return tuple(name for name in names if isinstance(name, str))


def name_of_model(studio: Studio, model: object) -> str:
    """A model from outside, or the app's own. Raises InvalidRequest."""
    if model is not None and not isinstance(model, str):
        raise InvalidRequest("model", "Model must be text.")
    return model or studio.default_model()


def uploaded(file: object, field: str, otherwise: str = "") -> Path:
    """The file that a program uploaded to Gradio before. Raises InvalidRequest for all else.

    field: the parameter's name. otherwise: what could stand in its place.

    Any path can be written into a request; only those in Gradio's own folder of uploads count.
    """
    path = file.get("path") if isinstance(file, Mapping) else None
    if isinstance(path, str) and "\0" not in path:
        found = Path(path).resolve()
        if found.is_relative_to(Path(get_upload_folder()).resolve()) and found.is_file():
            return found
    raise InvalidRequest(field, f"{field.capitalize()} must be {otherwise}an uploaded file.")


def session_of(request: gr.Request | None) -> str:
    """Who asks, for the limits of enhancing."""
    return str(getattr(request, "session_hash", "") or "")


def judged(card: AdapterCard) -> JudgedAdapter:
    """An adapter for a program; of one that is not here, what is known."""
    report, verdict = card.report, card.verdict
    return JudgedAdapter(
        name=card.name,
        title=card.title,
        local=card.local,
        level=verdict.level if verdict else "",
        share=verdict.share if verdict else 0.0,
        verdict=verdict.sentence if verdict else "",
        left_out=[list(pair) for pair in verdict.left_out] if verdict else [],
        triggers=list(report.triggers) if report else [],
        strength=report.strength if report else 1.0,
        licence=report.licence if report else "",
        source=card.source,
        size_bytes=report.size_bytes if report else 0,
        sha256=report.sha256 if report else "",
        family=report.family if report else "",
        layout=report.layout if report else "",
        kind=report.kind if report else "",
        ranks=list(report.ranks) if report else [],
        alphas=list(report.alphas) if report else [],
        parts=asdict(report.parts) if report else {},
        base=report.base if report else "",
    )


def made_picture(
    studio: Studio, saved: Saved, served: Callable[[Path], Path], withhold_flagged: bool
) -> dict[str, Any]:
    """One picture for a program; without the file where it is withheld."""
    recipe = studio.recipe_of(saved.path)
    picture: dict[str, Any] = {
        "seed": saved.seed,
        "recipe": parameters_text(recipe),
        "flagged": saved.flagged,
        "prompt": recipe.prompt,
        "original_prompt": recipe.original_prompt,
        "enhanced_by": recipe.enhanced_by,
        "adapters": [adapter.model_dump() for adapter in recipe.adapters],
    }
    if saved.flagged and withhold_flagged:
        return {"image": None, **picture}
    copy = served(saved.path)
    file = gr.FileData(path=str(copy), orig_name=saved.path.name, mime_type="image/png")
    return {"image": file.model_dump(), **picture}
