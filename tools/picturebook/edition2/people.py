"""Eight kinds of people in four poses, one unit high where they stand."""

from collections.abc import Callable
from dataclasses import dataclass

from tools.picturebook.edition2.faces import DARK, GOLD, WHITE, Head, draw_face
from tools.picturebook.edition2.pen import Colour, Pen, Point, darker, lighter

SKIN: Colour = (244, 196, 152)
BROWN: Colour = (96, 58, 40)
BLOND: Colour = (246, 196, 84)
GINGER: Colour = (216, 104, 44)
GLASS: Colour = (190, 232, 250)
HEAD = 0.19  # radius


@dataclass(frozen=True)
class Skeleton:
    """Where the joints are; feet at v = 0."""

    neck: Point
    hip: Point
    head: Point
    arms: tuple[tuple[Point, Point], tuple[Point, Point]]  # (elbow, hand), behind then in front
    legs: tuple[tuple[Point, Point], tuple[Point, Point]]  # (knee, foot)
    cape: tuple[Point, ...]


SKELETONS: dict[str, Skeleton] = {
    "standing": Skeleton(
        neck=(0, 0.58), hip=(0, 0.34), head=(0, 0.78),
        arms=(((-0.25, 0.45), (-0.26, 0.3)), ((0.25, 0.45), (0.26, 0.3))),
        legs=(((-0.1, 0.18), (-0.11, 0.04)), ((0.1, 0.18), (0.11, 0.04))),
        cape=((-0.14, 0.6), (0.14, 0.6), (0.36, 0.1), (0, 0.06), (-0.36, 0.1)),
    ),
    "running": Skeleton(
        neck=(0.06, 0.57), hip=(-0.03, 0.35), head=(0.13, 0.77),
        arms=(((-0.18, 0.46), (-0.32, 0.36)), ((0.25, 0.44), (0.38, 0.56))),
        legs=(((-0.17, 0.22), (-0.4, 0.24)), ((0.2, 0.25), (0.24, 0.04))),
        cape=((0.08, 0.62), (-0.26, 0.72), (-0.58, 0.62), (-0.52, 0.4), (-0.06, 0.44)),
    ),
    "posing": Skeleton(
        neck=(0, 0.57), hip=(0, 0.33), head=(0, 0.77),
        arms=(((-0.28, 0.42), (-0.13, 0.34)), ((0.28, 0.62), (0.34, 0.9))),
        legs=(((-0.18, 0.18), (-0.26, 0.04)), ((0.18, 0.18), (0.26, 0.04))),
        cape=((0.12, 0.6), (-0.14, 0.6), (-0.54, 0.36), (-0.5, 0.1), (-0.06, 0.28)),
    ),
    "landing": Skeleton(
        neck=(0.06, 0.42), hip=(-0.06, 0.22), head=(0.13, 0.62),
        arms=(((-0.22, 0.46), (-0.44, 0.62)), ((0.26, 0.24), (0.38, 0.05))),
        legs=(((-0.22, 0.06), (-0.46, 0.05)), ((0.13, 0.24), (0.15, 0.04))),
        cape=((0.08, 0.46), (-0.14, 0.78), (-0.36, 0.86), (-0.28, 0.54), (-0.12, 0.24)),
    ),
}  # fmt: skip


def head_of(pose: str) -> Head:
    u, v = SKELETONS[pose].head
    return Head(u, v, HEAD)


def _limbs(
    pen: Pen, bones: Skeleton, which: int, arm: Colour, leg: Colour, hand: Colour, shoe: Colour
) -> None:
    """Arm and leg number `which` (0 is behind the body, 1 in front of it)."""
    _leg(pen, bones, which, leg, shoe)
    _arm(pen, bones, which, arm, hand)


def _leg(pen: Pen, bones: Skeleton, which: int, leg: Colour, shoe: Colour) -> None:
    hu, hv = bones.hip
    side = -1 if which == 0 else 1
    knee, foot = bones.legs[which]
    pen.line([(hu + side * 0.07, hv), knee, foot], 0.12, leg)
    pen.line([foot, (foot[0] + 0.05, foot[1])], 0.11, shoe)


