"""A recipe as fields of a form: what of it can be taken over here, and sentences on the rest."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PureWindowsPath
from types import MappingProxyType
from typing import Protocol

from sdgen.errors import InvalidRequest
from sdgen.metadata.recipe import Recipe, RecipeAdapter
from sdgen.request import ADAPTERS_MAX, PROMPT_CHARS, GenerateRequest, folded_seed_note

_SHA256_DIGITS = 64
_CUT_CHARS = 500  # of a prompt that is too long: within so many of its end it is cut at a comma
_HASH_DIGITS = 10  # of other programs; fewer tell no file from another
# Fields that are certainly allowed, to try the values of a recipe one at a time among them.
_ALLOWED = MappingProxyType(
    {
        "prompt": "x",
        "model": "x",
        "width": 64,
        "height": 64,
        "steps": 1,
        "guidance_scale": 1.0,
        "seed": 0,
        "sampler": "euler",
    }
)


class KnownAdapter(Protocol):
    """What of an AdapterReport tells whether it is the one of a recipe."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...  # of the whole file
    @property
    def tensor_sha256(self) -> str: ...  # of what is behind its header; "" where nobody knows


@dataclass(frozen=True)
class FormFields:
    """A recipe as fields for `ModelSpec.request(**fields)`, and sentences on what was left out."""

    fields: dict[str, object]
    notes: tuple[str, ...]


def form_fields(
    recipe: Recipe, models: Collection[str], adapters: Iterable[KnownAdapter] = ()
) -> FormFields:
    """What of a recipe a form can take. models: names that can be chosen here. adapters: those
    that are here.

    Every value is tried against GenerateRequest; one that does not fit becomes a note. Of a sheet
    they are the settings that its cells share.
    """
    fields: dict[str, object] = {}
    notes: list[str] = []
    if recipe.prompt_left_out:
        notes.append("The prompt was left out of this picture.")
    else:
        for name in ("prompt", "negative_prompt"):
            _offer(fields, notes, {name: _fitting(getattr(recipe, name), name, notes)})
    offered: dict[str, object] = {
        "seed": recipe.seed,
        "steps": recipe.steps,
        "guidance_scale": recipe.guidance_scale,
        "clip_skip": recipe.clip_skip,
    }
    for name, value in offered.items():
        _offer(fields, notes, {name: value})
    if recipe.seed is not None and (folded := folded_seed_note(recipe.seed)):
        notes.append(folded)
    _offer(fields, notes, {"width": recipe.width, "height": recipe.height})
    if recipe.ours:
        fields["exact"] = recipe.exact
    if recipe.sampler is not None:
        try:
            GenerateRequest.checked(**{**_ALLOWED, "sampler": recipe.sampler})
            fields["sampler"] = recipe.sampler
        except InvalidRequest:
            notes.append(f"The sampler “{recipe.sampler}” is not known here; choose another.")
    if recipe.model in models:
        fields["model"] = recipe.model
    elif recipe.model:
        notes.append(f"It was made with the model “{recipe.model}”, which is not offered here.")
    _offer_adapters(fields, notes, recipe, tuple(adapters))
    if not recipe.ours:
        notes.append("It was made by another program: its seed draws another picture here.")
        notes += recipe.notes
    return FormFields(fields, tuple(notes))


def _offer_adapters(
    fields: dict[str, object],
    notes: list[str],
    recipe: Recipe,
    here: tuple[KnownAdapter, ...],
) -> None:
    """The adapters that are here, by hash and else by name; what is said about the others."""
    uses: dict[str, object] = {}
    for adapter in recipe.adapters:
        found = find_adapter(adapter, here)
        if found is None:
            notes.append(missing_adapter(adapter))
            continue
        whole = len(adapter.sha256) == _SHA256_DIGITS
        if whole and adapter.sha256 not in (found.sha256, found.tensor_sha256):
            notes.append(
                f"The adapter “{adapter.name}” here is another file than the picture's, so the "
                "picture may come out differently."
            )
        offered = {"name": found.name, "scale": adapter.scale, "text_scale": adapter.text_scale}
        try:
            checked = GenerateRequest.checked(**{**_ALLOWED, "adapters": [offered]})
        except InvalidRequest as error:
            notes.append(f"Left out: {error}")
            continue
        uses.setdefault(found.name, checked.adapters[0].model_dump())
    for name in list(uses)[ADAPTERS_MAX:]:
        notes.append(f"Left out: the adapter “{name}”, as {ADAPTERS_MAX} are the most that mix.")
    fields["adapters"] = tuple(uses.values())[:ADAPTERS_MAX]


def _fitting(text: str, name: str, notes: list[str]) -> str:
    """A prompt as far as a request can hold it, cut where it pauses; a note says how far."""
    if len(text) <= PROMPT_CHARS:
        return text
    start = text[:PROMPT_CHARS]
    near = PROMPT_CHARS - _CUT_CHARS
    cuts = (max(start.rfind(",", near), start.rfind("\n", near)), start.rfind(" ", near))
    kept = start[: next((cut for cut in cuts if cut > 0), PROMPT_CHARS)].rstrip(", \n")
    notes.append(
        f"The {name.replace('_', ' ')} has {len(text):,} characters; its first {len(kept):,} were "
        f"taken, as {PROMPT_CHARS:,} are the most."
    )
    return kept


def find_adapter(adapter: RecipeAdapter, here: tuple[KnownAdapter, ...]) -> KnownAdapter | None:
    """The one of those that are here that a recipe means, or None.

    By hash, of the file or of its tensors; else by name; else by the name without its folders,
    where only one is called so. The hash of tensors may mean reading a file: those of the name
    come first.
    """
    start = adapter.sha256.lower()
    if len(start) >= _HASH_DIGITS:
        likely = sorted(here, key=lambda known: _last_name(known.name) != _last_name(adapter.name))
        for hash_of in (_file_hash, _tensor_hash):
            for known in likely:
                if hash_of(known).startswith(start):
                    return known
    for named in (_whole_name, _last_name):
        found = [known for known in here if named(known.name) == named(adapter.name)]
        if found and (named is _whole_name or len(found) == 1):
            return found[0]
    return None


def _file_hash(known: KnownAdapter) -> str:
    return known.sha256


def _tensor_hash(known: KnownAdapter) -> str:
    return known.tensor_sha256


def _whole_name(name: str) -> str:
    return name


def _last_name(name: str) -> str:
    return PureWindowsPath(name).name.removesuffix(".safetensors").casefold()


def missing_adapter(adapter: RecipeAdapter) -> str:
    """An adapter that is not here, and where it came from."""
    kind, _, place = adapter.source.partition(":")
    whence = {
        "hub": f"it came from the Hub: {place}",
        "upload": "it was a file that somebody added",
        "file": "it was a file on the machine that drew it",
        "trained": "it was trained there",
        "bundled": "it came with sdgen",
    }.get(kind, "where it came from was not written down")
    digits = f", file {adapter.sha256[:12]}" if adapter.sha256 else ""
    return (
        f"It used the adapter “{adapter.name}” (strength {adapter.scale:g}{digits}), which is not "
        f"here; {whence}."
    )


def _offer(fields: dict[str, object], notes: list[str], given: dict[str, object]) -> None:
    """Move `given` to the fields if it is there and allowed, else to the notes."""
    if None in given.values():
        return
    try:
        GenerateRequest.checked(**{**_ALLOWED, **given})
        fields.update(given)
    except InvalidRequest as error:
        notes.append(f"Left out: {error}")
