"""Which job a picture is of, where nothing is known of it but its file.

A picture is written before its row. If the app is killed in between and its job does not run again,
as it is cancelled first, nobody else tells the two that they belong together: the name does.
"""

import json
import sqlite3
from collections.abc import Iterable

from sdgen.pictures import index_of_name, job_picture_name, time_of_name


def jobs_by_name(db: sqlite3.Connection, ids: Iterable[str]) -> dict[str, tuple[str, int]]:
    """(job, index) of those pictures whose names are a known job's. Looks through the jobs once."""
    indices: dict[int, set[int]] = {}  # by the millisecond in which a job was taken in
    wanted = set(ids)
    for picture_id in wanted:
        when = round(time_of_name(picture_id) * 1000)
        indices.setdefault(when, set()).add(index_of_name(picture_id))
    if not wanted:
        return {}
    how = "WHERE CAST(created * 1000 AS INTEGER) IN (SELECT value FROM json_each(?))"
    found: dict[str, tuple[str, int]] = {}
    for job, created in db.execute(
        f"SELECT id, created FROM jobs {how}", (json.dumps([*indices]),)
    ):
        for index in indices[int(created * 1000)]:
            name = job_picture_name(job, created, index)
            if name in wanted:
                found[name] = job, index
    return found
