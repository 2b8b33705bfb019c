"""The places. The nine of the first edition are drawn by its own program, at twice the size."""

from collections.abc import Callable

from PIL import Image

from tools.picturebook import places as first
from tools.picturebook.edition2.pen import PAGE, Colour, Pen, darker, lighter, mix
from tools.picturebook.edition2.sky import (
    DARK_TIMES,
    draw_sky_signs,
    draw_weather,
    gradient,
    page_pen,
    sky_colours,
)
from tools.picturebook.places import ground_tint, tint

LIT: Colour = (255, 226, 110)
SNOW: Colour = (252, 253, 255)
STARS = (
    (14, 150, 2), (40, 120, 3), (66, 168, 2), (92, 136, 2), (130, 176, 3), (156, 126, 2),
    (182, 158, 2), (226, 120, 3), (246, 152, 2), (108, 96, 2), (24, 84, 2), (204, 88, 2),
)  # fmt: skip


def draw_sea(pen: Pen, time: str, d: float) -> None:
    """Open water with rows of waves, a far island."""
    sea = tint((34, 132, 206), time)
    pen.oval(60 + d, 118, 46, 22, tint((96, 168, 104), time))
    pen.rect(-9, -9, PAGE + 9, 120, sea)
    for row, v in enumerate((112, 92, 68, 40, 12)):
        paint = lighter(sea, 0.42 - row * 0.05)
        for u in range(-40, 300, 44):
            left = u + row % 2 * 22 + d
            pen.arc([(left, v), (left + 9, v + 5), (left + 18, v)], 3.2, paint)


def draw_under_water(pen: Pen, time: str, d: float) -> None:
    """Below the surface: sunbeams, weeds, corals and bubbles; a strip of sky on top."""
    water = tint((30, 140, 190), time)
    pen.rect(-9, -9, PAGE + 9, 196, water)
    pen.rect(-9, -9, PAGE + 9, 130, darker(water, 0.16))
    for u in range(-20, 290, 36):
        pen.dot(u + d, 194, 18, water)
    beam = lighter(water, 0.14)
    for u in (60, 150, 226):
        pen.polygon([(u + d, 190), (u + 24 + d, 190), (u - 16 + d, 44), (u - 64 + d, 44)], beam)
    sand = tint((238, 214, 150), time) if time != "snow" else (246, 246, 250)
    pen.oval(60, 16, 140, 34, darker(sand, 0.1))
    pen.oval(200, 12, 150, 36, sand)
    pen.rect(-9, -9, PAGE + 9, 22, sand)
    weed, coral = tint((58, 170, 96), time), tint((240, 108, 120), time)
    for u, high in ((16, 92), (34, 66), (236, 84), (218, 58)):
        pen.arc([(u + d, 20), (u - 6 + d, 20 + high / 3), (u + 6 + d, 20 + high * 0.66),
                 (u - 2 + d, 20 + high)], 9, weed)  # fmt: skip
    for u, v in ((62, 24), (190, 26)):
        for a, b in ((-16, 26), (0, 36), (16, 26)):
            pen.line([(u + d, v), (u + d + a, v + b)], 9, coral)
    for u, v, r in ((44, 140, 5), (50, 158, 4), (210, 120, 6), (204, 142, 4), (120, 168, 4)):
        pen.dot(u + d, v, r, lighter(water, 0.6))


def draw_space(pen: Pen, time: str, d: float) -> None:
    """Stars, a ringed planet, a small red one and a comet."""
    for u, v, r in STARS:
        pen.dot(u + d, v, r, (255, 250, 224))
    for u, v, r in ((30, 40, 3), (76, 16, 2), (150, 30, 3), (188, 60, 2), (240, 20, 3)):
        pen.dot(u + d, v, r, (255, 250, 224))
    planet, ring = tint((244, 170, 90), time), tint((250, 224, 170), time)
    pen.line([(4 + d, 96), (84 + d, 128)], 9, ring)
    pen.dot(44 + d, 112, 26, planet)
    pen.mark([(22 + d, 112), (44 + d, 106), (66 + d, 114)], 6, darker(planet, 0.2))
    pen.mark([(18 + d, 101), (44 + d, 108), (70 + d, 123)], 6, ring)
    pen.dot(222 + d, 66, 17, tint((214, 90, 100), time))
    pen.dot(216 + d, 70, 5, tint((180, 64, 84), time))
    pen.polygon([(150 + d, 196), (110 + d, 178), (114 + d, 172)], tint((150, 220, 250), time))
    pen.dot(150 + d, 195, 5, (255, 255, 240))


