"""Vehicles, buildings and plants. Each draws itself on the ground line v = 0."""

import math
from collections.abc import Callable

from tools.picturebook.edition2.faces import DARK, GOLD, WHITE
from tools.picturebook.edition2.pen import Colour, Pen, darker, lighter

GLASS: Colour = (180, 228, 248)
FLAME: Colour = (255, 146, 34)
STEEL: Colour = (182, 190, 204)
WOOD: Colour = (128, 82, 50)
LEAF: Colour = (72, 168, 84)
LAMP: Colour = (255, 240, 160)
WAVE: Colour = (110, 190, 236)
SMOKE: Colour = (236, 238, 244)
STONE: Colour = (206, 204, 212)


def _wheel(pen: Pen, u: float, v: float, r: float) -> None:
    pen.dot(u, v, r, DARK)
    pen.dot(u, v, r * 0.5, STEEL)


def _waves(pen: Pen, half: float) -> None:
    for i in range(-2, 3):
        pen.oval(i * half / 2.2, 0.03, half / 3.2, 0.06, WAVE)


def draw_car(pen: Pen, c: Colour) -> None:
    pen.blob([(-0.52, 0.46), (-0.36, 0.82), (0, 0.9), (0.32, 0.82), (0.54, 0.46)], c)
    pen.rect(-0.84, 0.16, 0.84, 0.54, c, 0.16)
    pen.polygon([(-0.36, 0.52), (-0.26, 0.78), (-0.04, 0.8), (-0.04, 0.52)], GLASS)
    pen.polygon([(0.06, 0.52), (0.06, 0.8), (0.24, 0.78), (0.4, 0.52)], GLASS)
    pen.rect(-0.8, 0.3, 0.8, 0.35, lighter(c, 0.5))
    pen.dot(0.76, 0.42, 0.08, GOLD)
    pen.rect(-0.84, 0.38, -0.74, 0.46, (220, 40, 44), 0.02)
    for u in (-0.46, 0.46):
        _wheel(pen, u, 0.18, 0.19)


def draw_flying_car(pen: Pen, c: Colour) -> None:
    """No wheels: a glass dome, a fin, a jet and glowing discs below."""
    pen.polygon([(-0.8, 0.5), (-1.14, 0.42), (-0.8, 0.3)], FLAME)
    pen.polygon([(-0.84, 0.42), (-0.94, 0.9), (-0.68, 0.9), (-0.4, 0.5)], darker(c, 0.3))
    pen.oval(0.08, 0.54, 0.42, 0.36, GLASS)
    pen.mark([(-0.16, 0.62), (-0.02, 0.78)], 0.05, WHITE)
    pen.blob([(-0.88, 0.5), (0.1, 0.54), (0.7, 0.5), (0.98, 0.36), (0.6, 0.2), (-0.7, 0.2)], c)
    pen.line([(-0.6, 0.36), (0.6, 0.36)], 0.06, lighter(c, 0.6))
    for u in (-0.45, 0.4):
        pen.oval(u, 0.12, 0.26, 0.08, (90, 244, 250))


def draw_bus(pen: Pen, c: Colour) -> None:
    pen.rect(-0.94, 0.14, 0.94, 0.96, c, 0.1)
    pen.rect(-0.94, 0.38, 0.94, 0.45, lighter(c, 0.6))
    for i in range(4):
        pen.rect(-0.84 + i * 0.36, 0.54, -0.56 + i * 0.36, 0.82, GLASS, 0.03)
    pen.rect(0.62, 0.2, 0.86, 0.82, GLASS, 0.03)
    pen.rect(0.73, 0.2, 0.75, 0.82, darker(c, 0.3))
    pen.dot(0.9, 0.26, 0.06, GOLD)
    for u in (-0.52, 0.4):
        _wheel(pen, u, 0.15, 0.17)


