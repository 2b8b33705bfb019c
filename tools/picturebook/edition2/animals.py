"""Animals and friendly creatures, one unit high. Each gives back where its head is."""

from collections.abc import Callable

from tools.picturebook.edition2.faces import DARK, GOLD, WHITE, Head, draw_face
from tools.picturebook.edition2.pen import Colour, Pen, darker, lighter

PINK: Colour = (250, 140, 160)
BEAK: Colour = (255, 158, 40)
NOSE: Colour = (54, 44, 54)


def _sitter(pen: Pen, c: Colour, light: Colour, wide: float = 0.27) -> None:
    """A body that sits and is seen from the front: belly, arms and feet."""
    pen.oval(0, 0.27, wide, 0.27, c)
    pen.oval(0, 0.24, wide * 0.6, 0.19, light)
    for side in (-1, 1):
        pen.line([(side * wide * 0.8, 0.38), (side * wide * 0.72, 0.2)], 0.12, c)
        pen.oval(side * wide * 0.7, 0.06, 0.13, 0.065, c)


def draw_cat(pen: Pen, c: Colour, mood: str | None) -> None:
    head, light, dark = Head(0, 0.68, 0.3), lighter(c, 0.5), darker(c, 0.3)
    pen.arc([(0.2, 0.08), (0.42, 0.1), (0.5, 0.3), (0.42, 0.46)], 0.1, c)
    _sitter(pen, c, light, 0.25)
    for side in (-1, 1):
        pen.polygon([(side * 0.3, 0.72), (side * 0.31, 1.08), (side * 0.04, 0.92)], c)
        pen.polygon([(side * 0.25, 0.8), (side * 0.26, 1.0), (side * 0.11, 0.9)], PINK)
    pen.oval(0, 0.68, 0.36, 0.28, c)
    for u in (-0.1, 0.0, 0.1):
        pen.mark([(u, 0.93), (u, 0.84)], 0.035, dark)
    pen.oval(0, 0.58, 0.16, 0.11, light)
    draw_face(pen, head, mood)
    pen.polygon([(-0.04, 0.63), (0.04, 0.63), (0, 0.59)], PINK)
    for side in (-1, 1):
        for v in (0.6, 0.54):
            pen.mark([(side * 0.2, v), (side * 0.36, v + 0.02)], 0.014, dark)


def draw_dog(pen: Pen, c: Colour, mood: str | None) -> None:
    """Standing, looking at us; drooping ears, a red collar."""
    head, light, ear = Head(0.28, 0.7, 0.24), lighter(c, 0.5), darker(c, 0.4)
    pen.arc([(-0.4, 0.46), (-0.58, 0.56), (-0.62, 0.74)], 0.09, c)
    for u in (-0.34, -0.18, 0.16, 0.3):
        pen.line([(u, 0.3), (u, 0.06)], 0.13, c)
    pen.rect(-0.46, 0.2, 0.4, 0.52, c, 0.16)
    pen.oval(-0.16, 0.42, 0.14, 0.09, ear)
    pen.line([(0.16, 0.48), (0.4, 0.48)], 0.08, (226, 56, 60))
    pen.oval(0.28, 0.7, 0.26, 0.24, c)
    for side in (-1, 1):
        pen.blob([(0.28 + side * 0.16, 0.9), (0.28 + side * 0.34, 0.84), (0.28 + side * 0.36, 0.56),
                  (0.28 + side * 0.24, 0.58)], ear)  # fmt: skip
    pen.oval(0.28, 0.6, 0.15, 0.12, light)
    draw_face(pen, head, mood)
    pen.oval(0.28, 0.66, 0.06, 0.045, NOSE)


def draw_rabbit(pen: Pen, c: Colour, mood: str | None) -> None:
    head, light = Head(0, 0.54, 0.24), lighter(c, 0.5)
    pen.dot(0.24, 0.12, 0.1, light)
    _sitter(pen, c, light, 0.23)
    for side in (-1, 1):
        pen.oval(side * 0.13, 0.88, 0.085, 0.24, c)
        pen.oval(side * 0.13, 0.88, 0.04, 0.17, PINK)
    pen.oval(0, 0.54, 0.27, 0.23, c)
    pen.oval(0, 0.46, 0.13, 0.09, light)
    draw_face(pen, head, mood)
    pen.oval(0, 0.5, 0.04, 0.03, PINK)
    pen.rect(-0.045, 0.36, 0.045, 0.42, WHITE, 0.01)


