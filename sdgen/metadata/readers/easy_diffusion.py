"""Easy Diffusion: JSON, one PNG chunk a setting, or lines of text.

Names as in its ui/easydiffusion/utils/save_utils.py (TASK_TEXT_MAPPING): those of the request, or
labels. Its `dpmpp_2m` draws with Karras' noise levels (sdkit, "DPM++ 2m (Karras)").
"""

import re
from collections.abc import Mapping

from sdgen.metadata.readers import values
from sdgen.metadata.readers.found import Found
from sdgen.metadata.recipe import Recipe, RecipeAdapter

_LABELS = {
    "prompt": "Prompt",
    "negative_prompt": "Negative Prompt",
    "seed": "Seed",
    "use_stable_diffusion_model": "Stable Diffusion model",
    "clip_skip": "Clip Skip",
    "sampler_name": "Sampler",
    "width": "Width",
    "height": "Height",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance Scale",
    "use_lora_model": "LoRA model",
    "lora_alpha": "LoRA Strength",
    "use_vae_model": "VAE model",
    "use_hypernetwork_model": "Hypernetwork model",
    "use_embeddings_model": "Embedding models",
    "use_controlnet_model": "ControlNet model",
    "prompt_strength": "Prompt Strength",
    "use_face_correction": "Use Face Correction",
    "use_upscale": "Use Upscaling",
    "tiling": "Seamless Tiling",
}
_READ = (
    *("prompt", "negative_prompt", "seed", "use_stable_diffusion_model", "clip_skip"),
    *("sampler_name", "width", "height", "num_inference_steps", "guidance_scale"),
    *("use_lora_model", "lora_alpha"),
)
_NAMES = {label: name for name, label in _LABELS.items()}
_LINE = re.compile(r"([A-Za-z][A-Za-z ]{1,40}):[ \t]{0,5}(.*)")


def read(found: Found) -> Recipe | None:
    """The recipe, or None where there is none of its kind."""
    for told in found.objects.values():
        named = _named(told)
        if _is_easy(named):
            return _recipe(named)
    chunks = _named(found.texts)
    if _is_easy(chunks):
        return _recipe(chunks)
    for _, text in found.plain():
        lines = _lines(text)
        if _is_easy(lines):
            return _recipe(lines)
    return None


def _named(told: Mapping[str, object]) -> dict[str, object]:
    """The settings under the names of the request."""
    return {_NAMES.get(name, name): value for name, value in told.items()}


def _is_easy(told: Mapping[str, object]) -> bool:
    needed = {"prompt", "seed", "num_inference_steps"} <= set(told)
    return needed and bool({"use_stable_diffusion_model", "sampler_name"} & set(told))


def _lines(text: str) -> dict[str, object]:
    """Lines like "Guidance Scale: 7.5"; a prompt goes on over lines without a label."""
    found: dict[str, str] = {}
    last = ""
    for line in text.split("\n")[:2_000]:
        label = _LINE.match(line)
        if label and label[1] in _NAMES:
            last = _NAMES[label[1]]
            found.setdefault(last, label[2].strip())
        elif last in ("prompt", "negative_prompt"):
            found[last] += f"\n{line}"
    return dict(found)


def _recipe(told: Mapping[str, object]) -> Recipe:
    sampler = values.text(told.get("sampler_name"))
    others = [_LABELS.get(name, "") for name in values.said(told, _READ) if told[name] != "False"]
    return values.foreign_recipe(
        "Easy Diffusion",
        prompt=told.get("prompt"),
        negative=told.get("negative_prompt"),
        seed=told.get("seed"),
        steps=told.get("num_inference_steps"),
        guidance=told.get("guidance_scale"),
        sampler="DPM++ 2M Karras" if sampler == "dpmpp_2m" else sampler,
        pixels=values.size([told.get("width"), told.get("height")]),
        clip_skip=1 if told.get("clip_skip") in (True, "True", "true") else 0,
        model=values.file_name(told.get("use_stable_diffusion_model")),
        adapters=_adapters(told.get("use_lora_model"), told.get("lora_alpha")),
        notes=values.unread(filter(None, others)),
    )


def _adapters(names: object, scales: object) -> list[RecipeAdapter | None]:
    each, strengths = _listed(names), _listed(scales)
    return [
        values.adapter(name, strengths[index] if index < len(strengths) else 1.0)
        for index, name in enumerate(each[:100])
    ]


def _listed(value: object) -> list[object]:
    """One value or several; a text holds a list as Python prints it, or with commas."""
    if isinstance(value, str):
        return [part.strip(" '\"") for part in value.strip("[]").split(",") if part.strip(" '\"")]
    return value if isinstance(value, list) else [] if value is None else [value]
