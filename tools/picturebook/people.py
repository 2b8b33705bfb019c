"""People in four poses: the hero, the girl, and Minnal Murali, whom the base model never sees."""

from dataclasses import dataclass

from tools.picturebook.pen import PAINT, Colour, Pen, Point, darker, lighter

SKIN: Colour = (240, 190, 146)
HAIR: Colour = (84, 48, 34)
GOLD: Colour = (255, 212, 60)


@dataclass(frozen=True)
class Skeleton:
    """Where the joints are, in heights of a standing person, feet at v = 0."""

    neck: Point
    hip: Point
    head: Point
    arms: tuple[tuple[Point, Point], tuple[Point, Point]]  # (elbow, hand), behind then in front
    legs: tuple[tuple[Point, Point], tuple[Point, Point]]  # (knee, foot)
    cape: tuple[Point, ...]


SKELETONS: dict[str, Skeleton] = {
    "standing": Skeleton(
        neck=(0, 0.72), hip=(0, 0.42), head=(0, 0.87),
        arms=(((-0.29, 0.58), (-0.13, 0.44)), ((0.29, 0.58), (0.13, 0.44))),
        legs=(((-0.11, 0.22), (-0.13, 0.03)), ((0.11, 0.22), (0.13, 0.03))),
        cape=((-0.12, 0.74), (0.12, 0.74), (0.31, 0.1), (-0.31, 0.1)),
    ),
    "running": Skeleton(
        neck=(0.1, 0.7), hip=(-0.02, 0.42), head=(0.2, 0.85),
        arms=(((-0.16, 0.6), (-0.24, 0.4)), ((0.3, 0.54), (0.44, 0.7))),
        legs=(((-0.16, 0.24), (-0.44, 0.22)), ((0.24, 0.32), (0.26, 0.03))),
        cape=((0.12, 0.74), (-0.3, 0.86), (-0.58, 0.74), (-0.5, 0.5), (-0.04, 0.56)),
    ),
    "posing": Skeleton(
        neck=(0, 0.7), hip=(0, 0.4), head=(-0.02, 0.85),
        arms=(((-0.28, 0.52), (-0.12, 0.42)), ((0.27, 0.82), (0.36, 1.06))),
        legs=(((-0.22, 0.22), (-0.32, 0.03)), ((0.22, 0.22), (0.32, 0.03))),
        cape=((0.1, 0.73), (-0.14, 0.73), (-0.56, 0.42), (-0.5, 0.16), (-0.06, 0.36)),
    ),
    "landing": Skeleton(
        neck=(0.06, 0.46), hip=(-0.1, 0.22), head=(0.18, 0.58),
        arms=(((-0.24, 0.52), (-0.44, 0.7)), ((0.28, 0.28), (0.38, 0.04))),
        legs=(((-0.22, 0.05), (-0.48, 0.04)), ((0.14, 0.26), (0.14, 0.03))),
        cape=((0.06, 0.52), (-0.08, 0.9), (-0.3, 1.0), (-0.24, 0.74), (-0.14, 0.3)),
    ),
}  # fmt: skip


def _limbs(
    pen: Pen, bones: Skeleton, arm: Colour, leg: Colour, hand: Colour, shoe: Colour, which: int
) -> None:
    """Arm and leg number `which` (0 is behind the body, 1 in front of it)."""
    (nu, nv), (hu, hv) = bones.neck, bones.hip
    side = -1 if which == 0 else 1
    knee, foot = bones.legs[which]
    pen.line([(hu + side * 0.06, hv), knee, foot], 0.13, leg)
    pen.line([foot, (foot[0] + 0.06, foot[1])], 0.13, shoe)
    elbow, palm = bones.arms[which]
    pen.line([(nu + side * 0.11, nv - 0.05), elbow, palm], 0.1, arm)
    pen.dot(*palm, 0.068, hand)


def _torso(pen: Pen, bones: Skeleton, fill: Colour) -> None:
    (nu, nv), (hu, hv) = bones.neck, bones.hip
    pen.polygon(
        [(nu - 0.17, nv), (nu + 0.17, nv), (hu + 0.12, hv - 0.03), (hu - 0.12, hv - 0.03)], fill
    )
    pen.dot(nu - 0.12, nv - 0.04, 0.06, fill)
    pen.dot(nu + 0.12, nv - 0.04, 0.06, fill)


