"""The report on the photos as HTML: who is used, who is not and why, the crops, the captions."""

import base64
import io

from lora.dataset import DatasetDamaged, Example, Photo, PhotoReport, draw_crop
from sdgen.ui.messages import escape

SIDE = 192  # pixels of a thumbnail


def report_html(report: PhotoReport) -> str:
    """All that was found, photo by photo; each used one with its crop and a box for its caption."""
    said = "".join(f"<li>{escape(text)}</li>" for text in report.findings)
    for photo in report.left_out:
        said += f"<li><b>{escape(photo.name)}</b> is left out: {escape(photo.reason)}</li>"
    for name, reason in report.ignored:
        said += f"<li><b>{escape(name)}</b>: {escape(reason)}</li>"
    cards = "".join(_card(number, photo) for number, photo in enumerate(report.used))
    return (
        '<section class="sd-report" aria-label="Report on the photos">'
        f'<p role="status"><b>{escape(report.summary)}</b></p>'
        f"{f'<ul>{said}</ul>' if said else ''}"
        '<p class="sd-lead">Dark is what cropping cuts away. Say in each caption what is special '
        "in that photo: place, light, pose, clothes.</p>"
        f'<ul class="sd-photos">{cards}</ul></section>'
    )


def _card(number: int, photo: Photo) -> str:
    example = photo.example
    if example is None:
        return ""
    name = escape(photo.name)
    levels = {finding.level for finding in photo.findings}
    found = "; ".join(str(finding) for finding in photo.findings)
    kind = "sd-found sd-warned" if "warning" in levels else "sd-found"
    remark = f'<span class="{kind}">{escape(found)}</span>' if found else ""
    return (
        f'<li class="sd-photo"><img src="{crop_thumbnail(example)}" alt="{name}, as it is cropped">'
        f'<div><label for="sd-caption-{number}" title="{name}">{name}</label>'
        f'<textarea id="sd-caption-{number}" rows="2" maxlength="2000" data-caption="{name}">'
        f"{escape(example.caption)}</textarea>{remark}</div></li>"
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
