"""What the studio knows of models: those that are offered, by the names that users know."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from sdgen.errors import ModelUnavailable
from sdgen.metadata import public_model_name
from sdgen.models import DEFAULT_MODEL, ModelSpec, ModelWords, bundled_models, find_model
from sdgen.request import Sampler

LOOK_AGAIN = 5.0  # seconds; a job asks twice, and the engine says so itself where files are gone
OnProgress = Callable[[int, int], None]  # bytes here, bytes in all (0: not known)


class ModelFiles(Protocol):
    """Which models are on this machine, and how to fetch one: the module sdgen.model_files."""

    def is_local(self, spec: ModelSpec) -> bool: ...
    def local_folder(self, spec: ModelSpec) -> Path: ...
    def download_size(self, spec: ModelSpec) -> int: ...
    def download(self, spec: ModelSpec, on_progress: OnProgress) -> Path: ...


@dataclass(frozen=True)
class ModelCard:
    """What a person needs to know to choose a model."""

    name: str  # for GenerateRequest.model
    title: str
    local: bool  # on this machine: needs no download
    download_bytes: int  # 0: nothing to fetch, or not known
    licence: str
    width: int  # native size, pixels
    height: int
    steps: int  # defaults
    guidance_scale: float
    sampler: Sampler
    ignores: frozenset[str]  # fields of GenerateRequest without effect
    words: ModelWords | None = field(default=None, repr=False)


class ModelDesk:
    """The table's models, and the configured one if it is another."""

    def __init__(self, files: ModelFiles, configured: str, safety_checker: bool = True) -> None:
        """safety_checker: False where the operator does without; then no model needs its own."""
        self._files = files
        self._safety_checker = safety_checker
        self._specs = self._table()
        self.default = DEFAULT_MODEL
        self.problem = ""  # why the configured model cannot be had, as a sentence
        self._seen: dict[str, float] = {}  # name -> when it was found to be whole
        self._offer(configured)

    @property
    def names(self) -> dict[str, str]:
        """The engine's name of each model -> ours."""
        return {spec.name: name for name, spec in self._specs.items()}

    def cards(self) -> list[ModelCard]:
        """All of them."""
        return [self.card(name) for name in self._specs]

    def card(self, name: str) -> ModelCard:
        """One of them. Raises ModelUnavailable for a name that is not offered."""
        spec = self.spec(name)
        return ModelCard(
            name=name,
            title=spec.title,
            local=self._files.is_local(spec),
            download_bytes=spec.download_bytes,
            licence=spec.licence,
            width=spec.width,
            height=spec.height,
            steps=spec.steps,
            guidance_scale=spec.guidance_scale,
            sampler=spec.sampler,
            ignores=spec.ignores,
            words=spec.words,
        )

    def spec(self, name: str) -> ModelSpec:
        """Raises ModelUnavailable for a name that is not offered."""
        spec = self._specs.get(name)
        if spec is None:
            raise ModelUnavailable(
                f"The model '{name}' is not offered here. There are: {', '.join(self._specs)}. "
                "Another one is added with --model or SDGEN_MODEL when the app starts."
            )
        return spec

    def local_spec(self, name: str) -> ModelSpec:
        """The spec of a model that is here. Raises ModelUnavailable, DownloadNeeded."""
        spec = self.spec(name)
        now = time.monotonic()
        if now - self._seen.get(name, -LOOK_AGAIN) >= LOOK_AGAIN:
            self._files.local_folder(replace(spec, name=name))  # reads the heads of all its files
            self._seen[name] = now
        return spec

    def download_size(self, name: str) -> int:
        """Bytes that download() would fetch now; asks the Hub. Raises ModelUnavailable."""
        return self._files.download_size(replace(self.spec(name), name=name))

    def download(self, name: str, on_progress: OnProgress) -> Path:
        """Fetch a model; its folder. Raises ModelUnavailable."""
        spec = self.spec(name)
        folder = self._files.download(replace(spec, name=name), on_progress)
        if name not in bundled_models():
            self._offer(spec.name)  # only the files themselves tell what a foreign model is
        return folder

    def _offer(self, model: str) -> None:
        """Offer the configured model beside the table, as the default.

        One that is given as a path is known by the last part of it: paths stay on this machine.
        """
        if not model or model in self._specs:
            self.default = model or self.default
            return
        try:
            spec = find_model(model)
        except ModelUnavailable as error:
            self.problem = str(error)
            return
        name = public_model_name(spec.name)
        if name in bundled_models():
            name = f"{name} (local)"
        title = public_model_name(spec.title)
        spec = replace(spec, title=title, safety_checker=self._safety_checker)
        self._specs = {name: spec, **self._table()}
        self.default = name

    def _table(self) -> dict[str, ModelSpec]:
        return {
            name: replace(spec, safety_checker=self._safety_checker)
            for name, spec in bundled_models().items()
        }
