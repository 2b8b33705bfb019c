"""What changes from cell to cell of a grid, and the request of every cell."""

import csv
import re
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdgen.errors import InvalidRequest
from sdgen.grid.numbers import numbers
from sdgen.request import PROMPT_CHARS, SAMPLERS, GenerateRequest
from sdgen.samplers import SAMPLER_TITLES, sampler_from_title

AxisField = Literal["seed", "steps", "guidance_scale", "sampler", "adapter", "prompt"]
AXIS_FIELDS: tuple[AxisField, ...] = get_args(AxisField)
AXIS_TITLES: MappingProxyType[AxisField, str] = MappingProxyType(
    {
        "seed": "Seed",
        "steps": "Steps",
        "guidance_scale": "Guidance",
        "sampler": "Sampler",
        "adapter": "Adapter strength",
        "prompt": "Words of the prompt",
    }
)
CELLS_MAX = 64  # cells of one grid
AXIS_CHARS = 10_000  # characters of an axis as it is written
_TAG = re.compile(r"<\s*lora\s*:", re.IGNORECASE)
_WHOLE: frozenset[AxisField] = frozenset({"seed", "steps"})


class Axis(BaseModel):
    """One axis: a field and its values, as text. `parse_axis` makes it of what a person wrote.

    target: of an adapter's strength, the adapter's name. prompt: the first value is the words in
    the prompt that the others stand in for.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    field: AxisField
    values: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=PROMPT_CHARS)], ...],
        Field(min_length=1, max_length=CELLS_MAX),
    ]
    target: Annotated[str, Field(max_length=300)] = ""


class Grid(BaseModel):
    """The axes of a grid: x from left to right, y, if there is one, from top to bottom."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    x: Axis
    y: Axis | None = None

    @property
    def columns(self) -> int:
        """Cells of a row."""
        return len(self.x.values)

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.y.values) if self.y else 1

    def without_words(self) -> "Grid":
        """The grid without words of the prompt, for a picture whose prompt is left out."""
        x, y = (axis and _without_words(axis) for axis in (self.x, self.y))
        assert x is not None
        return Grid(x=x, y=y)


def parse_axis(field: object, text: object, target: str = "", name: str = "x") -> Axis:
    """An axis as a person wrote it: `4, 8, 12`, `1-5`, `10-50 [5]`, `Euler, DDIM`, `red, blue`.

    A value that comes twice counts once; words with a comma stand in double quotes. target: the
    adapter's name. name: "x" or "y", for the field of the InvalidRequest that this raises.
    """
    known = next((known for known in AXIS_FIELDS if known == field), None)
    if known is None:
        raise _wrong(name, f"what changes must be one of {', '.join(AXIS_FIELDS)}")
    if not isinstance(text, str):
        raise _wrong(name, "its values must be text, like 4, 8, 12")
    if len(text) > AXIS_CHARS or "\x00" in text:
        raise _wrong(name, f"its values must be text of at most {AXIS_CHARS:,} characters")
    if len(target) > 300:
        raise _wrong(name, "the adapter's name is too long")
    found: dict[str, None] = {}
    for entry in _entries(text, name):
        for value in _values(known, entry, name):
            found[value] = None
            if len(found) > CELLS_MAX:
                raise _wrong(name, f"at most {CELLS_MAX} values fit")
    if not found:
        raise _wrong(name, "it has no values; write them like 4, 8, 12")
    try:
        return Axis(field=known, values=tuple(found), target=target)
    except ValidationError as error:  # half a character, or a text beyond a prompt's length
        raise _wrong(name, f"each value is text of at most {PROMPT_CHARS:,} characters") from error


def axis_from_text(text: object, name: str = "x") -> Axis:
    """An axis in one text, as programs and the command line give it: `steps=4,8,12`.

    An adapter's strength names it: `adapter:storm-hero=0-1 [5]`. Raises InvalidRequest.
    """
    if not isinstance(text, str):
        raise _wrong(name, "it must be text like steps=4,8,12")
    field, equals, values = text.partition("=")
    field, _, target = (part.strip() for part in field.partition(":"))
    if not equals:
        raise _wrong(name, "it must be text like steps=4,8,12")
    return parse_axis({"guidance": "guidance_scale"}.get(field, field), values, target, name)


def grid_from_texts(x: object, y: object) -> Grid | None:
    """The grid of two such texts, None or "" for an axis that is not wanted; None for neither.

    Raises InvalidRequest, also for a second axis without a first.
    """
    if x in (None, "") and y in (None, ""):
        return None
    first = axis_from_text(x, "x")
    return Grid(x=first, y=None if y in (None, "") else axis_from_text(y, "y"))


def grid_from_json(text: str) -> Grid | None:
    """The grid of `Grid.model_dump_json()`; None for what is none."""
    try:
        return Grid.model_validate_json(text)
    except ValidationError:
        return None


def cells(request: GenerateRequest, grid: Grid) -> tuple[tuple[GenerateRequest, ...], ...]:
    """The rows of the grid: for each cell its checked request for one picture.

    Raises InvalidRequest that names the axis, and the value where one of them is wrong.
    """
    count = grid.columns * grid.rows
    if count > CELLS_MAX:
        raise InvalidRequest(
            "grid_x", f"The grid has {count} cells; at most {CELLS_MAX} fit on a sheet."
        )
    _check(request, grid.x, "x")
    if grid.y:
        _check(request, grid.y, "y")
        _check_apart(request, grid.x, grid.y)
    return tuple(
        tuple(_changed(request, _changes(grid, column, row)) for column in range(grid.columns))
        for row in range(grid.rows)
    )


