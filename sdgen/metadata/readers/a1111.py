"""AUTOMATIC1111's text and its kin: Forge, SD.Next, CivitAI, Fooocus' second scheme, our own.

Which program wrote one is told by its settings ("Version: f2.0.1v1.10.1" is Forge's). Clip skip
counts the layer that is taken: 2 is one layer left out. "Lora hashes" are the first twelve digits
of a SHA-256 over an adapter's tensors; CivitAI and we write those of the whole file.
"""

import json
import re
from collections.abc import Iterator, Mapping

from sdgen.adapters.tags import read_tags
from sdgen.metadata.readers import values
from sdgen.metadata.readers.settings import SETTINGS_CHARS, Parted, part_text
from sdgen.metadata.recipe import Recipe, RecipeAdapter

_NEGATIVE = re.compile(r"negative prompt:", re.IGNORECASE)
_PROMPT = re.compile(r"\s{0,20}(?:positive )?prompt:\s{0,20}", re.IGNORECASE)
_HASH = re.compile(r"([^,:\s][^,:]{0,299}):\s{0,20}([0-9a-fA-F]{4,64})(?:,|$)")
_WEIGHT = re.compile(r"([^,:\s][^,:]{0,299}):\s{0,20}(-?\d{1,4}(?:\.\d{1,20})?)(?:,|$)")
_NETWORK = re.compile(r"(.{1,300}?)(?:\(([0-9a-f]{4,64})\))?")
_NETWORKS = 5
_NAMED = re.compile(r"(?!neo|forge)[A-Za-z][A-Za-z .\-]{4,}", re.IGNORECASE)
_LABEL = re.compile(r"(\w[\w \-]{0,40}):")
# Settings that are read, or change nothing that a recipe of ours would say otherwise.
_READ = frozenset(
    {"steps", "sampler", "schedule type", "scheduler", "cfg scale", "cfg", "guidance scale"}
    | {"seed", "size", "width", "height", "clip skip", "model", "model hash", "version", "rng"}
    | {"lora hashes", "lora weights", "hashes", "civitai resources", "negative prompt"}
    | {"original prompt", "enhanced by", "enhancer model"}
)


def holds_settings(text: str) -> bool:
    """True for a text of this kind."""
    return bool(part_text(text.replace("\r\n", "\n")).settings)


def recipe_from_parameters(text: str) -> Recipe:
    """What such a text says. Never fails: a text without settings is all prompt."""
    parted = part_text(text.replace("\r\n", "\n").replace("\r", "\n").strip())
    settings = parted.settings
    if settings.get("Version", "").startswith("sdgen "):
        return _ours(parted)
    prompt, negative = _prompts(parted)
    if not negative and parted.behind:  # written in another order
        rest, negative = _by_lines("\n".join(parted.behind))
        parted = parted._replace(behind=tuple(rest.split("\n")))
    others = [
        name
        for name in settings
        if name.lower() not in _READ and not name.startswith(("AddNet ", "Addnet "))
    ]
    notes = values.unread(_behind(parted.behind) + others)
    adapters, more = _adapters(prompt, settings)
    named = {key.lower(): value for key, value in settings.items()}
    recipe = values.foreign_recipe(
        _program(settings),
        prompt=prompt,
        negative=negative or named.get("negative prompt", ""),
        seed=_first(named.get("seed")),
        steps=_first(named.get("steps")),
        guidance=_first(named.get("cfg scale") or named.get("cfg") or named.get("guidance scale")),
        sampler=_first(named.get("sampler")),
        schedule=_first(named.get("schedule type") or named.get("scheduler")),
        pixels=values.size(_first(named.get("size")))
        or values.size([named.get("width"), named.get("height")]),
        clip_skip=(values.whole(_first(named.get("clip skip"))) or 1) - 1,
        model=named.get("model", ""),
        model_hash=named.get("model hash") or _hashes_told(settings).get("model", ""),
        adapters=adapters,
        notes=[*notes, *more],
    )
    return recipe.model_copy(update=_enhancement(settings))


