"""The models in memory. The least recently used one that nobody needs makes room."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sdgen.descriptors import patiently
from sdgen.models import ModelSpec

if TYPE_CHECKING:
    from sdgen.pipelines.base import StepPipeline, WholePipeline

    Pipeline = StepPipeline | WholePipeline

Loader = Callable[[ModelSpec], "Pipeline"]


class Shelf:
    """At most `room` loaded models. Used by the engine thread only."""

    def __init__(self, load: Loader, room: int) -> None:
        self._load = load
        self._room = room
        self._loaded: dict[str, Pipeline] = {}  # in order of use, least recent first

    def names(self) -> tuple[str, ...]:
        """The models in memory."""
        return tuple(self._loaded)

    def has(self, name: str) -> bool:
        """True when `get` returns at once."""
        return name in self._loaded

    def has_room(self, busy: set[str]) -> bool:
        """True when a further model could be loaded without unloading a busy one."""
        return len(self._loaded) < self._room or any(name not in busy for name in self._loaded)

    def get(self, spec: ModelSpec, busy: set[str]) -> "Pipeline":
        """The model's pipeline, loaded if need be. Raises ModelUnavailable.

        busy: names that must stay; `has_room(busy)` must be true.
        """
        if spec.name in self._loaded:
            self._loaded[spec.name] = self._loaded.pop(spec.name)
            return self._loaded[spec.name]
        while len(self._loaded) >= self._room:
            idle = next(name for name in self._loaded if name not in busy)
            self._loaded.pop(idle).close()
        pipeline = patiently(partial(self._load, spec))
        self._loaded[spec.name] = pipeline
        return pipeline

    def close(self) -> None:
        """Give all memory back."""
        while self._loaded:
            self._loaded.popitem()[1].close()
