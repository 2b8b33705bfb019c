"""The sky of each time and weather, and what falls from it."""

import functools

from PIL import Image

from tools.picturebook.edition2.pen import OVERSAMPLE, PAGE, SIZE, Colour, Pen, mix

SKIES: dict[str, tuple[Colour, Colour]] = {  # top, horizon
    "day": ((82, 182, 250), (212, 240, 255)),
    "night": ((20, 22, 80), (70, 76, 160)),
    "sunrise": ((130, 190, 240), (255, 206, 214)),
    "sunset": ((150, 54, 128), (255, 184, 84)),
    "storm": ((46, 50, 68), (118, 126, 146)),
    "rain": ((104, 132, 160), (176, 200, 214)),
    "snow": ((160, 178, 204), (224, 234, 246)),
    "fog": ((206, 212, 214), (232, 236, 234)),
}
DARK_TIMES = ("night", "storm")  # windows are lit
BOLT = (
    (0, 0), (-20, -46), (-4, -46), (-22, -92), (-4, -88), (-16, -132),
    (26, -70), (8, -72), (30, -34), (14, -34), (24, 0),
)  # fmt: skip
STARS = (  # u, v, radius
    (20, 236, 2.6), (52, 210, 3.6), (84, 242, 3.4), (112, 216, 2.6), (146, 238, 3.4),
    (168, 206, 2.6), (30, 184, 2.6), (240, 180, 3.4), (72, 178, 2.6), (246, 240, 2.6),
)  # fmt: skip


def gradient(top: Colour, horizon: Colour) -> Image.Image:
    """From the top of the picture down to about the horizon; OVERSAMPLE times as large."""
    return _gradient(top, horizon).copy()


@functools.lru_cache(64)
def _gradient(top: Colour, horizon: Colour) -> Image.Image:
    side = SIZE * OVERSAMPLE
    strip = Image.new("RGB", (1, side))
    for y in range(side):
        strip.putpixel((0, y), mix(top, horizon, min(1.0, y / (side * 0.68))))
    return strip.resize((side, side))


def _cloud(pen: Pen, u: float, v: float, s: float, fill: Colour) -> None:
    for du, dv, r in ((-24, 0, 14), (-6, 8, 19), (16, 4, 16), (32, -3, 11)):
        pen.dot(u + du * s, v + dv * s, r * s, fill)
    pen.rect(u - 34 * s, v - 14 * s, u + 40 * s, v - 1 * s, fill, 6 * s)


def _sun(pen: Pen, u: float, v: float, r: float, fill: Colour, rays: Colour) -> None:
    pen.dot(u, v, r * 1.3, rays)
    pen.dot(u, v, r, fill)


def draw_sky_signs(pen: Pen, time: str, d: float, behind: Colour) -> None:
    """Sun, moon, stars, clouds or lightning, in page units; `behind` is the colour of the sky."""
    if time == "day":
        _sun(pen, 214 + d, 222, 26, (255, 216, 60), (255, 240, 170))
        _cloud(pen, 50 + d, 222, 1.0, (255, 255, 255))
        _cloud(pen, 134 + d, 238, 0.7, (255, 255, 255))
    elif time == "night":
        pen.dot(212 + d, 218, 26, (255, 248, 206))
        pen.dot(200 + d, 224, 22, behind)
        for u, v, r in STARS:
            pen.dot(u + d, v, r, (255, 252, 220))
    elif time == "sunrise":
        for k in range(5):
            a, b = ((-1, 0.0), (-0.7, 0.7), (0, 1), (0.7, 0.7), (1, 0.0))[k]
            pen.line([(56 + d + a * 52, 152 + b * 52), (56 + d + a * 74, 152 + b * 74)], 7,
                     (255, 236, 160))  # fmt: skip
        _sun(pen, 56 + d, 152, 34, (255, 228, 110), (255, 244, 200))
        for u, v, w in ((120, 226, 80), (190, 204, 70), (150, 244, 60)):
            pen.rect(u + d, v, u + d + w, v + 8, (255, 236, 240), 4)
    elif time == "sunset":
        _sun(pen, 196 + d, 166, 48, (255, 222, 96), (255, 170, 70))
        for u, v, w in ((-10, 226, 90), (110, 240, 110), (30, 200, 70)):
            pen.rect(u + d, v, u + d + w, v + 9, (240, 116, 110), 4)
    elif time == "storm":
        for u in (56, 200):
            pen.polygon([(u + d + du, 226 + dv) for du, dv in BOLT], (255, 244, 130))
        for u, v, s in ((20, 236, 1.3), (98, 246, 1.4), (176, 242, 1.4), (240, 234, 1.3)):
            _cloud(pen, u + d, v, s, (34, 36, 50))
    elif time == "rain":
        for u, v, s in ((34, 236, 1.2), (116, 244, 1.3), (204, 236, 1.3)):
            _cloud(pen, u + d, v, s, (84, 100, 122))
    elif time == "snow":
        for u, v, s in ((60, 236, 1.3), (200, 230, 1.4)):
            _cloud(pen, u + d, v, s, (242, 246, 252))
    else:
        pen.dot(206 + d, 220, 20, (250, 250, 240))


def draw_weather(pen: Pen, time: str, d: float) -> None:
    """What is in the air, before the place and behind the subjects."""
    if time == "snow":
        for row in range(8):
            for column in range(-1, 8):
                u = column * 38 + (row % 2) * 19 + d + (row * 7) % 11
                pen.dot(u, 14 + row * 33 + (column * 5) % 9, 3.6, (255, 255, 255))
    elif time == "rain":
        for row in range(7):
            for column in range(-1, 8):
                u = column * 40 + (row % 2) * 20 + d
                v = 20 + row * 32 + (column * 7) % 11
                pen.line([(u, v), (u - 5, v - 16)], 2.4, (206, 230, 250))
    elif time == "fog":
        for v, high, share in ((150, 20, 0.0), (112, 22, 0.25), (70, 24, 0.5), (34, 20, 0.2)):
            start = -60 + share * 120 + d
            for u in (start, start + 190):
                pen.rect(u, v, u + 150, v + high, (240, 243, 243), high / 2)


def sky_colours(place: str, time: str) -> tuple[Colour, Colour]:
    """Top and horizon of the sky; where there is no air it is nearly black."""
    top, horizon = SKIES[time]
    if place in ("space", "moon"):
        return mix(top, (12, 12, 40), 0.72), mix(horizon, (24, 18, 64), 0.72)
    return top, horizon


def page_pen(image: Image.Image) -> Pen:
    """A pen in page units, v upwards from the lower edge of the picture."""
    return Pen(image, 0, SIZE, SIZE / PAGE)
