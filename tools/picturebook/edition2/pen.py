"""A pen with its own coordinates, and the twelve colours of the book."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from tools.picturebook.pen import PAINT as FIRST_PAINT
from tools.picturebook.pen import Colour, Point, darker, lighter, mix

__all__ = ["Colour", "Pen", "Point", "darker", "lighter", "mix"]

SIZE = 512  # pixels of a finished picture, both ways
PAGE = 256  # page units of a picture, both ways: places are drawn in them
OVERSAMPLE = 2  # pictures are drawn this much larger, then reduced
GRID = 32  # picture pixels; figures and backgrounds move in steps of it, see world.py

INK: Colour = (38, 32, 48)  # the line around a figure
RIM: Colour = (255, 250, 236)  # the paper around that line: figures are cut out and stuck on
PAINT: dict[str, Colour] = {
    **FIRST_PAINT,
    "grey": (150, 152, 162),
    "turquoise": (38, 194, 190),
}
CURVE_STEPS = 6  # straight pieces between two points of a curve


def curve(points: Sequence[Point], closed: bool = True) -> list[Point]:
    """A smooth line through the points (Catmull-Rom spline)."""
    n = len(points)
    result: list[Point] = []
    for i in range(n if closed else n - 1):
        if closed:
            p0, p1, p2, p3 = (points[(i + k) % n] for k in (-1, 0, 1, 2))
        else:
            p0, p1, p2, p3 = (points[min(n - 1, max(0, i + k))] for k in (-1, 0, 1, 2))
        for step in range(CURVE_STEPS):
            t = step / CURVE_STEPS
            result.append((_spline(t, p0[0], p1[0], p2[0], p3[0]),
                           _spline(t, p0[1], p1[1], p2[1], p3[1])))  # fmt: skip
    return result if closed else [*result, points[-1]]


def _spline(t: float, a: float, b: float, c: float, d: float) -> float:
    return 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )


class Pen:
    """Draws in local coordinates: origin at (x, y) in picture pixels, v upwards, unit `scale`.

    With `grow` > 0 (picture pixels) every shape is drawn larger by that much and in `ink`. A figure
    is drawn so twice, as its rim and its outline, and then plainly.
    """

    def __init__(
        self,
        image: Image.Image,
        x: float,
        y: float,
        scale: float,
        grow: float = 0.0,
        ink: Colour = INK,
    ) -> None:
        self._draw = ImageDraw.Draw(image)
        self._x, self._y, self._scale = x * OVERSAMPLE, y * OVERSAMPLE, scale * OVERSAMPLE
        self._grow, self._ink = grow * OVERSAMPLE, ink

    def _at(self, point: Point) -> Point:
        return self._x + point[0] * self._scale, self._y - point[1] * self._scale

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        corners = [self._at(p) for p in points]
        if self._grow:
            self._draw.polygon(corners, fill=self._ink)
            self._stroke([*corners, corners[0]], 2 * self._grow, self._ink)
        else:
            self._draw.polygon(corners, fill=fill)

    def blob(self, points: Sequence[Point], fill: Colour) -> None:
        """A closed smooth shape through the points."""
        self.polygon(curve(points), fill)

    def rect(
        self, u0: float, v0: float, u1: float, v1: float, fill: Colour, radius: float = 0.0
    ) -> None:
        (left, bottom), (right, top) = self._at((u0, v0)), self._at((u1, v1))
        g = self._grow
        box = (left - g, top - g, right + g, bottom + g)
        corner = radius * self._scale + g
        paint = self._ink if g else fill
        if corner > 0:
            self._draw.rounded_rectangle(box, corner, fill=paint)
        else:
            self._draw.rectangle(box, fill=paint)

    def oval(self, u: float, v: float, ru: float, rv: float, fill: Colour) -> None:
        x, y = self._at((u, v))
        rx, ry = ru * self._scale + self._grow, rv * self._scale + self._grow
        paint = self._ink if self._grow else fill
        self._draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=paint)

    def dot(self, u: float, v: float, radius: float, fill: Colour) -> None:
        self.oval(u, v, radius, radius, fill)

    def pie(self, u: float, v: float, radius: float, start: int, end: int, fill: Colour) -> None:
        """A slice of a disc; angles in degrees, clockwise from the right."""
        x, y = self._at((u, v))
        r = radius * self._scale + self._grow
        paint = self._ink if self._grow else fill
        self._draw.pieslice((x - r, y - r, x + r, y + r), start, end, fill=paint)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A stroke with round ends and joints, `width` in local units."""
        corners = [self._at(p) for p in points]
        stroke = width * self._scale + 2 * self._grow
        self._stroke(corners, stroke, self._ink if self._grow else fill)

    def arc(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A smooth stroke through the points."""
        self.line(curve(points, closed=False), width, fill)

    def mark(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A smooth stroke inside a shape, which adds nothing to the silhouette."""
        if not self._grow:
            self.arc(points, width, fill)

    def _stroke(self, corners: Sequence[Point], width: float, fill: Colour) -> None:
        self._draw.line(corners, fill=fill, width=max(1, round(width)))
        r = width / 2
        for x, y in corners:
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