def draw_bear(pen: Pen, c: Colour, mood: str | None) -> None:
    head, light = Head(0, 0.72, 0.27), lighter(c, 0.45)
    pen.oval(0, 0.3, 0.36, 0.32, c)
    pen.oval(0, 0.27, 0.22, 0.22, light)
    for side in (-1, 1):
        pen.line([(side * 0.3, 0.46), (side * 0.42, 0.28)], 0.16, c)
        pen.dot(side * 0.24, 0.1, 0.12, c)
        pen.dot(side * 0.24, 0.1, 0.065, light)
        pen.dot(side * 0.22, 0.92, 0.11, c)
        pen.dot(side * 0.22, 0.92, 0.06, light)
    pen.oval(0, 0.72, 0.3, 0.26, c)
    pen.oval(0, 0.64, 0.15, 0.12, light)
    draw_face(pen, head, mood)
    pen.oval(0, 0.7, 0.06, 0.045, NOSE)


def draw_lion(pen: Pen, c: Colour, mood: str | None) -> None:
    """A big darker mane, a tail with a tuft."""
    head, mane = Head(0, 0.66, 0.22), darker(c, 0.42)
    pen.arc([(0.2, 0.1), (0.42, 0.12), (0.52, 0.34)], 0.07, c)
    pen.dot(0.53, 0.38, 0.09, mane)
    _sitter(pen, c, lighter(c, 0.4), 0.26)
    for u, v in ((-0.3, 0.66), (0.3, 0.66), (-0.22, 0.86), (0.22, 0.86), (0, 0.94), (-0.22, 0.46),
                 (0.22, 0.46), (0, 0.4)):  # fmt: skip
        pen.dot(u, v, 0.14, mane)
    pen.dot(0, 0.67, 0.32, mane)
    for side in (-1, 1):
        pen.dot(side * 0.2, 0.86, 0.075, c)
    pen.oval(0, 0.66, 0.23, 0.22, c)
    pen.oval(0, 0.58, 0.12, 0.09, lighter(c, 0.55))
    draw_face(pen, head, mood)
    pen.polygon([(-0.05, 0.65), (0.05, 0.65), (0, 0.6)], NOSE)


def draw_frog(pen: Pen, c: Colour, mood: str | None) -> None:
    """Wide, with eyes on top of its head and folded legs."""
    light = lighter(c, 0.55)
    for side in (-1, 1):
        pen.blob([(side * 0.2, 0.1), (side * 0.5, 0.05), (side * 0.56, 0.26), (side * 0.4, 0.42),
                  (side * 0.2, 0.36)], c)  # fmt: skip
        pen.oval(side * 0.46, 0.05, 0.16, 0.05, darker(c, 0.2))
    pen.oval(0, 0.34, 0.36, 0.34, c)
    pen.oval(0, 0.22, 0.25, 0.21, light)
    pen.oval(0, 0.66, 0.42, 0.25, c)
    for side in (-1, 1):
        pen.dot(side * 0.23, 0.86, 0.15, c)
        pen.dot(side * 0.23, 0.87, 0.1, WHITE)
    draw_face(pen, Head(0, 0.84, 0.56), None if mood is None else mood)


def draw_mouse(pen: Pen, c: Colour, mood: str | None) -> None:
    head, light = Head(0, 0.58, 0.27), lighter(c, 0.5)
    pen.arc([(0.16, 0.06), (0.46, 0.04), (0.5, 0.26), (0.62, 0.34)], 0.04, PINK)
    _sitter(pen, c, light, 0.22)
    for side in (-1, 1):
        pen.dot(side * 0.27, 0.84, 0.19, c)
        pen.dot(side * 0.27, 0.84, 0.12, PINK)
    pen.oval(0, 0.58, 0.28, 0.25, c)
    draw_face(pen, head, mood)
    pen.dot(0, 0.53, 0.045, NOSE)