def draw_train(pen: Pen, c: Colour) -> None:
    """A steam engine going right."""
    dark = darker(c, 0.4)
    for u, v, r in ((0.46, 0.98, 0.1), (0.3, 1.06, 0.13), (0.08, 1.1, 0.15)):
        pen.dot(u, v, r, SMOKE)
    pen.polygon([(0.4, 0.6), (0.34, 0.9), (0.62, 0.9), (0.56, 0.6)], dark)
    pen.rect(-0.2, 0.26, 0.8, 0.66, c, 0.12)
    pen.dot(0.0, 0.7, 0.1, GOLD)
    pen.rect(-0.86, 0.22, -0.2, 0.9, c, 0.04)
    pen.rect(-0.94, 0.86, -0.12, 0.98, dark, 0.04)
    pen.rect(-0.74, 0.52, -0.34, 0.8, GLASS, 0.03)
    for u in (0.14, 0.36):
        pen.rect(u, 0.26, u + 0.06, 0.66, lighter(c, 0.5))
    pen.dot(0.78, 0.46, 0.09, LAMP)
    pen.polygon([(0.7, 0.24), (1.0, 0.02), (0.66, 0.02)], STEEL)
    pen.rect(-0.86, 0.16, 0.74, 0.26, dark)
    for u, r in ((-0.62, 0.2), (-0.14, 0.2), (0.24, 0.13), (0.54, 0.13)):
        _wheel(pen, u, r, r)


def draw_bicycle(pen: Pen, c: Colour) -> None:
    """Wheels with spokes, a frame in the colour."""
    for u in (-0.52, 0.52):
        pen.dot(u, 0.32, 0.32, DARK)
        pen.dot(u, 0.32, 0.25, (240, 242, 248))
        for k in range(4):
            a, b = 0.25 * math.cos(k * math.pi / 4), 0.25 * math.sin(k * math.pi / 4)
            pen.mark([(u - a, 0.32 - b), (u + a, 0.32 + b)], 0.015, STEEL)
        pen.dot(u, 0.32, 0.05, DARK)
    frame = [(-0.52, 0.32), (-0.22, 0.72), (0.34, 0.74), (-0.04, 0.3), (-0.52, 0.32)]
    pen.line(frame, 0.085, c)
    pen.line([(-0.04, 0.3), (-0.26, 0.84)], 0.085, c)
    pen.line([(0.52, 0.32), (0.32, 0.92)], 0.085, c)
    pen.line([(0.32, 0.92), (0.2, 0.98), (0.46, 0.98)], 0.06, DARK)
    pen.oval(-0.27, 0.88, 0.17, 0.055, DARK)
    pen.dot(-0.04, 0.3, 0.08, STEEL)


def draw_plane(pen: Pen, c: Colour) -> None:
    """A propeller plane flying right."""
    wing = darker(c, 0.3)
    pen.polygon([(-0.66, 0.5), (-0.9, 0.94), (-0.66, 0.94), (-0.4, 0.56)], wing)
    pen.blob([(-0.88, 0.52), (-0.3, 0.66), (0.4, 0.7), (0.72, 0.5), (0.5, 0.28), (-0.2, 0.3)], c)
    pen.pie(0.16, 0.62, 0.22, 180, 360, GLASS)
    pen.line([(-0.5, 0.47), (0.6, 0.47)], 0.05, lighter(c, 0.6))
    pen.polygon([(0.16, 0.46), (-0.3, 0.02), (-0.56, 0.02), (-0.2, 0.46)], wing)
    pen.polygon([(-0.7, 0.5), (-0.94, 0.36), (-0.76, 0.36), (-0.5, 0.48)], wing)
    pen.oval(0.78, 0.5, 0.05, 0.36, STEEL)
    pen.dot(0.76, 0.5, 0.08, GOLD)


