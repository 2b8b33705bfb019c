"""A report in words for people, and in fields for programs."""

from collections.abc import Iterator

from sdgen.adapters.report import KIND_TITLES, AdapterReport, Kind, Layout, Verdict
from sdgen.adapters.verdict import FAMILY_TITLES

LAYOUT_TITLES: dict[Layout, str] = {
    "kohya": "kohya",
    "peft": "PEFT",
    "diffusers": "diffusers",
    "diffusers-old": "diffusers of 2023",
    "other": "not known",
}
_OWN = ("path", "parts", "settings", "hashes", "told_hash")
_KIND_TITLES: dict[Kind, str] = {**KIND_TITLES, "locon": "LoCon (LoRA with convolutions)"}


def family_title(report: AdapterReport) -> str:
    """What it was made for, for people."""
    return FAMILY_TITLES[report.family] or report.base or "another model"


def report_fields(report: AdapterReport, verdict: Verdict | None = None) -> dict[str, object]:
    """A report ready for JSON, but for its path and what sdgen alone needs of it."""
    fields: dict[str, object] = {
        name: getattr(report, name) for name in report.__dataclass_fields__ if name not in _OWN
    }
    fields["parts"] = dict(vars(report.parts))
    if verdict is not None:
        fields["verdict"] = {
            "level": verdict.level,
            "share": round(verdict.share, 4),
            "sentence": verdict.sentence,
            "left_out": [{"module": name, "why": why} for name, why in verdict.left_out],
        }
    return fields


def report_lines(report: AdapterReport, verdict: Verdict | None = None) -> Iterator[str]:
    """A report as lines "what: how it is", the verdict first."""
    if verdict is not None:
        yield verdict.sentence
    facts = {
        "title": report.title,
        "made for": ", ".join(dict.fromkeys(filter(None, (family_title(report), report.base)))),
        "layout": LAYOUT_TITLES[report.layout],
        "kind": _KIND_TITLES[report.kind],
        "rank": _numbers(report.ranks),
        "alpha": _alpha(report),
        "touches": touches(report),
        "triggers": ", ".join(report.triggers) or "none told",
        "licence": report.licence or "not told",
        "strength": f"{report.strength:g}",
        "size": f"{report.size_bytes / 1e6:.1f} MB",
        "source": report.source,
        "carries": ", ".join(report.extras) + " (not used)" if report.extras else "",
        "sha256": report.sha256,
    }
    for name, value in facts.items():
        if value:
            yield f"{name:<9} {value}"
    if verdict is not None and verdict.left_out:
        yield "will not apply:"
        for name, why in verdict.left_out:
            yield f"  {name}: {why}"


def touches(report: AdapterReport) -> str:
    """The parts of a model that it changes, as a phrase: "192 attention, 72 text encoder"."""
    counts = {name: count for name, count in vars(report.parts).items() if count}
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _alpha(report: AdapterReport) -> str:
    if not report.ranks:
        return ""
    if report.alpha_is_told:
        return _numbers(report.alphas)
    return f"{_numbers(report.alphas)} (the file does not tell all; those count as the rank)"


def _numbers(values: tuple[float, ...]) -> str:
    if len(values) > 6:
        return f"{values[0]:g} to {values[-1]:g}"
    return ", ".join(f"{value:g}" for value in values)
