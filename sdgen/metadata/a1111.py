"""The `parameters` text of AUTOMATIC1111's web UI, which most tools of the field read and write.

    a red robot on a beach <lora:minnal-murali:0.8>
    Negative prompt: blurry
    Steps: 12, Sampler: DPM++ 2M Karras, CFG scale: 3, Seed: 7, Size: 256x256, Model: picturebook

Format as in its modules/infotext_utils.py (`quote`, `parse_generation_parameters`). The digits in
"Lora hashes" are the first twelve of the whole file's SHA-256, by which Civitai finds files too.
"""

import json
import re

from sdgen.adapters.tags import take_tags
from sdgen.errors import InvalidRequest
from sdgen.metadata.recipe import Recipe, RecipeAdapter
from sdgen.request import SAMPLERS
from sdgen.samplers import SAMPLER_TITLES, sampler_from_title

NEGATIVE = "Negative prompt:"
SETTINGS_CHARS = 20_000  # characters of the last line that are looked at
_SETTING = re.compile(r'(\w[\w \-/]{1,60}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_HASH = re.compile(r"([^,:\s][^,:]{0,299}):\s*([0-9a-fA-F]{4,64})(?:,|$)")
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
# Settings that change nothing that a recipe of ours would say otherwise.
_READ = {"Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Clip skip"}
_READ |= {"Model", "Model hash", "Version", "RNG"}
_READ |= {"Lora hashes"}
_READ |= {"Original prompt", "Enhanced by", "Enhancer model"}


def parameters_text(recipe: Recipe) -> str:
    """The recipe as A1111 writes it; values that are not known are left out."""
    sampler = recipe.sampler
    if sampler in SAMPLERS:
        sampler = SAMPLER_TITLES[sampler]
    size = None
    if recipe.width is not None and recipe.height is not None:
        size = f"{recipe.width}x{recipe.height}"
    settings = {
        "Steps": recipe.steps,
        "Sampler": sampler,
        "CFG scale": _short(recipe.guidance_scale),
        "Seed": recipe.seed,
        "Size": size,
        "Model hash": recipe.model_hash[:10] or None,
        "Model": recipe.model or None,
        "Clip skip": recipe.clip_skip + 1 if recipe.clip_skip else None,
        "Version": recipe.app,
        "Lora hashes": _lora_hashes(recipe.adapters),
        "Enhanced by": recipe.enhanced_by or None,
        "Enhancer model": recipe.enhancer_model or None,
    }
    said = [f"{name}: {_quoted(value)}" for name, value in settings.items() if value is not None]
    if recipe.original_prompt:
        said.append(f"Original prompt: {json.dumps(recipe.original_prompt, ensure_ascii=False)}")
    negative = f"\n{NEGATIVE} {recipe.negative_prompt}" if recipe.negative_prompt else ""
    tags = "".join(f" {_tag(adapter)}" for adapter in recipe.adapters)
    return f"{recipe.prompt}{tags}{negative}\n{', '.join(said)}".strip()


def recipe_from_parameters(text: str) -> Recipe:
    """What such a text says. Never fails: a text without settings is all prompt.

    A1111's "Clip skip: 2" is one layer left out, clip_skip=1 here.
    """
    *lines, last = text.strip().split("\n")
    found = _SETTING.findall(last[:SETTINGS_CHARS])
    if len(found) < 3:
        lines.append(last)
        found = []
    settings = {name.strip(): _unquoted(value.strip()) for name, value in found}
    prompt: list[str] = []
    negative: list[str] = []
    into = prompt
    for line in (line.strip() for line in lines):
        if line.startswith(NEGATIVE):
            into = negative
            line = line.removeprefix(NEGATIVE).strip()
        into.append(line)
    size = _SIZE.fullmatch(settings.get("Size", ""))
    clip_skip = _whole(settings.get("Clip skip"))
    text, adapters, wrong_tags = _without_tags("\n".join(prompt), settings.get("Lora hashes", ""))
    others = [name for name in settings if name not in _READ][:20]
    notes = (f"Not read, as it is not known here: {', '.join(others)}.",) if others else ()
    version = settings.get("Version", "")
    ours = version.startswith("sdgen ")
    return Recipe(
        app=version if ours else f"A1111 {version}".strip(),
        prompt=text,
        negative_prompt="\n".join(negative),
        seed=_whole(settings.get("Seed")),
        steps=_whole(settings.get("Steps")),
        guidance_scale=_number(settings.get("CFG scale")),
        sampler=_sampler(settings.get("Sampler"), settings.get("Schedule type")),
        width=int(size[1]) if size else None,
        height=int(size[2]) if size else None,
        clip_skip=max(clip_skip - 1, 0) if clip_skip else 0,
        model=settings.get("Model", ""),
        model_hash=settings.get("Model hash", ""),
        original_prompt=settings.get("Original prompt", ""),
        enhanced_by=settings.get("Enhanced by", ""),
        enhancer_model=settings.get("Enhancer model", ""),
        notes=(*notes, *wrong_tags),
        adapters=adapters,
        prompt_left_out=ours and not text,  # we draw nothing without words
    )


def _tag(adapter: RecipeAdapter) -> str:
    """The tag of the prompt; with two numbers the text encoder's comes first, as A1111 has it."""
    scale = _short(adapter.scale)
    if adapter.text_scale is None or adapter.text_scale == adapter.scale:
        return f"<lora:{adapter.name}:{scale}>"
    return f"<lora:{adapter.name}:{_short(adapter.text_scale)}:{scale}>"


def _lora_hashes(adapters: tuple[RecipeAdapter, ...]) -> str | None:
    known = [f"{adapter.name}: {adapter.sha256[:12]}" for adapter in adapters if adapter.sha256]
    return ", ".join(known) or None


def _without_tags(
    prompt: str, hashes: str
) -> tuple[str, tuple[RecipeAdapter, ...], tuple[str, ...]]:
    """The prompt without its tags, what they name, and a note where they cannot be read."""
    try:
        plain, tags = take_tags(prompt)
    except InvalidRequest as error:
        return prompt, (), (str(error),)
    known = dict(_HASH.findall(hashes[:SETTINGS_CHARS]))
    adapters = {
        name: RecipeAdapter(
            name=name, sha256=known.get(name, ""), scale=scale, text_scale=text_scale
        )
        for name, scale, text_scale in tags
    }
    return plain, tuple(adapters.values()), ()


def _sampler(title: str | None, schedule: str | None) -> str | None:
    """Our name for A1111's sampler and schedule, else its own words.

    Until 1.8 the schedule was part of the title; since 1.9 it stands alone, and "Automatic" is the
    sampler's own default: Karras for DPM++ 2M, the model's own sigmas ("Uniform") for the rest.
    """
    if title is None:
        return None
    if schedule == "Automatic":
        schedule = "Karras" if title == "DPM++ 2M" else None
    if schedule in (None, "Uniform", "Normal"):
        return sampler_from_title(title) or title
    return sampler_from_title(f"{title} {schedule}") or f"{title} {schedule}"


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r"[,:\n]", text) else text


def _unquoted(text: str) -> str:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def _short(number: float | None) -> str | None:
    return None if number is None else f"{number:.6f}".rstrip("0").rstrip(".")


def _whole(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,15}", text, re.ASCII) else None


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d{1,6}(\.\d{1,20})?", text, re.ASCII) else None