def _arm(pen: Pen, bones: Skeleton, which: int, arm: Colour, hand: Colour) -> None:
    nu, nv = bones.neck
    side = -1 if which == 0 else 1
    elbow, palm = bones.arms[which]
    pen.line([(nu + side * 0.12, nv - 0.06), elbow, palm], 0.1, arm)
    pen.dot(*palm, 0.062, hand)


def _torso(pen: Pen, bones: Skeleton, fill: Colour) -> None:
    (nu, nv), (hu, hv) = bones.neck, bones.hip
    pen.blob(
        [(nu - 0.12, nv + 0.01), (nu + 0.12, nv + 0.01), (nu + 0.17, nv - 0.08),
         (hu + 0.14, hv - 0.02), (hu, hv - 0.06), (hu - 0.14, hv - 0.02),
         (nu - 0.17, nv - 0.08)], fill)  # fmt: skip


def _gown(pen: Pen, bones: Skeleton, fill: Colour, hem: Colour, wide: float, length: float) -> None:
    """From the neck down to `length` below the hip."""
    (nu, nv), (hu, hv) = bones.neck, bones.hip
    low = max(hv - length, 0.05)
    pen.polygon(
        [(nu - 0.13, nv), (nu + 0.13, nv), (nu + 0.17, nv - 0.1), (hu + wide, low),
         (hu - wide, low), (nu - 0.17, nv - 0.1)], fill)  # fmt: skip
    pen.line([(hu - wide + 0.02, low + 0.01), (hu + wide - 0.02, low + 0.01)], 0.06, hem)


def _hair(pen: Pen, head: Head, fill: Colour) -> None:
    """A cap of hair over the upper part of the head."""
    u, v, r = head.u, head.v, head.r * 1.06
    pen.pie(u, v + 0.16 * r, r * 0.98, 180, 360, fill)
    pen.dot(u - 0.62 * r, v + 0.3 * r, 0.34 * r, fill)
    pen.dot(u + 0.62 * r, v + 0.3 * r, 0.34 * r, fill)


def _beard(pen: Pen, head: Head, fill: Colour, length: float) -> None:
    u, v, r = head.u, head.v, head.r
    pen.blob(
        [(u - 0.96 * r, v - 0.05 * r), (u - 0.4 * r, v - 0.3 * r), (u + 0.4 * r, v - 0.3 * r),
         (u + 0.96 * r, v - 0.05 * r), (u + 0.62 * r, v - 0.9 * r), (u, v - length * r),
         (u - 0.62 * r, v - 0.9 * r)], fill)  # fmt: skip


def draw_hero(pen: Pen, bones: Skeleton, c: Colour, mood: str | None) -> None:
    """A suit and a cape, a gold emblem and belt, a mask over the eyes."""
    head, dark = Head(*bones.head, HEAD), darker(c, 0.5)
    pen.blob(bones.cape, darker(c, 0.36))
    _limbs(pen, bones, 0, c, c, SKIN, dark)
    _torso(pen, bones, c)
    pen.dot(head.u, head.v, head.r, SKIN)
    _limbs(pen, bones, 1, c, c, SKIN, dark)
    (nu, nv), (hu, hv) = bones.neck, bones.hip
    pen.line([(hu - 0.11, hv + 0.02), (hu + 0.11, hv + 0.02)], 0.045, GOLD)
    pen.dot((nu * 2 + hu) / 3, (nv * 2 + hv) / 3, 0.06, GOLD)
    _hair(pen, head, BROWN)
    u, v, r = head.u, head.v, head.r
    pen.line([(u - 0.66 * r, v + 0.06 * r), (u + 0.66 * r, v + 0.06 * r)], 0.56 * r, dark)
    for side in (-1, 1):
        pen.oval(u + side * 0.4 * r, v + 0.06 * r, 0.24 * r, 0.22 * r, WHITE)
    draw_face(pen, head, mood)


