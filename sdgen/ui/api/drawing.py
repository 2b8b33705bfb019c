"""The endpoints that draw: `generate` waits for its pictures, `submit` leaves and comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import gradio as gr
from anyio import CapacityLimiter, to_thread

from sdgen.errors import SdgenError, StorageFailed
from sdgen.job import Failed, Finished, Job, Saved, Stopped
from sdgen.owners import Visitor
from sdgen.ui.api.answers import Answers
from sdgen.ui.api.asking import Asked, orders
from sdgen.ui.api.checks import refused
from sdgen.ui.api.types import AskedAdapter, MadePicture, ToldJob
from sdgen.ui.streams import events, owned

HEARTBEAT = 0.25  # seconds; a client that went away is noticed at the next yield
STOPS_WITHIN = 2.0  # seconds that `cancel` waits for the end, which takes a step
AT_ONCE = 16  # calls that look something up or write it down at the same time
ENHANCING = 8  # calls that wait for a richer prompt
STOPPED = "Stopped before a picture was finished."


def add_drawing(
    answers: Answers, visitor: Callable[[gr.Request | None], Visitor], limit: int
) -> None:
    """Add generate, submit, job and cancel. visitor: who asks. limit: jobs of one submit."""
    studio = answers.studio
    quick, slow = CapacityLimiter(AT_ONCE), CapacityLimiter(ENHANCING)

    async def generate(
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
        leave_out_prompt: bool = False,
        request: gr.Request | None = None,
    ) -> AsyncIterator[list[MadePicture]]:
        """Draw pictures of a sentence. Cancelling the call stops the drawing within one step.

        Args:
            prompt: What the pictures should show; `<lora:name:0.8>` in it asks for an adapter.
            negative_prompt: What they should not show.
            model: A name from `models`; by default the app's own.
            seed: 0 to 18446744073709551615, of which the noise takes the lower 32 bits; none or
                -1: a new one. Picture i has seed + i.
            steps: Denoising steps; by default the model's.
            guidance_scale: How closely it follows the prompt; 1 is off; by default the model's.
            width: Pixels, a multiple of 8; by default the model's.
            height: Pixels, a multiple of 8; by default the model's.
            num_images: How many pictures.
            sampler: euler, euler_a, ddim, dpmpp_2m, dpmpp_2m_karras, unipc or lcm.
            exact: Draw alone, so that it repeats bit for bit on the same machine.
            enhance: off; builtin, api or auto: draw a richer prompt, which the answer names.
            adapters: LoRA adapters of `adapters`, e.g. [{"name": "minnal-murali", "scale": 0.8}].
            leave_out_prompt: No words of the prompt go into the files.

        Returns:
            The pictures: each a PNG file with its recipe inside, its seed, and its recipe as text.
        """
        asked, who = Asked.of(locals()), visitor(request)
        made: list[MadePicture] = []
        withheld: StorageFailed | None = None

        def start() -> Job:
            (order,) = orders(studio, asked, 1, who.payer)
            (job,) = studio.submit([order], who, leave="call")
            return job

        now = asyncio.get_running_loop().time
        try:
            async with owned(start, quick if enhance == "off" else slow) as job:
                told_at = now()
                async for event in events(job, HEARTBEAT):
                    if isinstance(event, Saved):
                        try:
                            picture = await to_thread.run_sync(
                                answers.picture, event, limiter=quick
                            )
                        except StorageFailed as error:  # the job goes on, and can be asked for
                            withheld = StorageFailed(f"{error} Its job_id is {job.id}.")
                        else:
                            made = [*made, picture]
                    elif isinstance(event, Failed):
                        raise event.error
                    elif withheld is not None and isinstance(event, Finished | Stopped):
                        raise withheld
                    elif isinstance(event, Stopped) and not made:
                        raise gr.Error(STOPPED, print_exception=False)
                    if isinstance(event, Saved) or now() - told_at >= HEARTBEAT:
                        told_at = now()
                        yield made
        except SdgenError as error:
            raise refused(error) from error

    def submit(
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
        leave_out_prompt: bool = False,
        several: bool = False,
        grid_x: str | None = None,
        grid_y: str | None = None,
        request: gr.Request | None = None,
    ) -> list[ToldJob]:
        """Queue pictures and come back for them with `job`; they are drawn whoever waits.

        Send a secret of your own in the header X-Sdgen-Token (32 to 128 letters, digits, - or _)
        to have them in a gallery of yours; without it a job's id alone leads to it.

        Args:
            prompt: As in `generate`.
            negative_prompt: As in `generate`.
            model: As in `generate`.
            seed: As in `generate`.
            steps: As in `generate`.
            guidance_scale: As in `generate`.
            width: As in `generate`.
            height: As in `generate`.
            num_images: As in `generate`.
            sampler: As in `generate`.
            exact: As in `generate`.
            enhance: As in `generate`; off with several.
            adapters: As in `generate`.
            leave_out_prompt: As in `generate`.
            several: The prompt is several: one a line, and every one of "a {red|blue} robot".
            grid_x: Draw one labelled sheet whose columns differ, e.g. steps=4,8,12 or seed=1-5 or
                prompt=red,blue or adapter:storm-hero=0-1 [5].
            grid_y: The same for its rows.

        Returns:
            The jobs, one for each prompt.
        """
        try:
            asked, who = Asked.of(locals()), visitor(request)
            asked_for = list(orders(studio, asked, limit, who.payer))
            jobs = studio.submit(asked_for, who, leave="keep")
            return [answers.job(job.id, who) for job in jobs]
        except SdgenError as error:
            raise refused(error) from error

    def job(job_id: str, request: gr.Request | None = None) -> ToldJob:
        """Tell how far a job of `submit` is, with the pictures that are ready.

        Args:
            job_id: Its id.

        Returns:
            Its state: waiting, running, done, stopped, refused or failed; times and pictures.
        """
        try:
            return answers.job(job_id, visitor(request))
        except SdgenError as error:
            raise refused(error) from error

    async def cancel(job_id: str, request: gr.Request | None = None) -> ToldJob:
        """Stop a job within one step; pictures that are ready are kept.

        Args:
            job_id: Its id.

        Returns:
            The job, as `job` tells it.
        """
        who = visitor(request)

        def stop() -> Job | None:
            answers.job(job_id, who)  # raises, if it is none of the caller's
            found = studio.job(job_id)
            studio.cancel(job_id, who)
            return found

        try:
            running = await to_thread.run_sync(stop, limiter=quick)
            if running is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(STOPS_WITHIN):
                        async for _ in events(running, HEARTBEAT):
                            pass
            return await to_thread.run_sync(answers.job, job_id, who, limiter=quick)
        except SdgenError as error:
            raise refused(error) from error

    # Gradio describes an endpoint by its annotations, and a caller gets the last yield.
    generate.__annotations__["return"] = list[MadePicture]
    for endpoint in (generate, submit, job, cancel):
        gr.api(endpoint, concurrency_limit=None)