def _ours(parted: Parted) -> Recipe:
    """Our own text (sdgen.metadata.a1111), to the letter."""
    settings = parted.settings
    prompt, negative = _by_lines(parted.before)
    read = read_tags(prompt)
    hashes = dict(_HASH.findall(settings.get("Lora hashes", "")[:SETTINGS_CHARS]))
    named = values.foreign_recipe(
        settings["Version"],
        prompt="",
        seed=settings.get("Seed"),
        steps=settings.get("Steps"),
        guidance=settings.get("CFG scale"),
        sampler=settings.get("Sampler", ""),
        pixels=values.size(settings.get("Size")),
        clip_skip=(values.whole(settings.get("Clip skip")) or 1) - 1,
        model=settings.get("Model", ""),
        model_hash=settings.get("Model hash", ""),
        adapters=(
            RecipeAdapter(
                name=name, sha256=hashes.get(name, ""), scale=scale, text_scale=text_scale
            )
            for name, scale, text_scale in read.tags
        ),
        notes=(*values.unread(k for k in settings if k.lower() not in _READ), *read.notes),
    )
    return named.model_copy(
        update={
            "prompt": values.text(read.prompt),
            "negative_prompt": values.text(negative),
            **_enhancement(settings),
            "prompt_left_out": not read.prompt,  # we draw nothing without words
        }
    )


def _enhancement(settings: Mapping[str, str]) -> dict[str, str]:
    """Where an enhanced prompt came from, as we write it into such a text."""
    return {
        "original_prompt": values.text(settings.get("Original prompt")),
        "enhanced_by": values.text(settings.get("Enhanced by")),
        "enhancer_model": values.text(settings.get("Enhancer model")),
    }


def _prompts(parted: Parted) -> tuple[str, str]:
    """Prompt and negative prompt."""
    before = parted.before
    if parted.settings and (label := _PROMPT.match(before)):
        before = before[label.end() :]
    prompt, negative = _by_lines(before)
    if not negative and parted.settings and (found := _NEGATIVE.search(before)):
        prompt, negative = before[: found.start()], before[found.end() :]
        prompt = _ended(prompt)
    if parted.one_line:
        prompt, negative = (_ended(prompt), "") if not negative else (prompt, _ended(negative))
    return prompt, negative


def _by_lines(before: str) -> tuple[str, str]:
    """As A1111 reads it: a line that begins with "Negative prompt:" begins the negative one."""
    prompt: list[str] = []
    negative: list[str] = []
    into = prompt
    for line in (line.strip() for line in before.split("\n")):
        label = _NEGATIVE.match(line)
        if label:
            into = negative
            line = line[label.end() :].strip()
        into.append(line)
    return "\n".join(prompt).strip(), "\n".join(negative).strip()


def _ended(text: str) -> str:
    """A text without what stands in for a line's end on a text of one line."""
    return text.removesuffix(".").rstrip().rstrip(",|;").rstrip()


def _first(value: str | None) -> str:
    """A setting without what follows a comma: those with commas of their own are quoted."""
    return (value or "").partition(",")[0].strip()


def _behind(lines: tuple[str, ...]) -> list[str]:
    """Names of the lines behind the settings, such as "Template" of dynamic prompts."""
    said = [line.strip() for line in lines if line.strip()]
    named = [match[1] for line in said if (match := _LABEL.match(line))]
    rest = len(said) - len(named)
    lines_said = "a line" if rest == 1 else f"{rest} lines"
    return named + ([f"{lines_said} behind the settings"] if rest else [])


def _program(settings: Mapping[str, str]) -> str:
    version = settings.get("Version", "")
    if _NAMED.match(version):  # "Fooocus v2.5.5", "ComfyUI", "stable-diffusion.cpp"
        return version
    if "Civitai resources" in settings:
        return f"CivitAI {version}".strip()
    if "Pipeline" in settings or settings.get("App") == "SD.Next" or "Parser" in settings:
        return f"SD.Next {version}".strip()
    if re.match(r"f\d|neo|forge", version, re.IGNORECASE):
        return f"Forge {version}"
    return f"A1111 {version}".strip()


