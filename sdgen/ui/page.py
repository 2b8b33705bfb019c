"""What the page does, as functions of plain values: Gradio calls them, and so do tests.

One Page serves every browser window. It holds no window's state: that comes in and goes out.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sdgen.errors import SdgenError
from sdgen.job import Event, Job, Preview, Progress, Queued, Saved
from sdgen.metadata import Enhancement
from sdgen.pictures import pictures_folder
from sdgen.request import AdapterUse, GenerateRequest
from sdgen.studio import Studio
from sdgen.ui import messages, tiles
from sdgen.ui.enhancing import Drafted, drafted_from
from sdgen.ui.form import FIELDS, Form, request_fields
from sdgen.ui.forming import Forming, Picture, advance, begin

HEARTBEAT = 0.25  # seconds; Gradio notices a closed page at the next yield
REDRAW = 0.1  # seconds between two pictures of the same progress
PROOF_STRENGTHS = (0.0, 0.5, 1.0)
REMEMBERED = 48  # pictures that a browser remembers
FILLED = "The picture's settings are in the form."
VERIFYING = "It is being drawn again, exactly, to compare the two ..."
GONE = "This picture is not in this window any more."
_NAME = re.compile(r"\d{4}-\d\d-\d\d/[0-9a-z]{26}\.png")  # as sdgen.pictures writes it

Pictures = tuple[Picture, ...]  # newest first


class View(NamedTuple):
    """What changes on the page; None leaves a part as it is."""

    notice: str | None = None  # HTML
    stage: str | None = None  # HTML
    gallery: str | None = None  # HTML
    pictures: Pictures | None = None
    job_id: str | None = None
    last_seed: int | None = None


class Filled(NamedTuple):
    """Fields of the form to fill in, by name, and what to say about it."""

    fields: dict[str, object]
    notice: str  # HTML
    drafted: Drafted | None = None  # where the prompt came from


class Variant(NamedTuple):
    """One of several requests to compare."""

    label: str
    request: GenerateRequest
    enhancement: Enhancement | None = None


class Page:
    """The page's deeds.

    serve: makes a file visible to browsers and says under which URL.
    withhold_flagged: keep pictures back to which the model's safety checker objects.
    """

    def __init__(
        self,
        studio: Studio,
        data_dir: Path,
        serve: Callable[[Path], str],
        withhold_flagged: bool = False,
    ) -> None:
        self._studio = studio
        self._folder = pictures_folder(data_dir)
        self._serve = serve
        self._withhold = withhold_flagged

    def generate(
        self, form: Form, pictures: Pictures, enhancement: Enhancement | None = None
    ) -> Iterator[View]:
        """Draw what the form asks for; yields at least every HEARTBEAT seconds.

        enhancement: where its prompt came from, for the recipe.

        Closing the generator, as Gradio does when the window is closed, stops the drawing.
        """
        try:
            request = self._studio.request(model=form.model, **request_fields(form))
            job = self._studio.start(request, enhancement=enhancement)
        except SdgenError as error:
            yield View(notice=messages.alert(str(error)))
            return
        forming = begin(request)
        yield View(
            notice="",
            stage=tiles.stage(forming),
            gallery=tiles.gallery(pictures),
            job_id=job.id,
            last_seed=request.seed,
        )
        drawn, drawn_at = forming, time.monotonic()
        try:
            for event in job.events(HEARTBEAT):
                before, forming = forming, advance(forming, event, self._saved_picture(forming))
                passing = isinstance(event, Queued | Progress | Preview)
                if passing and time.monotonic() - drawn_at < REDRAW:
                    continue
                yield self._view(drawn, forming, pictures, saved=before.saved != forming.saved)
                drawn, drawn_at = forming, time.monotonic()
        finally:
            if job.end is None:
                job.cancel()

    def compare(
        self, form: Form, pictures: Pictures, prompt: str, enhancement: Enhancement | None
    ) -> Iterator[View]:
        """Draw the form's prompt and `prompt` at the same seed, side by side in one batch."""
        try:
            plain = self._studio.request(model=form.model, **request_fields(form))
            fields = form._replace(prompt=prompt, seed=str(plain.seed))
            other = self._studio.request(model=form.model, **request_fields(fields))
        except SdgenError as error:
            yield View(notice=messages.alert(str(error)))
            return
        variants = [Variant("Your words", plain), Variant("Enhanced", other, enhancement)]
        yield from self._side_by_side(variants, pictures)

    def proof(
        self, form: Form, pictures: Pictures, name: str, enhancement: Enhancement | None = None
    ) -> Iterator[View]:
        """What one of the form's adapters does: the same seed without it, at half and at full
        strength, side by side in one batch. The other adapters stay as they are."""
        try:
            fields = request_fields(form._replace(num_images=1))
            request = self._studio.request(model=form.model, **fields)
        except SdgenError as error:
            yield View(notice=messages.alert(str(error)))
            return
        variants = [
            Variant(f"Strength {scale:g}", at_strength(request, name, scale), enhancement)
            for scale in PROOF_STRENGTHS
        ]
        yield from self._side_by_side(variants, pictures)

    def _side_by_side(self, variants: Sequence["Variant"], pictures: Pictures) -> Iterator[View]:
        """Draw several requests at once."""
        jobs: list[Job] = []
        try:
            for variant in variants:
                job = self._studio.start(variant.request, enhancement=variant.enhancement)
                jobs.append(job)
        except SdgenError as error:
            for job in jobs:
                job.cancel()
            yield View(notice=messages.alert(str(error)))
            return
        labels = [variant.label for variant in variants]
        forming = [begin(variant.request) for variant in variants]
        yield View(
            notice="",
            stage=tiles.strip(list(zip(labels, forming, strict=True))),
            gallery=tiles.gallery(pictures),
            job_id=" ".join(job.id for job in jobs),
            last_seed=variants[0].request.seed,
        )
        drawn_at = time.monotonic()
        try:
            for at, event in _in_turns(jobs):
                before = forming[at]
                forming[at] = after = advance(before, event, self._saved_picture(before))
                passing = isinstance(event, Queued | Progress | Preview)
                if passing and time.monotonic() - drawn_at < REDRAW:
                    continue
                if after == before:
                    yield View()
                    continue
                view = self._view(before, after, pictures, saved=before.saved != after.saved)
                newest = (picture for each in forming for picture in reversed(each.pictures))
                yield view._replace(
                    stage=tiles.strip(list(zip(labels, forming, strict=True))),
                    pictures=(*newest, *pictures) if view.pictures is not None else None,
                )
                drawn_at = time.monotonic()
        finally:
            for job in jobs:
                if job.end is None:
                    job.cancel()

    def stop(self, job_id: str) -> None:
        """Stop that job, or those of a pair, within one step; finished pictures stay."""
        for each in job_id.split():
            job = self._studio.job(each)
            if job is not None:
                job.cancel()

    def read_file(self, path: Path) -> Filled:
        """The fields that a picture file was made with; unreadable: none, and a notice."""
        try:
            recipe = self._studio.recipe_of(path)
            form = self._studio.form_of(recipe)
        except SdgenError as error:
            return Filled({}, messages.alert(str(error)))
        fields = {name: value for name, value in form.fields.items() if name in FIELDS}
        return Filled(fields, messages.notes((FILLED, *form.notes)), drafted_from(recipe))

    def reuse(self, name: str, pictures: Pictures) -> Filled:
        """The fields that one of the window's pictures was made with."""
        if _find(name, pictures) is None:
            return Filled({}, messages.alert(GONE))
        return self.read_file(self._folder / name)

    def open(self, name: str, pictures: Pictures, said: str = "") -> tuple[str, str]:
        """One of the window's pictures with its recipe, and a notice; both HTML.

        said: what is told of the picture under its recipe.
        """
        picture = _find(name, pictures)
        if picture is None:
            return "", messages.alert(GONE)
        try:
            recipe = self._studio.recipe_of(self._folder / name)
        except SdgenError as error:
            return "", messages.alert(str(error))
        names = ["", *(entry.name for entry in pictures if entry.url), ""]
        at = names.index(name, 1)
        return tiles.opened(picture, recipe, names[at + 1], names[at - 1], said), ""

    def verify(self, name: str, pictures: Pictures) -> Iterator[tuple[str, str]]:
        """Draw one of the window's pictures again; the opened picture tells how the two compare."""
        opened = self.open(name, pictures, VERIFYING)
        yield opened
        if not opened[0]:
            return
        try:
            said = self._studio.verify(self._folder / name).sentence
        except SdgenError as error:
            said = str(error)
        yield self.open(name, pictures, said)

    def remember(self, pictures: Pictures) -> list[dict[str, object]]:
        """What the browser keeps of the newest pictures: no pixels, no URLs."""
        return [
            {
                "name": picture.name,
                "seed": picture.seed,
                "prompt": picture.prompt,
                "width": picture.width,
                "height": picture.height,
                "flagged": picture.flagged,
            }
            for picture in pictures[:REMEMBERED]
            if picture.url
        ]

    def recall(self, remembered: object) -> Pictures:
        """The pictures that a browser remembers and that are still there. It may say anything."""
        if not isinstance(remembered, Sequence) or isinstance(remembered, str):
            return ()
        found = (self._recalled(entry) for entry in remembered[:REMEMBERED])
        return tuple(picture for picture in found if picture is not None)

    def _recalled(self, entry: object) -> Picture | None:
        if not isinstance(entry, Mapping):
            return None
        name, prompt, flagged = entry.get("name"), entry.get("prompt"), entry.get("flagged")
        seed, width, height = entry.get("seed"), entry.get("width"), entry.get("height")
        if not (isinstance(name, str) and isinstance(prompt, str) and isinstance(flagged, str)):
            return None
        if not (isinstance(seed, int) and isinstance(width, int) and isinstance(height, int)):
            return None
        path = self._folder / name
        if not _NAME.fullmatch(name) or not path.is_file() or (flagged and self._withhold):
            return None
        return Picture(name, self._serve(path), seed, prompt, width, height, flagged)

    def _saved_picture(self, forming: Forming) -> Callable[[Saved], Picture]:
        def picture(saved: Saved) -> Picture:
            return Picture(
                name=f"{saved.path.parent.name}/{saved.path.name}",
                url="" if saved.flagged and self._withhold else self._serve(saved.path),
                seed=saved.seed,
                prompt=forming.request.prompt,
                width=forming.request.width,
                height=forming.request.height,
                flagged=saved.flagged,
            )

        return picture

    def _view(self, drawn: Forming, forming: Forming, older: Pictures, *, saved: bool) -> View:
        notice = None
        if forming.problem:
            notice = messages.alert(forming.problem)
        elif forming.notes != drawn.notes:
            notice = messages.notes(forming.notes)
        return View(
            notice=notice,
            stage=tiles.stage(forming) if forming != drawn else None,
            pictures=(*reversed(forming.pictures), *older) if saved else None,
        )


def at_strength(request: GenerateRequest, name: str, scale: float) -> GenerateRequest:
    """The request with one of its adapters at another strength.

    A strength in the text encoder that was set apart keeps its share.
    """

    def changed(use: AdapterUse) -> AdapterUse:
        if use.name != name:
            return use
        text_scale = None if use.text_scale is None else use.text_scale * scale
        return AdapterUse(name=name, scale=scale, text_scale=text_scale)

    return request.model_copy(update={"adapters": tuple(map(changed, request.adapters))})


def _in_turns(jobs: Sequence[Job]) -> Iterator[tuple[int, Event]]:
    """The events of several jobs with the place of the job, up to the last one's end."""
    streams = {at: job.events(HEARTBEAT / len(jobs)) for at, job in enumerate(jobs)}
    while streams:
        for at, stream in list(streams.items()):
            event = next(stream, None)
            if event is None:
                del streams[at]
            else:
                yield at, event


def _find(name: str, pictures: Pictures) -> Picture | None:
    """The window's own picture of that name, if it is shown."""
    return next((entry for entry in pictures if entry.name == name and entry.url), None)