def _chest(bones: Skeleton, share: float = 0.3) -> Point:
    (nu, nv), (hu, hv) = bones.neck, bones.hip
    return nu + (hu - nu) * share, nv + (hv - nv) * share


def _belt(pen: Pen, bones: Skeleton, fill: Colour) -> None:
    hu, hv = bones.hip
    pen.line([(hu - 0.1, hv + 0.01), (hu + 0.1, hv + 0.01)], 0.05, fill)


def _eyes(pen: Pen, head: Point, fill: Colour, size: float = 0.024) -> None:
    pen.dot(head[0] - 0.02, head[1], size, fill)
    pen.dot(head[0] + 0.07, head[1], size, fill)


def draw_hero(pen: Pen, pose: str, colour: str) -> None:
    """A suit and cape in one colour, a gold emblem, a mask over the eyes."""
    bones, suit = SKELETONS[pose], PAINT[colour]
    cape, boots = darker(suit, 0.42), darker(suit, 0.55)
    pen.polygon(bones.cape, cape)
    _limbs(pen, bones, suit, suit, SKIN, boots, 0)
    _torso(pen, bones, suit)
    pen.dot(*bones.head, 0.14, SKIN)
    _limbs(pen, bones, suit, suit, SKIN, boots, 1)
    _belt(pen, bones, GOLD)
    pen.dot(*_chest(bones), 0.065, GOLD)
    u, v = bones.head
    pen.pie(u, v, 0.14, 180, 360, HAIR)
    pen.line([(u - 0.1, v), (u + 0.11, v)], 0.07, darker(suit, 0.55))
    _eyes(pen, bones.head, (255, 255, 255), 0.028)


def draw_girl(pen: Pen, pose: str, colour: str) -> None:
    """A dress in one colour, long brown hair, bare arms and legs."""
    bones, dress = SKELETONS[pose], PAINT[colour]
    u, v = bones.head
    (nu, nv), (hu, hv) = bones.neck, bones.hip
    shoes = darker(dress, 0.4)
    pen.line([(u - 0.08, v + 0.05), (u - 0.15, v - 0.16), (u - 0.17, v - 0.25)], 0.15, HAIR)
    pen.line([(u + 0.07, v + 0.05), (u + 0.1, v - 0.1)], 0.14, HAIR)
    _limbs(pen, bones, SKIN, SKIN, SKIN, shoes, 0)
    _limbs(pen, bones, SKIN, SKIN, SKIN, shoes, 1)
    low = max(hv - 0.16, 0.07)
    pen.polygon([(nu - 0.13, nv), (nu + 0.13, nv), (hu + 0.25, low), (hu - 0.25, low)], dress)
    pen.line([(hu - 0.22, low), (hu + 0.22, low)], 0.05, lighter(dress, 0.45))
    pen.dot(u, v, 0.135, SKIN)
    pen.pie(u, v, 0.15, 175, 350, HAIR)
    _eyes(pen, (u, v - 0.02), (40, 30, 40))


def draw_minnal_murali(pen: Pen, pose: str) -> None:
    """A red and blue suit, a lightning emblem, a red mask with a blue scarf; no cape."""
    bones = SKELETONS[pose]
    red, blue = (206, 30, 40), (34, 62, 158)
    u, v = bones.head
    nu, nv = bones.neck
    pen.line([(nu - 0.04, nv), (nu - 0.26, nv + 0.02), (nu - 0.42, nv - 0.1)], 0.1, blue)
    _limbs(pen, bones, red, blue, blue, red, 0)
    _torso(pen, bones, red)
    pen.dot(u, v, 0.14, red)
    _limbs(pen, bones, red, blue, blue, red, 1)
    _belt(pen, bones, blue)
    cu, cv = _chest(bones, 0.45)
    bolt = ((0.04, 0.12), (-0.08, -0.02), (0, -0.02), (-0.04, -0.12), (0.08, 0.03), (0, 0.03))
    pen.polygon([(cu + du, cv + dv) for du, dv in bolt], GOLD)
    pen.line([(nu - 0.1, nv + 0.02), (nu + 0.1, nv + 0.02)], 0.08, blue)
    pen.line([(u - 0.08, v - 0.06), (u + 0.1, v - 0.06)], 0.06, SKIN)
    _eyes(pen, (u, v + 0.03), (255, 255, 255), 0.036)
