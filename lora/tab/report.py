"""The report on the photos as HTML: who is used, who is not and why, the crops, the captions."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from lora.dataset import DatasetDamaged, Example, Photo, PhotoReport, draw_crop
from sdgen.html import render

TEMPLATES = Path(__file__).parent / "templates"
SIDE = 192  # pixels of a thumbnail


@dataclass(frozen=True)
class _Card:
    """A photo that is used, as the report shows it."""

    number: int
    name: str
    crop: str  # a data: URI
    caption: str
    findings: str
    is_warned: bool


def report_html(report: PhotoReport) -> str:
    """All that was found, photo by photo; each used one with its crop and a box for its caption."""
    return render(
        TEMPLATES,
        "report.html",
        "report",
        findings=report.findings,
        left_out=[(photo.name, photo.reason) for photo in report.left_out],
        ignored=report.ignored,
        summary=report.summary,
        photos=[
            _card(number, photo, photo.example)
            for number, photo in enumerate(report.used)
            if photo.example is not None
        ],
    )


def _card(number: int, photo: Photo, example: Example) -> _Card:
    return _Card(
        number,
        photo.name,
        crop_thumbnail(example),
        example.caption,
        "; ".join(str(finding) for finding in photo.findings),
        any(finding.level == "warning" for finding in photo.findings),
    )


def crop_thumbnail(example: Example) -> str:
    """The photo in small with its crop, as a data URI; "" where it is not there any more."""
    try:
        drawn = draw_crop(example, SIDE)
    except (DatasetDamaged, OSError):
        return ""
    buffer = io.BytesIO()
    drawn.save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
