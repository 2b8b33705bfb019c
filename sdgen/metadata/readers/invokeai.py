"""InvokeAI: `invokeai_metadata` (3.0 and later), `sd-metadata` (2.x) and `Dream` (the first).

Fields as in its invokeai/app/invocations/metadata.py. Its hashes are blake3, so adapters are found
by name. In the old prompts `[...]` is the negative one; weights are compel's: `word++`,
`(words)1.2`, which are not drawn as weights here.
"""

import re
from collections.abc import Mapping

from sdgen.metadata.readers import values
from sdgen.metadata.readers.found import Found, made_by
from sdgen.metadata.recipe import Recipe, RecipeAdapter

_READ = (
    *("app_version", "positive_prompt", "negative_prompt", "width", "height", "seed", "steps"),
    *("cfg_scale", "scheduler", "clip_skip", "model", "loras", "rand_device", "generation_mode"),
    *("negative_style_prompt", "positive_style_prompt"),
)
_COMPEL = re.compile(r"\w(?:\+{1,9}|-{2,9})(?:[\s,.]|$)|\)(?:\+|-|\d)")
_DREAM = re.compile(r'\s{0,20}"((?:[^"\\]|\\.|"(?!\s{1,20}-|\s{0,20}$)){0,20000})"', re.DOTALL)
_FIRST_DREAM = re.compile(r"\s{0,20}([^\"]{1,20000}?)(?=\s-[sSWHCA]\s{0,5}[\dk])")  # unquoted
_SWITCH = re.compile(r"\s-([sSWHCAn])\s{0,20}([\w.]{1,100})")
_OTHER_SWITCH = re.compile(r"\s(-(?![sSWHCAn][\s\w.])[A-Za-z]{1,20})")
_NEGATIVE = re.compile(r"\[([^\[\]]*)\]")


def read(found: Found) -> Recipe | None:
    """The recipe, or None where InvokeAI wrote nothing. Raises PictureUnreadable."""
    for name, told in found.objects.items():
        if name.startswith("invokeai_metadata") or _is_metadata(told):
            return _current(told)
    for told in found.objects.values():
        image = told.get("image")
        if isinstance(image, dict) and ("app_id" in told or "model_weights" in told):
            return _older(told, image)
    dream = found.texts.get("Dream")
    if dream is not None:
        return _dream(dream)
    if any(name.startswith(("invokeai_", "sd-metadata")) for name in found.texts):
        raise made_by("InvokeAI", "but holds only its graph, or settings that cannot be read")
    return None


def _is_metadata(told: Mapping[str, object]) -> bool:
    return "positive_prompt" in told and bool({"generation_mode", "scheduler"} & set(told))


def _current(told: Mapping[str, object]) -> Recipe:
    model = told.get("model")
    named = model if isinstance(model, dict) else {}
    prompt, negative = told.get("positive_prompt"), told.get("negative_prompt")
    styles = (told.get("positive_style_prompt"), told.get("negative_style_prompt"))
    apart = [
        name
        for name, style, main in zip(
            ("positive_style_prompt", "negative_style_prompt"), styles, (prompt, negative),
            strict=True,
        )
        if style and style != main
    ]  # fmt: skip
    return values.foreign_recipe(
        f"InvokeAI {values.text(told.get('app_version'))}".strip(),
        prompt=prompt,
        negative=negative,
        seed=told.get("seed"),
        steps=told.get("steps"),
        guidance=told.get("cfg_scale"),
        sampler=told.get("scheduler"),
        pixels=values.size([told.get("width"), told.get("height")]),
        clip_skip=values.whole(told.get("clip_skip")) or 0,
        model=values.file_name(named.get("name") or named.get("model_name") or model),
        adapters=_adapters(told.get("loras")),
        notes=values.unread([*values.said(told, _READ), *apart]) + _weights(prompt, negative),
    )


def _adapters(listed: object) -> list[RecipeAdapter | None]:
    found: list[RecipeAdapter | None] = []
    for each in listed[:100] if isinstance(listed, list) else []:
        if isinstance(each, dict):
            of = next((each[key] for key in ("model", "lora") if key in each), None)
            name = of.get("name") or of.get("model_name") if isinstance(of, dict) else of
            found.append(values.adapter(name, each.get("weight", 1.0)))
    return found


def _older(told: Mapping[str, object], image: Mapping[str, object]) -> Recipe:
    listed = image.get("prompt")
    parts = listed if isinstance(listed, list) else [listed]
    texts = [
        values.text(part.get("prompt") if isinstance(part, dict) else part) for part in parts[:100]
    ]
    prompt, negative = _split(" ".join(texts))
    known = ("prompt", "seed", "steps", "cfg_scale", "sampler", "width", "height", "type")
    return values.foreign_recipe(
        f"InvokeAI {values.text(told.get('app_version'))}".strip(),
        prompt=prompt,
        negative=negative,
        seed=image.get("seed"),
        steps=image.get("steps"),
        guidance=image.get("cfg_scale"),
        sampler=image.get("sampler"),
        pixels=values.size([image.get("width"), image.get("height")]),
        model=values.file_name(told.get("model_weights")),
        model_hash=told.get("model_hash"),
        notes=values.unread(values.said(image, known)) + _weights(prompt, negative),
    )


def _dream(text: str) -> Recipe:
    text = text[:30_000]
    found = _DREAM.match(text) or _FIRST_DREAM.match(text)
    if found is None:
        raise made_by("InvokeAI", "but its command line cannot be read")
    prompt, negative = _split(found[1].replace('\\"', '"'))
    rest = text[found.end() :][:5_000]
    switches: dict[str, str] = {}
    for switch, value in _SWITCH.findall(rest):
        switches.setdefault(switch, value)
    return values.foreign_recipe(
        "InvokeAI",
        prompt=prompt,
        negative=negative,
        seed=switches.get("S"),
        steps=switches.get("s"),
        guidance=switches.get("C"),
        sampler=switches.get("A"),
        pixels=values.size([switches.get("W"), switches.get("H")]),
        notes=values.unread(_OTHER_SWITCH.findall(rest)) + _weights(prompt, negative),
    )


def _split(prompt: str) -> tuple[str, str]:
    """An old prompt and what stands in its square brackets."""
    negative = ", ".join(part.strip(" ,") for part in _NEGATIVE.findall(prompt) if part.strip(" ,"))
    return re.sub(r"\s{2,}", " ", _NEGATIVE.sub(" ", prompt)).strip(" ,"), negative


def _weights(*prompts: object) -> list[str]:
    if not any(_COMPEL.search(values.text(prompt)) for prompt in prompts):
        return []
    return ["InvokeAI's weights, as in word++ or (words)1.2, are no weights here."]