def draw_girl(pen: Pen, bones: Skeleton, c: Colour, mood: str | None) -> None:
    """A dress, long brown hair with a bow."""
    head, shoe = Head(*bones.head, HEAD), darker(c, 0.4)
    u, v, r = head.u, head.v, head.r
    pen.blob([(u - 1.1 * r, v + 0.4 * r), (u + 1.1 * r, v + 0.4 * r), (u + 1.25 * r, v - 1.3 * r),
              (u, v - 0.9 * r), (u - 1.25 * r, v - 1.3 * r)], BROWN)  # fmt: skip
    _limbs(pen, bones, 0, SKIN, SKIN, SKIN, shoe)
    _leg(pen, bones, 1, SKIN, shoe)
    _gown(pen, bones, c, lighter(c, 0.5), 0.26, 0.16)
    _arm(pen, bones, 1, SKIN, SKIN)
    pen.dot(u, v, r, SKIN)
    _hair(pen, head, BROWN)
    for side in (-1, 1):
        pen.polygon([(u + 0.5 * r, v + 0.95 * r), (u + (0.5 + side * 0.5) * r, v + 1.3 * r),
                     (u + (0.5 + side * 0.5) * r, v + 0.65 * r)], c)  # fmt: skip
    draw_face(pen, head, mood)


def draw_child(pen: Pen, bones: Skeleton, c: Colour, mood: str | None) -> None:
    """A striped jersey, short blue trousers and a ginger tuft."""
    head = Head(*bones.head, HEAD)
    u, v, r = head.u, head.v, head.r
    (nu, nv), (hu, hv) = bones.neck, bones.hip
    _limbs(pen, bones, 0, c, SKIN, SKIN, (90, 70, 60))
    _torso(pen, bones, c)
    stripe = lighter(c, 0.6)
    for share in (0.35, 0.75):
        a, b = nu + (hu - nu) * share, nv + (hv - nv) * share
        pen.mark([(a - 0.14, b), (a + 0.14, b)], 0.04, stripe)
    pen.line([(hu - 0.09, hv - 0.01), (hu + 0.09, hv - 0.01)], 0.12, (62, 92, 156))
    pen.dot(u - r, v - 0.05 * r, 0.2 * r, SKIN)
    pen.dot(u + r, v - 0.05 * r, 0.2 * r, SKIN)
    pen.dot(u, v, r, SKIN)
    _limbs(pen, bones, 1, c, SKIN, SKIN, (90, 70, 60))
    pen.pie(u, v + 0.22 * r, 0.98 * r, 180, 360, GINGER)
    pen.polygon([(u - 0.3 * r, v + r), (u + 0.1 * r, v + 1.6 * r), (u + 0.2 * r, v + 1.0 * r),
                 (u + 0.6 * r, v + 1.35 * r), (u + 0.5 * r, v + 0.8 * r)], GINGER)  # fmt: skip
    draw_face(pen, head, mood)


def draw_astronaut(pen: Pen, bones: Skeleton, c: Colour, mood: str | None) -> None:
    """A space suit in the colour, a white helmet with a wide window, a pack with a light."""
    head = Head(*bones.head, HEAD)
    u, v, r = head.u, head.v, head.r
    (nu, nv), (hu, hv) = bones.neck, bones.hip
    white, steel = (238, 240, 246), (160, 168, 184)
    pen.rect(nu - 0.24, hv + 0.02, nu + 0.24, nv + 0.02, steel, 0.05)
    _limbs(pen, bones, 0, c, c, white, steel)
    _torso(pen, bones, c)
    _limbs(pen, bones, 1, c, c, white, steel)
    a, b = (nu + hu) / 2, (nv + hv) / 2
    pen.rect(a - 0.09, b - 0.06, a + 0.09, b + 0.05, white, 0.02)
    pen.dot(a - 0.04, b, 0.022, (230, 60, 60))
    pen.dot(a + 0.04, b, 0.022, (60, 180, 90))
    pen.line([(u + 0.7 * r, v + 0.9 * r), (u + 1.0 * r, v + 1.4 * r)], 0.03, steel)
    pen.dot(u + 1.0 * r, v + 1.45 * r, 0.03, (240, 70, 60))
    pen.dot(u, v, 1.2 * r, white)
    pen.oval(u, v, 0.96 * r, 0.88 * r, GLASS)
    pen.dot(u, v - 0.08 * r, 0.68 * r, SKIN)
    draw_face(pen, Head(u, v - 0.06 * r, 0.72 * r), mood)
    pen.mark([(u - 0.78 * r, v + 0.2 * r), (u - 0.5 * r, v + 0.62 * r)], 0.08 * r, WHITE)


