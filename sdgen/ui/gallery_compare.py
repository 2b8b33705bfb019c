"""Two pictures over each other, with a handle that shows more of the one or the other."""

from dataclasses import dataclass

from sdgen.history import PictureRow
from sdgen.html import render
from sdgen.metadata import Recipe
from sdgen.ui import TEMPLATES
from sdgen.ui.gallery_tiles import alt_text
from sdgen.ui.tiles import recipe_rows

START = 50  # percent of the left picture
SAME_ALL_THE_TIME = ("Made",)  # differs always and says nothing of the picture


@dataclass(frozen=True)
class _Side:
    row: PictureRow
    label: str
    alt: str


def compared(rows: tuple[PictureRow, PictureRow], recipes: tuple[Recipe, Recipe]) -> str:
    """A dialog with both pictures in one frame, and what differs between their recipes."""
    left, right = rows
    wide = max((row.width or 1) / (row.height or 1) for row in rows)  # 0: not known
    return render(
        TEMPLATES,
        "gallery.html",
        "compared",
        left=_Side(left, _label(left, right), alt_text(left)),
        right=_Side(right, _label(right, left), alt_text(right)),
        start=START,
        ratio=f"{wide:.4f}",
        differences=differences(recipes),
    )


def differences(recipes: tuple[Recipe, Recipe]) -> list[tuple[str, str, str]]:
    """What is not the same in two recipes: label, left and right value; "" where one has none."""
    left, right = (dict(recipe_rows(recipe)) for recipe in recipes)
    if recipes[0].prompt != recipes[1].prompt:
        left, right = (
            {"Prompt": recipe.prompt, **known}
            for recipe, known in zip(recipes, (left, right), strict=True)
        )
    labels = dict.fromkeys((*left, *right))
    return [
        (label, left.get(label, ""), right.get(label, ""))
        for label in labels
        if label not in SAME_ALL_THE_TIME and left.get(label) != right.get(label)
    ]


def _label(row: PictureRow, other: PictureRow) -> str:
    """What tells a picture from the other in few words: its seed, and its size if that differs."""
    if (row.width, row.height) == (other.width, other.height):
        return f"seed {row.seed}"
    return f"seed {row.seed} · {row.width} × {row.height}"
