"""Backgrounds: the sky of a time of day, and the nine places.

Every place is drawn in picture pixels with v upwards from the bottom edge; `d` is a small sideways
shift, so that no two drawings are the same.
"""

from collections.abc import Callable

from tools.picturebook.pen import SIZE, Colour, Pen, darker, lighter, mix

GROUND = {  # v of the ground line, picture pixels from the bottom
    "beach": 78, "city": 62, "futuristic city": 60, "forest": 66, "village": 70,
    "mountains": 64, "desert": 76, "temple": 58, "rooftop": 66,
}  # fmt: skip
LIT: Colour = (255, 226, 110)
COTTAGES: tuple[tuple[float, float, Colour], ...] = (  # u, size, roof
    (30, 1.0, (206, 78, 52)),
    (98, 0.76, (222, 128, 54)),
    (160, 0.76, (188, 66, 60)),
    (228, 1.0, (214, 104, 48)),
)


def tint(colour: Colour, time: str) -> Colour:
    """A daylight colour as it looks at another time."""
    if time == "night":
        return mix(mix(colour, (0, 0, 0), 0.42), (34, 40, 110), 0.36)
    if time == "sunset":
        return mix(mix(colour, (255, 120, 60), 0.3), (90, 20, 60), 0.14)
    if time == "storm":
        return mix(mix(colour, (70, 76, 92), 0.5), (20, 24, 40), 0.2)
    if time == "snow":
        return mix(colour, (232, 240, 250), 0.34)
    if time == "sunrise":  # this and the next two belong to the second edition
        return mix(mix(colour, (255, 190, 200), 0.34), (255, 255, 255), 0.06)
    if time == "rain":
        return mix(mix(colour, (96, 124, 148), 0.4), (40, 60, 80), 0.1)
    if time == "fog":
        return mix(colour, (222, 226, 226), 0.6)
    return colour


def ground_tint(colour: Colour, time: str) -> Colour:
    """Like `tint`, but snow covers the ground."""
    return mix(colour, (244, 248, 254), 0.84) if time == "snow" else tint(colour, time)


def _block(pen: Pen, left: float, width: float, base: float, top: float, fill: Colour) -> None:
    pen.rect(left, base, left + width, top, fill)


def draw_beach(pen: Pen, time: str, d: float) -> None:
    sea = tint((36, 150, 214), time)
    pen.rect(-9, 62, SIZE + 9, 116, sea)
    for u, v in ((20, 102), (104, 94), (196, 104), (60, 84), (150, 82)):
        pen.rect(u + d, v, u + d + 36, v + 4, lighter(sea, 0.45), 2)
    sand = ground_tint((248, 222, 150), time)
    pen.oval(128, 10, 230, 62, lighter(sea, 0.7))
    pen.oval(128, 4, 232, 62, sand)
    trunk, leaf = tint((140, 92, 52), time), ground_tint((46, 158, 80), time)
    pen.line([(20 + d, 36), (28 + d, 110), (44 + d, 168)], 11, trunk)
    for du, dv in ((-38, 6), (-30, 30), (6, 40), (38, 22), (42, -6)):
        pen.line([(44 + d, 168), (44 + d + du * 0.6, 174 + dv), (44 + d + du, 162 + dv)], 9, leaf)


def draw_city(pen: Pen, time: str, d: float) -> None:
    paints: tuple[Colour, ...] = (
        (196, 122, 106),
        (150, 160, 180),
        (214, 186, 140),
        (128, 144, 176),
    )
    window = LIT if time in ("night", "storm") else tint((226, 240, 250), time)
    lots = (
        (-8, 46, 176),
        (40, 40, 142),
        (82, 46, 190),
        (130, 42, 150),
        (174, 44, 198),
        (220, 50, 160),
    )
    for i, (left, width, top) in enumerate(lots):
        left = left + d
        _block(pen, left, width, 40, top, tint(paints[i % 4], time))
        if time == "snow":
            _block(pen, left, width, top - 6, top, (250, 252, 255))
        for row in range(4):
            v = top - 22 - row * 24
            for u in (left + 8, left + width - 20):
                if v > 70:
                    pen.rect(u, v, u + 12, v + 13, window)
    pen.rect(-9, 44, SIZE + 9, 64, ground_tint((204, 204, 206), time))
    pen.rect(-9, -9, SIZE + 9, 46, tint((84, 86, 98), time))
    for u in range(-20, 276, 52):
        pen.rect(u + d, 18, u + d + 28, 24, tint((250, 240, 200), time))


