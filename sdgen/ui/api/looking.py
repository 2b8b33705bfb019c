"""The endpoints that keep nothing: enhance, models, adapters, inspect_adapter, verify."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import gradio as gr
from anyio import CapacityLimiter, to_thread

from sdgen.errors import GenerationFailed, InvalidRequest, SdgenError
from sdgen.job import GeneratedImage
from sdgen.owners import Visitor
from sdgen.studio import Studio
from sdgen.studio_verify import NOT_HERE, STOPPED, impossible, picture_of
from sdgen.ui.api.answers import judged
from sdgen.ui.api.checks import (
    helper,
    name_of_model,
    refused,
    uploaded,
    whole,
    words,
)
from sdgen.ui.api.types import JudgedAdapter, MadeDraft, OfferedModel, Verified
from sdgen.ui.streams import events, owned
from sdgen.verify import Verification

AT_ONCE = 16  # verifications that are being queued at the same time
LOOKING = 2  # files that are being read or compared; some have gigabytes
HEARTBEAT = 1.0  # seconds; a client that went away is noticed at the next yield
OPERATOR_ONLY = "Only the operator of this app can bring files; give a name of `adapters`."


WAITING = Verified(
    answer="",
    sentence="It is being drawn again.",
    ssim=None,
    largest=None,
    differs=[],
    altered=None,
)  # until there is an answer


def add_looking(
    studio: Studio, visitor: Callable[[gr.Request | None], Visitor], may_add: bool
) -> None:
    """Add them to the Blocks being built. visitor: who asks. may_add: callers may bring files."""
    quick, slow = CapacityLimiter(AT_ONCE), CapacityLimiter(LOOKING)
    examining = threading.BoundedSemaphore(LOOKING)

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
                prompt, name_of_model(studio, model), helper(enhancer, "enhancer"),
                triggers=words(triggers), again=whole(again),
                payer=visitor(request).payer,
            )  # fmt: skip
        except SdgenError as error:
            raise refused(error) from error
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
            raise refused(error) from error

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
            with examining:
                return judged(studio.inspect_adapter_file(file, chosen))
        except SdgenError as error:
            raise refused(error) from error

    async def verify(
        picture: gr.FileData, request: gr.Request | None = None
    ) -> AsyncIterator[Verified]:
        """Draw the recipe inside a picture again, exactly, and say how the two compare.

        It waits in the queue like any picture; cancelling the call ends that.

        Args:
            picture: An uploaded picture of this app, or of another program.

        Returns:
            The answer, a sentence, how alike they are, and what differs.
        """
        who, now = visitor(request), asyncio.get_running_loop().time
        made: GeneratedImage | None = None
        try:
            file = uploaded(picture, "picture")
            asked = await to_thread.run_sync(studio.redrawing, file, limiter=slow)
            if isinstance(asked, Verification):
                yield verified(asked)
                return
            try:
                async with owned(lambda: studio.redraw(asked, who), quick) as job:
                    told_at = now()
                    async for event in events(job, HEARTBEAT):
                        made = picture_of(event, made)
                        if now() - told_at >= HEARTBEAT:
                            told_at = now()
                            yield WAITING
            except NOT_HERE as error:
                yield verified(impossible(str(error)))
                return
            if made is None:
                raise GenerationFailed(STOPPED)
            yield verified(await to_thread.run_sync(studio.compared, asked, made, limiter=slow))
        except SdgenError as error:
            raise refused(error) from error

    # Gradio describes an endpoint by its annotations, and a caller gets the last yield.
    verify.__annotations__["return"] = Verified
    for endpoint in (enhance, models, adapters, inspect_adapter, verify):
        gr.api(endpoint, concurrency_limit=None)


def verified(found: Verification) -> Verified:
    """An answer for a program."""
    return Verified(
        answer=found.answer,
        sentence=found.sentence,
        ssim=found.ssim,
        largest=found.largest,
        differs=list(found.differs),
        altered=found.altered,
    )
