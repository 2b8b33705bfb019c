"""Pictures in, captions out. The trigger is put in afterwards; a model cannot know it."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from safetensors import SafetensorError

from lora.captioner.models import Captioner, CaptionerUnavailable, captioner_folder
from lora.dataset import Example, cropped, with_trigger
from lora.dataset.example import one_line

if TYPE_CHECKING:
    import torch

QUESTION = (
    "Describe this picture in one short sentence: who or what is in it, what it does, where it is, "
    "and the light."
)
_TOKENS_MOST = 60  # of an answer; a text encoder reads 75 with the trigger
_BEAMS = 3
_MADE_UP = re.compile(r"\b(?:arafed|araffed|araffes?|arafe)\b\s*", re.IGNORECASE)  # BLIP large's
_OPENINGS = re.compile(
    r"^(?:(?:in )?(?:the|this) (?:image|picture|photo)\s*(?:shows|depicts|features|is of|,)\s*"
    r"|there is )",
    re.IGNORECASE,
)
_LOADING_FAILS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    SafetensorError,
)


class CaptionWriter:
    """A captioning model in memory. Not thread-safe."""

    def __init__(
        self,
        captioner: Captioner,
        device: "torch.device | str" = "cpu",
        hub_cache: Path | None = None,
    ) -> None:
        """Load it from this machine; fetches nothing. Raises CaptionerUnavailable."""
        import torch

        folder = captioner_folder(captioner, hub_cache)
        self.captioner = captioner
        self._device = torch.device(device)
        self._dtype = _dtype(self._device)
        try:
            with _quiet():
                self._processor, model = _load(captioner, folder, self._dtype)
            self._model = model.eval().to(self._device)
        except _LOADING_FAILS as error:
            raise CaptionerUnavailable(
                f"The captioning model '{captioner.title}' cannot be loaded: its files are damaged "
                "or incomplete, or memory is short."
            ) from error

    def write(self, image: Image.Image) -> str:
        """A caption in one line; "" when the model says nothing. Raises CaptionerUnavailable."""
        import torch

        rgb = image.convert("RGB")
        try:
            with torch.inference_mode():
                text = self._describe(rgb) if self.captioner.kind == "blip" else self._answer(rgb)
        except torch.OutOfMemoryError as error:
            raise CaptionerUnavailable(
                f"There is too little memory for the captioning model '{self.captioner.title}'."
            ) from error
        return tidy(text)

    def _describe(self, image: Image.Image) -> str:
        inputs = self._processor(images=image, return_tensors="pt").to(self._device, self._dtype)
        tokens = self._model.generate(
            **inputs, max_new_tokens=_TOKENS_MOST, num_beams=_BEAMS, do_sample=False
        )
        return str(self._processor.decode(tokens[0], skip_special_tokens=True))

    def _answer(self, image: Image.Image) -> str:
        content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        asked = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        inputs = self._processor(text=asked, images=[image], return_tensors="pt")
        inputs = inputs.to(self._device, self._dtype)
        tokens = self._model.generate(**inputs, max_new_tokens=_TOKENS_MOST, do_sample=False)
        said = tokens[0, inputs["input_ids"].shape[1] :]
        return str(self._processor.decode(said, skip_special_tokens=True))


def write_captions(
    examples: Sequence[Example],
    writer: CaptionWriter,
    trigger: str,
    class_word: str = "",
    on_photo: Callable[[int, int], None] | None = None,
) -> dict[str, str]:
    """Captions with the trigger in them, by Example.id: for Dataset.with_captions, and to edit.

    The model sees what will be trained on: the photo as it is cropped. on_photo: called with
    photos done and in all; what it raises ends the writing. Raises CaptionerUnavailable or
    DatasetDamaged.
    """
    captions = {}
    for number, example in enumerate(examples, start=1):
        captions[example.id] = with_trigger(writer.write(cropped(example)), trigger, class_word)
        if on_photo is not None:
            on_photo(number, len(examples))
    return captions


def tidy(text: str) -> str:
    """A model's words as a caption: one line, without its habits of speech, without a full stop."""
    line = _OPENINGS.sub("", _MADE_UP.sub("", one_line(text)))
    line = line.split(". ")[0].rstrip(" .")
    return line[:1].lower() + line[1:] if line[1:2].islower() or line[1:2] == " " else line


def _load(captioner: Captioner, folder: Path, dtype: "torch.dtype") -> tuple[Any, Any]:
    """The processor and the model of a folder. Raises what transformers raises."""
    from transformers import (
        AutoModelForImageTextToText,
        AutoProcessor,
        BlipForConditionalGeneration,
        BlipProcessor,
    )

    blip = captioner.kind == "blip"
    processor_class: Any = BlipProcessor if blip else AutoProcessor
    model_class: Any = BlipForConditionalGeneration if blip else AutoModelForImageTextToText
    processor = processor_class.from_pretrained(str(folder), local_files_only=True)
    model, info = model_class.from_pretrained(
        str(folder),
        local_files_only=True,
        use_safetensors=True,
        dtype=dtype,
        output_loading_info=True,
    )
    missing, names = info["missing_keys"], [name for name, _ in model.named_parameters()]
    if len(missing) * 10 > len(names):  # a few are tied to others, and are not in every file
        raise ValueError(f"{len(missing)} of {len(names)} weights are missing")
    return processor, model


def _dtype(device: "torch.device") -> "torch.dtype":
    """bfloat16 where the GPU has it: SmolVLM is made in it; float16 on older ones."""
    import torch

    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return torch.float16


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and advice of transformers on the terminal."""
    from transformers.utils import logging as transformers_log

    active, level = transformers_log.is_progress_bar_enabled(), transformers_log.get_verbosity()
    transformers_log.disable_progress_bar()
    transformers_log.set_verbosity_error()
    try:
        yield
    finally:
        transformers_log.set_verbosity(level)
        if active:
            transformers_log.enable_progress_bar()