def _changes(grid: Grid, column: int, row: int) -> tuple[tuple[Axis, str], ...]:
    """What is other in one cell: axes and their values."""
    x = (grid.x, grid.x.values[column])
    return (x, (grid.y, grid.y.values[row])) if grid.y else (x,)


def labels(axis: Axis, hide_words: bool = False) -> tuple[str, ...]:
    """What its columns or rows are called. hide_words: without the words of the prompt."""
    if hide_words:
        axis = _without_words(axis)
    return tuple(_label(axis, value) for value in axis.values)


def _label(axis: Axis, value: str) -> str:
    match axis.field:
        case "sampler":
            return next((SAMPLER_TITLES[name] for name in SAMPLERS if name == value), value)
        case "adapter":
            return f"{axis.target or 'Adapter'} {value}"
        case "prompt":
            return value
        case _:
            return f"{AXIS_TITLES[axis.field]} {value}"


def _without_words(axis: Axis) -> Axis:
    if axis.field != "prompt":
        return axis
    return Axis(field="prompt", values=tuple(f"Words {i + 1}" for i in range(len(axis.values))))


def _check(request: GenerateRequest, axis: Axis, name: str) -> None:
    """Raises InvalidRequest for the first value that this request cannot take."""
    if axis.field == "prompt":
        if axis.values[0] not in request.prompt:
            raise _wrong(name, f"'{axis.values[0][:80]}' is not in the prompt")
        if any(_TAG.search(value) for value in axis.values):
            raise _wrong(name, "tags of adapters do not go here; choose the adapter's strength")
    if axis.field == "adapter":
        _adapter(request, axis, name)
    for value in axis.values:
        try:
            _changed(request, ((axis, value),))
        except InvalidRequest as error:
            raise _wrong(name, f"'{value[:80]}' cannot be. {error}", whole=True) from error
        except ValueError as error:
            raise _wrong(name, f"'{value[:80]}' is no number") from error


def _check_apart(request: GenerateRequest, x: Axis, y: Axis) -> None:
    """Raises InvalidRequest where both axes change the same."""
    if x.field != y.field:
        return
    if x.field == "adapter":
        same = _adapter(request, x, "x") == _adapter(request, y, "y")
    elif x.field == "prompt":
        same = x.values[0] in y.values[0] or y.values[0] in x.values[0]
    else:
        same = True
    if same:
        raise _wrong("y", f"both axes change the same ({AXIS_TITLES[x.field].lower()})")


def _adapter(request: GenerateRequest, axis: Axis, name: str) -> str:
    """The adapter whose strength an axis changes: the named one, or the only one."""
    names = [use.name for use in request.adapters]
    if not axis.target and len(names) == 1:
        return names[0]
    if axis.target in names:
        return axis.target
    there = f"there are: {', '.join(names)}" if names else "none is chosen"
    raise _wrong(name, f"the request has no adapter '{axis.target[:80]}'; {there}")


def _changed(request: GenerateRequest, changes: tuple[tuple[Axis, str], ...]) -> GenerateRequest:
    """The request of one cell. Raises InvalidRequest, and ValueError for what is no number."""
    fields: dict[str, object] = dict(request) | {"num_images": 1}
    words: dict[str, str] = {}
    for axis, value in changes:
        match axis.field:
            case "seed" | "steps":
                fields[axis.field] = int(value)
            case "guidance_scale":
                fields["guidance_scale"] = float(value)
            case "sampler":
                fields["sampler"] = value
            case "adapter":
                target = _adapter(request, axis, "x")
                fields["adapters"] = tuple(
                    use.model_dump() | ({"scale": float(value)} if use.name == target else {})
                    for use in request.adapters
                )
            case "prompt":
                words[axis.values[0]] = value
    if words:
        # At once, so that what one axis puts in is not taken out again by the other.
        longest_first = sorted(words, key=len, reverse=True)
        pattern = re.compile("|".join(map(re.escape, longest_first)))
        fields["prompt"] = pattern.sub(lambda match: words[match[0]], request.prompt)
    return GenerateRequest.checked(**fields)


def _entries(text: str, name: str) -> Iterator[str]:
    """The values between the commas, in double quotes with their commas."""
    line = text.replace("\r", " ").replace("\n", ",")
    try:
        (row,) = csv.reader([line], skipinitialspace=True)
    except (csv.Error, ValueError) as error:
        raise _wrong(name, "its values cannot be read") from error
    return (entry.strip() for entry in row if entry.strip())


def _values(field: AxisField, entry: str, name: str) -> list[str]:
    readers: dict[AxisField, Callable[[str], list[str]]] = {
        "prompt": lambda text: [text],
        "sampler": _sampler,
    }
    try:
        if field in readers:
            return readers[field](entry)
        return numbers(entry, field in _WHOLE, CELLS_MAX)
    except ValueError as error:
        raise _wrong(name, str(error)) from error


def _sampler(text: str) -> list[str]:
    known = sampler_from_title(text)
    if known is None:
        raise ValueError(f"'{text[:40]}' is no sampler; there are: {', '.join(SAMPLERS)}")
    return [known]


def _wrong(name: str, what: str, whole: bool = False) -> InvalidRequest:
    """whole: the sentence has its full stop."""
    return InvalidRequest(f"grid_{name}", f"Grid axis {name}: {what}{'' if whole else '.'}")
