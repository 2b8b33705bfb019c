"""Stable Diffusion drawn step by step, from states to pixels, and how far two results differ."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sdgen.models import FolderSource, ModelSpec
from sdgen.pipelines.base import DenoiseState
from sdgen.pipelines.sd import SdPipeline

SPEC = ModelSpec(
    name="tiny",
    title="Tiny",
    family="sd",
    source=FolderSource(Path("nowhere")),
    licence="CC0-1.0",
    width=64,
    height=64,
    steps=4,
    sampler="euler",
)
PIXEL = 1  # of 255; what sharing may change


def run(pipeline: SdPipeline, states: Sequence[DenoiseState]) -> Sequence[DenoiseState]:
    """Steps all states together to their ends, those that are done leaving."""
    while running := [state for state in states if not state.done]:
        predictions = pipeline.predict_noise(running)
        for state, prediction in zip(running, predictions, strict=True):
            pipeline.advance(state, prediction)
    return states


def pixels(pipeline: SdPipeline, states: Sequence[DenoiseState], **how: bool) -> list[np.ndarray]:
    """The pictures of states that are done, as whole numbers."""
    return [np.asarray(done.image).astype(int) for done in pipeline.decode(states, **how)]


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest difference, as a share of the largest wanted value."""
    return float((found - wanted).abs().max() / wanted.abs().max())
