"""Animals, machines and buildings. Each draws itself one unit high on the ground line v = 0."""

from collections.abc import Callable

from tools.picturebook.pen import PAINT, Colour, Pen, darker, lighter

DARK: Colour = (44, 40, 54)
GLASS: Colour = (176, 226, 246)
GOLD: Colour = (255, 212, 60)
FLAME: Colour = (255, 150, 30)
STEEL: Colour = (176, 184, 198)
WHITE: Colour = (250, 250, 250)


def draw_robot(pen: Pen, c: Colour) -> None:
    joint = darker(c, 0.4)
    pen.line([(0, 0.92), (0, 1.0)], 0.04, STEEL)
    pen.dot(0, 1.02, 0.05, GOLD)
    for side in (-1, 1):
        pen.rect(side * 0.15 - 0.07, 0.04, side * 0.15 + 0.07, 0.28, joint)
        pen.rect(side * 0.16 - 0.12, 0, side * 0.16 + 0.12, 0.08, c, 0.03)
        pen.line([(side * 0.28, 0.54), (side * 0.38, 0.34)], 0.1, joint)
        pen.dot(side * 0.39, 0.29, 0.08, c)
    pen.rect(-0.27, 0.24, 0.27, 0.6, c, 0.04)
    pen.rect(-0.24, 0.64, 0.24, 0.92, c, 0.05)
    pen.rect(-0.17, 0.7, 0.17, 0.86, DARK, 0.03)
    pen.dot(-0.08, 0.78, 0.045, GLASS)
    pen.dot(0.08, 0.78, 0.045, GLASS)
    pen.rect(-0.15, 0.34, 0.15, 0.5, lighter(c, 0.55), 0.02)


def draw_cat(pen: Pen, c: Colour) -> None:
    """Sitting, seen from the front, with a curled tail."""
    light = lighter(c, 0.5)
    pen.line([(0.18, 0.08), (0.4, 0.14), (0.44, 0.34), (0.34, 0.46)], 0.1, c)
    pen.oval(0, 0.26, 0.25, 0.27, c)
    pen.oval(0, 0.2, 0.13, 0.18, light)
    pen.polygon([(-0.3, 0.7), (-0.29, 1.04), (-0.06, 0.86)], c)
    pen.polygon([(0.3, 0.7), (0.29, 1.04), (0.06, 0.86)], c)
    pen.oval(0, 0.66, 0.32, 0.25, c)
    for side in (-1, 1):
        pen.oval(side * 0.13, 0.7, 0.06, 0.075, WHITE)
        pen.oval(side * 0.13, 0.7, 0.03, 0.06, DARK)
        pen.oval(side * 0.11, 0.04, 0.09, 0.05, light)
    pen.dot(0, 0.58, 0.04, (250, 130, 150))


def draw_dog(pen: Pen, c: Colour) -> None:
    """Standing on four legs, seen from the side, looking right."""
    ear = darker(c, 0.4)
    pen.line([(-0.4, 0.5), (-0.58, 0.72)], 0.09, c)
    for u in (-0.36, -0.2, 0.14, 0.3):
        pen.line([(u, 0.35), (u, 0.05)], 0.12, c)
    pen.rect(-0.48, 0.26, 0.4, 0.58, c, 0.15)
    pen.line([(0.3, 0.5), (0.4, 0.74)], 0.24, c)
    pen.oval(0.42, 0.78, 0.2, 0.18, c)
    pen.rect(0.46, 0.63, 0.72, 0.79, lighter(c, 0.45), 0.07)
    pen.dot(0.7, 0.77, 0.05, DARK)
    pen.dot(0.49, 0.84, 0.035, DARK)
    pen.line([(0.28, 0.86), (0.22, 0.62)], 0.13, ear)
    pen.line([(0.22, 0.54), (0.44, 0.5)], 0.06, (230, 60, 60))


def draw_bird(pen: Pen, c: Colour) -> None:
    """In flight to the right, wings raised."""
    wing = darker(c, 0.3)
    pen.polygon([(-0.3, 0.5), (-0.7, 0.66), (-0.68, 0.42), (-0.6, 0.3)], wing)
    pen.polygon([(0.1, 0.52), (0.2, 1.0), (-0.08, 0.96), (-0.2, 0.5)], wing)
    pen.oval(-0.02, 0.42, 0.42, 0.24, c)
    pen.dot(0.36, 0.58, 0.19, c)
    pen.polygon([(0.52, 0.66), (0.78, 0.55), (0.52, 0.48)], FLAME)
    pen.polygon([(0.02, 0.5), (-0.26, 1.04), (-0.46, 0.9), (-0.32, 0.46)], lighter(c, 0.35))
    pen.oval(0.08, 0.3, 0.22, 0.1, lighter(c, 0.6))
    pen.dot(0.42, 0.62, 0.06, WHITE)
    pen.dot(0.44, 0.62, 0.035, DARK)


def draw_car(pen: Pen, c: Colour) -> None:
    pen.polygon([(-0.5, 0.5), (-0.32, 0.9), (0.28, 0.9), (0.52, 0.5)], c)
    pen.rect(-0.86, 0.18, 0.86, 0.56, c, 0.12)
    pen.polygon([(-0.36, 0.54), (-0.24, 0.8), (-0.04, 0.8), (-0.04, 0.54)], GLASS)
    pen.polygon([(0.06, 0.54), (0.06, 0.8), (0.22, 0.8), (0.38, 0.54)], GLASS)
    pen.rect(0.72, 0.36, 0.88, 0.48, GOLD, 0.03)
    for u in (-0.48, 0.48):
        pen.dot(u, 0.18, 0.2, DARK)
        pen.dot(u, 0.18, 0.09, STEEL)