def draw_rocket(pen: Pen, c: Colour) -> None:
    fin = darker(c, 0.4)
    pen.blob([(-0.15, 0.2), (-0.08, 0.02), (0, -0.12), (0.08, 0.02), (0.15, 0.2)], FLAME)
    pen.blob([(-0.07, 0.2), (0, 0.0), (0.07, 0.2)], GOLD)
    for side in (-1, 1):
        pen.blob([(side * 0.14, 0.52), (side * 0.4, 0.26), (side * 0.4, 0.08), (side * 0.14, 0.24)],
                 fin)  # fmt: skip
    pen.blob([(-0.16, 0.18), (-0.24, 0.5), (-0.16, 0.82), (0, 1.04), (0.16, 0.82), (0.24, 0.5),
              (0.16, 0.18)], c)  # fmt: skip
    pen.blob([(-0.17, 0.8), (0, 1.04), (0.17, 0.8)], fin)
    pen.rect(-0.18, 0.22, 0.18, 0.29, lighter(c, 0.55))
    pen.dot(0, 0.58, 0.13, STEEL)
    pen.dot(0, 0.58, 0.09, GLASS)


def draw_balloon(pen: Pen, c: Colour) -> None:
    """A hot-air balloon with a basket."""
    for side in (-1, 1):
        pen.line([(side * 0.2, 0.4), (side * 0.1, 0.18)], 0.025, (110, 80, 50))
    pen.rect(-0.13, 0, 0.13, 0.18, (176, 118, 64), 0.03)
    pen.mark([(-0.12, 0.09), (0.12, 0.09)], 0.02, (120, 76, 44))
    pen.blob([(-0.13, 0.3), (-0.37, 0.62), (-0.27, 0.94), (0, 1.06), (0.27, 0.94), (0.37, 0.62),
              (0.13, 0.3)], c)  # fmt: skip
    pen.blob([(-0.06, 0.3), (-0.15, 0.66), (0, 1.04), (0.15, 0.66), (0.06, 0.3)], lighter(c, 0.5))


def draw_boat(pen: Pen, c: Colour) -> None:
    """A small boat with two light sails, waves below."""
    pen.rect(-0.02, 0.3, 0.04, 1.0, WOOD)
    pen.blob([(0.08, 0.36), (0.08, 0.98), (0.26, 0.74), (0.54, 0.36)], WHITE)
    pen.blob([(-0.08, 0.36), (-0.08, 0.86), (-0.24, 0.66), (-0.44, 0.36)], lighter(c, 0.6))
    pen.polygon([(0.02, 1.0), (0.02, 1.1), (0.2, 1.05)], c)
    pen.blob([(-0.64, 0.32), (0, 0.27), (0.68, 0.32), (0.44, 0.04), (-0.44, 0.04)], c)
    pen.mark([(-0.5, 0.22), (0, 0.18), (0.5, 0.22)], 0.035, lighter(c, 0.6))
    _waves(pen, 0.6)


def draw_ship(pen: Pen, c: Colour) -> None:
    """A steamer: hull in the colour, a white house, two funnels with smoke."""
    for u in (-0.2, 0.22):
        for du, v, r in ((-0.06, 1.0, 0.08), (-0.18, 1.06, 0.1)):
            pen.dot(u + du, v, r, SMOKE)
        pen.rect(u - 0.09, 0.6, u + 0.09, 0.94, c, 0.02)
        pen.rect(u - 0.09, 0.84, u + 0.09, 0.94, DARK, 0.02)
    pen.rect(-0.5, 0.36, 0.5, 0.64, WHITE, 0.04)
    for u in (-0.36, -0.12, 0.12, 0.36):
        pen.dot(u, 0.52, 0.06, (96, 150, 206))
    pen.polygon([(-0.84, 0.4), (0.94, 0.4), (0.7, 0.02), (-0.66, 0.02)], c)
    pen.rect(-0.78, 0.29, 0.84, 0.34, lighter(c, 0.6))
    _waves(pen, 0.84)


def draw_submarine(pen: Pen, c: Colour) -> None:
    pen.line([(0.06, 0.7), (0.06, 1.0), (0.2, 1.0)], 0.06, STEEL)
    pen.rect(-0.14, 0.6, 0.26, 0.84, darker(c, 0.3), 0.06)
    pen.polygon([(-0.7, 0.42), (-0.94, 0.72), (-0.94, 0.12)], darker(c, 0.3))
    pen.oval(0, 0.42, 0.8, 0.34, c)
    pen.line([(-0.56, 0.22), (0.56, 0.22)], 0.05, lighter(c, 0.5))
    for u in (-0.36, 0.04, 0.44):
        pen.dot(u, 0.48, 0.14, STEEL)
        pen.dot(u, 0.48, 0.1, GLASS)


