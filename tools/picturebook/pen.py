"""A pen with its own coordinates, and the colours of the book."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

SIZE = 256  # pixels of a finished picture, both ways
OVERSAMPLE = 2  # pictures are drawn this much larger, then reduced

INK: Colour = (38, 32, 48)  # outlines
PAINT: dict[str, Colour] = {
    "red": (222, 44, 42),
    "orange": (246, 136, 30),
    "yellow": (252, 214, 52),
    "green": (52, 168, 76),
    "blue": (44, 104, 222),
    "purple": (134, 66, 190),
    "pink": (248, 130, 184),
    "brown": (140, 88, 52),
    "white": (246, 246, 244),
    "black": (50, 50, 58),
}


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour `share` of the way from a to b (0 is a, 1 is b)."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def darker(colour: Colour, share: float = 0.3) -> Colour:
    return mix(colour, (10, 10, 25), share)


def lighter(colour: Colour, share: float = 0.4) -> Colour:
    return mix(colour, (255, 255, 255), share)


class Pen:
    """Draws in local coordinates: origin at (x, y) in picture pixels, v upwards, unit `scale`.

    With `outline` > 0 (picture pixels) every shape is drawn grown by that much and in INK; a figure
    is drawn once so and once plainly, which leaves one outline around the whole silhouette.
    """

    def __init__(
        self, image: Image.Image, x: float, y: float, scale: float, outline: float = 0.0
    ) -> None:
        self._draw = ImageDraw.Draw(image)
        self._x, self._y, self._scale = x * OVERSAMPLE, y * OVERSAMPLE, scale * OVERSAMPLE
        self._grow = outline * OVERSAMPLE

    def _at(self, point: Point) -> Point:
        return self._x + point[0] * self._scale, self._y - point[1] * self._scale

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        corners = [self._at(p) for p in points]
        if self._grow:
            self._draw.polygon(corners, fill=INK)
            self._stroke([*corners, corners[0]], 2 * self._grow, INK)
        else:
            self._draw.polygon(corners, fill=fill)

    def rect(
        self, u0: float, v0: float, u1: float, v1: float, fill: Colour, radius: float = 0.0
    ) -> None:
        (left, bottom), (right, top) = self._at((u0, v0)), self._at((u1, v1))
        g = self._grow
        box = (left - g, top - g, right + g, bottom + g)
        corner = radius * self._scale + g
        if corner > 0:
            self._draw.rounded_rectangle(box, corner, fill=INK if g else fill)
        else:
            self._draw.rectangle(box, fill=fill)

    def oval(self, u: float, v: float, ru: float, rv: float, fill: Colour) -> None:
        x, y = self._at((u, v))
        rx, ry = ru * self._scale + self._grow, rv * self._scale + self._grow
        self._draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=INK if self._grow else fill)

    def dot(self, u: float, v: float, radius: float, fill: Colour) -> None:
        self.oval(u, v, radius, radius, fill)

    def pie(self, u: float, v: float, radius: float, start: int, end: int, fill: Colour) -> None:
        """A slice of a disc; angles in degrees, clockwise from the right."""
        x, y = self._at((u, v))
        r = radius * self._scale + self._grow
        box = (x - r, y - r, x + r, y + r)
        self._draw.pieslice(box, start, end, fill=INK if self._grow else fill)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A stroke with round ends and joints, `width` in local units."""
        corners = [self._at(p) for p in points]
        stroke = width * self._scale + 2 * self._grow
        self._stroke(corners, stroke, INK if self._grow else fill)

    def _stroke(self, corners: Sequence[Point], width: float, fill: Colour) -> None:
        self._draw.line(corners, fill=fill, width=max(1, round(width)))
        r = width / 2
        for x, y in corners:
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
