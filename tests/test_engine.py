"""The engine's promises, with a toy model that can be made to fail."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sdgen.config import Settings
from sdgen.engine import LocalEngine
from sdgen.errors import (
    BrokenNumbers,
    GenerationFailed,
    InvalidRequest,
    ModelUnavailable,
    OutOfMemory,
    QueueFull,
    ShuttingDown,
)
from sdgen.job import Failed, Finished, ImageReady, Job, Loading, Note, Progress, Queued, Stopped
from sdgen.models import ModelSpec
from sdgen.request import GenerateRequest
from tests.toy_pipeline import ToyPipeline, ToyWhole

WAIT = 60.0  # seconds; a bound that only a hang reaches


def ask(prompt: str = "a cat", **fields: object) -> GenerateRequest:
    defaults: dict[str, object] = {
        "model": "picturebook",
        "width": 64,
        "height": 64,
        "steps": 4,
        "guidance_scale": 2.0,
        "seed": 7,
        "sampler": "euler",
    }
    return GenerateRequest.checked(**{**defaults, "prompt": prompt, **fields})


class Bench:
    """An engine with its toy pipelines, by model name."""

    def __init__(self, data: Path, **toy: object) -> None:
        self.made: dict[str, ToyPipeline] = {}
        self.loads = 0
        self.toy = toy
        self.settings = Settings(data_dir=data, max_rows=16, max_queue=8)
        self.engine = LocalEngine(self.settings, load=self.load)

    def load(self, spec: ModelSpec) -> ToyPipeline:
        self.loads += 1
        self.made[spec.name] = ToyPipeline(spec, **self.toy)  # type: ignore[arg-type]
        return self.made[spec.name]

    @property
    def passes(self) -> list[list[tuple[str, int]]]:
        return self.made["picturebook"].trace.passes


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**toy: object) -> Bench:
        made.append(Bench(tmp_path, **toy))
        return made[-1]

    yield make
    for one in made:
        one.engine.close()


def pixels(job: Job) -> list[bytes]:
    return [image.image.tobytes() for image in job.result(WAIT).images]


def test_a_job_tells_its_story_in_order(bench: Callable[..., Bench]) -> None:
    job = bench().engine.submit(ask("a note", num_images=2))
    events = list(job.events())
    kinds = [type(event) for event in events]
    assert kinds[-1] is Finished
    assert kinds.count(ImageReady) == 2
    assert Note in kinds
    assert job.result(WAIT).images[1].seed == 8


def test_image_i_equals_a_request_with_seed_plus_i(bench: Callable[..., Bench]) -> None:
    engine = bench().engine
    four = pixels(engine.submit(ask(num_images=4)))
    singles = [pixels(engine.submit(ask(seed=7 + i)))[0] for i in range(4)]
    assert four == singles
    assert len(set(four)) == 4


def test_requests_of_all_kinds_share_passes_and_come_out_as_alone(
    bench: Callable[..., Bench],
) -> None:
    gate = threading.Semaphore(0)
    shared = bench(gate=gate)
    asks = [ask(f"p{i}", steps=2 + i, guidance_scale=float(i), seed=i) for i in range(5)]
    jobs = [shared.engine.submit(request) for request in asks]
    gate.release(1000)
    together = [pixels(job) for job in jobs]
    alone = [pixels(bench().engine.submit(request)) for request in asks]
    assert together == alone
    assert any(len(rows) > 1 for rows in shared.passes), "nothing was shared"
    assert jobs[1].result(WAIT).images[0].info.shared


def test_a_late_request_joins_at_the_next_step(bench: Callable[..., Bench]) -> None:
    gate = threading.Semaphore(0)
    one = bench(gate=gate)
    long = one.engine.submit(ask("long", steps=40))
    gate.release(3)
    _until(lambda: len(one.made) == 1 and len(one.passes) == 3)
    short = one.engine.submit(ask("short", steps=2))
    gate.release(100)
    short.result(WAIT)
    long.result(WAIT)
    first = next(i for i, rows in enumerate(one.passes) if ("short", 0) in rows)
    assert first <= 4, "it waited for more than the step that was running"
    assert [rows for rows in one.passes if ("long", 39) in rows], "the long one went on"


def test_an_exact_request_shares_no_pass(bench: Callable[..., Bench]) -> None:
    gate = threading.Semaphore(0)
    one = bench(gate=gate)
    jobs = [
        one.engine.submit(ask("exact", exact=True, num_images=2)),
        one.engine.submit(ask("other", steps=6)),
    ]
    gate.release(1000)
    for job in jobs:
        job.result(WAIT)
    assert all(len(rows) == 1 for rows in one.passes if rows[0][0] == "exact")
    assert not jobs[0].result(WAIT).images[0].info.shared


@pytest.mark.parametrize("bad", ["poison", "stumble", "unfit"])
def test_one_requests_failure_leaves_its_neighbours_untouched(
    bench: Callable[..., Bench], bad: str
) -> None:
    gate = threading.Semaphore(0)
    one = bench(gate=gate)
    good = [one.engine.submit(ask(f"good {i}", seed=i)) for i in range(3)]
    failing = one.engine.submit(ask(bad))
    gate.release(1000)
    got = [pixels(job) for job in good]
    assert got == [pixels(bench().engine.submit(ask(f"good {i}", seed=i))) for i in range(3)]
    expected = InvalidRequest if bad == "unfit" else GenerationFailed
    with pytest.raises(expected) as caught:
        failing.result(WAIT)
    assert "toy" not in str(caught.value), "torch's words are for the log"
    assert pixels(one.engine.submit(ask("next"))), "the engine goes on"


def test_stop_frees_the_rows_within_one_step_and_keeps_what_is_ready(
    bench: Callable[..., Bench],
) -> None:
    gate = threading.Semaphore(0)
    one = bench(gate=gate)
    job = one.engine.submit(ask("stopped", steps=50))
    gate.release(3)
    _until(lambda: len(one.made) == 1 and len(one.passes) == 3)
    job.cancel()
    gate.release(1000)
    assert list(job.events())[-1] == Stopped(job.end.result)  # type: ignore[union-attr]
    with pytest.raises(GenerationFailed):
        job.result(WAIT)
    assert pixels(one.engine.submit(ask("next")))
    assert sum(rows[0][0] == "stopped" for rows in one.passes) <= 4


def test_stop_while_waiting_ends_at_once(bench: Callable[..., Bench]) -> None:
    gate = threading.Semaphore(0)
    one = bench(gate=gate)
    first = one.engine.submit(ask("first"))
    _until(lambda: len(one.made) == 1)
    waiting = one.engine.submit(ask("waiting"))
    waiting.cancel()  # the engine's thread hangs in a pass and cannot help
    assert isinstance(waiting.end, Stopped)
    gate.release(1000)
    assert pixels(first)
    assert all(rows[0][0] != "waiting" for rows in one.passes)


def test_out_of_memory_halves_the_batch_and_all_arrive(bench: Callable[..., Bench]) -> None:
    one = bench(max_rows=4)
    jobs = [one.engine.submit(ask(f"p{i}", num_images=2)) for i in range(4)]
    assert all(len(pixels(job)) == 2 for job in jobs)
    assert max(len(rows) for rows in one.passes) <= 2


def test_out_of_memory_alone_fails_that_job_with_the_reason(bench: Callable[..., Bench]) -> None:
    one = bench(max_rows=1)
    with pytest.raises(OutOfMemory, match="64x64"):
        one.engine.submit(ask(guidance_scale=3.0)).result(WAIT)
    assert pixels(one.engine.submit(ask(guidance_scale=1.0))), "the next job works"


def test_decoding_without_memory_goes_on_in_tiles(bench: Callable[..., Bench]) -> None:
    def fault(prompt: str, tiled: bool, float32: bool) -> Exception | None:
        if "never" in prompt or ("big" in prompt and not tiled):
            return torch.OutOfMemoryError("CUDA out of memory (toy)")
        return None

    one = bench(decode_fault=fault)
    image = one.engine.submit(ask("big")).result(WAIT).images[0]
    assert any("tiles" in note for note in image.info.notes)
    with pytest.raises(OutOfMemory):
        one.engine.submit(ask("never")).result(WAIT)
    assert pixels(one.engine.submit(ask("next")))


def test_broken_numbers_are_decoded_again_in_float32_or_fail(bench: Callable[..., Bench]) -> None:
    def fault(prompt: str, tiled: bool, float32: bool) -> Exception | None:
        broken = "never" in prompt or ("half" in prompt and not float32)
        return BrokenNumbers("The numbers broke.") if broken else None

    one = bench(decode_fault=fault)
    image = one.engine.submit(ask("half")).result(WAIT).images[0]
    assert any("float32" in note for note in image.info.notes)
    with pytest.raises(BrokenNumbers):
        one.engine.submit(ask("never")).result(WAIT)


def test_a_full_queue_refuses_with_the_number_waiting(bench: Callable[..., Bench]) -> None:
    gate = threading.Semaphore(0)
    one = bench(gate=gate)
    jobs = [one.engine.submit(ask("first"))]
    _until(lambda: len(one.made) == 1)  # the thread hangs in its first pass now
    jobs += [one.engine.submit(ask(f"p{i}")) for i in range(one.settings.max_queue - 1)]
    with pytest.raises(QueueFull) as caught:
        one.engine.submit(ask())
    assert caught.value.waiting == one.settings.max_queue - 1
    assert str(caught.value.waiting) in str(caught.value)
    gate.release(1000)
    assert all(pixels(job) for job in jobs)


def test_sizes_take_turns(bench: Callable[..., Bench]) -> None:
    gate = threading.Semaphore(0)
    one = bench(gate=gate)
    jobs = [one.engine.submit(ask("s", steps=10)), one.engine.submit(ask("l", width=128, steps=10))]
    _until(lambda: len(one.made) == 1)
    gate.release(1000)
    for job in jobs:
        job.result(WAIT)
    order = [rows[0][0] for rows in one.passes]
    assert "ssss" not in "".join(order[1:-2])
    assert "llll" not in "".join(order[1:-2])


def test_models_share_the_memory_and_make_room(bench: Callable[..., Bench]) -> None:
    one = bench()
    names = ["picturebook", "sd15", "sd-turbo"]
    for name in names:
        events = list(one.engine.submit(ask(model=name)).events())
        assert isinstance(events[-1], Finished)
    assert one.engine.status().loaded == ("sd15", "sd-turbo")
    assert one.made["picturebook"].closed
    jobs = [one.engine.submit(ask(model=name, seed=i)) for i in range(2) for name in names]
    assert all(pixels(job) for job in jobs), "three models through two places"


def test_a_model_that_cannot_be_loaded_fails_its_jobs_only(tmp_path: Path) -> None:
    def load(spec: ModelSpec) -> ToyPipeline:
        if spec.name == "sd15":
            raise ModelUnavailable("The files of 'sd15' are damaged.")
        return ToyPipeline(spec)

    engine = LocalEngine(Settings(data_dir=tmp_path, max_rows=8), load=load)
    with pytest.raises(ModelUnavailable, match="damaged"):
        engine.submit(ask(model="sd15")).result(WAIT)
    with pytest.raises(ModelUnavailable, match="no model"):
        engine.submit(ask(model="nonesuch"))
    assert pixels(engine.submit(ask()))
    engine.close()


def test_closing_ends_every_job_and_takes_no_more(bench: Callable[..., Bench]) -> None:
    one = bench(seconds=0.01)
    jobs = [one.engine.submit(ask(f"p{i}", steps=100)) for i in range(4)]
    _until(lambda: len(one.made) == 1 and len(one.passes) > 2)
    begun = time.monotonic()
    one.engine.close()
    assert time.monotonic() - begun < 5
    assert all(isinstance(job.end, Stopped) for job in jobs)
    with pytest.raises(ShuttingDown):
        one.engine.submit(ask())


def test_progress_counts_every_step_and_the_queue_place_is_told(
    bench: Callable[..., Bench],
) -> None:
    one = bench(seconds=0.02)
    events = list(one.engine.submit(ask(num_images=2, steps=5)).events(heartbeat=0.01))
    steps = [event.step for event in events if isinstance(event, Progress)]
    assert steps == sorted(steps)
    assert all(event.steps == 10 for event in events if isinstance(event, Progress))
    assert any(isinstance(event, Queued | Loading) for event in events)
    assert not any(isinstance(event, Failed) for event in events)


def test_the_row_budget_is_measured_once_and_kept(tmp_path: Path) -> None:
    made: list[ToyPipeline] = []

    def load(spec: ModelSpec) -> ToyPipeline:
        made.append(ToyPipeline(spec, seconds=0.002))
        return made[-1]

    for again in (False, True):
        engine = LocalEngine(Settings(data_dir=tmp_path), load=load)
        engine.preload("picturebook")
        jobs = [engine.submit(ask(f"p{i}", width=256, height=256)) for i in range(4)]
        assert all(pixels(job) for job in jobs)
        measured = [rows for rows in made[-1].trace.passes if rows[0][0] == "a"]
        assert bool(measured) is not again
        assert any(len(rows) == 4 for rows in made[-1].trace.passes)
        engine.close()


def test_a_model_with_its_own_loop_lets_the_others_step_in_between(tmp_path: Path) -> None:
    gate = threading.Semaphore(0)
    made: dict[str, ToyPipeline | ToyWhole] = {}

    def load(spec: ModelSpec) -> ToyPipeline | ToyWhole:
        whole = spec.family == "whole"
        made[spec.name] = ToyWhole(spec, gate) if whole else ToyPipeline(spec)
        return made[spec.name]

    engine = LocalEngine(Settings(data_dir=tmp_path, max_rows=8), load=load)
    assert pixels(engine.submit(ask("warm")))
    whole = engine.submit(ask(model="sdxl", steps=50, num_images=2))
    later = engine.submit(ask(model="sdxl-turbo", steps=1))
    gate.release(2)
    _until(lambda: "sdxl" in made)
    quick = engine.submit(ask("quick", steps=2))
    gate.release(10)
    assert pixels(quick), "it had to wait for the other model's whole loop"
    assert whole.end is None
    gate.release(1000)
    assert [image.seed for image in whole.result(WAIT).images] == [7, 8]
    assert later.result(WAIT).images
    engine.close()


def test_stop_reaches_into_a_model_with_its_own_loop(tmp_path: Path) -> None:
    gate = threading.Semaphore(0)
    made: list[ToyWhole] = []

    def load(spec: ModelSpec) -> ToyWhole:
        made.append(ToyWhole(spec, gate))
        return made[-1]

    engine = LocalEngine(Settings(data_dir=tmp_path), load=load)
    job = engine.submit(ask(model="sdxl", steps=50))
    gate.release(3)
    _until(lambda: bool(made) and made[0].steps_taken == 3)
    job.cancel()
    gate.release(1000)
    assert isinstance(list(job.events())[-1], Stopped)
    assert made[0].steps_taken <= 4
    engine.close()


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