def draw_house(pen: Pen, c: Colour) -> None:
    """Walls in the colour, the roof darker."""
    roof = darker(c, 0.45)
    pen.rect(0.2, 0.72, 0.36, 1.02, roof)
    pen.rect(-0.44, 0, 0.44, 0.58, c)
    pen.polygon([(-0.6, 0.54), (0, 1.02), (0.6, 0.54)], roof)
    pen.rect(-0.11, 0, 0.13, 0.36, WOOD, 0.03)
    pen.dot(0.08, 0.18, 0.025, GOLD)
    for side in (-1, 1):
        pen.rect(side * 0.28 - 0.1, 0.24, side * 0.28 + 0.1, 0.46, LAMP)
        pen.mark([(side * 0.28, 0.25), (side * 0.28, 0.45)], 0.02, WOOD)
        pen.mark([(side * 0.28 - 0.09, 0.35), (side * 0.28 + 0.09, 0.35)], 0.02, WOOD)
    pen.dot(0, 0.73, 0.085, LAMP)


def draw_castle(pen: Pen, c: Colour) -> None:
    """Walls and towers in the colour, dark pointed roofs, flags, a gate."""
    roof, shade = darker(c, 0.45), darker(c, 0.18)
    for u, top in ((-0.48, 0.66), (0.48, 0.66), (0, 0.8)):
        pen.line([(u, top + 0.28), (u, top + 0.4)], 0.02, DARK)
        pen.polygon([(u, top + 0.42), (u + 0.18, top + 0.37), (u, top + 0.32)], (236, 60, 66))
    pen.rect(-0.16, 0.3, 0.16, 0.8, shade)
    pen.polygon([(-0.22, 0.8), (0, 1.1), (0.22, 0.8)], roof)
    for side in (-1, 1):
        pen.rect(side * 0.48 - 0.15, 0, side * 0.48 + 0.15, 0.66, c)
        pen.polygon([(side * 0.48 - 0.2, 0.66), (side * 0.48, 0.94), (side * 0.48 + 0.2, 0.66)],
                    roof)  # fmt: skip
        pen.rect(side * 0.48 - 0.04, 0.4, side * 0.48 + 0.04, 0.54, LAMP, 0.03)
    pen.rect(-0.38, 0, 0.38, 0.42, c)
    for u in (-0.32, -0.1, 0.12):
        pen.rect(u, 0.4, u + 0.14, 0.5, c)
    pen.rect(-0.04, 0.6, 0.04, 0.74, LAMP, 0.03)
    pen.rect(-0.13, 0, 0.13, 0.2, WOOD)
    pen.pie(0, 0.19, 0.13, 180, 360, WOOD)


def draw_lighthouse(pen: Pen, c: Colour) -> None:
    """White with bands in the colour, a lamp that shines to both sides."""
    pen.polygon([(0.1, 0.86), (0.52, 0.98), (0.52, 0.74)], (255, 240, 150))
    pen.polygon([(-0.1, 0.86), (-0.52, 0.98), (-0.52, 0.74)], (255, 240, 150))
    pen.blob([(-0.38, 0.0), (-0.34, 0.1), (0, 0.14), (0.34, 0.1), (0.38, 0.0)], (136, 130, 136))
    pen.polygon([(-0.24, 0.06), (-0.14, 0.76), (0.14, 0.76), (0.24, 0.06)], WHITE)
    for low, high in ((0.1, 0.26), (0.42, 0.58)):
        a, b = 0.24 - (low - 0.06) / 7, 0.24 - (high - 0.06) / 7
        pen.polygon([(-a, low), (-b, high), (b, high), (a, low)], c)
    pen.rect(-0.19, 0.74, 0.19, 0.79, DARK)
    pen.rect(-0.1, 0.79, 0.1, 0.94, LAMP)
    pen.polygon([(-0.17, 0.93), (0, 1.1), (0.17, 0.93)], c)
    pen.rect(-0.05, 0.06, 0.05, 0.2, WOOD, 0.03)


