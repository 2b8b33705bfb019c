"""Numbers of an axis as people write them: `4, 8, 12`, `1-5`, `1-9 (+2)`, `10-50 [5]`.

The notation is that of the X/Y/Z plot of AUTOMATIC1111's web UI: in round brackets the step, in
square ones how many values, spread evenly.
"""

import re
from decimal import ROUND_HALF_UP, Decimal

_NUMBER = r"[+-]?(?:\d{1,20}(?:\.\d{0,10})?|\.\d{1,10})"
_ONE = re.compile(_NUMBER, re.ASCII)
_RANGE = re.compile(
    rf"({_NUMBER})\s*-\s*({_NUMBER})(?:\s*\(\s*({_NUMBER})\s*\)|\s*\[\s*(\d{{1,6}})\s*\])?",
    re.ASCII,
)
_SMALLEST = Decimal("0.0001")  # what evenly spread fractions are rounded to


def numbers(text: str, whole: bool, at_most: int) -> list[str]:
    """The numbers that one entry means, written out. Raises ValueError with what is wrong."""
    text = text.strip()
    if _ONE.fullmatch(text):
        return [_written(Decimal(text), whole)]
    found = _RANGE.fullmatch(text)
    if found is None:
        kind = "whole number" if whole else "number"
        raise ValueError(f"'{text[:40]}' is no {kind} and no range like 1-5 or 10-50 [5]")
    first, last = Decimal(found[1]), Decimal(found[2])
    if found[4] is not None:
        values = _spread(first, last, int(found[4]), at_most)
    else:
        step = Decimal(found[3]) if found[3] else Decimal(1 if last >= first else -1)
        values = _stepped(first, last, step, at_most)
    if whole and found[4] is not None:
        values = [value.quantize(Decimal(1), ROUND_HALF_UP) for value in values]
    return [_written(value, whole) for value in values]


def _spread(first: Decimal, last: Decimal, count: int, at_most: int) -> list[Decimal]:
    if count < 1:
        raise ValueError("a range has at least one value")
    _bounded(count, at_most)
    if count == 1:
        return [first]
    width = last - first
    values = [first + width * place / (count - 1) for place in range(count)]
    return [value.quantize(_SMALLEST, ROUND_HALF_UP) for value in values]


def _stepped(first: Decimal, last: Decimal, step: Decimal, at_most: int) -> list[Decimal]:
    if step == 0 or (last - first) * step < 0:
        raise ValueError(f"steps of {step} never lead from {first} to {last}")
    count = int((last - first) / step) + 1
    _bounded(count, at_most)
    return [first + step * place for place in range(count)]


def _bounded(count: int, at_most: int) -> None:
    if count > at_most:
        raise ValueError(f"a range of {count:,} values; at most {at_most} fit")


def _written(value: Decimal, whole: bool) -> str:
    if whole and value % 1:
        raise ValueError(f"'{value}' is no whole number")
    if value == 0:
        return "0"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
