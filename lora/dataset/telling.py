"""A report in lines for the terminal, and as JSON for programs."""

import json
import sys
from collections.abc import Iterator

from lora.dataset.report import MEANINGS, Kind, Level, Photo, PhotoReport
from sdgen.terminal import plain

_NAMED = 8  # photos named for one finding; the rest is a number
_HEADS: tuple[tuple[Level, str], ...] = (("warning", "Look at"), ("note", "Done for you"))


def print_report(report: PhotoReport) -> None:
    """Write the report to stdout."""
    sys.stdout.write(f"{plain(report_text(report))}\n")
    sys.stdout.flush()


def report_text(report: PhotoReport) -> str:
    """The report in lines: the sum, what was left out and why, what to look at, what was done."""
    return "\n".join(_lines(report))


def report_json(report: PhotoReport) -> str:
    """The report as a JSON object, with every photo by name."""
    content = {
        "summary": report.summary,
        "in": len(report.photos),
        "used": len(report.used),
        "left_out": [{"name": photo.name, "why": photo.reason} for photo in report.left_out],
        "trigger": report.trigger,
        "class_word": report.class_word,
        "resolution": report.resolution,
        "findings": list(report.findings),
        "similar": [list(names) for names in report.similar],
        "ignored": [{"name": name, "why": why} for name, why in report.ignored],
        "photos": [_as_json(photo) for photo in report.used],
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def _lines(report: PhotoReport) -> Iterator[str]:
    yield report.summary
    if report.left_out:
        yield "\nLeft out:"
        yield from (f"  {photo.name}: {photo.reason}" for photo in report.left_out)
    for level, head in _HEADS:
        kinds = [kind for kind, (of, _) in MEANINGS.items() if of == level]
        told = [_finding(report, kind) for kind in kinds if report.with_finding(kind)]
        if told:
            yield f"\n{head}:"
            yield from told
    if report.findings:
        yield "\nAll together:"
        yield from (f"  {sentence}" for sentence in report.findings)
    if report.ignored:
        yield "\nNot looked at:"
        yield from (f"  {name}: {why}" for name, why in report.ignored[:_NAMED])
        more = len(report.ignored) - _NAMED
        if more > 0:
            yield f"  and {more} more"


def _finding(report: PhotoReport, kind: Kind) -> str:
    """One finding with the photos it is about, by name."""
    photos = report.with_finding(kind)
    named = [_named(photo, kind) for photo in photos[:_NAMED]]
    more = f" and {len(photos) - _NAMED} more" if len(photos) > _NAMED else ""
    return f"  {len(photos)} {MEANINGS[kind][1]}.\n    {', '.join(named)}{more}"


def _named(photo: Photo, kind: Kind) -> str:
    detail = next(found.detail for found in photo.findings if found.kind == kind)
    return f"{photo.name} ({detail})" if detail else photo.name


def _as_json(photo: Photo) -> dict[str, object]:
    assert photo.example is not None
    return {
        "name": photo.name,
        "sha256": photo.example.id,
        "caption": photo.example.caption,
        "unread": photo.unread,
        "size": photo.size,
        "bucket": photo.example.bucket,
        "crop": [round(edge, 3) for edge in photo.example.crop],
        "cut": round(photo.cut, 4),
        "enlarged": round(photo.enlarged, 3),
        "blur": round(photo.blur, 3),
        "findings": [
            {"kind": found.kind, "level": found.level, "text": str(found)}
            for found in photo.findings
        ],
    }
