"""The page's pictures as HTML: the stage where they form, earlier ones, and one picture opened.

Buttons carry `data-action` and `data-name`; actions.js turns a click into an event of the
component. Pictures are told by their id and fetched by routes that check whose they are.
"""

from collections.abc import Sequence

from sdgen.grid import AXIS_TITLES, Axis, grid_from_json
from sdgen.history import PictureRow
from sdgen.metadata import Recipe, RecipeAdapter
from sdgen.samplers import SAMPLER_TITLES
from sdgen.ui.enhancing import helper_words
from sdgen.ui.forming import Forming, in_groups
from sdgen.ui.gallery_parts import ALT_CHARS, short
from sdgen.ui.messages import escape

LEFT_OUT = "The prompt was left out of this file."

EMPTY_STAGE = """
<section class="sd-stage sd-empty" aria-label="Pictures">
  <svg viewBox="0 0 120 80" aria-hidden="true">
    <circle class="sun" cx="84" cy="34" r="13"/>
    <path class="hill far" d="M0 62 Q30 30 62 56 T120 50 V80 H0Z"/>
    <path class="hill near" d="M0 70 Q38 50 74 68 T120 64 V80 H0Z"/>
  </svg>
  <p>Describe a picture above and press <b>Generate</b>.</p>
</section>
"""


def picture_url(picture_id: str) -> str:
    """Where a browser gets the PNG, beside the page."""
    return f"sdgen/picture/{picture_id}"


def thumbnail_url(picture_id: str) -> str:
    """Where a browser gets it small."""
    return f"sdgen/thumb/{picture_id}"


def stage(shown: Sequence[Forming], *, withhold: bool = False) -> str:
    """Jobs one below the other, those of a group side by side; what a page shows of them.

    withhold: pictures to which the model's safety checker objects stay back.
    """
    if not shown:
        return EMPTY_STAGE
    groups = in_groups(shown)
    parts = [
        f'<div class="sd-group" data-key="{escape(group[0].job_id)}">'
        f"{_head(group) if len(groups) > 1 else ''}{_group(group, withhold)}</div>"
        for group in groups
    ]
    return f'<div class="sd-running">{"".join(parts)}</div>'


