"""The `parameters` text of AUTOMATIC1111's web UI, which most tools of the field read and write.

    a red robot on a beach <lora:minnal-murali:0.8>
    Negative prompt: blurry
    Steps: 12, Sampler: DPM++ 2M Karras, CFG scale: 3, Seed: 7, Size: 256x256, Model: picturebook

Format as in its modules/infotext_utils.py (`quote`, `parse_generation_parameters`). The digits in
"Lora hashes" are twelve digits by which A1111 and Civitai find a file whatever its name: of a hash
of its tensors. In our older pictures they are of the whole file.
Reading it is sdgen.metadata.readers.a1111.
"""

import json
import re

from sdgen.metadata.recipe import Recipe, RecipeAdapter
from sdgen.request import SAMPLERS
from sdgen.samplers import SAMPLER_TITLES

NEGATIVE = "Negative prompt:"


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


def _tag(adapter: RecipeAdapter) -> str:
    """The tag of the prompt; with two numbers the text encoder's comes first, as A1111 has it."""
    scale = _short(adapter.scale)
    if adapter.text_scale is None or adapter.text_scale == adapter.scale:
        return f"<lora:{adapter.name}:{scale}>"
    return f"<lora:{adapter.name}:{_short(adapter.text_scale)}:{scale}>"


def _lora_hashes(adapters: tuple[RecipeAdapter, ...]) -> str | None:
    hashes = {adapter.name: adapter.a1111_hash or adapter.sha256[:12] for adapter in adapters}
    return ", ".join(f"{name}: {digits}" for name, digits in hashes.items() if digits) or None


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r"[,:\n]", text) else text


def _short(number: float | None) -> str | None:
    return None if number is None else f"{number:.6f}".rstrip("0").rstrip(".")