def draw_horse(pen: Pen, c: Colour, mood: str | None) -> None:
    """Standing, head on the right, a dark mane and tail."""
    mane, light = darker(c, 0.5), lighter(c, 0.5)
    pen.blob([(-0.36, 0.58), (-0.56, 0.54), (-0.64, 0.2), (-0.5, 0.26), (-0.42, 0.44)], mane)
    for u in (-0.34, -0.2, 0.14, 0.28):
        pen.line([(u, 0.4), (u, 0.08)], 0.1, c)
        pen.line([(u, 0.05), (u + 0.02, 0.05)], 0.09, mane)
    pen.oval(-0.04, 0.48, 0.4, 0.2, c)
    pen.polygon([(0.1, 0.52), (0.36, 0.42), (0.52, 0.8), (0.24, 0.9)], c)
    pen.blob([(0.2, 0.98), (0.34, 0.98), (0.16, 0.74), (0.04, 0.52), (-0.06, 0.6), (0.08, 0.84)],
             mane)  # fmt: skip
    pen.polygon([(0.24, 0.9), (0.24, 1.08), (0.36, 0.94)], c)
    pen.polygon([(0.44, 0.9), (0.5, 1.08), (0.54, 0.9)], c)
    pen.oval(0.4, 0.82, 0.2, 0.16, c)
    pen.oval(0.5, 0.68, 0.17, 0.12, light)
    pen.dot(0.46, 0.7, 0.02, DARK)
    pen.dot(0.55, 0.7, 0.02, DARK)
    draw_face(pen, Head(0.43, 0.8, 0.21), mood)


def draw_elephant(pen: Pen, c: Colour, mood: str | None) -> None:
    ear, dark = lighter(c, 0.25), darker(c, 0.25)
    pen.arc([(-0.48, 0.5), (-0.6, 0.4), (-0.6, 0.26)], 0.05, dark)
    for u in (-0.36, -0.14, 0.1, 0.3):
        pen.rect(u - 0.09, 0, u + 0.09, 0.36, c, 0.03)
        pen.rect(u - 0.09, 0, u + 0.09, 0.05, lighter(c, 0.6), 0.02)
    pen.oval(-0.06, 0.5, 0.46, 0.3, c)
    pen.arc([(0.42, 0.62), (0.62, 0.46), (0.62, 0.22), (0.76, 0.16)], 0.15, c)
    pen.dot(0.36, 0.7, 0.27, c)
    pen.blob([(0.2, 0.92), (-0.08, 0.98), (-0.2, 0.72), (-0.06, 0.46), (0.16, 0.5)], ear)
    pen.blob([(0.14, 0.84), (-0.04, 0.88), (-0.1, 0.7), (0.0, 0.56), (0.12, 0.58)],
             lighter(PINK, 0.3))  # fmt: skip
    pen.polygon([(0.46, 0.5), (0.58, 0.44), (0.5, 0.36)], WHITE)
    draw_face(pen, Head(0.4, 0.72, 0.24), mood)


def draw_turtle(pen: Pen, c: Colour, mood: str | None) -> None:
    """The shell in the colour; skin light green."""
    skin, line = (150, 200, 110), darker(c, 0.35)
    pen.polygon([(-0.56, 0.2), (-0.72, 0.14), (-0.5, 0.1)], skin)
    for u in (-0.36, 0.28):
        pen.line([(u, 0.2), (u, 0.08)], 0.19, skin)
    pen.line([(0.4, 0.3), (0.62, 0.5)], 0.2, skin)
    pen.dot(0.66, 0.62, 0.22, skin)
    pen.pie(-0.04, 0.18, 0.54, 180, 360, c)
    pen.rect(-0.58, 0.12, 0.5, 0.24, line, 0.06)
    for a, b, r in ((-0.04, 0.5, 0.12), (-0.32, 0.38, 0.09), (0.24, 0.38, 0.09)):
        pen.dot(a, b, r, lighter(c, 0.4))
    draw_face(pen, Head(0.68, 0.62, 0.22), mood)


def draw_owl(pen: Pen, c: Colour, mood: str | None) -> None:
    light, wing = lighter(c, 0.55), darker(c, 0.3)
    for side in (-1, 1):
        pen.polygon([(side * 0.14, 0.9), (side * 0.36, 1.06), (side * 0.36, 0.74)], c)
    pen.oval(0, 0.5, 0.38, 0.46, c)
    pen.oval(0, 0.34, 0.25, 0.28, light)
    for a, b in ((-0.1, 0.44), (0.1, 0.44), (0, 0.34), (-0.1, 0.24), (0.1, 0.24)):
        pen.pie(a, b, 0.06, 0, 180, darker(light, 0.16))
    for side in (-1, 1):
        pen.blob([(side * 0.3, 0.62), (side * 0.46, 0.5), (side * 0.4, 0.16), (side * 0.26, 0.3)],
                 wing)  # fmt: skip
        pen.oval(side * 0.12, 0.04, 0.09, 0.045, BEAK)
        pen.dot(side * 0.16, 0.72, 0.17, WHITE)
    draw_face(pen, Head(0, 0.69, 0.4), mood)
    pen.polygon([(-0.06, 0.66), (0.06, 0.66), (0, 0.54)], BEAK)


