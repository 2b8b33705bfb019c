"""Rows of jobs and of pictures, with everything in them that a row must have."""

import json

from sdgen.history import JobRow, PictureRow


def job(job_id: str = "a", **given: object) -> JobRow:
    """A job that waits; `given` are its other fields."""
    fields: dict[str, object] = {
        "id": job_id,
        "owner": "me",
        "payer": "me",
        "state": "waiting",
        "place": 1.0,
        "leave": "keep",
        "request": json.dumps({"prompt": "a red robot", "negative_prompt": "rain", "seed": 7}),
        "created": 100.0,
    }
    return JobRow(**{**fields, **given})  # type: ignore[arg-type]


def picture(picture_id: str = "p", **given: object) -> PictureRow:
    """A picture that nobody put in the bin; `given` are its other fields."""
    fields: dict[str, object] = {
        "id": picture_id,
        "owner": "me",
        "path": f"me/2026-11-20/{picture_id}.png",
        "seed": 7,
        "prompt": "a red robot",
        "model": "picturebook",
        "width": 64,
        "height": 64,
        "created": 100.0,
    }
    return PictureRow(**{**fields, **given})  # type: ignore[arg-type]
