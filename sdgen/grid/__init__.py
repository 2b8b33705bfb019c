"""A grid of pictures: one request drawn with each value of one axis, or of two, on one sheet.

axes.py: what changes from cell to cell. sheet.py: the picture of all cells, with labels.
"""

from sdgen.grid.axes import (
    AXIS_FIELDS,
    AXIS_TITLES,
    CELLS_MAX,
    Axis,
    AxisField,
    Grid,
    axis_from_text,
    cells,
    grid_from_json,
    grid_from_texts,
    parse_axis,
)
from sdgen.grid.sheet import SHEET_PIXELS_MAX, sheet

__all__ = [
    "AXIS_FIELDS",
    "AXIS_TITLES",
    "CELLS_MAX",
    "SHEET_PIXELS_MAX",
    "Axis",
    "AxisField",
    "Grid",
    "axis_from_text",
    "cells",
    "grid_from_json",
    "grid_from_texts",
    "parse_axis",
    "sheet",
]
