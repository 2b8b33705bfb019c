"""Trigger words in a prompt: put in once, taken out again, left alone where a person typed them."""

import re
from collections.abc import Iterable

from sdgen.letters import as_words


def has(prompt: str, trigger: str) -> bool:
    """True when the prompt holds the trigger as words of their own, in any case."""
    return bool(trigger.strip()) and as_words(trigger).search(prompt) is not None


def put_in(prompt: str, trigger: str) -> str:
    """The prompt with the trigger at its beginning; as it is where it has it already."""
    trigger = trigger.strip()
    if not trigger or has(prompt, trigger):
        return prompt
    return f"{trigger}, {prompt}" if prompt.strip() else trigger


def take_out(prompt: str, trigger: str) -> str:
    """The prompt without the first of the trigger, and without the comma that went with it."""
    found = as_words(trigger).search(prompt) if trigger.strip() else None
    if found is None:
        return prompt
    before, after = prompt[: found.start()], prompt[found.end() :]
    if not before.strip():
        return re.sub(r"^\s*,?\s*", "", after)
    if not after.strip():
        return re.sub(r"\s*,?\s*$", "", before)
    if re.search(r",\s*$", before) and re.match(r"\s*,", after):
        return re.sub(r"\s*,\s*$", "", before) + after
    return f"{before.rstrip()} {after.lstrip()}" if before[-1:].isspace() else before + after


def without(prompt: str, triggers: Iterable[str]) -> str:
    """The prompt as if none of the triggers were in it, for whoever counts its words."""
    for trigger in sorted((word for word in triggers if word.strip()), key=len, reverse=True):
        prompt = as_words(trigger).sub(" ", prompt)
    return prompt
