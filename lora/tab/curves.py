"""The losses of a run as a drawing that a screen reader can read too."""

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from sdgen.html import render

TEMPLATES = Path(__file__).parent / "templates"

WIDTH, HEIGHT = 640, 200  # units of the drawing
LEFT, BOTTOM, TOP, RIGHT = 46, 24, 10, 8  # margins
_FRAME = {
    "width": WIDTH,
    "height": HEIGHT,
    "left": LEFT,
    "right": RIGHT,
    "top": TOP,
    "bottom": BOTTOM,
}
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

    def line(points: list[tuple[float, float]]) -> str:
        return " ".join(place(*point) for point in points)

    rule = None
    if best is not None and best <= last:
        x = place(best, low).split(",")[0]
        rule = {"x": x, "text_x": f"{float(x) - 4:.1f}", "step": best}
    held_words = f", on held-out photos {_short(calm[-1][1])}" if calm else ""
    return render(
        TEMPLATES,
        "run.html",
        "curves",
        frame=_FRAME,
        words=f"Loss by step: {_short(noisy[-1][1])} at step {last}{held_words}",
        axes=_axes(low, high),
        last=f"{last:.0f}",
        rule=rule,
        noisy=line(noisy),
        calm=line([(float(step), value) for step, value in calm]),
        marks=[place(*point).split(",") for point in calm],
        table=_table(noisy, dict(calm)),
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


def _axes(low: float, high: float) -> list[tuple[float, str]]:
    """The three lines across: how far down, and which loss that is."""
    base = HEIGHT - BOTTOM
    return [
        (base - part * (base - TOP), _short(low + part * (high - low))) for part in (0.0, 0.5, 1.0)
    ]


def _table(
    loss: list[tuple[float, float]], held_out: Mapping[int, float]
) -> list[tuple[int, str, str]]:
    """The same in numbers: step, loss, held-out loss."""
    every = max(1, len(loss) // 10)
    chosen = {int(step): value for step, value in loss[every - 1 :: every]}
    return [
        (step, _cell(chosen.get(step)), _cell(held_out.get(step)))
        for step in sorted({*chosen, *held_out})
    ]


def _cell(value: float | None) -> str:
    return "" if value is None else _short(value)


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"