def _adapters(
    prompt: str, settings: Mapping[str, str]
) -> tuple[list[RecipeAdapter | None], list[str]]:
    """The adapters of the settings, those of the prompt's tags with their hashes, and notes."""
    hashes = _hashes(settings)
    tags = read_tags(prompt).tags
    found = {
        name.casefold(): values.adapter(name, scale, text_scale, _hash_of(name, hashes))
        for name, scale, text_scale in tags
    }
    for name, weight in _WEIGHT.findall(settings.get("Lora weights", "")[:SETTINGS_CHARS]):
        found.setdefault(
            name.strip().casefold(),
            values.adapter(name, weight, sha256=_hash_of(name.strip(), hashes)),
        )
    for network in _additional_networks(settings):
        found.setdefault(network.name.casefold(), network)
    weights = {round(scale, 4) for _, scale, _ in tags}
    notes = []
    for resource in _resources(settings.get("Civitai resources", "")):
        kind = values.text(resource.get("type")).lower()
        name = values.text(resource.get("modelName") or resource.get("name"))
        weight = values.number(resource.get("weight"))
        if kind not in ("lora", "lycoris", "locon", "dora"):
            if kind not in ("checkpoint", "model") and (name or kind):
                notes += values.unread([f"{kind} {name}".strip()])
            continue
        if weight is not None and round(weight, 4) in weights:
            continue  # the tag of the same strength is this one, by its file's name
        told = values.adapter(
            name or f"CivitAI version {values.whole(resource.get('modelVersionId')) or '?'}",
            1.0 if weight is None else weight,
            sha256=resource.get("hash", ""),
        )
        if told:
            found.setdefault(told.name.casefold(), told)
    return list(found.values()), notes


def _additional_networks(settings: Mapping[str, str]) -> Iterator[RecipeAdapter]:
    """Adapters of the extension sd-webui-additional-networks: `AddNet Model 1: name(hash)`,
    weight A for the denoiser, B for the text encoder."""
    for place in range(1, _NETWORKS + 1):
        named = _NETWORK.fullmatch(settings.get(f"AddNet Model {place}", ""))
        if named and settings.get(f"AddNet Module {place}", "LoRA") == "LoRA":
            scale, of_text = (settings.get(f"AddNet Weight {part} {place}", 1.0) for part in "AB")
            told = values.adapter(named[1], scale, of_text, named[2])
            if told:
                yield told


def _hashes(settings: Mapping[str, str]) -> dict[str, str]:
    """Adapters' names in lower case to the first digits of a hash."""
    found = dict(_HASH.findall(settings.get("Lora hashes", "")[:SETTINGS_CHARS]))
    for name, value in _hashes_told(settings).items():
        kind, _, adapter_name = name.partition(":")
        if kind.lower() in ("lora", "lyco") and isinstance(value, str):
            found.setdefault(adapter_name, value)
    return {name.strip().casefold(): digits for name, digits in found.items()}


def _hashes_told(settings: Mapping[str, str]) -> dict[str, object]:
    """What "Hashes" holds as JSON: {"model": "6ce0161689", "lora:name": "..."}."""
    return values.json_object(settings.get("Hashes", "")) or {}


def _hash_of(name: str, hashes: Mapping[str, str]) -> str:
    return hashes.get(name.casefold(), "")


def _resources(told: str) -> list[dict[str, object]]:
    """CivitAI's list of models and adapters."""
    try:
        found = json.loads(told[:SETTINGS_CHARS]) if told else []
    except (ValueError, RecursionError):
        return []
    listed = found if isinstance(found, list) else []
    return [each for each in listed[:100] if isinstance(each, dict)]
