"""Any order of loading, leaving, changing strengths, drawing, stopping, changing the model: each
picture depends on its request alone. A machine of Hypothesis drives the real engine."""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import hypothesis
import hypothesis.stateful
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sdgen.config import Settings
from sdgen.engine import LocalEngine
from sdgen.errors import GenerationFailed
from sdgen.job import Job
from sdgen.models import ModelSpec, find_model
from sdgen.pipelines.device import choose_device
from sdgen.pipelines.sd import SdPipeline
from sdgen.request import AdapterUse, GenerateRequest
from tests import tiny_models
from tests.tiny_loras import ATTENTION, LOCON, TEXT, lora_file

pytestmark = pytest.mark.slow

WAIT = 120.0  # seconds; a bound that only a hang reaches
PIXEL = 1  # of 255; what sharing may change
MODELS = {"picturebook": 0, "sd15": 1}  # names of the table, and the seed of the weights there
KINDS = (
    {"rank": 4, "targets": LOCON, "text": TEXT},
    {"rank": 8, "targets": ATTENTION, "alpha": 3.0, "layout": "kohya"},
    {"rank": 2, "targets": ("to_k", "conv1"), "text": ("q_proj",)},
)
ADAPTERS, VERSIONS = len(KINDS), 2

strengths = st.sampled_from([-2.0, -0.5, 0.0, 0.7, 1.0])
uses = st.lists(
    st.tuples(st.integers(0, ADAPTERS - 1), strengths, st.none() | strengths),
    max_size=3,
    unique_by=lambda one: one[0],
)


class Asked(NamedTuple):
    """A request and the versions of its files when it was sent."""

    request: GenerateRequest
    versions: tuple[int, ...]

    def key(self) -> tuple[str, tuple[int, ...]]:
        plain = self.request.model_copy(update={"adapters": (), "exact": False})
        loras = [(Path(u.name).stem, u.scale, u.text_scale) for u in self.request.adapters]
        return f"{plain.model_dump_json()} {loras}", self.versions


class Oracle:
    """What a fresh engine draws, which has seen nothing else; remembered."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self._known: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}
        for number, kind in enumerate(KINDS):
            for version in range(VERSIONS):
                path = self.folder / f"{number}-{version}.safetensors"
                lora_file(path, seed=10 * number + version, size=0.2, **kind)  # type: ignore[arg-type]

    def source(self, number: int, version: int) -> Path:
        return self.folder / f"{number}-{version}.safetensors"

    def __call__(self, asked: Asked) -> np.ndarray:
        if asked.key() not in self._known:
            loras = tuple(
                one.model_copy(update={"name": str(self.source(int(Path(one.name).stem), version))})
                for one, version in zip(asked.request.adapters, asked.versions, strict=True)
            )
            request = asked.request.model_copy(update={"adapters": loras})
            with tempfile.TemporaryDirectory() as folder:
                engine = made_engine(Path(folder), models=1)
                self._known[asked.key()] = picture(engine.submit(request))
                engine.close()
        return self._known[asked.key()]


def made_engine(folder: Path, models: int) -> LocalEngine:
    def load(spec: ModelSpec) -> SdPipeline:
        pipe = tiny_models.sd1(seed=MODELS[spec.name])
        choice = choose_device("cpu", "float32")
        return SdPipeline(pipe, spec, choice, spec.name, adapter_memory_mb=0)

    settings = Settings(data_dir=folder, max_rows=8, models_in_memory=models)
    return LocalEngine(settings, load=load)


def picture(job: Job) -> np.ndarray:
    return np.asarray(job.result(WAIT).images[0].image).astype(int)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


class AnyOrder(RuleBasedStateMachine):
    """Memory for adapters is 0, so each that is not in use leaves; every use may be a reload."""

    oracle: Oracle

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.versions = [0] * ADAPTERS
        self.running: list[tuple[Job, Asked]] = []
        for number in range(ADAPTERS):
            self.place(number, 0)

    def path(self, number: int) -> Path:
        return self.folder / f"{number}.safetensors"

    def place(self, number: int, version: int) -> None:
        self.versions[number] = version
        new = self.path(number).with_suffix(".tmp")
        shutil.copyfile(self.oracle.source(number, version), new)
        new.replace(self.path(number))

    @initialize(models=st.integers(1, 2))
    def start(self, models: int) -> None:
        self.engine = made_engine(self.folder, models)

    @rule(
        model=st.sampled_from(sorted(MODELS)),
        prompt=st.sampled_from(["a red cat", "the cat"]),
        steps=st.sampled_from([2, 5]),
        guidance=st.sampled_from([1.0, 4.0]),
        exact=st.booleans(),
        chosen=uses,
    )
    def draw(
        self,
        model: str,
        prompt: str,
        steps: int,
        guidance: float,
        exact: bool,
        chosen: list[tuple[int, float, float | None]],
    ) -> None:
        request = find_model(model).request(
            prompt=prompt,
            width=64,
            height=64,
            steps=steps,
            guidance_scale=guidance,
            exact=exact,
            seed=3,
            adapters=tuple(
                AdapterUse(name=str(self.path(number)), scale=scale, text_scale=text)
                for number, scale, text in chosen
            ),
        )
        versions = tuple(self.versions[number] for number, _, _ in chosen)
        self.running.append((self.engine.submit(request), Asked(request, versions)))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 30))
    def stop(self, which: int) -> None:
        job, _ = self.running.pop(which % len(self.running))
        job.cancel()

    @rule()
    def wait(self) -> None:
        while self.running:
            job, asked = self.running.pop()
            try:
                found = picture(job)
            except GenerationFailed as error:  # pragma: no cover - the message is the point
                raise AssertionError(f"{asked}") from error
            wanted = self.oracle(asked)
            if asked.request.exact:
                assert np.array_equal(found, wanted), asked
            else:
                assert np.abs(found - wanted).max() <= PIXEL, asked

    @rule(number=st.integers(0, ADAPTERS - 1))
    def change_the_file(self, number: int) -> None:
        self.wait()  # who has asked for the old one shall have it
        self.place(number, 1 - self.versions[number])

    @invariant()
    def not_too_many(self) -> None:
        if len(self.running) > 8:
            self.wait()

    def teardown(self) -> None:
        self.wait()
        if hasattr(self, "engine"):
            self.engine.close()
        shutil.rmtree(self.folder)


def test_each_picture_depends_on_its_request_alone(oracle: Oracle) -> None:
    AnyOrder.oracle = oracle
    hypothesis.stateful.run_state_machine_as_test(
        AnyOrder, settings=hypothesis.settings(max_examples=8, stateful_step_count=12)
    )
