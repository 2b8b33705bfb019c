"""What cropping takes away, drawn: the photo, dark where it is cut, with its name."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from lora.dataset.example import Example
from lora.dataset.pixels import photo
from lora.dataset.report import PhotoReport

_DARK = 0.3  # brightness of what is cut
_LINE = "#ffb000"
_LABEL = 18  # pixels, height of a name
_GAP = 8  # pixels between photos


def draw_crop(example: Example, side: int = 256) -> Image.Image:
    """The photo at most `side` pixels wide and high, with its crop box. Raises DatasetDamaged."""
    whole = photo(example)
    scale = min(side / whole.width, side / whole.height)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    small = whole.resize(size, Image.Resampling.LANCZOS)
    left, top, right, bottom = (round(edge * scale) for edge in example.crop)
    drawn = ImageEnhance.Brightness(small).enhance(_DARK)
    drawn.paste(small.crop((left, top, right, bottom)), (left, top))
    box = (left, top, max(left, right - 1), max(top, bottom - 1))
    ImageDraw.Draw(drawn).rectangle(box, outline=_LINE, width=2)
    return drawn


def draw_crops(report: PhotoReport, columns: int = 5, side: int = 200) -> Image.Image:
    """All used photos of a report on one sheet. Raises DatasetDamaged when one has changed."""
    examples: Sequence[Example] = [one.example for one in report.used if one.example is not None]
    columns = max(1, min(columns, len(examples)))
    rows = max(1, -(-len(examples) // columns))
    wide, high = side + _GAP, side + _LABEL + _GAP
    sheet = Image.new("RGB", (columns * wide + _GAP, rows * high + _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for place, example in enumerate(examples):
        drawn = draw_crop(example, side)
        left, top = _GAP + place % columns * wide, _GAP + place // columns * high
        at = (left + (side - drawn.width) // 2, top + (side - drawn.height) // 2)
        sheet.paste(drawn, at)
        percent = f"{1 - _kept(example):.0%} cut"
        pen.text((left, top + side + 3), f"{_short(example.name)}  {percent}", "black", font)
    return sheet


def _kept(example: Example) -> float:
    left, top, right, bottom = example.crop
    return min(1.0, (right - left) * (bottom - top) / (example.width * example.height))


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:9]}…{name[-8:]}"
