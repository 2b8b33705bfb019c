"""A tiny pipeline that runs as a whole: what we draw with it, and what diffusers draws."""

from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from sdgen.models import FolderSource, ModelSpec
from sdgen.pipelines.base import Decoded
from sdgen.pipelines.device import DeviceChoice
from sdgen.pipelines.whole import WholeDiffusersPipeline
from sdgen.request import GenerateRequest

CPU = DeviceChoice(torch.device("cpu"), torch.float32, "cpu")


def wrapped(pipe: Any) -> WholeDiffusersPipeline:
    """The pipeline as the engine has it."""
    source = FolderSource(cast(Any, None))
    spec = ModelSpec("tiny", "Tiny", "whole", source, "CC0-1.0", width=64, height=64)
    return WholeDiffusersPipeline(pipe, spec, CPU, "ab" * 32, ("a note",))


def request(**given: Any) -> GenerateRequest:
    """A small valid request; `given` are its other fields."""
    fields: dict[str, Any] = {
        "prompt": "a red cat",
        "model": "tiny",
        "width": 64,
        "height": 64,
        "steps": 4,
        "guidance_scale": 5.0,
        "seed": 7,
        "sampler": "euler",
    }
    return GenerateRequest.checked(**(fields | given))


def go_on(step: int, preview: Image.Image | None) -> bool:
    """Says after each step that nobody cancelled."""
    return True


def drawn(whole: WholeDiffusersPipeline, asked: GenerateRequest, index: int = 0) -> np.ndarray:
    """What we draw."""
    decoded = whole.run(asked, index, go_on)
    assert isinstance(decoded, Decoded)
    return np.asarray(decoded.image)


def plain(pipe: Any, asked: GenerateRequest, scheduler: Any, seed: int, **more: Any) -> np.ndarray:
    """What diffusers draws by itself."""
    own, pipe.scheduler = pipe.scheduler, scheduler
    try:
        image = pipe(
            asked.prompt,
            height=asked.height,
            width=asked.width,
            num_inference_steps=asked.steps,
            guidance_scale=asked.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(seed),
            **more,
        ).images[0]
    finally:
        pipe.scheduler = own
    return np.asarray(image)
