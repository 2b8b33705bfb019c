"""What the form holds, as plain values, and how it becomes the fields of a request."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple


class Form(NamedTuple):
    """The values of the form's fields, in the order in which handlers take them.

    A field is None where it is left to the model; `seed` is text, "" draws a new one each time.
    """

    prompt: str = ""
    negative_prompt: str = ""
    model: str = ""
    seed: str = ""
    steps: float | None = None
    guidance_scale: float | None = None
    width: float | None = None  # pixels
    height: float | None = None  # pixels
    num_images: float | None = 1
    sampler: str | None = None
    exact: bool = False


FIELDS = Form._fields
_WHOLE = ("steps", "width", "height", "num_images")


def request_fields(form: Form) -> dict[str, object]:
    """The fields of a request, without the model; None where the model's default counts.

    Whole numbers arrive from browsers as 12 or 12.0; 12.5 stays and is refused later by name.
    """
    fields: dict[str, object] = form._asdict()
    del fields["model"]
    for name in _WHOLE:
        value = fields[name]
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            fields[name] = int(value)
    seed = str(form.seed).strip()
    if seed in ("", "-1"):  # -1 is what other tools of the field write for a new one
        fields["seed"] = None
    elif re.fullmatch(r"-?\d{1,20}", seed, re.ASCII):
        fields["seed"] = int(seed)
    fields["exact"] = bool(form.exact)
    return fields


def saved_form(saved: object) -> Form:
    """The form as a browser remembered it; whatever is missing or of a wrong kind is left out."""
    if not isinstance(saved, Mapping):
        return Form()
    kept: dict[str, object] = {}
    for name in FIELDS:
        value = saved.get(name)
        match name:
            case "prompt" | "negative_prompt" | "model" | "seed" | "sampler":
                good = isinstance(value, str)
            case "exact":
                good = isinstance(value, bool)
            case _:
                good = isinstance(value, int | float) and not isinstance(value, bool)
        if good:
            kept[name] = value
    return Form(**kept)  # type: ignore[arg-type]  # each value's kind was just checked
