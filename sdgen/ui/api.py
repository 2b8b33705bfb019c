"""The endpoints for programs: gradio_client, @gradio/client, curl and MCP. All else is private."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Required, TypedDict

import gradio as gr
from gradio.utils import get_upload_folder

from sdgen.enhance import CHOICES, Choice
from sdgen.errors import InvalidRequest, SdgenError
from sdgen.job import Failed, Saved, Stopped
from sdgen.metadata import parameters_text
from sdgen.studio import Studio, enhancement_of
from sdgen.studio_adapters import AdapterCard

TRIGGERS_MAX, TRIGGER_CHARS = 8, 100
HEARTBEAT = 0.25  # seconds; a client that went away is noticed at the next yield


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


def add_endpoints(
    studio: Studio, served: Callable[[Path], Path], withhold_flagged: bool = False
) -> None:
    """Add `generate`, `enhance`, `models` and the two on adapters to the Blocks being built.

    served: a picture's copy where Gradio serves files. withhold_flagged: leave out the files to
    which the model's safety checker objects, and say so.
    """

    def generate(
        prompt: str,
        negative_prompt: str = "",
        model: str | None = None,
        seed: int | None = None,
        steps: int | None = None,
        guidance_scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        num_images: int = 1,
        sampler: str | None = None,
        exact: bool = False,
        enhance: str = "off",
        adapters: list[AskedAdapter] | None = None,
        request: gr.Request | None = None,
    ) -> Iterator[list[dict[str, Any]]]:
        """Draw pictures of a sentence. Cancelling the call stops the drawing within one step.

        Args:
            prompt: What the pictures should show; `<lora:name:0.8>` in it asks for an adapter.
            negative_prompt: What they should not show.
            model: A name from `models`; by default the app's own.
            seed: 0 to 4294967295; none or -1: a new one. Picture i has seed + i.
            steps: Denoising steps; by default the model's.
            guidance_scale: How closely it follows the prompt; 1 is off; by default the model's.
            width: Pixels, a multiple of 8; by default the model's.
            height: Pixels, a multiple of 8; by default the model's.
            num_images: How many pictures.
            sampler: euler, euler_a, ddim, dpmpp_2m, dpmpp_2m_karras, unipc or lcm.
            exact: Draw alone, so that it repeats bit for bit on the same machine.
            enhance: off; builtin, api or auto: draw a richer prompt, which the answer names.
            adapters: LoRA adapters of `adapters`, e.g. [{"name": "minnal-murali", "scale": 0.8}].

        Returns:
            The pictures: each a PNG file with its recipe inside, its seed, and its recipe as text.
        """
        made: list[dict[str, Any]] = []
        try:
            draft = None
            if enhance != "off":
                choice = helper(enhance)
                draft = studio.enhance(
                    prompt, model, choice, adapters=names_of(adapters), session=session_of(request)
                )
            job = studio.start(
                studio.request(
                    model=model,
                    prompt=draft.text if draft else prompt,
                    negative_prompt=negative_prompt,
                    seed=None if seed == -1 else seed,
                    steps=steps,
                    guidance_scale=guidance_scale,
                    width=width,
                    height=height,
                    num_images=num_images,
                    sampler=sampler,
                    exact=exact,
                    adapters=adapters,
                ),
                enhancement=enhancement_of(draft, draft.text) if draft else None,
            )
        except SdgenError as error:
            raise gr.Error(str(error), print_exception=False) from error
        try:
            for event in job.events(HEARTBEAT):
                if isinstance(event, Saved):
                    made = [*made, _made(studio, event, served, withhold_flagged)]
                elif isinstance(event, Failed):
                    raise gr.Error(str(event.error), print_exception=False) from event.error
                elif isinstance(event, Stopped) and not made:
                    raise gr.Error("Stopped before a picture was finished.", print_exception=False)
                yield made
        finally:
            if job.end is None:
                job.cancel()

    def enhance(
        prompt: str,
        model: str | None = None,
        enhancer: str = "auto",
        triggers: list[str] | None = None,
        again: int = 0,
        request: gr.Request | None = None,
    ) -> MadeDraft:
        """Write a richer prompt; nothing is drawn, and what the user said stays in it.

        Args:
            prompt: What the picture should show, in few words.
            model: The model that would draw it; by default the app's own.
            enhancer: builtin, api, or auto: the API where there is one.
            triggers: Words that must be in it.
            again: 1, 2, ...: other drafts.

        Returns:
            The whole text, what was added, what was lost, who wrote it, and a note.
        """
        try:
            draft = studio.enhance(
                prompt, model, helper(enhancer), triggers=words(triggers), again=whole(again),
                session=session_of(request),
            )  # fmt: skip
        except SdgenError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return MadeDraft(
            text=draft.text,
            added=list(draft.added),
            dropped=list(draft.dropped),
            engine=draft.engine,
            model=draft.model,
            note=draft.note,
        )

    def models() -> list[OfferedModel]:
        """List the models that can be asked for, their defaults, and what they cost to fetch."""
        return [
            OfferedModel(
                name=card.name,
                title=card.title,
                local=card.local,
                download_bytes=card.download_bytes,
                licence=card.licence,
                width=card.width,
                height=card.height,
                steps=card.steps,
                guidance_scale=card.guidance_scale,
                sampler=card.sampler,
            )
            for card in studio.models()
        ]

    def adapters(model: str | None = None) -> list[JudgedAdapter]:
        """List the LoRA adapters and what of each will apply to a model.

        Args:
            model: A name from `models`; by default the app's own.

        Returns:
            The adapters, those that fit first.
        """
        try:
            return [_judged(card) for card in studio.adapters(name_of_model(studio, model))]
        except SdgenError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def inspect_adapter(adapter: str | gr.FileData, model: str | None = None) -> JudgedAdapter:
        """Examine one LoRA adapter before it is used; nothing is loaded and nothing is kept.

        Args:
            adapter: A name from `adapters`, or an uploaded .safetensors file.
            model: A name from `models`; by default the app's own.

        Returns:
            What the file says, and what of it will apply to the model.
        """
        try:
            chosen = name_of_model(studio, model)
            if isinstance(adapter, str):
                return _judged(studio.inspect_adapter(adapter, chosen))
            return _judged(studio.inspect_adapter_file(uploaded(adapter), chosen))
        except SdgenError as error:
            raise gr.Error(str(error), print_exception=False) from error

    # Gradio describes an endpoint by its annotations, and a caller gets the last yield.
    generate.__annotations__["return"] = list[MadePicture]
    gr.api(generate, concurrency_limit=None)
    gr.api(enhance, concurrency_limit=None)
    gr.api(models, concurrency_limit=None)
    gr.api(adapters, concurrency_limit=None)
    gr.api(inspect_adapter, concurrency_limit=None)


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


def uploaded(file: object) -> Path:
    """The file that a program uploaded to Gradio before. Raises InvalidRequest for all else.

    Any path can be written into a request; only those in Gradio's own folder of uploads count.
    """
    path = file.get("path") if isinstance(file, Mapping) else None
    if isinstance(path, str) and "\0" not in path:
        found = Path(path).resolve()
        if found.is_relative_to(Path(get_upload_folder()).resolve()) and found.is_file():
            return found
    raise InvalidRequest("adapter", "Adapter must be a name of `adapters` or an uploaded file.")


def session_of(request: gr.Request | None) -> str:
    """Who asks, for the limits of enhancing."""
    return str(getattr(request, "session_hash", "") or "")


def _judged(card: AdapterCard) -> JudgedAdapter:
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


def _made(
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