def draw_flying_car(pen: Pen, c: Colour) -> None:
    """No wheels: a glass dome, a tail fin, a jet flame and glowing discs below."""
    pen.polygon([(-0.8, 0.5), (-1.2, 0.44), (-0.8, 0.3)], FLAME)
    pen.polygon([(-0.84, 0.42), (-0.92, 0.92), (-0.66, 0.92), (-0.4, 0.5)], darker(c, 0.3))
    pen.oval(0.08, 0.56, 0.42, 0.34, GLASS)
    pen.polygon(
        [(-0.86, 0.52), (0.6, 0.56), (0.98, 0.38), (0.6, 0.2), (-0.7, 0.2), (-0.88, 0.34)], c
    )
    pen.line([(-0.6, 0.38), (0.6, 0.38)], 0.06, lighter(c, 0.6))
    for u in (-0.45, 0.4):
        pen.oval(u, 0.12, 0.24, 0.07, (90, 244, 250))


def draw_house(pen: Pen, c: Colour) -> None:
    """Walls in the colour; the roof darker."""
    roof = darker(c, 0.45)
    pen.rect(0.2, 0.72, 0.34, 1.0, roof)
    pen.rect(-0.42, 0, 0.42, 0.58, c)
    pen.polygon([(-0.56, 0.55), (0, 1.0), (0.56, 0.55)], roof)
    pen.rect(-0.1, 0, 0.12, 0.34, (112, 70, 44))
    for side in (-1, 1):
        pen.rect(side * 0.27 - 0.09, 0.26, side * 0.27 + 0.09, 0.46, (255, 240, 160))
    pen.dot(0, 0.74, 0.08, (255, 240, 160))


def draw_tree(pen: Pen, c: Colour) -> None:
    """A round crown in the colour on a brown trunk."""
    trunk = (116, 72, 42)
    pen.polygon([(-0.1, 0), (0.1, 0), (0.07, 0.5), (-0.07, 0.5)], trunk)
    for u, v, r in ((-0.24, 0.56, 0.22), (0.24, 0.56, 0.22), (0, 0.74, 0.28)):
        pen.dot(u, v, r, c)
    for u, v in ((-0.22, 0.6), (0.2, 0.56), (0.02, 0.84)):
        pen.dot(u, v, 0.08, lighter(c, 0.4))


def draw_rocket(pen: Pen, c: Colour) -> None:
    pen.polygon([(-0.13, 0.2), (0, -0.06), (0.13, 0.2)], FLAME)
    pen.polygon([(-0.07, 0.2), (0, 0.04), (0.07, 0.2)], GOLD)
    fin = darker(c, 0.4)
    for side in (-1, 1):
        pen.polygon([(side * 0.14, 0.5), (side * 0.38, 0.16), (side * 0.14, 0.22)], fin)
    pen.polygon([(-0.19, 0.72), (-0.1, 0.92), (0, 1.02), (0.1, 0.92), (0.19, 0.72)], fin)
    pen.rect(-0.19, 0.18, 0.19, 0.74, c, 0.03)
    pen.dot(0, 0.56, 0.12, STEEL)
    pen.dot(0, 0.56, 0.085, GLASS)


def draw_balloon(pen: Pen, c: Colour) -> None:
    """A hot-air balloon with a basket."""
    for side in (-1, 1):
        pen.line([(side * 0.2, 0.4), (side * 0.1, 0.18)], 0.025, (110, 80, 50))
    pen.rect(-0.12, 0, 0.12, 0.18, (166, 110, 60), 0.03)
    pen.polygon([(-0.3, 0.5), (-0.12, 0.3), (0.12, 0.3), (0.3, 0.5)], c)
    pen.dot(0, 0.68, 0.36, c)
    pen.oval(0, 0.68, 0.13, 0.36, lighter(c, 0.5))


def draw_boat(pen: Pen, c: Colour) -> None:
    """Hull in the colour, one light sail in two parts, waves below."""
    pen.rect(-0.02, 0.3, 0.04, 1.0, (110, 74, 46))
    pen.polygon([(0.08, 0.36), (0.08, 0.98), (0.52, 0.36)], WHITE)
    pen.polygon([(-0.08, 0.36), (-0.08, 0.88), (-0.42, 0.36)], lighter(c, 0.6))
    pen.polygon([(-0.62, 0.3), (0.66, 0.3), (0.42, 0.02), (-0.42, 0.02)], c)
    for u in (-0.52, -0.18, 0.16, 0.5):
        pen.oval(u, 0.02, 0.2, 0.06, (110, 190, 236))


THINGS: dict[str, Callable[[Pen, Colour], None]] = {
    "robot": draw_robot,
    "cat": draw_cat,
    "dog": draw_dog,
    "bird": draw_bird,
    "car": draw_car,
    "flying car": draw_flying_car,
    "house": draw_house,
    "tree": draw_tree,
    "rocket": draw_rocket,
    "balloon": draw_balloon,
    "boat": draw_boat,
}


def draw_thing(pen: Pen, kind: str, colour: str) -> None:
    THINGS[kind](pen, PAINT[colour])
