"""The page's pictures as HTML: the stage where they form, earlier ones, and one picture opened.

Pictures are told by their id and fetched by routes that check whose they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sdgen.grid import AXIS_TITLES, Axis, grid_from_json
from sdgen.history import PictureRow
from sdgen.html import render, short
from sdgen.metadata import Recipe, RecipeAdapter
from sdgen.samplers import SAMPLER_TITLES
from sdgen.ui import TEMPLATES
from sdgen.ui.enhancing import helper_words
from sdgen.ui.forming import Forming, in_groups

LEFT_OUT = "The prompt was left out of this file."


@dataclass(frozen=True)
class _Group:
    """Jobs that are shown side by side."""

    jobs: Sequence[Forming]

    @property
    def words(self) -> str:
        return short(" · ".join(dict.fromkeys(job.prompt for job in self.jobs)))

    @property
    def running(self) -> str:
        """The ids of those that can be stopped."""
        return " ".join(job.job_id for job in self.jobs if not job.ended)


def empty_stage() -> str:
    """The stage before the first picture."""
    return render(TEMPLATES, "pictures.html", "empty_stage")


def stage(shown: Sequence[Forming], *, withhold: bool = False) -> str:
    """Jobs one below the other, those of a group side by side; what a page shows of them.

    withhold: pictures to which the model's safety checker objects stay back.
    """
    if not shown:
        return empty_stage()
    groups = [_Group(jobs) for jobs in in_groups(shown)]
    return render(TEMPLATES, "pictures.html", "stage", groups=groups, withhold=withhold)


def earlier(rows: Sequence[PictureRow], *, withhold: bool = False) -> str:
    """The owner's newest pictures, newest first."""
    if not rows:
        return ""
    return render(TEMPLATES, "pictures.html", "earlier", rows=rows, withhold=withhold)


def opened(
    row: PictureRow,
    recipe: Recipe,
    older: str,
    newer: str,
    said: str = "",
    withheld: bool = False,
) -> str:
    """One picture with its recipe in a dialog. older, newer: ids of its neighbours, or "".

    said: what verifying it came to, "" before. withheld: the picture itself is not shown.

    Its buttons are open (of the neighbours), star, close, reuse, again, grid, verify, copy-link,
    and discard or, of a picture in the bin, restore.
    """
    return render(
        TEMPLATES,
        "pictures.html",
        "opened",
        row=row,
        prompt=recipe.prompt or row.prompt or LEFT_OUT,
        rows=recipe_rows(recipe),
        older=older,
        newer=newer,
        said=said,
        withheld=withheld,
    )


def recipe_rows(recipe: Recipe) -> list[tuple[str, str]]:
    """A recipe as labels and values; what is not known has no row."""
    sampler = recipe.sampler or ""
    titles: dict[str, str] = dict(SAMPLER_TITLES.items())
    shown: list[tuple[str, object]] = [
        ("Your words", recipe.original_prompt),
        ("Enhanced by", helper_words(recipe.enhanced_by, recipe.enhancer_model)),
        ("Negative prompt", recipe.negative_prompt),
        ("Seed", recipe.seed),
        ("Steps", recipe.steps),
        ("Guidance", recipe.guidance_scale),
        ("Sampler", titles.get(sampler, sampler)),
        ("Size", f"{recipe.width} × {recipe.height}" if recipe.width and recipe.height else ""),
        ("Grid", grid_words(recipe.grid)),
        ("Adapters", ", ".join(adapter_words(adapter) for adapter in recipe.adapters)),
        ("Model", recipe.model),
        ("Model hash", recipe.model_hash[:10]),
        ("Device", f"{recipe.device} · {recipe.dtype}" if recipe.device else ""),
        ("Repeats", "bit for bit (exact)" if recipe.exact else ""),
        ("Notes", " ".join(recipe.notes)),
        ("Made", recipe.created.replace("T", " ").replace("+00:00", " UTC")),
    ]
    return [(label, str(value)) for label, value in shown if value not in ("", None)]


def adapter_words(adapter: RecipeAdapter) -> str:
    """One adapter of a recipe: "minnal-murali at 0.8"."""
    words = f"{adapter.name} at {adapter.scale:g}"
    if adapter.text_scale is not None and adapter.text_scale != adapter.scale:
        words += f" (text encoder {adapter.text_scale:g})"
    return words


def grid_words(grid_json: str) -> str:
    """The axes of a recipe's grid: "Steps 4, 8 × Guidance 3, 6"; "" where there is none."""
    grid = grid_from_json(grid_json) if grid_json else None
    if grid is None:
        return ""
    return " × ".join(_axis_words(axis) for axis in (grid.x, grid.y) if axis)


def _axis_words(axis: Axis) -> str:
    title = axis.target or AXIS_TITLES[axis.field]
    return f"{title} {', '.join(axis.values)}"