def draw_futuristic_city(pen: Pen, time: str, d: float) -> None:
    towers: tuple[Colour, ...] = ((120, 104, 224), (64, 190, 214), (166, 110, 220), (80, 140, 232))
    glow: Colour = (110, 255, 250)
    lots = (
        (0, 30, 150),
        (42, 26, 206),
        (84, 34, 124),
        (132, 28, 180),
        (172, 36, 136),
        (216, 30, 210),
    )
    for i, (left, width, top) in enumerate(lots):
        left, paint = left + d, tint(towers[i % 4], time)
        middle = left + width / 2
        if i % 2:
            pen.polygon(
                [(left, 40), (middle - 5, top), (middle + 5, top), (left + width, 40)], paint
            )
            pen.line([(middle, top), (middle, top + 18)], 3, paint)
            pen.oval(middle, top - 46, width * 0.8, 8, glow)
            pen.oval(middle, top - 44, width * 0.56, 4, paint)
        else:
            pen.rect(left, 40, left + width, top, paint)
            pen.pie(middle, top, width / 2, 180, 360, lighter(paint, 0.3))
            for v in range(64, int(top) - 8, 24):
                pen.rect(left + 6, v, left + width - 6, v + 6, glow)
        if time == "snow":
            pen.oval(middle, top + (12 if i % 2 == 0 else 2), 13, 6, (252, 253, 255))
    pen.rect(-9, -9, SIZE + 9, 60, ground_tint((66, 56, 128), time))
    pen.rect(-9, 54, SIZE + 9, 60, glow)
    for u in (-60, 40, 140, 240):
        pen.polygon([(u + d, -4), (u + d + 22, -4), (u * 0.6 + 80, 40), (u * 0.6 + 70, 40)], glow)


def draw_forest(pen: Pen, time: str, d: float) -> None:
    far, near = tint((34, 116, 66), time), tint((22, 90, 54), time)
    trunk = tint((100, 64, 40), time)
    pen.rect(-9, 40, SIZE + 9, 106, mix(far, near, 0.5))
    for u, top in ((4, 176), (54, 190), (104, 166), (152, 188), (204, 172), (250, 192)):
        _pine(pen, u + d, 60, top, 30, far, trunk, time)
    for u, top in ((-4, 218), (262, 214)):
        _pine(pen, u + d, 36, top, 46, near, trunk, time)
    pen.oval(128, 8, 220, 62, ground_tint((96, 164, 64), time))
    for u in (40, 212):
        pen.rect(u + d - 4, 30, u + d + 4, 42, ground_tint((250, 240, 220), time))
        pen.pie(u + d, 40, 12, 180, 360, tint((216, 60, 50), time))


def _pine(
    pen: Pen, u: float, base: float, top: float, half: float, fill: Colour, trunk: Colour, time: str
) -> None:
    height = top - base
    pen.rect(u - 5, base - 14, u + 5, base + 10, trunk)
    for low, high, share in ((0, 0.5, 1.0), (0.28, 0.76, 0.8), (0.55, 1.0, 0.58)):
        tip, w = base + height * high, half * share
        pen.polygon([(u - w, base + height * low), (u, tip), (u + w, base + height * low)], fill)
        if time == "snow":
            pen.polygon(
                [(u - w * 0.45, tip - 22), (u, tip), (u + w * 0.45, tip - 22)], (252, 253, 255)
            )


def draw_village(pen: Pen, time: str, d: float) -> None:
    hill = ground_tint((150, 196, 92), time)
    pen.oval(60, 40, 130, 72, hill)
    pen.oval(220, 44, 110, 64, ground_tint((134, 184, 84), time))
    pen.rect(-9, -9, SIZE + 9, 72, ground_tint((122, 182, 76), time))
    window = LIT if time in ("night", "storm") else tint((250, 244, 214), time)
    for u, s, roof in COTTAGES:
        u, base = u + d, 66
        pen.rect(u - 28 * s, base, u + 28 * s, base + 46 * s, tint((250, 236, 206), time))
        top = (252, 253, 255) if time == "snow" else tint(roof, time)
        pen.polygon(
            [(u - 38 * s, base + 44 * s), (u, base + 84 * s), (u + 38 * s, base + 44 * s)], top
        )
        pen.rect(u - 7 * s, base, u + 7 * s, base + 26 * s, tint((120, 76, 46), time))
        for side in (-18, 18):
            pen.rect(u + (side - 6) * s, base + 22 * s, u + (side + 6) * s, base + 36 * s, window)
    path = ground_tint((230, 200, 146), time)
    pen.polygon([(70 + d, -9), (190 + d, -9), (146 + d, 70), (116 + d, 70)], path)
    for u in range(-10, 270, 24):
        if not 64 < u < 192:
            pen.rect(u + d, 22, u + d + 8, 46, tint((250, 244, 232), time))
            pen.rect(u + d - 8, 30, u + d + 18, 36, tint((250, 244, 232), time))


def draw_mountains(pen: Pen, time: str, d: float) -> None:
    rock, cap = tint((118, 124, 158), time), mix(tint((250, 252, 255), time), (255, 255, 255), 0.3)
    for u, top, half, shade in ((128, 178, 110, 0.2), (34, 204, 96, 0.0), (222, 214, 96, 0.08)):
        u, paint = u + d, darker(rock, shade)
        pen.polygon([(u - half, 50), (u, top), (u + half, 50)], paint)
        pen.polygon([(u, top), (u + half, 50), (u + half * 0.3, 50)], darker(paint, 0.2))
        w, low = half * 0.34, top - (top - 50) * 0.34
        pen.polygon(
            [(u - w, low), (u, top), (u + w, low), (u + w * 0.4, low + 10), (u, low - 8),
             (u - w * 0.4, low + 10)], cap)  # fmt: skip
    pen.oval(60, 30, 150, 44, ground_tint((110, 176, 90), time))
    pen.oval(210, 26, 150, 44, ground_tint((92, 160, 82), time))
    pen.rect(-9, -9, SIZE + 9, 40, ground_tint((100, 170, 86), time))
    for u, v in ((26, 30), (70, 14), (190, 18), (232, 34)):
        pen.dot(u + d, v, 6, tint((252, 232, 120), time))


