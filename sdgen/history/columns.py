"""Rows as SQL: the fields of our values are the columns of the tables, by name."""

import dataclasses
import json
import sqlite3
import unicodedata
from typing import Any

from sdgen.history.rows import JobRow, PictureRow

_JOB = tuple(field.name for field in dataclasses.fields(JobRow))
_PICTURE = tuple(field.name for field in dataclasses.fields(PictureRow))
_ADAPTERS, _FAVOURITE = _PICTURE.index("adapters"), _PICTURE.index("favourite")
_SEED = _PICTURE.index("seed")
_BITS_64, _SIGN = 2**64, 2**63  # SQLite's integers have a sign; seeds have none


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


JOB_COLUMNS, PICTURE_COLUMNS = _quoted(_JOB), _quoted(_PICTURE)
ADD_JOB = (
    f"INSERT INTO jobs ({JOB_COLUMNS}) VALUES ({', '.join('?' * len(_JOB))}) "
    "ON CONFLICT (id) DO NOTHING"
)
# What a file does not tell is filled in where the row was made from the file alone.
ADD_PICTURE = (
    f"INSERT INTO pictures ({PICTURE_COLUMNS}, words) "
    f"VALUES ({', '.join('?' * (len(_PICTURE) + 1))}) ON CONFLICT (id) DO UPDATE "
    'SET job = excluded.job, "index" = excluded."index", '
    "flagged = iif(excluded.flagged != '', excluded.flagged, flagged) "
    "WHERE job = '' AND owner = excluded.owner AND (excluded.job != '' OR excluded.flagged != '')"
)


def clean(text: str) -> str:
    """Text as UTF-8 can hold it: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def searchable(text: str) -> str:
    """Text as searches compare it: without upper and lower case, one spelling of each letter."""
    folded = unicodedata.normalize("NFD", clean(text)).casefold()
    return unicodedata.normalize("NFC", folded)


def job_values(row: JobRow) -> tuple[Any, ...]:
    """The values for ADD_JOB."""
    return tuple(_value(getattr(row, name)) for name in _JOB)


def picture_values(row: PictureRow) -> tuple[Any, ...]:
    """The values for ADD_PICTURE."""
    words = f"{searchable(row.prompt)}\n{searchable(row.negative_prompt)}"
    values = [_value(getattr(row, name)) for name in _PICTURE]
    values[_SEED] = row.seed if row.seed < _SIGN else row.seed - _BITS_64
    return (*values, words)


def job_of(values: tuple[Any, ...]) -> JobRow:
    """A row of `SELECT JOB_COLUMNS`."""
    return JobRow(*values)


def picture_of(values: tuple[Any, ...]) -> PictureRow:
    """A row of `SELECT PICTURE_COLUMNS`."""
    given = list(values)
    given[_ADAPTERS] = tuple(json.loads(given[_ADAPTERS]))
    given[_FAVOURITE] = bool(given[_FAVOURITE])
    given[_SEED] %= _BITS_64
    return PictureRow(*given)


def pictures_of(found: sqlite3.Cursor) -> list[PictureRow]:
    """All rows of a `SELECT PICTURE_COLUMNS`."""
    return [picture_of(values) for values in found]


def _value(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, tuple):
        return json.dumps([clean(name) for name in value], ensure_ascii=False)
    return value