def draw_king(pen: Pen, bones: Skeleton, c: Colour, mood: str | None) -> None:
    """A robe with white fur, a white beard and a crown."""
    head = Head(*bones.head, HEAD)
    u, v, r = head.u, head.v, head.r
    fur = (250, 248, 240)
    _limbs(pen, bones, 0, c, darker(c, 0.4), SKIN, BROWN)
    _leg(pen, bones, 1, darker(c, 0.4), BROWN)
    _gown(pen, bones, c, fur, 0.28, 0.28)
    _arm(pen, bones, 1, darker(c, 0.14), SKIN)
    pen.dot(u, v, r, SKIN)
    _beard(pen, head, fur, 1.5)
    _royal_crown(pen, head)
    draw_face(pen, head, mood)


def draw_queen(pen: Pen, bones: Skeleton, c: Colour, mood: str | None) -> None:
    """A wide gown, fair hair, a necklace and a crown."""
    head = Head(*bones.head, HEAD)
    u, v, r = head.u, head.v, head.r
    pen.blob([(u - 1.05 * r, v + 0.5 * r), (u + 1.05 * r, v + 0.5 * r), (u + 1.3 * r, v - 0.7 * r),
              (u, v - 0.8 * r), (u - 1.3 * r, v - 0.7 * r)], BLOND)  # fmt: skip
    _limbs(pen, bones, 0, SKIN, SKIN, SKIN, darker(c, 0.4))
    _leg(pen, bones, 1, SKIN, darker(c, 0.4))
    _gown(pen, bones, c, lighter(c, 0.55), 0.36, 0.3)
    _arm(pen, bones, 1, SKIN, SKIN)
    hu, hv = bones.hip
    pen.line([(hu - 0.11, hv + 0.06), (hu + 0.11, hv + 0.06)], 0.04, GOLD)
    pen.dot(u, v, r, SKIN)
    _hair(pen, head, BLOND)
    _royal_crown(pen, head)
    draw_face(pen, head, mood)


def _royal_crown(pen: Pen, head: Head) -> None:
    """Three plain points: lower than the crown that anybody can wear."""
    u, low, r = head.u, head.v + 0.78 * head.r, head.r
    points = [(-0.6, 0), (-0.72, 0.64), (-0.32, 0.3), (0, 0.7), (0.32, 0.3), (0.72, 0.64), (0.6, 0)]
    pen.polygon([(u + a * r, low + b * r) for a, b in points], GOLD)
    pen.dot(u, low + 0.2 * r, 0.12 * r, (226, 58, 74))


def draw_wizard(pen: Pen, bones: Skeleton, c: Colour, mood: str | None) -> None:
    """A robe and a pointed hat with gold stars, a long beard, a staff."""
    head = Head(*bones.head, HEAD)
    u, v, r = head.u, head.v, head.r
    grey = (226, 228, 236)
    palm = bones.arms[1][1]
    pen.line([(palm[0], palm[1] - 0.26), (palm[0], palm[1] + 0.34)], 0.045, (128, 84, 50))
    pen.dot(palm[0], palm[1] + 0.38, 0.07, (120, 230, 250))
    _limbs(pen, bones, 0, c, darker(c, 0.4), SKIN, BROWN)
    _leg(pen, bones, 1, darker(c, 0.4), BROWN)
    _gown(pen, bones, c, darker(c, 0.35), 0.27, 0.29)
    _arm(pen, bones, 1, darker(c, 0.14), SKIN)
    pen.dot(u, v, r, SKIN)
    _beard(pen, head, grey, 2.1)
    pen.polygon([(u - 0.9 * r, v + 0.5 * r), (u + 0.2 * r, v + 2.4 * r),
                 (u + 0.9 * r, v + 0.5 * r)], c)  # fmt: skip
    pen.oval(u, v + 0.52 * r, 1.25 * r, 0.22 * r, darker(c, 0.35))
    for a, b in ((-0.2, 0.95), (0.25, 1.2), (0.1, 1.75)):
        pen.dot(u + a * r, v + b * r, 0.1 * r, GOLD)
    draw_face(pen, head, mood)


