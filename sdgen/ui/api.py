"""The endpoints for programs: gradio_client, @gradio/client, curl and MCP. All else is private."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from sdgen.errors import InvalidRequest, SdgenError
from sdgen.job import Failed, Saved, Stopped
from sdgen.studio import Studio, enhancement_of
from sdgen.ui.api_values import (
    AskedAdapter,
    JudgedAdapter,
    MadeDraft,
    MadePicture,
    OfferedModel,
    Verified,
    helper,
    judged,
    made_picture,
    name_of_model,
    names_of,
    session_of,
    uploaded,
    whole,
    words,
)

OPERATOR_ONLY = "Only the operator of this app can bring files; give a name of `adapters`."
HEARTBEAT = 0.25  # seconds; a client that went away is noticed at the next yield


def add_endpoints(
    studio: Studio,
    served: Callable[[Path], Path],
    withhold_flagged: bool = False,
    may_add: bool = True,
) -> None:
    """Add all endpoints to the Blocks being built.

    served: a picture's copy where Gradio serves files. withhold_flagged: leave out the files to
    which the model's safety checker objects, and say so. may_add: callers may bring files.
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
                    made = [*made, made_picture(studio, event, served, withhold_flagged)]
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
            return [judged(card) for card in studio.adapters(name_of_model(studio, model))]
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
                return judged(studio.inspect_adapter(adapter, chosen))
            if not may_add:
                raise InvalidRequest("adapter", OPERATOR_ONLY)
            file = uploaded(adapter, "adapter", "a name of `adapters` or ")
            return judged(studio.inspect_adapter_file(file, chosen))
        except SdgenError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def verify(picture: gr.FileData) -> Verified:
        """Draw the recipe inside a picture again, exactly, and say how the two compare.

        Args:
            picture: An uploaded PNG of this app, or by A1111 and its kin.

        Returns:
            The answer, a sentence, how alike they are, and what differs.
        """
        try:
            found = studio.verify(uploaded(picture, "picture"))
        except SdgenError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return Verified(
            answer=found.answer,
            sentence=found.sentence,
            ssim=found.ssim,
            largest=found.largest,
            differs=list(found.differs),
            altered=found.altered,
        )

    # Gradio describes an endpoint by its annotations, and a caller gets the last yield.
    generate.__annotations__["return"] = list[MadePicture]
    gr.api(generate, concurrency_limit=None)
    gr.api(enhance, concurrency_limit=None)
    gr.api(models, concurrency_limit=None)
    gr.api(adapters, concurrency_limit=None)
    gr.api(inspect_adapter, concurrency_limit=None)
    gr.api(verify, concurrency_limit=None)
