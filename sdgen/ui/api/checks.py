"""What comes in from programs: any JSON there is, checked field by field."""

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import gradio as gr

from sdgen.enhance import CHOICES, Choice
from sdgen.errors import InvalidRequest, SdgenError
from sdgen.studio import Studio
from sdgen.ui.gradio_parts import API_PREFIX, upload_folder

TRIGGERS_MAX, TRIGGER_CHARS = 8, 100
SENTENCE_CHARS = 600  # of an answer; sentences quote what came in
_UNSEEN = ("Cc", "Cf", "Cs", "Co")  # categories of Unicode: control characters, halves of others


def refused(error: SdgenError) -> gr.Error:
    """The error as Gradio tells it to a program; nothing of it goes to the log."""
    return gr.Error(sentence(error), print_exception=False)


def sentence(error: SdgenError | str) -> str:
    """The error's sentence, or one that quotes a value: short, and without characters that no
    program can pass on."""
    text = str(error)
    if len(text) > SENTENCE_CHARS:
        text = f"{text[:SENTENCE_CHARS]} ..."
    return "".join("\ufffd" if unicodedata.category(char) in _UNSEEN else char for char in text)


def text_of(value: object, field: str, at_most: int, said: int = 0) -> str:
    """A text from outside. Raises InvalidRequest: no text, too long, half a character in it.

    said: the limit that a sentence names, where that is another; of a prompt, its tags come off.
    """
    label = field.replace("_", " ").capitalize()
    if not isinstance(value, str):
        raise InvalidRequest(field, f"{label} must be text.")
    if len(value) > at_most:
        raise InvalidRequest(field, f"{label} is too long: at most {said or at_most:,} characters.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(field, f"{label} holds half a character.") from error
    return value


def helper(name: object, field: str, otherwise: str = "") -> Choice:
    """A choice of enhancer. Raises InvalidRequest for another word. otherwise: as of uploaded."""
    for choice in CHOICES:
        if name == choice:
            return choice
    label = field.capitalize()
    raise InvalidRequest(field, f"{label} must be {otherwise}one of {', '.join(CHOICES)}.")


def words(triggers: object) -> tuple[str, ...]:
    """Trigger words from outside. Raises InvalidRequest."""
    if triggers is None:
        return ()
    if not isinstance(triggers, list) or len(triggers) > TRIGGERS_MAX:
        raise InvalidRequest("triggers", f"Triggers must be at most {TRIGGERS_MAX} texts.")
    for trigger in triggers:
        if not isinstance(trigger, str) or len(trigger) > TRIGGER_CHARS:
            raise InvalidRequest("triggers", f"A trigger is text of up to {TRIGGER_CHARS} letters.")
    return tuple(triggers)


def whole(number: object) -> int:
    """A count from outside. Raises InvalidRequest."""
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 10**6:
        return number
    raise InvalidRequest("again", "Again must be a whole number from 0 on.")


def names_of(adapters: object) -> tuple[str, ...]:
    """The names in a list of adapters from outside; what is wrong with it is said elsewhere."""
    entries = adapters if isinstance(adapters, list) else []
    names = [entry.get("name") for entry in entries if isinstance(entry, dict)]
    return tuple(name for name in names if isinstance(name, str))


def name_of_model(studio: Studio, model: object) -> str:
    """A model from outside, or the app's own. Raises InvalidRequest."""
    if model is not None and not isinstance(model, str):
        raise InvalidRequest("model", "Model must be text.")
    return model or studio.default_model()


def uploaded(file: object, field: str, otherwise: str = "") -> Path:
    """The file that a program uploaded to Gradio, or was answered. Raises InvalidRequest otherwise.

    field: the parameter's name. otherwise: what could stand in its place.

    Any path can be written into a request; only those in Gradio's own folder of uploads count. The
    address of a file there is as good as its path; nothing is fetched from elsewhere.
    """
    path = file.get("path") if isinstance(file, Mapping) else None
    if isinstance(path, str) and path.startswith(("http://", "https://")):
        path = unquote(path.partition(f"{API_PREFIX}/file=")[2])
    if isinstance(path, str) and path:
        try:
            found = Path(path).resolve()
            if found.is_relative_to(upload_folder().resolve()) and found.is_file():
                return found
        except (OSError, ValueError):
            pass  # too long for a path, half a character, a NUL
    raise InvalidRequest(field, f"{field.capitalize()} must be {otherwise}an uploaded file.")
