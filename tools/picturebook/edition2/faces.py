"""Faces with moods, and what can be put on a head."""

from dataclasses import dataclass

from tools.picturebook.edition2.pen import Colour, Pen, darker, lighter

DARK: Colour = (44, 38, 54)
WHITE: Colour = (255, 255, 255)
GOLD: Colour = (255, 206, 52)
BLUSH: Colour = (246, 142, 150)
MOUTH: Colour = (170, 40, 60)
TEAR: Colour = (110, 190, 250)


@dataclass(frozen=True)
class Head:
    """Where a figure's head is, in its local units: centre and radius."""

    u: float
    v: float
    r: float


def draw_face(pen: Pen, head: Head, mood: str | None, ink: Colour = DARK) -> None:
    """Two eyes and a mouth. Without a mood: dots and a small smile."""
    u, v, r = head.u, head.v, head.r
    gap, high, low = 0.4 * r, v + 0.06 * r, v - 0.42 * r
    brow = 0.09 * r
    if mood == "surprised":
        for side in (-1, 1):
            pen.dot(u + side * gap, high + 0.04 * r, 0.27 * r, WHITE)
            pen.dot(u + side * gap, high + 0.04 * r, 0.13 * r, ink)
            pen.mark([(u + side * (gap - 0.14 * r), high + 0.46 * r),
                      (u + side * (gap + 0.14 * r), high + 0.46 * r)], brow, ink)  # fmt: skip
        pen.oval(u, low - 0.06 * r, 0.15 * r, 0.2 * r, MOUTH)
        return
    for side in (-1, 1):
        pen.oval(u + side * gap, high, 0.13 * r, 0.17 * r, ink)
        pen.dot(u + side * gap + 0.04 * r, high + 0.07 * r, 0.05 * r, WHITE)
    if mood == "happy":
        pen.pie(u, low + 0.16 * r, 0.34 * r, 0, 180, MOUTH)
        for side in (-1, 1):
            pen.oval(u + side * 0.68 * r, v - 0.28 * r, 0.16 * r, 0.1 * r, BLUSH)
    elif mood == "sad":
        pen.mark(
            [(u - 0.24 * r, low - 0.12 * r), (u, low + 0.04 * r), (u + 0.24 * r, low - 0.12 * r)],
            brow, ink)  # fmt: skip
        for side in (-1, 1):
            pen.mark([(u + side * 0.2 * r, high + 0.42 * r),
                      (u + side * 0.58 * r, high + 0.24 * r)], brow, ink)  # fmt: skip
        pen.oval(u + gap + 0.12 * r, high - 0.38 * r, 0.11 * r, 0.18 * r, TEAR)
    elif mood == "angry":
        pen.mark(
            [(u - 0.22 * r, low - 0.08 * r), (u, low + 0.02 * r), (u + 0.22 * r, low - 0.08 * r)],
            brow, ink)  # fmt: skip
        for side in (-1, 1):
            pen.mark([(u + side * 0.14 * r, high + 0.2 * r),
                      (u + side * 0.62 * r, high + 0.42 * r)], 0.13 * r, ink)  # fmt: skip
    else:
        pen.mark(
            [(u - 0.2 * r, low + 0.06 * r), (u, low - 0.04 * r), (u + 0.2 * r, low + 0.06 * r)],
            brow, ink)  # fmt: skip


def draw_hat(pen: Pen, head: Head) -> None:
    """A top hat with a red band."""
    u, top, r = head.u, head.v + 0.78 * head.r, head.r
    felt = (74, 60, 110)
    pen.rect(u - 0.58 * r, top, u + 0.58 * r, top + 0.92 * r, felt, 0.06 * r)
    pen.rect(u - 0.58 * r, top + 0.08 * r, u + 0.58 * r, top + 0.3 * r, (226, 62, 66))
    pen.rect(u - 1.0 * r, top - 0.1 * r, u + 1.0 * r, top + 0.1 * r, felt, 0.1 * r)


def draw_crown(pen: Pen, head: Head) -> None:
    u, low, r = head.u, head.v + 0.74 * head.r, head.r
    points = [(-0.62, 0.0), (-0.74, 0.72), (-0.34, 0.38), (0, 0.86), (0.34, 0.38), (0.74, 0.72)]
    pen.polygon([(u + a * r, low + b * r) for a, b in [*points, (0.62, 0.0)]], GOLD)
    for a, b, paint in ((-0.74, 0.74, (230, 60, 70)), (0, 0.88, (70, 130, 240)),
                        (0.74, 0.74, (230, 60, 70))):  # fmt: skip
        pen.dot(u + a * r, low + b * r, 0.11 * r, paint)
    pen.rect(u - 0.62 * r, low - 0.04 * r, u + 0.62 * r, low + 0.16 * r, darker(GOLD, 0.18))


def draw_scarf(pen: Pen, head: Head) -> None:
    """Red with white stripes, one end hanging down."""
    u, v, r = head.u, head.v - 0.98 * head.r, head.r
    wool = (224, 48, 54)
    pen.line([(u + 0.42 * r, v), (u + 0.56 * r, v - 0.95 * r)], 0.34 * r, wool)
    pen.rect(u - 0.78 * r, v - 0.2 * r, u + 0.78 * r, v + 0.2 * r, wool, 0.2 * r)
    for a in (-0.45, 0.05):
        pen.rect(u + (a - 0.08) * r, v - 0.2 * r, u + (a + 0.1) * r, v + 0.2 * r, WHITE)
    pen.mark([(u + 0.36 * r, v - 0.66 * r), (u + 0.68 * r, v - 0.62 * r)], 0.14 * r, WHITE)


def draw_glasses(pen: Pen, head: Head) -> None:
    """Round black frames around the eyes, which stay visible."""
    u, v, r = head.u, head.v + 0.06 * head.r, head.r
    for side in (-1, 1):
        ring = [
            (u + side * 0.42 * r + 0.34 * r * a, v + 0.34 * r * b)
            for a, b in ((1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0), (-0.7, -0.7), (0, -1),
                         (0.7, -0.7), (1, 0))
        ]  # fmt: skip
        pen.mark(ring, 0.12 * r, DARK)
        pen.mark([(u + side * 0.76 * r, v), (u + side * 0.98 * r, v + 0.06 * r)], 0.1 * r, DARK)
    pen.mark([(u - 0.08 * r, v + 0.04 * r), (u + 0.08 * r, v + 0.04 * r)], 0.1 * r, DARK)


def draw_umbrella(pen: Pen, head: Head) -> None:
    """Held on the right, open above the head."""
    u, v, r = head.u + 1.3 * head.r, head.v + 1.15 * head.r, head.r
    pen.line([(u, v - 2.9 * r), (u, v + 0.9 * r)], 0.12 * r, (120, 78, 48))
    red = (232, 62, 62)
    pen.pie(u, v, 1.5 * r, 180, 360, red)
    pen.pie(u, v, 1.5 * r, 225, 315, lighter(red, 0.75))
    pen.polygon([(u - 0.5 * r, v), (u, v + 1.5 * r), (u + 0.5 * r, v)], red)


ACCESSORIES = {
    "hat": draw_hat,
    "scarf": draw_scarf,
    "umbrella": draw_umbrella,
    "crown": draw_crown,
    "glasses": draw_glasses,
}
