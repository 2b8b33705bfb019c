"""The losses of a run as a drawing that a screen reader can read too."""

import math
from collections.abc import Mapping
from statistics import fmean

from sdgen.ui.messages import escape

WIDTH, HEIGHT = 640, 200  # units of the drawing
LEFT, BOTTOM, TOP, RIGHT = 46, 24, 10, 8  # margins
POINTS = 120  # of the loss: what a screen can show


def curves(loss: Mapping[int, float], held_out: Mapping[int, float], best: int | None) -> str:
    """Loss (each point a mean of neighbouring steps) and held-out loss by step; "" without any.

    best: the step that was picked, marked by a line.
    """
    noisy, calm = _means(loss), sorted(held_out.items())
    if not noisy:
        return ""
    shown = noisy + calm
    last = max(step for step, _ in shown)
    low, high = _bounds([value for _, value in shown])

    def place(step: float, value: float) -> str:
        across = LEFT + (WIDTH - LEFT - RIGHT) * step / max(last, 1)
        up = (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)
        return f"{across:.1f},{HEIGHT - BOTTOM - up:.1f}"

    def line(points: list[tuple[float, float]], kind: str) -> str:
        where = " ".join(place(*point) for point in points)
        return f'<polyline class="{kind}" points="{where}"/>' if points else ""

    marks = "".join(
        f'<circle class="held" cx="{x}" cy="{y}" r="3"/>'
        for x, y in (place(*point).split(",") for point in calm)
    )
    rule = ""
    if best is not None and best <= last:
        x = place(best, low).split(",")[0]
        rule = (
            f'<line class="best" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text class="best" x="{float(x) - 4:.1f}" y="{TOP + 10}" text-anchor="end">'
            f"step {best}</text>"
        )
    held_words = f", on held-out photos {_short(calm[-1][1])}" if calm else ""
    words = f"Loss by step: {_short(noisy[-1][1])} at step {last}{held_words}"
    legend = '<span class="sd-key loss">loss</span>'
    if calm:
        legend += '<span class="sd-key held">loss on held-out photos, at fixed noise</span>'
    return (
        f'<figure class="sd-curves"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(words)}">{_axes(last, low, high)}{rule}{line(noisy, "loss")}'
        f"{line([(float(s), v) for s, v in calm], 'held')}{marks}</svg>"
        f"<figcaption>{legend}</figcaption>{_table(noisy, dict(calm))}</figure>"
    )


def _means(values: Mapping[int, float]) -> list[tuple[float, float]]:
    """At most POINTS points: means of neighbours, as single steps' losses are mostly noise."""
    points = sorted(values.items())
    size = max(1, math.ceil(len(points) / POINTS))
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [(float(group[-1][0]), fmean(value for _, value in group)) for group in groups]


def _bounds(values: list[float]) -> tuple[float, float]:
    """From what to what the drawing goes; one wild step must not flatten all others."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[min(len(ordered) - 1, int(0.98 * len(ordered)))]
    space = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return max(0.0, low - space) if low >= 0 else low - space, high + space


def _axes(last: float, low: float, high: float) -> str:
    base = HEIGHT - BOTTOM
    lines = ""
    for part in (0.0, 0.5, 1.0):
        y = base - part * (base - TOP)
        value = low + part * (high - low)
        lines += (
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    return lines + (
        f'<text x="{LEFT}" y="{HEIGHT - 6}">0</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">step {last:.0f}</text>'
    )


def _table(loss: list[tuple[float, float]], held_out: Mapping[int, float]) -> str:
    """The same in numbers, for who cannot see the drawing."""
    every = max(1, len(loss) // 10)
    chosen = {int(step): value for step, value in loss[every - 1 :: every]}
    rows = "".join(
        f"<tr><th scope=row>{step}</th><td>{_cell(chosen.get(step))}</td>"
        f"<td>{_cell(held_out.get(step))}</td></tr>"
        for step in sorted({*chosen, *held_out})
    )
    return (
        "<details><summary>In numbers</summary><table><thead><tr><th scope=col>step</th>"
        "<th scope=col>loss</th><th scope=col>held out</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


def _cell(value: float | None) -> str:
    return "" if value is None else _short(value)


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"