def draw_penguin(pen: Pen, c: Colour, mood: str | None) -> None:
    for side in (-1, 1):
        pen.oval(side * 0.14, 0.05, 0.14, 0.055, BEAK)
        pen.blob([(side * 0.26, 0.62), (side * 0.5, 0.4), (side * 0.46, 0.24), (side * 0.26, 0.36)],
                 darker(c, 0.25))  # fmt: skip
    pen.oval(0, 0.44, 0.33, 0.41, c)
    pen.dot(0, 0.76, 0.26, c)
    pen.oval(0, 0.36, 0.22, 0.31, WHITE)
    for side in (-1, 1):
        pen.oval(side * 0.1, 0.74, 0.13, 0.15, WHITE)
    draw_face(pen, Head(0, 0.74, 0.25), mood)
    pen.polygon([(-0.07, 0.72), (0.07, 0.72), (0, 0.62)], BEAK)


def draw_duck(pen: Pen, c: Colour, mood: str | None) -> None:
    """Seen from the side, looking right."""
    for u in (-0.06, 0.14):
        pen.line([(u, 0.16), (u, 0.06)], 0.05, BEAK)
        pen.oval(u + 0.05, 0.03, 0.11, 0.04, BEAK)
    pen.blob([(-0.66, 0.62), (-0.4, 0.44), (0.2, 0.5), (0.42, 0.36), (0.26, 0.14), (-0.26, 0.12),
              (-0.54, 0.32)], c)  # fmt: skip
    pen.dot(0.28, 0.72, 0.26, c)
    pen.blob([(-0.42, 0.46), (-0.02, 0.46), (0.1, 0.34), (-0.1, 0.2), (-0.34, 0.26)],
             darker(c, 0.25))  # fmt: skip
    draw_face(pen, Head(0.32, 0.78, 0.24), mood)
    pen.blob([(0.34, 0.7), (0.62, 0.72), (0.7, 0.64), (0.56, 0.58), (0.32, 0.62)], BEAK)


def draw_bird(pen: Pen, c: Colour, mood: str | None) -> None:
    """In flight to the right, wings raised."""
    wing = darker(c, 0.3)
    pen.polygon([(-0.3, 0.42), (-0.74, 0.56), (-0.7, 0.34), (-0.6, 0.22)], wing)
    pen.polygon([(0.12, 0.46), (0.24, 1.0), (-0.08, 0.92), (-0.2, 0.42)], wing)
    pen.oval(-0.02, 0.36, 0.42, 0.24, c)
    pen.oval(0.06, 0.24, 0.26, 0.11, lighter(c, 0.55))
    pen.dot(0.36, 0.54, 0.23, c)
    pen.polygon([(0.5, 0.56), (0.8, 0.46), (0.5, 0.4)], BEAK)
    pen.polygon([(0.04, 0.42), (-0.26, 1.0), (-0.48, 0.84), (-0.34, 0.38)], lighter(c, 0.35))
    draw_face(pen, Head(0.38, 0.58, 0.22), mood)


def draw_butterfly(pen: Pen, c: Colour, mood: str | None) -> None:
    spot, light = darker(c, 0.4), lighter(c, 0.5)
    for side in (-1, 1):
        pen.blob([(side * 0.04, 0.5), (side * 0.3, 0.96), (side * 0.62, 0.94), (side * 0.6, 0.6),
                  (side * 0.3, 0.46)], c)  # fmt: skip
        pen.blob([(side * 0.04, 0.48), (side * 0.4, 0.46), (side * 0.52, 0.24), (side * 0.34, 0.08),
                  (side * 0.12, 0.2)], lighter(c, 0.3))  # fmt: skip
        pen.dot(side * 0.42, 0.74, 0.11, light)
        pen.dot(side * 0.32, 0.28, 0.09, spot)
        pen.arc([(side * 0.05, 0.86), (side * 0.1, 1.0), (side * 0.2, 1.06)], 0.03, DARK)
        pen.dot(side * 0.2, 1.06, 0.04, DARK)
    pen.oval(0, 0.42, 0.09, 0.34, (84, 62, 66))
    pen.dot(0, 0.76, 0.16, (250, 214, 160))
    draw_face(pen, Head(0, 0.76, 0.17), mood)


