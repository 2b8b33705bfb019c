"""The sky of each time of day, and the snow that falls before everything but the subjects."""

import functools

from PIL import Image

from tools.picturebook.pen import OVERSAMPLE, SIZE, Colour, Pen, mix

SKIES: dict[str, tuple[Colour, Colour]] = {  # top, horizon
    "day": ((92, 188, 250), (206, 238, 255)),
    "night": ((22, 24, 84), (70, 76, 158)),
    "sunset": ((150, 54, 128), (255, 184, 84)),
    "storm": ((48, 52, 70), (118, 126, 146)),
    "snow": ((160, 178, 204), (222, 232, 244)),
}
BOLT = (
    (0, 0), (-20, -46), (-4, -46), (-22, -92), (-4, -88), (-16, -132),
    (26, -70), (8, -72), (30, -34), (14, -34), (24, 0),
)  # fmt: skip
STARS = (  # u, v, radius
    (20, 236, 3), (52, 210, 4), (84, 242, 4), (112, 216, 3), (146, 238, 4),
    (168, 206, 3), (30, 184, 3), (240, 180, 4), (72, 178, 3), (246, 244, 3),
)  # fmt: skip


@functools.cache
def _gradient(time: str) -> Image.Image:
    """The sky from the top of the picture down to about the horizon."""
    top, horizon = SKIES[time]
    side = SIZE * OVERSAMPLE
    strip = Image.new("RGB", (1, side))
    for y in range(side):
        strip.putpixel((0, y), mix(top, horizon, min(1.0, y / (side * 0.68))))
    return strip.resize((side, side))


def _cloud(pen: Pen, u: float, v: float, s: float, fill: Colour) -> None:
    for du, dv, r in ((-24, 0, 14), (-6, 8, 19), (16, 4, 16), (32, -3, 11)):
        pen.dot(u + du * s, v + dv * s, r * s, fill)
    pen.rect(u - 34 * s, v - 14 * s, u + 40 * s, v - 1 * s, fill, 6 * s)


def new_sky(time: str, d: float) -> tuple[Image.Image, Pen]:
    """A picture with only its sky, and a pen in picture pixels for what stands before it."""
    image = _gradient(time).copy()
    pen = Pen(image, 0, SIZE, 1.0)
    if time == "day":
        pen.dot(214 + d, 222, 34, (255, 240, 170))
        pen.dot(214 + d, 222, 26, (255, 216, 60))
        _cloud(pen, 50 + d, 222, 1.0, (255, 255, 255))
        _cloud(pen, 134 + d, 238, 0.7, (255, 255, 255))
    elif time == "night":
        pen.dot(212 + d, 218, 26, (255, 248, 206))
        pen.dot(200 + d, 224, 22, mix(*SKIES["night"], 0.1))
        for u, v, r in STARS:
            pen.dot(u + d, v, r, (255, 252, 220))
    elif time == "sunset":
        pen.dot(196 + d, 166, 62, (255, 170, 70))
        pen.dot(196 + d, 166, 48, (255, 222, 96))
        for u, v, w in ((-10, 226, 90), (110, 240, 110), (30, 200, 70)):
            pen.rect(u + d, v, u + d + w, v + 9, (240, 116, 110), 4)
    elif time == "storm":
        for u in (56, 200):
            corners = [(u + d + du, 226 + dv) for du, dv in BOLT]
            pen.polygon(corners, (255, 244, 130))
        for u, v, s in ((20, 236, 1.3), (98, 246, 1.4), (176, 242, 1.4), (240, 234, 1.3)):
            _cloud(pen, u + d, v, s, (34, 36, 50))
    else:
        _cloud(pen, 60 + d, 236, 1.3, (240, 244, 250))
        _cloud(pen, 200 + d, 230, 1.4, (240, 244, 250))
    return image, pen


def fall_snow(pen: Pen, d: float) -> None:
    """Large flakes over the whole picture, in rows that are shifted against each other."""
    for row in range(8):
        for column in range(-1, 8):
            u = column * 38 + (row % 2) * 19 + d + (row * 7) % 11
            pen.dot(u, 14 + row * 33 + (column * 5) % 9, 4.2, (255, 255, 255))
