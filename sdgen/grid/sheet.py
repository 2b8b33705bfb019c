"""The picture of a whole grid: title, labels, and the cells pixel by pixel."""

import contextlib
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from sdgen.grid.axes import Grid, labels
from sdgen.request import GenerateRequest
from sdgen.samplers import SAMPLER_TITLES

SHEET_PIXELS_MAX = 24_000_000  # pixels; what a recipe is read out of again may have as many
CELL_MIN = 32  # pixels; cells are not made smaller
WIDTH_MIN = 480  # pixels of a sheet, so that a title over one small picture has room
BACKGROUND, INK, GREY, EMPTY = "#f8f7f4", "#1c1b19", "#66635d", "#e4e1da"
FONTS = (  # by name, wherever the system keeps them; the first that has all characters is taken
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial.ttf",
    "arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "PingFang.ttc",
    "msyh.ttc",
    "Arial Unicode.ttf",
)
_JOINERS = "\u200c\u200d"  # invisible, but letters of some scripts change their shape beside them
_UNSEEN = ("Cc", "Cf", "Cs", "Co")  # categories of Unicode
_NOWHERE = "\U0010ffff"  # a character of no font: what is drawn instead of a missing one

Font = ImageFont.FreeTypeFont
Cells = Sequence[Sequence[Image.Image | None]]


@dataclass(frozen=True)
class Line:
    """One line of text: its place on the sheet (the upper left corner), and its font."""

    text: str
    left: int
    top: int
    font: Font
    colour: str = INK


@dataclass(frozen=True)
class Layout:
    """Where everything stands. columns, rows: the left and upper edges of the cells."""

    width: int
    height: int
    cell: tuple[int, int]  # width and height, pixels
    columns: tuple[int, ...]
    rows: tuple[int, ...]
    lines: tuple[Line, ...]


def sheet(images: Cells, grid: Grid, request: GenerateRequest) -> Image.Image:
    """All cells of a grid on one labelled sheet, with at most 24 megapixels.

    images: rows of cells as `cells` has them, all of one size; None leaves an empty field. Cells
    keep their pixels unless the sheet would be too large; text is never cut off. Where the prompt
    is left out of the file, its words are not on the sheet either.
    """
    sizes = {image.size for row in images for image in row if image is not None}
    if len(images) != grid.rows or any(len(row) != grid.columns for row in images):
        raise ValueError("the pictures are not the rows and columns of the grid")
    if len(sizes) != 1:
        raise ValueError("the pictures of a sheet have one size")
    layout = _fitting(sizes.pop(), grid, request)
    made = Image.new("RGB", (layout.width, layout.height), BACKGROUND)
    draw = ImageDraw.Draw(made)
    for top, row in zip(layout.rows, images, strict=True):
        for left, image in zip(layout.columns, row, strict=True):
            made.paste(_scaled(image, layout.cell), (left, top))
    for line in layout.lines:
        draw.text((line.left, line.top), line.text, fill=line.colour, font=line.font)
    if made.width * made.height > SHEET_PIXELS_MAX:  # of text alone, very much of it
        share = math.sqrt(SHEET_PIXELS_MAX / (made.width * made.height))
        size = int(made.width * share), int(made.height * share)
        made = made.resize(size, Image.Resampling.LANCZOS)
    return made


def _scaled(image: Image.Image | None, size: tuple[int, int]) -> Image.Image:
    if image is None:
        return Image.new("RGB", size, EMPTY)
    picture = image.convert("RGB")
    return picture if image.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _fitting(cell: tuple[int, int], grid: Grid, request: GenerateRequest) -> Layout:
    """The layout with cells of that size, or of the size at which the sheet is small enough."""
    layout = _layout(cell, grid, request)
    while layout.width * layout.height > SHEET_PIXELS_MAX and min(cell) > CELL_MIN:
        share = 0.99 * math.sqrt(SHEET_PIXELS_MAX / (layout.width * layout.height))
        cell = int(cell[0] * share), int(cell[1] * share)
        layout = _layout(cell, grid, request)
    return layout


