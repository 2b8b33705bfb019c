"""Two pictures over each other, with a handle that shows more of the one or the other."""

from collections.abc import Sequence

from sdgen.history import PictureRow
from sdgen.metadata import Recipe
from sdgen.ui.gallery_parts import ALT_CHARS, short
from sdgen.ui.messages import escape
from sdgen.ui.tiles import picture_url, recipe_rows

START = 50  # percent of the left picture
SAME_ALL_THE_TIME = ("Made",)  # differs always and says nothing of the picture


def compared(rows: tuple[PictureRow, PictureRow], recipes: tuple[Recipe, Recipe]) -> str:
    """A dialog with both pictures in one frame, and what differs between their recipes."""
    left, right = rows
    wide = max((row.width or 1) / (row.height or 1) for row in rows)  # 0: not known
    return (
        '<dialog class="sd-viewer sd-compare" aria-label="Two pictures compared">'
        '<div class="sd-viewer-bar"><h2>Compare</h2>'
        '<button type="button" class="sd-icon" data-action="close" aria-label="Close">✕</button>'
        '</div><div class="sd-compare-body">'
        f'<div class="sd-pair" style="--at:{START}%;--ratio:{wide:.4f}">'
        f"{_image(right, 'sd-right')}{_image(left, 'sd-left')}<i></i>"
        f'<span class="sd-tag sd-left-tag">{escape(_label(left, right))}</span>'
        f'<span class="sd-tag sd-right-tag">{escape(_label(right, left))}</span>'
        f'<input type="range" min="0" max="100" step="1" value="{START}" autofocus '
        f'aria-label="How much of the left picture is seen" aria-valuetext="{START} % of the left '
        f'picture"></div>{_table(differences(recipes))}</div></dialog>'
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


def _image(row: PictureRow, side: str) -> str:
    alt = escape(short(row.prompt, ALT_CHARS) or f"Picture with seed {row.seed}")
    veiled = " sd-blurred" if row.flagged else ""
    return f'<img class="{side}{veiled}" src="{picture_url(row.id)}" alt="{alt}">'


def _table(rows: Sequence[tuple[str, str, str]]) -> str:
    if not rows:
        return '<p class="sd-alike">Both were made with the same settings.</p>'
    cells = "".join(
        f"<tr><th scope=row>{escape(label)}</th><td>{escape(left) or '–'}</td>"
        f"<td>{escape(right) or '–'}</td></tr>"
        for label, left, right in rows
    )
    return (
        '<table class="sd-differences"><caption>What differs</caption><thead><tr>'
        '<th scope=col><span class="sd-unseen">Setting</span></th><th scope=col>Left</th>'
        f"<th scope=col>Right</th></tr></thead><tbody>{cells}</tbody></table>"
    )