def draw_moon(pen: Pen, time: str, d: float) -> None:
    """Grey ground with craters under a black sky, the Earth above."""
    for u, v, r in STARS:
        pen.dot(u + d, v, r, (255, 250, 224))
    sea, land = tint((60, 140, 230), time), tint((96, 184, 104), time)
    pen.dot(62 + d, 164, 30, sea)
    pen.blob([(42 + d, 174), (58 + d, 184), (70 + d, 174), (58 + d, 162)], land)
    pen.blob([(66 + d, 158), (82 + d, 160), (78 + d, 146), (66 + d, 148)], land)
    ground = ground_tint((190, 190, 204), time)
    pen.oval(40, 60, 110, 44, darker(ground, 0.14))
    pen.oval(216, 58, 120, 52, darker(ground, 0.08))
    pen.rect(-9, -9, PAGE + 9, 70, ground)
    for u, v, r in ((30, 48, 18), (92, 24, 24), (176, 50, 16), (224, 22, 22), (140, 8, 12)):
        pen.oval(u + d, v, r, r * 0.42, darker(ground, 0.28))
        pen.oval(u + d, v - 2, r * 0.8, r * 0.28, darker(ground, 0.14))


def draw_garden(pen: Pen, time: str, d: float) -> None:
    """A hedge, a white fence, flower beds and a winding path."""
    hedge, grass = ground_tint((54, 138, 70), time), ground_tint((126, 196, 86), time)
    for u in range(-10, 280, 28):
        pen.dot(u + d, 106, 22, hedge)
    pen.rect(-9, 50, PAGE + 9, 108, hedge)
    pen.rect(-9, -9, PAGE + 9, 72, grass)
    fence = tint((250, 248, 240), time)
    pen.rect(-9, 80, PAGE + 9, 85, fence)
    pen.rect(-9, 96, PAGE + 9, 101, fence)
    for u in range(-8, 270, 22):
        pen.polygon([(u + d, 68), (u + d, 106), (u + 5 + d, 112), (u + 10 + d, 106),
                     (u + 10 + d, 68)], fence)  # fmt: skip
    pen.blob([(104 + d, 74), (120 + d, 74), (150 + d, 40), (120 + d, -12), (60 + d, -12),
              (96 + d, 40)], ground_tint((232, 210, 160), time))  # fmt: skip
    petals = ((236, 74, 90), (250, 200, 60), (206, 110, 220), (255, 250, 250))
    for i, (u, v) in enumerate(((16, 52), (44, 58), (70, 50), (184, 54), (212, 60), (240, 50),
                                (22, 22), (50, 14), (196, 20), (228, 14))):  # fmt: skip
        paint = tint(petals[i % 4], time)
        pen.line([(u + d, v - 9), (u + d, v)], 3, tint((40, 120, 60), time))
        for a, b in ((-5, 0), (5, 0), (0, 5), (0, -5)):
            pen.dot(u + d + a, v + b, 4, paint)
        pen.dot(u + d, v, 3, tint((255, 220, 90), time))


def draw_street(pen: Pen, time: str, d: float) -> None:
    """A row of coloured town houses, a lamp, a pavement and a road with a crossing."""
    walls = ((236, 176, 120), (150, 190, 214), (240, 210, 130), (206, 150, 170))
    window = LIT if time in DARK_TIMES else tint((230, 244, 252), time)
    for i, (start, top) in enumerate(((-14, 146), (54, 128), (122, 150), (190, 134))):
        left, paint = start + d, tint(walls[i], time)
        pen.rect(left, 56, left + 66, top, paint)
        roof = SNOW if time == "snow" else tint((150, 76, 66), time)
        pen.polygon([(left - 3, top), (left + 33, top + 30), (left + 69, top)], roof)
        for u in (left + 9, left + 41):
            pen.rect(u, top - 28, u + 16, top - 8, window, 2)
        pen.rect(left + 25, 56, left + 43, 90, tint((110, 72, 56), time), 3)
    pen.rect(-9, 44, PAGE + 9, 62, ground_tint((208, 204, 198), time))
    pen.rect(-9, -9, PAGE + 9, 46, ground_tint((104, 104, 116), time))
    for u in range(-16, 280, 34):
        pen.polygon([(u + d, 4), (u + 18 + d, 4), (u + 22 + d, 34), (u + 6 + d, 34)],
                    ground_tint((240, 240, 236), time))  # fmt: skip
    post = tint((60, 66, 76), time)
    pen.rect(240 + d, 50, 245 + d, 150, post)
    pen.rect(234 + d, 148, 251 + d, 152, post)
    lamp = (255, 240, 150) if time in (*DARK_TIMES, "fog", "rain") else tint((250, 248, 220), time)
    pen.dot(242.5 + d, 162, 11, lamp)


