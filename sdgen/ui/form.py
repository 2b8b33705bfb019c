"""What the form holds, as plain values, and how it becomes the fields of a request."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sdgen.request import ADAPTERS_MAX, SCALE_MAX

NAME_CHARS = 300  # of an adapter's name, and of a trigger word
TRIGGERS_MAX = 20  # trigger words of one adapter


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
    adapters: object = ()  # what chosen_adapters reads; a browser may send anything
    leave_out_prompt: bool = False
    several: bool = False  # the prompt is many: one a line, and {red|blue} choices


class ChosenAdapter(NamedTuple):
    """One adapter of the form. put: trigger words that the page wrote into the prompt for it."""

    name: str
    scale: float = 1.0
    text_scale: float | None = None  # None: as scale
    put: tuple[str, ...] = ()

    def as_value(self) -> dict[str, object]:
        """As the panel's component and the browser keep it."""
        return {**self._asdict(), "put": list(self.put)}


FIELDS = Form._fields
_WHOLE = ("steps", "width", "height", "num_images")


def request_fields(form: Form) -> dict[str, object]:
    """The fields of a request, without the model; None where the model's default counts.

    `several` is no field of a request: the page makes one request of each prompt.

    Whole numbers arrive from browsers as 12 or 12.0; 12.5 stays and is refused later by name.
    """
    fields: dict[str, object] = form._asdict()
    del fields["model"], fields["several"]
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
    fields["leave_out_prompt"] = bool(form.leave_out_prompt)
    fields["adapters"] = [
        {"name": chosen.name, "scale": chosen.scale, "text_scale": chosen.text_scale}
        for chosen in chosen_adapters(form.adapters)
    ]
    return fields


def chosen_adapters(value: object) -> tuple[ChosenAdapter, ...]:
    """The adapters of a form; what is no adapter, or one for the second time, is left out."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    found = [chosen for entry in value[:ADAPTERS_MAX] if (chosen := _chosen(entry))]
    return tuple({chosen.name: chosen for chosen in reversed(found)}.values())[::-1]


def _chosen(entry: object) -> ChosenAdapter | None:
    if not isinstance(entry, Mapping):
        return None
    name, put = entry.get("name"), entry.get("put")
    scale, text_scale = _strength(entry.get("scale")), _strength(entry.get("text_scale"))
    if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS:
        return None
    words = put[:TRIGGERS_MAX] if isinstance(put, list | tuple) else ()
    kept = tuple(word for word in words if isinstance(word, str) and len(word) <= NAME_CHARS)
    return ChosenAdapter(name, 1.0 if scale is None else scale, text_scale, kept)


def _strength(value: object) -> float | None:
    """A strength within its bounds; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return min(max(float(value), -SCALE_MAX), SCALE_MAX)


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
            case "exact" | "leave_out_prompt" | "several":
                good = isinstance(value, bool)
            case "adapters":
                value = [chosen.as_value() for chosen in chosen_adapters(value)]
                good = bool(value)
            case _:
                good = isinstance(value, int | float) and not isinstance(value, bool)
        if good:
            kept[name] = value
    return Form(**kept)  # type: ignore[arg-type]  # each value's kind was just checked