def draw_pirate(pen: Pen, bones: Skeleton, c: Colour, mood: str | None) -> None:
    """A coat over a striped shirt, a black hat with a skull, a patch over one eye, a hook."""
    head = Head(*bones.head, HEAD)
    u, v, r = head.u, head.v, head.r
    (nu, nv), (hu, hv) = bones.neck, bones.hip
    trousers, black = (104, 74, 56), (46, 42, 52)
    _limbs(pen, bones, 0, c, trousers, SKIN, black)
    _leg(pen, bones, 1, trousers, black)
    _gown(pen, bones, c, GOLD, 0.21, 0.1)
    pen.polygon([(nu - 0.07, nv), (nu + 0.07, nv), (hu + 0.08, hv), (hu - 0.08, hv)], WHITE)
    for share in (0.25, 0.6, 0.92):
        a, b = nu + (hu - nu) * share, nv + (hv - nv) * share
        pen.mark([(a - 0.06, b), (a + 0.06, b)], 0.035, (206, 52, 56))
    _arm(pen, bones, 1, darker(c, 0.14), (186, 192, 204))
    pen.dot(u, v, r, SKIN)
    _beard(pen, head, BROWN, 1.1)
    pen.blob([(u - 1.3 * r, v + 0.62 * r), (u, v + 0.5 * r), (u + 1.3 * r, v + 0.62 * r),
              (u + 0.7 * r, v + 1.3 * r), (u, v + 1.5 * r), (u - 0.7 * r, v + 1.3 * r)],
             black)  # fmt: skip
    pen.dot(u, v + 1.05 * r, 0.2 * r, WHITE)
    pen.rect(u - 0.1 * r, v + 0.78 * r, u + 0.1 * r, v + 0.95 * r, WHITE)
    draw_face(pen, head, mood)
    pen.mark([(u - 0.2 * r, v + 0.5 * r), (u + 0.9 * r, v + 0.2 * r)], 0.07 * r, DARK)
    pen.dot(u + 0.4 * r, v + 0.1 * r, 0.28 * r, black)


def draw_minnal_murali(pen: Pen, bones: Skeleton, c: Colour, mood: str | None) -> None:
    """A red and blue suit with a bolt of lightning, a red mask, a long blue scarf; no cape. He has
    no colour of his own to choose."""
    red, blue, white = (206, 30, 40), (34, 62, 158), (255, 255, 255)
    head = Head(*bones.head, HEAD)
    u, v, r = head.u, head.v, head.r
    (nu, nv), (hu, hv) = bones.neck, bones.hip
    pen.arc([(nu - 0.04, nv), (nu - 0.26, nv + 0.04), (nu - 0.46, nv - 0.06)], 0.1, blue)
    _limbs(pen, bones, 0, red, blue, blue, red)
    _torso(pen, bones, red)
    pen.dot(u, v, r, red)
    _limbs(pen, bones, 1, red, blue, blue, red)
    pen.line([(hu - 0.1, hv + 0.02), (hu + 0.1, hv + 0.02)], 0.05, blue)
    cu, cv = nu + (hu - nu) * 0.45, nv + (hv - nv) * 0.45
    bolt = ((0.04, 0.11), (-0.08, -0.02), (0, -0.02), (-0.04, -0.11), (0.08, 0.03), (0, 0.03))
    pen.polygon([(cu + du, cv + dv) for du, dv in bolt], GOLD)
    pen.line([(nu - 0.1, nv + 0.01), (nu + 0.1, nv + 0.01)], 0.08, blue)
    pen.line([(u - 0.42 * r, v - 0.5 * r), (u + 0.42 * r, v - 0.5 * r)], 0.5 * r, SKIN)
    for side in (-1, 1):
        pen.oval(u + side * 0.42 * r, v + 0.1 * r, 0.27 * r, 0.22 * r, white)
    draw_face(pen, head, mood)


MINNAL_MURALI = "minnal murali"  # a kind outside the base model's subjects
PEOPLE: dict[str, Callable[[Pen, Skeleton, Colour, str | None], None]] = {
    "hero": draw_hero,
    "girl": draw_girl,
    "child": draw_child,
    "astronaut": draw_astronaut,
    "king": draw_king,
    "queen": draw_queen,
    "wizard": draw_wizard,
    "pirate": draw_pirate,
    MINNAL_MURALI: draw_minnal_murali,
}
