"""The page's pictures as HTML: the stage where they form, the gallery, and one picture opened.

Buttons carry `data-action` and `data-name`; page.js turns a click into an event of the component.
"""

from collections.abc import Sequence

from sdgen.metadata import Recipe, RecipeAdapter
from sdgen.samplers import SAMPLER_TITLES
from sdgen.ui.enhancing import helper_words
from sdgen.ui.forming import Forming, Picture
from sdgen.ui.messages import escape

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


def stage(forming: Forming) -> str:
    """The pictures of one job: previews while they form, then the pictures themselves."""
    tiles = "".join(
        _tile(picture, large=True) if picture else _preview(forming, index)
        for index, picture in enumerate(forming.saved)
        if picture or not forming.ended
    )
    busy = "false" if forming.ended else "true"
    count = sum(1 for picture in forming.saved if picture or not forming.ended)
    ratio = f"{forming.request.width}/{forming.request.height}"
    return (
        f'<section class="sd-stage" aria-label="Pictures of this request" aria-busy="{busy}">'
        f"{_progress(forming)}"
        f'<ul class="sd-tiles sd-large" data-count="{min(count, 4)}" style="--ratio:{ratio}">'
        f"{tiles}</ul></section>"
    )


def strip(labelled: Sequence[tuple[str, Forming]]) -> str:
    """Several jobs of the same seed side by side, each with its label."""
    columns = "".join(
        f"<div><h2>{escape(label)}</h2>{stage(forming)}</div>" for label, forming in labelled
    )
    return f'<div class="sd-strip" style="--columns:{len(labelled)}">{columns}</div>'


def gallery(pictures: tuple[Picture, ...]) -> str:
    """Earlier pictures of this browser, newest first."""
    if not pictures:
        return ""
    tiles = "".join(_tile(picture) for picture in pictures)
    return (
        '<section class="sd-gallery" aria-labelledby="sd-earlier">'
        f'<h2 id="sd-earlier">Earlier</h2><ul class="sd-tiles">{tiles}</ul></section>'
    )


def opened(picture: Picture, recipe: Recipe, older: str, newer: str, said: str = "") -> str:
    """One picture with its recipe in a dialog. older, newer: names of its neighbours, or "".

    said: what verifying it came to, "" before.
    """
    rows = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>"
        for label, value in recipe_rows(recipe)
    )
    name = escape(picture.name)
    file_name = escape(picture.name.rpartition("/")[2])
    if picture.url:
        image = f'<img src="{escape(picture.url)}" alt="{escape(picture.prompt)}">'
        download = (
            f'<a class="sd-button" href="{escape(picture.url)}" download="{file_name}">'
            "Download PNG</a>"
        )
    else:
        image, download = f'<p class="sd-withheld">{escape(picture.flagged)}</p>', ""
    return (
        f'<dialog class="sd-viewer" aria-label="Picture with seed {picture.seed}">'
        '<div class="sd-viewer-bar">'
        f"{_step('newer', newer, 'Newer picture', '‹')}"
        f"{_step('older', older, 'Older picture', '›')}"
        '<button type="button" class="sd-icon" data-action="close" aria-label="Close">✕</button>'
        f'</div><div class="sd-viewer-body"><div class="sd-viewer-image">{image}</div>'
        f'<div class="sd-recipe"><p class="sd-prompt">{escape(recipe.prompt)}</p><dl>{rows}</dl>'
        f'<p class="sd-said" role="status">{escape(said)}</p>'
        '<div class="sd-actions">'
        f'<button type="button" class="sd-button sd-primary" data-action="reuse" '
        f'data-name="{name}">Use these settings</button>'
        f'<button type="button" class="sd-button" data-action="again" data-name="{name}">'
        "Same again, new seed</button>"
        f'<button type="button" class="sd-button" data-action="verify" data-name="{name}">'
        f"Verify</button>{download}</div></div></div></dialog>"
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
    uri = forming.previews[index] if index < len(forming.previews) else ""
    prompt = escape(forming.request.prompt)
    image = f'<img src="{uri}" alt="Forming: {prompt}">' if uri else ""
    seed = forming.request.seed + index
    return (
        f'<li class="sd-tile sd-forming"><div class="sd-frame">{image}</div>'
        f'<span class="sd-seed">seed {seed}</span></li>'
    )


def _tile(picture: Picture, *, large: bool = False) -> str:
    name, prompt, reason = escape(picture.name), escape(picture.prompt), escape(picture.flagged)
    seed = f'<span class="sd-seed">seed {picture.seed}</span>'
    if not picture.url:
        withheld = f'<div class="sd-frame sd-withheld"><p>{reason}</p></div>'
        return f'<li class="sd-tile">{withheld}{seed}</li>'
    lazy = "" if large else ' loading="lazy"'
    image = f'<img src="{escape(picture.url)}" alt="{prompt}"{lazy}>'
    button = (
        f'<button type="button" class="sd-frame" data-action="open" data-name="{name}" '
        f'style="aspect-ratio:{picture.width}/{picture.height}">{image}</button>'
    )
    if not picture.flagged:
        return f'<li class="sd-tile">{button}{seed}</li>'
    return (
        f'<li class="sd-tile sd-flagged">{button}<div class="sd-veil"><p>{reason}</p>'
        '<button type="button" class="sd-button" data-action="reveal">Show</button></div>'
        f"{seed}</li>"
    )


def _step(action: str, name: str, label: str, sign: str) -> str:
    off = "" if name else " disabled"
    return (
        f'<button type="button" class="sd-icon sd-{action}" data-action="open" '
        f'data-name="{escape(name)}" aria-label="{label}"{off}>{sign}</button>'
    )
