"""Grids: axes as people write them, the request of each cell, and the labelled sheet."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFont

from sdgen.errors import InvalidRequest
from sdgen.grid import (
    AXIS_FIELDS,
    CELLS_MAX,
    SHEET_PIXELS_MAX,
    Axis,
    Grid,
    axis_from_text,
    cells,
    grid_from_json,
    parse_axis,
    sheet,
)
from sdgen.grid.axes import labels
from sdgen.grid.sheet import BACKGROUND, EMPTY, wrapped
from sdgen.request import GenerateRequest
from tests.conftest import ask, fake_picture


@pytest.mark.parametrize(
    ("field", "text", "values"),
    [
        ("steps", "4, 8,12,", "4 8 12"),
        ("steps", "1-5", "1 2 3 4 5"),
        ("steps", "1-9 (+4)", "1 5 9"),
        ("steps", "1-8(3)", "1 4 7"),
        ("steps", "10-50 [5]", "10 20 30 40 50"),
        ("steps", "1 - 4 [3]", "1 3 4"),  # 2.5 is no number of steps
        ("steps", "1-3 [5]", "1 2 3"),
        ("seed", "7, 3-1, 7", "7 3 2 1"),
        ("guidance_scale", "1, 2.50, .5", "1 2.5 0.5"),
        ("guidance_scale", "1-2 (+0.1)", "1 1.1 1.2 1.3 1.4 1.5 1.6 1.7 1.8 1.9 2"),
        ("guidance_scale", "0-1 [4]", "0 0.3333 0.6667 1"),
        ("adapter", "-1-1 [5]", "-1 -0.5 0 0.5 1"),
        ("adapter", "1--1", "1 0 -1"),
        ("sampler", "Euler, DPM++ 2M Karras, lcm", "euler dpmpp_2m_karras lcm"),
    ],
)
def test_an_axis_is_read_as_people_write_it(field: str, text: str, values: str) -> None:
    assert parse_axis(field, text) == Axis(field=field, values=tuple(values.split()))  # type: ignore[arg-type]


def test_words_may_have_commas() -> None:
    axis = parse_axis("prompt", 'red, "blue, with dots",  green \n white')
    assert axis.values == ("red", "blue, with dots", "green", "white")


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("stepz", "1", "one of seed, steps"),
        (["steps"], "1", "one of seed, steps"),
        ("steps", "", "no values"),
        ("steps", None, "must be text"),
        ("steps", "many", "'many' is no whole number"),
        ("steps", "1.5", "'1.5' is no whole number"),
        ("steps", "1-1000000", "1,000,000 values; at most 64"),
        ("steps", "1-9 [999]", "999 values; at most 64"),
        ("steps", "1-9 [0]", "at least one value"),
        ("steps", "1-9 (-1)", "never lead"),
        ("steps", "1-9 (0)", "never lead"),
        ("steps", ",".join(map(str, range(65))), "at most 64 values"),
        ("seed", "1" * 200, "is no whole number"),
        ("guidance_scale", "nan", "'nan' is no number"),
        ("guidance_scale", "1e3", "'1e3' is no number"),
        ("sampler", "heun", "'heun' is no sampler"),
        ("prompt", "red\x00", "characters"),
        ("prompt", "a\ud800", "each value is text"),
        ("prompt", "x" * 20_000, "characters"),
    ],
)
def test_what_cannot_be_an_axis_is_said(field: Any, text: Any, said: str) -> None:
    for name in ("x", "y"):
        with pytest.raises(InvalidRequest, match=said) as refused:
            parse_axis(field, text, name=name)
        assert refused.value.field == f"grid_{name}"
        assert str(refused.value).startswith(f"Grid axis {name}: ")


@given(
    st.sampled_from(AXIS_FIELDS),
    st.one_of(st.text(max_size=60), st.text(alphabet='0123456789-+.,()[] "', max_size=30)),
)
def test_any_text_is_an_axis_or_a_sentence(field: str, text: str) -> None:
    try:
        axis = parse_axis(field, text)
    except InvalidRequest:
        return
    assert 1 <= len(axis.values) <= CELLS_MAX
    assert len(set(axis.values)) == len(axis.values)


@given(st.text(max_size=40))
def test_any_text_of_a_program_is_an_axis_or_a_sentence(text: str) -> None:
    try:
        axis_from_text(text)
    except InvalidRequest as error:
        assert str(error).startswith("Grid axis x: ")  # noqa: PT017


def test_a_program_gives_an_axis_in_one_text() -> None:
    assert axis_from_text("steps=4,8") == parse_axis("steps", "4,8")
    assert axis_from_text("guidance = 1-3") == parse_axis("guidance_scale", "1-3")
    assert axis_from_text("prompt=a=b,c") == parse_axis("prompt", "a=b,c")
    named = axis_from_text("adapter:minnal-murali=0,1")
    assert (named.target, named.values) == ("minnal-murali", ("0", "1"))


def test_a_grid_survives_its_json() -> None:
    grid = Grid(x=parse_axis("prompt", "a, ü"), y=parse_axis("adapter", "0-1", "x"))
    assert grid_from_json(grid.model_dump_json()) == grid
    for wrong in ("", "{}", '{"x": {"field": "width", "values": ["1"]}}', "[1]"):
        assert grid_from_json(wrong) is None


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 16))
def test_each_cell_is_a_request_of_one_picture(columns: int, rows: int, images: int) -> None:
    grid = Grid(
        x=parse_axis("steps", f"1-{columns}"), y=parse_axis("guidance_scale", f"1-{rows} (+1)")
    )
    assert labels(grid.x) == tuple(f"Steps {x}" for x in range(1, columns + 1))
    made = cells(ask(num_images=images), grid)
    for y, row in enumerate(made, 1):
        for x, cell in enumerate(row, 1):
            assert cell == ask(steps=x, guidance_scale=float(y))
    assert (len(made), {len(row) for row in made}) == (rows, {columns})


def test_every_field_can_change() -> None:
    uses = [{"name": "ink", "scale": 0.5}, {"name": "hero", "scale": 1.0, "text_scale": 0.3}]
    base = ask("a red robot, red sky", adapters=uses)

    def changed(field: str, text: str, target: str = "") -> list[GenerateRequest]:
        (row,) = cells(base, Grid(x=parse_axis(field, text, target)))
        return list(row)

    def other(**fields: object) -> GenerateRequest:
        return GenerateRequest.checked(**(dict(base) | fields))

    assert changed("seed", "1,2") == [other(seed=1), other(seed=2)]
    assert changed("sampler", "lcm") == [other(sampler="lcm")]
    assert changed("prompt", "red, blue") == [base, other(prompt="a blue robot, blue sky")]
    assert changed("adapter", "0", "hero") == [other(adapters=[uses[0], uses[1] | {"scale": 0.0}])]


def test_what_one_axis_puts_in_the_other_does_not_take_out() -> None:
    grid = Grid(x=parse_axis("prompt", "red, blue"), y=parse_axis("prompt", "blue, red"))
    prompts = [[cell.prompt for cell in row] for row in cells(ask("red and blue"), grid)]
    assert prompts == [["red and blue", "blue and blue"], ["red and red", "blue and red"]]


def test_the_only_adapter_need_not_be_named() -> None:
    base = ask(adapters=[{"name": "ink", "scale": 0.5}])
    (row,) = cells(base, Grid(x=parse_axis("adapter", "0,2")))
    assert [cell.adapters[0].scale for cell in row] == [0.0, 2.0]


@pytest.mark.parametrize(
    ("x", "y", "field", "said"),
    [
        ("steps=1,999", None, "grid_x", "'999' cannot be. Steps must be at most 150."),
        ("seed=1", "guidance=1,99", "grid_y", "'99' cannot be. Guidance scale must be at most 30."),
        ("steps=1-9", "seed=1-9", "grid_x", "81 cells; at most 64"),
        ("steps=1", "steps=2", "grid_y", "both axes change the same"),
        ("adapter:a=1", "adapter:a=0", "grid_y", "both axes change the same"),
        ("adapter:b=1", None, "grid_x", "no adapter 'b'; there are: a, c"),
        ("adapter:a=11", None, "grid_x", "'11' cannot be. Adapter strength must be at most 10."),
        ("prompt=green,blue", None, "grid_x", "'green' is not in the prompt"),
        ("prompt=red,blue", "prompt=red robot,tree", "grid_y", "both axes change the same"),
        ("prompt=red,<lora:ink:1>", None, "grid_x", "choose the adapter's strength"),
    ],
)
def test_a_wrong_grid_names_its_axis_and_value(
    x: str, y: str | None, field: str, said: str
) -> None:
    base = ask(adapters=[{"name": "a"}, {"name": "c"}])
    grid = Grid(x=axis_from_text(x, "x"), y=axis_from_text(y, "y") if y else None)
    with pytest.raises(InvalidRequest, match=said.replace(".", r"\.")) as refused:
        cells(base, grid)
    assert refused.value.field == field


def test_values_that_nobody_checked_are_still_sentences() -> None:
    for field, value in (("steps", "many"), ("guidance_scale", "nan"), ("sampler", "x")):
        with pytest.raises(InvalidRequest, match="Grid axis x: "):
            cells(ask(), Grid(x=Axis(field=field, values=(value,))))  # type: ignore[arg-type]


COLOURS = ("#ff0000", "#00ff00", "#0000ff", "#ff00ff")
LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmütze" * 3


def drawn(request: GenerateRequest, grid: Grid) -> Image.Image:
    """The sheet of cells in plain colours."""
    size = request.width, request.height
    rows = [
        [Image.new("RGB", size, COLOURS[(x + y) % 4]) for x in range(grid.columns)]
        for y in range(grid.rows)
    ]
    return sheet(rows, grid, request)


def assert_whole(made: Image.Image, request: GenerateRequest, count: int) -> None:
    """Nothing reaches the edge, and no text lies on a cell."""
    width, height = made.size
    for edge in ((0, 0, width, 3), (0, height - 3, width, height), (0, 0, 3, height),
                 (width - 3, 0, width, height)):  # fmt: skip
        part = made.crop(edge)
        assert (
            ImageChops.difference(part, Image.new("RGB", part.size, BACKGROUND)).getbbox() is None
        )
    found = {colour: n for n, colour in made.getcolors(1 << 24) or []}
    wanted = sum(found.get(tuple(bytes.fromhex(colour[1:])), 0) for colour in COLOURS)
    assert wanted == count * request.width * request.height


@settings(max_examples=8)
@given(
    st.text(min_size=1, max_size=300).filter(lambda text: bool(text.strip()) and "\0" not in text),
    st.sampled_from([(64, 64), (200, 64), (64, 200), (256, 256)]),
    st.sampled_from(["steps=1", "steps=1-4", "sampler=euler,dpmpp_2m_karras"]),
    st.sampled_from([None, "guidance=1-3", f"adapter:{LONG}=0,1"]),
)
def test_no_text_is_cut_off_and_cells_keep_their_pixels(
    prompt: str, size: tuple[int, int], x: str, y: str | None
) -> None:
    request = ask(prompt, width=size[0], height=size[1], adapters=[{"name": LONG}])
    grid = Grid(x=axis_from_text(x), y=axis_from_text(y, "y") if y else None)
    assert_whole(drawn(request, grid), request, grid.columns * grid.rows)


def test_long_words_on_an_axis_are_not_cut_off() -> None:
    request = ask(f"{LONG} robot")
    grid = Grid(x=parse_axis("prompt", f"robot, {LONG}, {'a cat on a mat ' * 20}, 東京の空, مرحبا"))
    assert_whole(drawn(request, grid), request, 5)


@given(st.text(max_size=80), st.integers(8, 200))
def test_wrapping_loses_nothing_and_fits(text: str, width: int) -> None:
    font = ImageFont.load_default(14)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assume(text.isprintable())
    lines = wrapped(text, font, width)
    assert "".join(lines).replace(" ", "") == "".join(text.split())
    for line in lines:
        assert len(line) <= 2 or font.getlength(line) <= width or not line.isascii()


def test_cells_are_where_they_belong() -> None:
    request = ask(width=64, height=72)
    grid = Grid(x=parse_axis("seed", "1,2"), y=parse_axis("steps", "1-3"))
    rows = [[fake_picture(cell, cell.seed) for cell in row] for row in cells(request, grid)]
    made = sheet(rows, grid, request)
    places = [[find(made, image) for image in row] for row in rows]
    assert places == sorted(places, key=lambda row: row[0][1])
    for row in places:
        assert len({top for _, top in row}) == 1
        assert row[0][0] < row[1][0]


def find(sheet_: Image.Image, image: Image.Image) -> tuple[int, int]:
    """Where a picture lies on a sheet, pixel by pixel."""
    first = image.crop((0, 0, image.width, 1)).tobytes()
    pixels = sheet_.tobytes()
    at = pixels.index(first) // 3
    left, top = at % sheet_.width, at // sheet_.width
    found = sheet_.crop((left, top, left + image.width, top + image.height))
    assert found.tobytes() == image.tobytes()
    return left, top


def test_a_missing_picture_leaves_its_place_empty() -> None:
    grid = Grid(x=parse_axis("seed", "1,2"))
    made = sheet([[Image.new("RGB", (64, 64), COLOURS[0]), None]], grid, ask())
    counts = {colour: count for count, colour in made.getcolors(1 << 16) or []}
    assert counts[tuple(bytes.fromhex(EMPTY[1:]))] == 64 * 64
    for wrong in ([[]], [[None, None]], [[Image.new("RGB", (64, 64))] * 2] * 2):
        with pytest.raises(ValueError, match="picture"):
            sheet(wrong, grid, ask())


def test_a_large_grid_fits_in_24_megapixels() -> None:
    request = ask("x " * 900, width=1024, height=1024)
    grid = Grid(x=parse_axis("seed", "1-5"), y=parse_axis("steps", "1-5"))
    cell = Image.new("RGB", (1024, 1024), COLOURS[0])
    made = sheet([[cell] * 5] * 5, grid, request)
    assert 0.9 * SHEET_PIXELS_MAX < made.width * made.height <= SHEET_PIXELS_MAX


def test_a_prompt_that_is_left_out_is_not_on_the_sheet() -> None:
    grid = Grid(x=parse_axis("prompt", "red, blue"))
    secret, other = (ask(f"a red {word}", leave_out_prompt=True) for word in ("robot", "dragon"))
    assert drawn(secret, grid).tobytes() == drawn(other, grid).tobytes()
    assert drawn(ask("a red robot"), grid).tobytes() != drawn(ask("a red dragon"), grid).tobytes()
    (row,) = cells(secret, grid)
    assert labels(grid.x, hide_words=True) == ("Words 1", "Words 2")
    assert [cell.prompt for cell in row] == ["a red robot", "a blue robot"]
    assert "red" not in grid.without_words().model_dump_json()