def earlier(rows: Sequence[PictureRow], *, withhold: bool = False) -> str:
    """The owner's newest pictures, newest first."""
    if not rows:
        return ""
    tiles = "".join(tile(row, withhold=withhold) for row in rows)
    return (
        '<section class="sd-gallery" aria-labelledby="sd-earlier">'
        f'<h2 id="sd-earlier">Earlier</h2><ul class="sd-tiles">{tiles}</ul></section>'
    )


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
    rows = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>"
        for label, value in recipe_rows(recipe)
    )
    name, url = escape(row.id), picture_url(row.id)
    if withheld:
        image, download = f'<p class="sd-withheld">{escape(row.flagged)}</p>', ""
    else:
        image = f'<img src="{url}" alt="{escape(short(row.prompt, ALT_CHARS))}">'
        download = (
            f'<a class="sd-button" href="{url}?download=1" download="{name}.png">Download PNG</a>'
        )
    starred = str(row.favourite).lower()
    other = str(not row.favourite).lower()
    bin_deed = ("discard", "Delete") if row.deleted is None else ("restore", "Restore")
    prompt = recipe.prompt or row.prompt or LEFT_OUT
    return (
        f'<dialog class="sd-viewer" aria-label="Picture with seed {row.seed}" data-name="{name}">'
        '<div class="sd-viewer-bar">'
        f"{_step('newer', newer, 'Newer picture', '‹')}"
        f"{_step('older', older, 'Older picture', '›')}"
        f'<button type="button" class="sd-icon sd-favour" data-action="star" data-name="{name}" '
        f'data-ids="{name}" data-on="{other}" aria-label="Favourite" aria-pressed="{starred}">'
        "★</button>"
        '<button type="button" class="sd-icon" data-action="close" aria-label="Close">✕</button>'
        f'</div><div class="sd-viewer-body"><div class="sd-viewer-image">{image}</div>'
        f'<div class="sd-recipe"><p class="sd-prompt">{escape(prompt)}</p><dl>{rows}</dl>'
        f'<p class="sd-said" role="status">{escape(said)}</p>'
        '<div class="sd-actions">'
        f"{_deed('reuse', 'Use these settings', name, 'sd-primary')}"
        f"{_deed('again', 'Same again, new seed', name)}"
        f"{_deed('grid', 'Make a grid', name)}"
        f"{_deed('verify', 'Verify', name)}"
        f"{download}"
        f"{_deed('copy-link', 'Copy link', name)}"
        f"{_deed(*bin_deed, name)}"
        "</div></div></div></dialog>"
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


def tile(row: PictureRow, *, large: bool = False, withhold: bool = False, preview: str = "") -> str:
    """One picture as a list item: a button that opens it; veiled where it is flagged.

    preview: a data: URI that is seen until the picture itself has come.
    """
    name, reason = escape(row.id), escape(row.flagged)
    prompt = escape(short(row.prompt, ALT_CHARS))
    seed = f'<span class="sd-seed">{"grid" if row.kind == "sheet" else f"seed {row.seed}"}</span>'
    if row.flagged and withhold:
        withheld = f'<div class="sd-frame sd-withheld"><p>{reason}</p></div>'
        return f'<li class="sd-tile" data-key="{name}">{withheld}{seed}</li>'
    url, lazy = picture_url(row.id), ""
    behind = f";background:center/cover url({preview})" if preview else ""
    if not large:
        url, lazy = thumbnail_url(row.id), ' loading="lazy"'
    button = (
        f'<button type="button" class="sd-frame" data-action="open" data-name="{name}" '
        f'style="aspect-ratio:{row.width}/{row.height}{behind}">'
        f'<img src="{url}" alt="{prompt}"{lazy}></button>'
    )
    if not row.flagged:
        return f'<li class="sd-tile" data-key="{name}">{button}{seed}</li>'
    return (
        f'<li class="sd-tile sd-flagged" data-key="{name}">{button}<div class="sd-veil">'
        f'<p>{reason}</p><button type="button" class="sd-button" data-action="reveal">Show</button>'
        f"</div>{seed}</li>"
    )


def _group(group: Sequence[Forming], withhold: bool) -> str:
    if len(group) == 1:
        return _job(group[0], withhold)
    columns = "".join(
        f'<div data-key="{escape(job.job_id)}"><h2>{escape(job.label)}</h2>{_job(job, withhold)}'
        "</div>"
        for job in group
    )
    return f'<div class="sd-strip" style="--columns:{len(group)}">{columns}</div>'


def _head(group: Sequence[Forming]) -> str:
    """Which of several groups this is, and how to stop it alone."""
    first = group[0]
    words = short(" · ".join(dict.fromkeys(job.prompt for job in group)), ALT_CHARS)
    running = " ".join(job.job_id for job in group if not job.ended)
    stop = (
        f'<button type="button" class="sd-button sd-small" data-action="halt" '
        f'data-name="{escape(running)}" aria-label="Stop “{escape(first.prompt[:60])}”">Stop'
        "</button>"
    )
    return (
        f'<div class="sd-group-head"><h2 title="{escape(words)}">{escape(words)}</h2>'
        f"{stop if running else ''}</div>"
    )


def _job(forming: Forming, withhold: bool) -> str:
    """The pictures of one job: previews while they form, then the pictures themselves."""
    tiles = "".join(
        tile(picture, large=True, withhold=withhold, preview=forming.previews[index])
        if picture
        else _preview(forming, index)
        for index, picture in enumerate(forming.saved)
        if picture or not forming.ended
    )
    busy = "false" if forming.ended else "true"
    count = sum(1 for picture in forming.saved if picture or not forming.ended)
    sheet = " sd-sheet" if forming.is_grid else ""
    return (
        f'<section class="sd-stage" aria-label="Pictures of this request" aria-busy="{busy}">'
        f"{_progress(forming)}"
        f'<ul class="sd-tiles sd-large{sheet}" data-count="{min(count, 4)}" '
        f'style="--ratio:{forming.ratio}">{tiles}</ul></section>'
    )


def _progress(forming: Forming) -> str:
    if forming.ended:
        return f'<p class="sd-status"><span role="status">{escape(forming.words)}</span></p>'
    now = "" if forming.fraction is None else f' aria-valuenow="{round(100 * forming.fraction)}"'
    width = "" if forming.fraction is None else f' style="width:{100 * forming.fraction:.1f}%"'
    kind = "sd-bar sd-waiting" if forming.fraction is None else "sd-bar"
    return (
        f'<p class="sd-status"><span>{escape(forming.words)}</span></p>'
        f'<div class="{kind}" role="progressbar" aria-label="Progress" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuetext="{escape(forming.words)}"{now}><i{width}></i></div>'
    )


def _preview(forming: Forming, index: int) -> str:
    uri = forming.previews[index]
    prompt = escape(short(forming.prompt, ALT_CHARS))  # sent anew with every step
    image = f'<img src="{uri}" alt="Forming: {prompt}">' if uri else ""
    words = "grid" if forming.is_grid else f"seed {forming.seed + index}"
    return (
        f'<li class="sd-tile sd-forming" data-key="{index}"><div class="sd-frame">{image}</div>'
        f'<span class="sd-seed">{words}</span></li>'
    )


def _axis_words(axis: Axis) -> str:
    title = axis.target or AXIS_TITLES[axis.field]
    return f"{title} {', '.join(axis.values)}"


def _deed(action: str, words: str, name: str, kind: str = "") -> str:
    """A button of the opened picture; the name is escaped already."""
    return (
        f'<button type="button" class="sd-button {kind}" data-action="{action}" '
        f'data-name="{name}" data-ids="{name}">{words}</button>'
    )


def _step(action: str, name: str, label: str, sign: str) -> str:
    off = "" if name else " disabled"
    return (
        f'<button type="button" class="sd-icon sd-{action}" data-action="open" '
        f'data-name="{escape(name)}" aria-label="{label}"{off}>{sign}</button>'
    )