def draw_fish(pen: Pen, c: Colour, mood: str | None) -> None:
    """Swimming to the right."""
    fin, light = darker(c, 0.3), lighter(c, 0.5)
    pen.blob([(-0.4, 0.5), (-0.8, 0.86), (-0.72, 0.5), (-0.8, 0.14)], fin)
    pen.blob([(-0.2, 0.76), (0.0, 1.02), (0.26, 0.94), (0.2, 0.74)], fin)
    pen.polygon([(-0.1, 0.22), (0.0, 0.0), (0.16, 0.22)], fin)
    pen.oval(0, 0.5, 0.54, 0.34, c)
    for u in (-0.28, -0.06):
        pen.mark([(u, 0.78), (u + 0.06, 0.5), (u, 0.22)], 0.08, light)
    pen.blob([(0.0, 0.48), (-0.2, 0.36), (-0.14, 0.56)], fin)
    draw_face(pen, Head(0.28, 0.52, 0.26), mood)


def draw_whale(pen: Pen, c: Colour, mood: str | None) -> None:
    """Swimming to the right, spouting."""
    light, water = lighter(c, 0.62), (150, 214, 250)
    pen.arc([(0.16, 0.76), (0.14, 0.94), (0.0, 1.0)], 0.06, water)
    pen.arc([(0.16, 0.76), (0.2, 0.94), (0.34, 1.0)], 0.06, water)
    pen.blob([(-0.58, 0.4), (-0.86, 0.82), (-0.7, 0.78), (-0.58, 0.68), (-0.44, 0.84),
              (-0.36, 0.78), (-0.46, 0.4)], c)  # fmt: skip
    pen.blob([(-0.7, 0.52), (-0.3, 0.56), (0.1, 0.74), (0.5, 0.7), (0.72, 0.44), (0.64, 0.14),
              (0.2, 0.02), (-0.3, 0.1), (-0.6, 0.32)], c)  # fmt: skip
    pen.blob([(0.7, 0.26), (0.5, 0.2), (0.0, 0.18), (-0.3, 0.14), (0.2, 0.02), (0.62, 0.12)],
             light)  # fmt: skip
    pen.blob([(0.04, 0.2), (-0.2, 0.0), (-0.16, 0.18)], darker(c, 0.3))
    draw_face(pen, Head(0.42, 0.46, 0.24), mood)


def draw_dragon(pen: Pen, c: Colour, mood: str | None) -> None:
    """Sitting, with bat wings, horns, a row of spikes and a little fire."""
    wing, light, spike = darker(c, 0.35), lighter(c, 0.55), (255, 196, 60)
    for side in (-1, 1):
        pen.polygon([(side * 0.16, 0.5), (side * 0.4, 0.92), (side * 0.68, 0.8), (side * 0.6, 0.6),
                     (side * 0.7, 0.44), (side * 0.48, 0.44), (side * 0.44, 0.28)],
                    wing)  # fmt: skip
    pen.arc([(-0.14, 0.1), (-0.46, 0.06), (-0.6, 0.2)], 0.12, c)
    pen.polygon([(-0.72, 0.16), (-0.66, 0.36), (-0.5, 0.26)], spike)
    pen.oval(0, 0.28, 0.27, 0.28, c)
    pen.oval(0, 0.26, 0.17, 0.23, light)
    for v in (0.14, 0.24, 0.34):
        pen.mark([(-0.13, v), (0.13, v)], 0.02, darker(light, 0.2))
    for side in (-1, 1):
        pen.oval(side * 0.2, 0.06, 0.13, 0.065, c)
        pen.polygon([(side * 0.12, 0.9), (side * 0.26, 1.1), (side * 0.26, 0.84)], spike)
        pen.line([(side * 0.22, 0.4), (side * 0.3, 0.26)], 0.09, c)
    pen.polygon([(-0.08, 0.94), (0, 1.06), (0.08, 0.94)], wing)
    pen.oval(0, 0.74, 0.29, 0.24, c)
    pen.oval(0, 0.62, 0.2, 0.12, lighter(c, 0.35))
    draw_face(pen, Head(0, 0.73, 0.27), mood)
    for side in (-1, 1):
        pen.dot(side * 0.07, 0.67, 0.022, DARK)


def draw_ghost(pen: Pen, c: Colour, mood: str | None) -> None:
    pale = lighter(c, 0.3)
    pen.polygon([(-0.36, 0.6), (0.36, 0.6), (0.42, 0.08), (-0.42, 0.08)], pale)
    pen.dot(0, 0.62, 0.36, pale)
    for u in (-0.31, -0.1, 0.11, 0.32):
        pen.dot(u, 0.1, 0.105, pale)
    for side in (-1, 1):
        pen.line([(side * 0.32, 0.46), (side * 0.52, 0.58)], 0.13, pale)
    draw_face(pen, Head(0, 0.62, 0.36), mood)


