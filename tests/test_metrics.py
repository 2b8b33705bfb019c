"""Figures for the operator: counted right from any thread, cheap, and without users' texts."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sdgen.errors import InvalidRequest, OutOfMemory
from sdgen.metrics import Metrics
from sdgen.studio import Studio

REPOSITORY = Path(__file__).parent.parent
Sample = tuple[str, tuple[tuple[str, str], ...]]


def figures(metrics: Metrics) -> dict[Sample, float]:
    """The text as Prometheus would read it: (name, labels) -> value."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_fresh_app_tells_zeros_and_its_memory() -> None:
    found = figures(Metrics())
    assert found["sdgen_images_total", ()] == 0
    assert found["sdgen_jobs_total", (("end", "failed"),)] == 0
    assert found["process_resident_memory_bytes", ()] > 10_000_000
    assert not any(name.startswith("sdgen_cuda") for name, _ in found)  # no torch in this test


def test_steps_fall_into_buckets_that_add_up() -> None:
    metrics = Metrics()
    for seconds, rows in [(0.004, 1), (0.2, 8), (0.25, 8), (99.0, 2)]:
        metrics.stepped(seconds, rows)
    found = figures(metrics)
    assert found["sdgen_step_seconds_bucket", (("le", "0.005"),)] == 1
    assert found["sdgen_step_seconds_bucket", (("le", "0.25"),)] == 3  # an end belongs to its own
    assert found["sdgen_step_seconds_bucket", (("le", "30.0"),)] == 3
    assert found["sdgen_step_seconds_bucket", (("le", "+Inf"),)] == 4
    assert found["sdgen_step_seconds_count", ()] == 4
    assert found["sdgen_step_seconds_sum", ()] == pytest.approx(99.454)
    assert found["sdgen_rows_total", ()] == 19


def test_ends_and_the_kinds_of_failures() -> None:
    metrics = Metrics()
    metrics.ended("done")
    metrics.ended("failed", OutOfMemory("No room."))
    metrics.ended("failed", OutOfMemory("No room again."))
    metrics.ended("refused", InvalidRequest("prompt", "A secret wish is too long."))
    metrics.saved()
    metrics.saved()
    found = figures(metrics)
    assert found["sdgen_jobs_total", (("end", "done"),)] == 1
    assert found["sdgen_jobs_total", (("end", "failed"),)] == 2
    assert found["sdgen_failures_total", (("kind", "OutOfMemory"),)] == 2
    assert found["sdgen_failures_total", (("kind", "InvalidRequest"),)] == 1
    assert found["sdgen_images_total", ()] == 2
    assert b"secret" not in metrics.text()


def test_the_queue_and_the_disk_are_looked_at_when_somebody_asks() -> None:
    metrics = Metrics()
    now = [3, 2]
    metrics.watch(lambda: (now[0], now[1]), lambda: 123_000_000)
    metrics.stepped(0.1, 6)
    found = figures(metrics)
    assert found["sdgen_jobs_waiting", ()] == 3
    assert found["sdgen_jobs_running", ()] == 2
    assert found["sdgen_rows_running", ()] == 6
    assert found["sdgen_disk_free_bytes", ()] == 123_000_000
    now[:] = [0, 0]
    found = figures(metrics)
    assert found["sdgen_jobs_waiting", ()] == 0
    assert found["sdgen_rows_running", ()] == 0  # the last pass is over


def test_a_disk_that_does_not_answer_takes_nothing_else_with_it() -> None:
    def gone() -> int:
        raise OSError(5, "Input/output error")

    metrics = Metrics()
    metrics.watch(lambda: (1, 0), gone)
    found = figures(metrics)
    assert ("sdgen_disk_free_bytes", ()) not in found
    assert found["sdgen_jobs_waiting", ()] == 1


def test_a_studio_s_disk_that_does_not_answer_is_told_as_not_known(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    assert figures(studio.metrics)["sdgen_disk_free_bytes", ()] > 0
    monkeypatch.setattr(shutil, "disk_usage", gone)
    assert ("sdgen_disk_free_bytes", ()) not in figures(studio.metrics)


def test_memory_of_a_card_is_told_once_torch_uses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 2,
        memory_allocated=lambda device: 1000 + device,
        memory_reserved=lambda device: 2000 + device,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    found = figures(Metrics())
    assert found["sdgen_cuda_memory_bytes", (("device", "1"),)] == 1001
    assert found["sdgen_cuda_reserved_bytes", (("device", "0"),)] == 2000
    cuda.is_initialized = lambda: False  # torch is here, and no card in use
    assert not any(name.startswith("sdgen_cuda") for name, _ in figures(Metrics()))


def test_many_threads_lose_no_count() -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(500):
            metrics.stepped(0.01, 2)
            metrics.saved()
            metrics.ended("done")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        metrics.text()  # reading meanwhile disturbs nothing
    for thread in threads:
        thread.join()
    found = figures(metrics)
    assert found["sdgen_rows_total", ()] == 8000
    assert found["sdgen_images_total", ()] == found["sdgen_step_seconds_count", ()] == 4000


def test_counting_needs_neither_torch_nor_prometheus() -> None:
    code = """
import sys
from sdgen.metrics import Metrics
from sdgen.studio import Studio
metrics = Metrics()
metrics.stepped(0.1, 1); metrics.ended("done"); metrics.saved()
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert not {"torch", "prometheus_client"} & set(done.stdout.split())
