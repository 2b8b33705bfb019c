"""What the page does with requests, as functions of plain values: Gradio calls them, so do tests.

The page owns no work: it puts jobs into the queue, and live.py shows what becomes of them. One
Page serves every browser window and holds no window's state.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sdgen import several
from sdgen.errors import InvalidRequest, SdgenError
from sdgen.grid import CELLS_MAX, Grid, cells, parse_axis
from sdgen.metadata import Enhancement
from sdgen.owners import ANYONE, Visitor
from sdgen.request import AdapterUse, GenerateRequest
from sdgen.studio import Order, Studio
from sdgen.ui import messages
from sdgen.ui.form import Form, request_fields

PROOF_STRENGTHS = (0.0, 0.5, 1.0)
PLAIN_WORDS = "Several prompts are drawn as they are written, without the helper."


class View(NamedTuple):
    """What a click changes on the page beside the queue; None leaves a part as it is."""

    notice: str | None = None  # HTML
    last_seed: int | None = None


class AskedGrid(NamedTuple):
    """A grid as it is written on the page; y is none where its field is ""."""

    x_field: str = ""
    x_values: str = ""
    x_target: str = ""
    y_field: str = ""
    y_values: str = ""
    y_target: str = ""


class Page:
    """The deeds. Refusals become notices; nothing is queued then."""

    def __init__(self, studio: Studio, most: int) -> None:
        """most: requests that one person may have in the queue."""
        self._studio = studio
        self.most = most

    # --- asking

    def generate(
        self, form: Form, visitor: Visitor, enhancement: Enhancement | None = None
    ) -> View:
        """Queue what the form asks for: one request, or one for each of several prompts.

        enhancement: where the one prompt came from, for the recipe.
        """
        if form.several:
            return self._asked(lambda: self._several(form), visitor)
        return self._asked(lambda: [Order(self._request(form), enhancement)], visitor)

    def compare(
        self, form: Form, visitor: Visitor, prompt: str, enhancement: Enhancement | None
    ) -> View:
        """Draw the form's prompt and `prompt` at the same seed, side by side in one batch."""

        def orders() -> list[Order]:
            plain = self._request(form)
            other = self._request(form._replace(prompt=prompt, seed=str(plain.seed)))
            return [Order(plain, None, "Your words"), Order(other, enhancement, "Enhanced")]

        return self._asked(orders, visitor, side_by_side=True)

    def proof(
        self, form: Form, visitor: Visitor, name: str, enhancement: Enhancement | None = None
    ) -> View:
        """What one of the form's adapters does: the same seed without it, at half and at full
        strength, side by side in one batch. The other adapters stay as they are."""

        def orders() -> list[Order]:
            request = self._request(form._replace(num_images=1))
            return [
                Order(at_strength(request, name, scale), enhancement, f"Strength {scale:g}")
                for scale in PROOF_STRENGTHS
            ]

        return self._asked(orders, visitor, side_by_side=True)

    def draw_grid(
        self,
        form: Form,
        visitor: Visitor,
        asked: AskedGrid,
        enhancement: Enhancement | None = None,
    ) -> View:
        """Queue a grid of the form's request: one job, one sheet."""

        def orders() -> list[Order]:
            grid = grid_of(asked)
            request = self._request(form._replace(num_images=1))
            cells(request, grid)  # names the axis and the value that cannot be
            return [Order(request, enhancement, grid=grid)]

        return self._asked(orders, visitor)

    # --- the queue

    def stop(self, visitor: Visitor, job_ids: str = "") -> None:
        """Stop those running jobs of the visitor's, by default all; finished pictures stay."""
        wanted = set(job_ids.split())
        for job in self._studio.shown_jobs(visitor.owner):
            if job.end is None and (job.id in wanted or not wanted):
                job.cancel()

    def drop(self, visitor: Visitor, job_id: str) -> str:
        """Cancel one job; a notice where that cannot be."""
        return self._deed(lambda: self._studio.cancel(job_id, visitor))

    def drop_all(self, visitor: Visitor) -> str:
        """Cancel all waiting jobs; a notice where that cannot be."""
        return self._deed(lambda: self._studio.cancel_all(visitor.owner))

    def move(self, visitor: Visitor, job_id: str, by: int) -> str:
        """Move a waiting job: -1 one earlier, +1 one later; a notice where that cannot be."""
        return self._deed(lambda: self._studio.move(job_id, visitor.owner, by))

    def pause(self, visitor: Visitor, paused: bool) -> str:
        """Hold the visitor's queue, or let it go on; a notice where that cannot be."""
        if visitor.owner == ANYONE:
            return messages.alert(messages.NO_COOKIE)
        return self._deed(lambda: self._studio.pause(visitor.owner, paused))

    # --- parts

    def _request(self, form: Form) -> GenerateRequest:
        return self._studio.request(model=form.model, **request_fields(form))

    def _several(self, form: Form) -> list[Order]:
        prompts = several.expand(form.prompt, self.most)
        return [Order(self._request(form._replace(prompt=prompt))) for prompt in prompts]

    def _asked(
        self, orders: Callable[[], Sequence[Order]], visitor: Visitor, *, side_by_side: bool = False
    ) -> View:
        if visitor.owner == ANYONE:  # its pictures could not be found again
            return View(notice=messages.alert(messages.NO_COOKIE))
        try:
            asked = orders()
            self._studio.submit(asked, visitor, side_by_side=side_by_side)
        except SdgenError as error:
            return View(notice=messages.alert(str(error)))
        return View(notice="", last_seed=asked[0].request.seed)

    def _deed(self, deed: Callable[[], object]) -> str:
        try:
            deed()
        except SdgenError as error:
            return messages.alert(str(error))
        return ""


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


def grid_of(asked: AskedGrid) -> Grid:
    """The grid that is written on the page. Raises InvalidRequest that names the axis."""
    x = parse_axis(asked.x_field, asked.x_values, asked.x_target, "x")
    if not asked.y_field:
        return Grid(x=x)
    return Grid(x=x, y=parse_axis(asked.y_field, asked.y_values, asked.y_target, "y"))


def grid_size(asked: AskedGrid) -> str:
    """How many pictures the grid has, or what is wrong with it; "" for one not written yet."""
    if not asked.x_values.strip():
        return ""
    try:
        grid = grid_of(asked)
    except InvalidRequest as error:
        return str(error)
    count = grid.columns * grid.rows
    words = f"{count} {'picture' if count == 1 else 'pictures'} in one sheet"
    return words if count <= CELLS_MAX else f"{words}: at most {CELLS_MAX} fit."


def how_many(prompt: str, most: int, *, on: bool) -> str:
    """How many requests a prompt asks for; while that is off, how to switch it on, or ""."""
    if not on:
        if not several.looks_several(prompt):
            return ""
        return "Switch on “Several prompts” to draw each line and each choice of {a|b}."
    try:
        count = several.count(prompt)
    except InvalidRequest as error:
        return str(error)
    return f"{count:,} {'request' if count == 1 else 'requests'} (at most {most})"