def draw_snowman(pen: Pen, c: Colour, mood: str | None) -> None:
    """Three balls of snow in the colour, made a little paler; twigs, coal and a carrot."""
    snow, twig = lighter(c, 0.16), (112, 74, 48)
    for side in (-1, 1):
        pen.line([(side * 0.2, 0.52), (side * 0.46, 0.66)], 0.04, twig)
        pen.line([(side * 0.38, 0.61), (side * 0.46, 0.54)], 0.03, twig)
    pen.oval(0, 0.24, 0.33, 0.26, snow)
    pen.dot(0, 0.54, 0.23, snow)
    pen.dot(0, 0.82, 0.19, snow)
    for v in (0.62, 0.5, 0.28):
        pen.dot(0, v, 0.035, DARK)
    draw_face(pen, Head(0, 0.83, 0.19), mood)
    pen.polygon([(-0.02, 0.86), (-0.02, 0.79), (0.2, 0.8)], BEAK)


def draw_robot(pen: Pen, c: Colour, mood: str | None) -> None:
    joint, steel = darker(c, 0.4), (186, 194, 208)
    pen.line([(0, 0.9), (0, 1.0)], 0.04, steel)
    pen.dot(0, 1.02, 0.055, GOLD)
    for side in (-1, 1):
        pen.rect(side * 0.15 - 0.07, 0.04, side * 0.15 + 0.07, 0.24, joint)
        pen.rect(side * 0.16 - 0.12, 0, side * 0.16 + 0.12, 0.09, c, 0.03)
        pen.line([(side * 0.28, 0.46), (side * 0.4, 0.3)], 0.09, joint)
        pen.dot(side * 0.41, 0.26, 0.08, c)
        pen.rect(side * 0.35 - 0.05, 0.64, side * 0.35 + 0.05, 0.8, joint, 0.02)
    pen.rect(-0.26, 0.2, 0.26, 0.52, c, 0.05)
    pen.rect(-0.17, 0.28, 0.17, 0.44, lighter(c, 0.6), 0.02)
    for u, paint in ((-0.09, (230, 60, 60)), (0.0, GOLD), (0.09, (60, 180, 90))):
        pen.dot(u, 0.36, 0.034, paint)
    pen.rect(-0.33, 0.54, 0.33, 0.92, c, 0.07)
    pen.rect(-0.26, 0.59, 0.26, 0.87, (222, 242, 250), 0.05)
    draw_face(pen, Head(0, 0.74, 0.24), mood)


ANIMALS: dict[str, tuple[Callable[[Pen, Colour, str | None], None], Head]] = {
    "robot": (draw_robot, Head(0, 0.74, 0.26)),
    "cat": (draw_cat, Head(0, 0.69, 0.29)),
    "dog": (draw_dog, Head(0.28, 0.7, 0.25)),
    "rabbit": (draw_rabbit, Head(0, 0.54, 0.25)),
    "bear": (draw_bear, Head(0, 0.72, 0.28)),
    "lion": (draw_lion, Head(0, 0.68, 0.27)),
    "frog": (draw_frog, Head(0, 0.78, 0.3)),
    "mouse": (draw_mouse, Head(0, 0.58, 0.27)),
    "horse": (draw_horse, Head(0.42, 0.82, 0.22)),
    "elephant": (draw_elephant, Head(0.38, 0.71, 0.27)),
    "turtle": (draw_turtle, Head(0.67, 0.62, 0.22)),
    "owl": (draw_owl, Head(0, 0.7, 0.34)),
    "penguin": (draw_penguin, Head(0, 0.76, 0.26)),
    "duck": (draw_duck, Head(0.29, 0.74, 0.26)),
    "bird": (draw_bird, Head(0.37, 0.56, 0.23)),
    "butterfly": (draw_butterfly, Head(0, 0.76, 0.17)),
    "fish": (draw_fish, Head(0.24, 0.54, 0.3)),
    "whale": (draw_whale, Head(0.42, 0.46, 0.28)),
    "dragon": (draw_dragon, Head(0, 0.74, 0.28)),
    "ghost": (draw_ghost, Head(0, 0.64, 0.36)),
    "snowman": (draw_snowman, Head(0, 0.82, 0.2)),
}