def draw_farm(pen: Pen, time: str, d: float) -> None:
    """A red barn, a silo, a fence, rows of a field."""
    pen.oval(50, 66, 120, 50, ground_tint((158, 200, 90), time))
    pen.oval(210, 60, 120, 60, ground_tint((140, 186, 80), time))
    red, white = tint((206, 66, 54), time), tint((252, 246, 236), time)
    u = 66 + d
    pen.rect(u + 50, 70, u + 78, 156, tint((190, 196, 206), time))
    pen.pie(u + 64, 155, 14, 180, 360, SNOW if time == "snow" else tint((140, 150, 166), time))
    pen.rect(u - 44, 66, u + 44, 122, red)
    roof = SNOW if time == "snow" else tint((110, 60, 60), time)
    pen.polygon([(u - 54, 120), (u - 34, 152), (u, 168), (u + 34, 152), (u + 54, 120)], roof)
    pen.rect(u - 16, 66, u + 16, 104, white)
    pen.rect(u - 12, 66, u + 12, 100, red)
    pen.mark([(u - 12, 67), (u + 12, 99)], 4, white)
    pen.mark([(u + 12, 67), (u - 12, 99)], 4, white)
    pen.dot(u, 136, 8, LIT if time in DARK_TIMES else white)
    soil = ground_tint((236, 206, 96), time)
    pen.rect(-9, -9, PAGE + 9, 74, soil)
    for row in range(5):
        v = 8 + row * 14
        pen.rect(-9, v, PAGE + 9, v + 4, darker(soil, 0.14))
    for x in (4, 216):
        for k in range(3):
            pen.rect(x + k * 18 + d - 4, 62, x + k * 18 + d + 2, 96, tint((150, 104, 66), time))
        for v in (72, 86):
            pen.rect(x - 10 + d, v, x + 48 + d, v + 5, tint((172, 122, 78), time))


def draw_cave(pen: Pen, time: str, d: float) -> None:
    """Inside: rock all around, the opening shows the sky; stalactites and crystals."""
    rock = tint((124, 104, 104), time)
    dark = darker(rock, 0.4)
    pen.polygon([(-9, 265), (-9, -9), (265, -9), (265, 265), (232, 265), (240 + d, 190),
                 (222 + d, 110), (232 + d, 50), (24 + d, 50), (34 + d, 116), (16 + d, 186),
                 (26, 265)], dark)  # fmt: skip
    pen.polygon([(-9, 265), (-9, -9), (40, -9), (16 + d, 60), (26 + d, 120), (4 + d, 190),
                 (8, 265)], rock)  # fmt: skip
    pen.polygon([(265, 265), (265, -9), (216, -9), (240 + d, 60), (230 + d, 116), (250 + d, 190),
                 (246, 265)], rock)  # fmt: skip
    ground = tint((164, 140, 128), time)
    pen.oval(128, 30, 190, 40, ground)
    pen.rect(-9, -9, PAGE + 9, 36, ground)
    for u, half, low in ((20, 12, 196), (44, 9, 222), (212, 9, 220), (238, 13, 192)):
        pen.polygon([(u + d - half, 265), (u + d, low), (u + d + half, 265)], dark)
    for u, v, s, paint in ((36, 44, 1.0, (120, 220, 240)), (214, 46, 0.9, (220, 140, 240))):
        gem = mix(paint, tint(paint, time), 0.5)
        for a, high in ((-12, 24), (0, 40), (12, 28)):
            x = u + d + a * s
            pen.polygon([(x - 6 * s, v), (x - 6 * s, v + high * s * 0.7), (x, v + high * s),
                         (x + 6 * s, v + high * s * 0.7), (x + 6 * s, v)], gem)  # fmt: skip
            pen.polygon([(x, v), (x, v + high * s), (x + 6 * s, v + high * s * 0.7),
                         (x + 6 * s, v)], darker(gem, 0.15))  # fmt: skip


def _of_first(place: str) -> Callable[[Pen, str, float], None]:
    draw = first.PLACES[place]
    return lambda pen, time, d: draw(pen, time, d)  # type: ignore[arg-type]


PLACES: dict[str, Callable[[Pen, str, float], None]] = {
    **{place: _of_first(place) for place in first.PLACES},
    "sea": draw_sea,
    "under water": draw_under_water,
    "space": draw_space,
    "moon": draw_moon,
    "garden": draw_garden,
    "street": draw_street,
    "farm": draw_farm,
    "cave": draw_cave,
}


def draw_background(place: str, time: str, d: float) -> Image.Image:
    """The picture without its figures, OVERSAMPLE times as large; `d` in page units."""
    top, horizon = sky_colours(place, time)
    image = gradient(top, horizon)
    pen = page_pen(image)
    draw_sky_signs(pen, time, d, mix(top, horizon, 0.2))
    PLACES[place](pen, time, -d)
    draw_weather(pen, time, d)
    return image