def _layout(cell: tuple[int, int], grid: Grid, request: GenerateRequest) -> Layout:
    title, note = _title(request), _note(grid, request)
    x_labels = _clean_all(labels(grid.x, request.leave_out_prompt))
    y_labels = _clean_all(labels(grid.y, request.leave_out_prompt)) if grid.y else ()
    points = min(max(round(cell[0] / 14), 13), 64)
    font = _font(points, "".join((title, note, *x_labels, *y_labels)))
    title_font, note_font = (font.font_variant(size=round(points * k)) for k in (1.25, 0.9))
    gutter, margin = min(max(cell[0] // 64, 4), 16), round(points * 1.5)
    word_max = 12 * points  # pixels; longer words are broken

    column = max(cell[0], _widest_word(x_labels, font, word_max))
    heads = [wrapped(label, font, column) for label in x_labels]
    side_max = max(_widest_word(y_labels, font, word_max), word_max)
    side = max((min(_length(label, font), side_max) for label in y_labels), default=0)
    sides = [wrapped(label, font, side) for label in y_labels]
    line_height = _line_height(font)
    row = max([cell[1], *(len(lines) * line_height for lines in sides)])

    left = margin + (side + 2 * gutter if y_labels else 0)
    width = left + len(x_labels) * (column + gutter) - gutter + margin
    width = max(width, WIDTH_MIN)
    lines: list[Line] = []
    top = margin
    for text, of, colour in ((title, title_font, INK), (note, note_font, GREY)):
        for part in wrapped(text, of, width - 2 * margin):
            lines.append(Line(part, margin, top, of, colour))
            top += _line_height(of)
    top += margin // 2 + max(map(len, heads)) * line_height
    lefts = [left + place * (column + gutter) for place in range(len(x_labels))]
    for start, head in zip(lefts, heads, strict=True):
        for up, part in enumerate(reversed(head), 1):
            inset = (column - _length(part, font)) // 2
            lines.append(Line(part, start + inset, top - up * line_height, font))
    top += gutter
    tops = [top + place * (row + gutter) for place in range(max(len(y_labels), 1))]
    for start, parts in zip(tops, sides, strict=False):
        inset = (row - len(parts) * line_height) // 2
        for down, part in enumerate(parts):
            lines.append(Line(part, margin, start + inset + down * line_height, font))
    return Layout(
        width=width,
        height=tops[-1] + row + margin,
        cell=cell,
        columns=tuple(start + (column - cell[0]) // 2 for start in lefts),
        rows=tuple(start + (row - cell[1]) // 2 for start in tops),
        lines=tuple(lines),
    )


def _title(request: GenerateRequest) -> str:
    return "The prompt was left out." if request.leave_out_prompt else _clean(request.prompt)


def _note(grid: Grid, request: GenerateRequest) -> str:
    """The settings that all cells share."""
    changing = {axis.field for axis in (grid.x, grid.y) if axis}
    said = {
        "model": request.model,
        "steps": f"{request.steps} steps",
        "guidance_scale": f"guidance {request.guidance_scale:g}",
        "sampler": SAMPLER_TITLES[request.sampler],
        "seed": f"seed {request.seed}",
    }
    return _clean(" · ".join(text for field, text in said.items() if field not in changing))


def _clean(text: str) -> str:
    """One line of what can be drawn: no control characters, none that turn the direction."""
    shown = (
        " " if unicodedata.category(char) in _UNSEEN and char not in _JOINERS else char
        for char in text
    )
    return " ".join("".join(shown).split())


def _clean_all(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(_clean, texts))


def wrapped(text: str, font: Font, width: int) -> list[str]:
    """The text in lines of at most `width` pixels; a word that is wider is broken."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if _length(longer, font) <= width:
            line = longer
            continue
        lines += [line] if line else []
        *full, line = _broken(word, font, width)
        lines += full
    return [*lines, line] if line else lines


def _broken(word: str, font: Font, width: int) -> list[str]:
    """A word in parts of at most `width` pixels, though at least one character long."""
    parts: list[str] = []
    part = ""
    for char in word:
        joined = unicodedata.combining(char) or char in _JOINERS
        if part and not joined and _length(part + char, font) > width:
            parts.append(part)
            part = ""
        part += char
    return [*parts, part]


def _widest_word(texts: Sequence[str], font: Font, at_most: int) -> int:
    words = {word for text in texts for word in text.split()}
    return min(max((_length(word, font) for word in words), default=0), at_most)


def _length(text: str, font: Font) -> int:
    """Pixels from the start of a text to the end of its ink, or to where the next would start."""
    return math.ceil(max(font.getlength(text), font.getbbox(text)[2])) if text else 0


def _line_height(font: Font) -> int:
    return math.ceil(sum(font.getmetrics()) * 1.1)


def _font(points: int, text: str) -> Font:
    """The first font that has every character of a text, else the one that lacks the fewest."""
    chars = set(text) - set(" " + _JOINERS)
    fewest: tuple[int, Font] | None = None
    for font in _fonts(points):
        lacking = _lacking(font, chars)
        if fewest is None or lacking < fewest[0]:
            fewest = lacking, font
        if lacking == 0:
            break
    assert fewest is not None  # Pillow's own font is always there
    return fewest[1]


def _fonts(points: int) -> Iterator[Font]:
    for name in FONTS:
        with contextlib.suppress(OSError):
            yield ImageFont.truetype(name, points)
    default = ImageFont.load_default(points)
    if isinstance(default, Font):
        yield default


def _lacking(font: Font, chars: set[str]) -> int:
    """How many of the characters a font has no picture of."""
    nowhere = _look(font, _NOWHERE)
    return sum(_look(font, char) == nowhere for char in chars)


def _look(font: Font, char: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(char)
    return mask.size, bytes(mask)