def draw_desert(pen: Pen, time: str, d: float) -> None:
    dune = ground_tint((232, 164, 84), time)
    pen.oval(40, 60, 130, 62, ground_tint((214, 138, 70), time))
    pen.oval(220, 56, 120, 58, ground_tint((222, 148, 76), time))
    pen.rect(-9, -9, SIZE + 9, 60, dune)
    pen.oval(110, 44, 220, 38, dune)
    for u, v in ((30, 24), (120, 14), (190, 30)):
        pen.rect(u + d, v, u + d + 44, v + 5, darker(dune, 0.16), 2)
    cactus = ground_tint((50, 140, 84), time) if time != "snow" else (104, 166, 132)
    for u, base, s in ((24, 62, 1.0), (234, 70, 0.8)):
        u = u + d
        pen.line([(u, base), (u, base + 92 * s)], 22 * s, cactus)
        pen.line(
            [(u, base + 36 * s), (u + 26 * s, base + 40 * s), (u + 26 * s, base + 66 * s)],
            14 * s,
            cactus,
        )
        pen.line(
            [(u, base + 50 * s), (u - 24 * s, base + 54 * s), (u - 24 * s, base + 76 * s)],
            14 * s,
            cactus,
        )


def draw_temple(pen: Pen, time: str, d: float) -> None:
    stone, gold = tint((238, 206, 150), time), tint((246, 178, 50), time)
    roof = (246, 249, 254) if time == "snow" else tint((186, 66, 48), time)
    pen.rect(-9, -9, SIZE + 9, 62, ground_tint((196, 178, 128), time))
    u = 128 + d
    for half, low, high in ((124, 40, 54), (116, 54, 66)):
        pen.rect(u - half, low, u + half, high, darker(stone, 0.12))
    pen.rect(u - 100, 66, u + 100, 130, darker(stone, 0.5))
    for i in range(6):
        left = u - 104 + i * 38
        pen.rect(left, 66, left + 18, 132, stone)
    for half, low, high, slim in ((122, 130, 160, 84), (84, 166, 188, 54), (52, 194, 214, 26)):
        pen.rect(u - slim * 0.96, low, u + slim * 0.96, high + 8, stone)
        pen.polygon([(u - half, low), (u - slim, high), (u + slim, high), (u + half, low)], roof)
        pen.rect(u - half, low - 4, u + half, low + 4, gold)
    pen.polygon([(u - 8, 214), (u, 246), (u + 8, 214)], gold)


def draw_rooftop(pen: Pen, time: str, d: float) -> None:
    far = tint((150, 158, 192), time)
    window = LIT if time in ("night", "storm") else lighter(far, 0.5)
    for left, width, top in (
        (-6, 40, 118),
        (42, 34, 98),
        (84, 44, 126),
        (136, 34, 104),
        (178, 44, 122),
        (228, 40, 100),
    ):
        _block(pen, left + d, width, 40, top, far)
        for u in (left + d + 7, left + d + width - 15):
            pen.rect(u, top - 18, u + 8, top - 8, window)
    steel = tint((96, 82, 76), time)
    for u in (196, 226):
        pen.rect(u + d, 60, u + d + 6, 110, steel)
    barrel = tint((166, 106, 66), time)
    pen.rect(188 + d, 104, 240 + d, 156, barrel)
    hat = (250, 252, 255) if time == "snow" else darker(barrel, 0.35)
    pen.polygon([(182 + d, 154), (214 + d, 184), (246 + d, 154)], hat)
    pen.line([(34 + d, 60), (34 + d, 160)], 5, steel)
    for v, half in ((152, 14), (136, 20)):
        pen.line([(34 + d - half, v), (34 + d + half, v)], 5, steel)
    brick = tint((188, 84, 66), time)
    pen.rect(-9, -9, SIZE + 9, 62, brick)
    pen.rect(-9, 56, SIZE + 9, 72, ground_tint((222, 214, 204), time))
    for row, v in enumerate((40, 22, 4)):
        for u in range(-40, 280, 44):
            pen.rect(
                u + d + row % 2 * 22, v, u + d + row % 2 * 22 + 38, v + 12, lighter(brick, 0.16)
            )


PLACES: dict[str, Callable[[Pen, str, float], None]] = {
    "beach": draw_beach,
    "city": draw_city,
    "futuristic city": draw_futuristic_city,
    "forest": draw_forest,
    "village": draw_village,
    "mountains": draw_mountains,
    "desert": draw_desert,
    "temple": draw_temple,
    "rooftop": draw_rooftop,
}


def draw_place(pen: Pen, place: str, time: str, d: float) -> None:
    PLACES[place](pen, time, d)