def draw_windmill(pen: Pen, c: Colour) -> None:
    """The tower in the colour, four white sails."""
    pen.polygon([(-0.26, 0), (-0.16, 0.64), (0.16, 0.64), (0.26, 0)], c)
    pen.pie(0, 0.63, 0.19, 180, 360, darker(c, 0.4))
    pen.rect(-0.07, 0, 0.07, 0.2, WOOD, 0.03)
    pen.dot(0, 0.38, 0.06, LAMP)
    for k in range(4):
        angle = math.radians(28 + 90 * k)
        a, b = math.cos(angle), math.sin(angle)
        corners = [(0.1, 0.0), (0.46, 0.0), (0.46, 0.16), (0.1, 0.16)]
        pen.polygon([(p * a - q * b, 0.68 + p * b + q * a) for p, q in corners], (250, 246, 234))
        pen.line([(0, 0.68), (0.46 * a, 0.68 + 0.46 * b)], 0.035, WOOD)
    pen.dot(0, 0.68, 0.05, DARK)


def draw_tree(pen: Pen, c: Colour) -> None:
    """A round crown in the colour on a brown trunk."""
    pen.polygon([(-0.12, 0), (0.12, 0), (0.08, 0.5), (-0.08, 0.5)], WOOD)
    for u, v, r in ((-0.26, 0.56, 0.22), (0.26, 0.56, 0.22), (0, 0.5, 0.22), (0, 0.76, 0.28)):
        pen.dot(u, v, r, c)
    for u, v in ((-0.26, 0.6), (0.22, 0.54), (0.06, 0.84), (-0.06, 0.64)):
        pen.dot(u, v, 0.065, lighter(c, 0.4))


def draw_flower(pen: Pen, c: Colour) -> None:
    pen.line([(0, 0), (0, 0.6)], 0.06, LEAF)
    for side, low in ((-1, 0.12), (1, 0.24)):
        pen.blob([(0, low), (side * 0.16, low + 0.2), (side * 0.36, low + 0.2),
                  (side * 0.2, low + 0.02)], LEAF)  # fmt: skip
    for k in range(7):
        angle = math.radians(90 + k * 360 / 7)
        pen.dot(0.22 * math.cos(angle), 0.74 + 0.22 * math.sin(angle), 0.13, c)
    pen.dot(0, 0.74, 0.15, GOLD)
    pen.dot(0, 0.74, 0.08, darker(GOLD, 0.2))


def draw_mushroom(pen: Pen, c: Colour) -> None:
    """A cap in the colour with pale dots."""
    pen.blob([(-0.15, 0.5), (0.15, 0.5), (0.2, 0.04), (0, 0.0), (-0.2, 0.04)], (250, 240, 218))
    pen.oval(0, 0.46, 0.4, 0.08, (228, 206, 176))
    pen.blob([(-0.5, 0.46), (-0.38, 0.84), (0, 1.0), (0.38, 0.84), (0.5, 0.46), (0, 0.52)], c)
    for u, v, r in ((-0.24, 0.64, 0.08), (0.04, 0.82, 0.1), (0.28, 0.62, 0.09), (0, 0.6, 0.06)):
        pen.dot(u, v, r, lighter(c, 0.75))


THINGS: dict[str, Callable[[Pen, Colour], None]] = {
    "car": draw_car,
    "flying car": draw_flying_car,
    "bus": draw_bus,
    "train": draw_train,
    "bicycle": draw_bicycle,
    "plane": draw_plane,
    "rocket": draw_rocket,
    "balloon": draw_balloon,
    "boat": draw_boat,
    "ship": draw_ship,
    "submarine": draw_submarine,
    "house": draw_house,
    "castle": draw_castle,
    "lighthouse": draw_lighthouse,
    "windmill": draw_windmill,
    "tree": draw_tree,
    "flower": draw_flower,
    "mushroom": draw_mushroom,
}
