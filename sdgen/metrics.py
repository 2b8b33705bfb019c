"""Figures for whoever runs the app: counted as things happen, written out when somebody asks.

    metrics.stepped(0.21, rows=8)          # the engine, after each forward pass
    metrics.ended("failed", OutOfMemory()) # the queue, once a job
    metrics.saved()                        # a picture is on disk
    metrics.text()                         # all of it, in the form that Prometheus reads

Counting is an addition under a lock. The package prometheus_client, which takes 0.1 s to import,
is needed by text() alone. No label ever holds a text of a user.
"""

import bisect
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Upper ends in seconds: from the bundled model on a GPU to a big one on a laptop.
STEP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What happened since the start, and how it is now. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps = [0] * (len(STEP_BUCKETS) + 1)  # passes by duration; the last: longer
        self._step_seconds = 0.0
        self._rows = 0  # of all passes
        self._rows_last = 0  # of the newest pass
        self._images = 0
        self._ends: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._queue: Callable[[], tuple[int, int]] | None = None
        self._free_bytes: Callable[[], int] | None = None
        self._registry: CollectorRegistry | None = None

    # --- told by the parts

    def stepped(self, seconds: float, rows: int) -> None:
        """One forward pass of `rows` pictures together took so long."""
        place = bisect.bisect_left(STEP_BUCKETS, seconds)
        with self._lock:
            self._steps[place] += 1
            self._step_seconds += seconds
            self._rows += rows
            self._rows_last = rows

    def ended(self, state: str, error: BaseException | None = None) -> None:
        """A job has its end: done, stopped, refused or failed. error: why; its class counts."""
        with self._lock:
            self._ends[state] += 1
            if error is not None:
                self._failures[type(error).__name__] += 1

    def saved(self) -> None:
        """A picture was written."""
        with self._lock:
            self._images += 1

    def watch(self, queue: Callable[[], tuple[int, int]], free_bytes: Callable[[], int]) -> None:
        """Where to look when somebody asks; both are called from any thread, and answer at once.

        queue: (jobs waiting, jobs running). free_bytes: what the data folder's disk has left; it
        may raise OSError.
        """
        self._queue, self._free_bytes = queue, free_bytes

    # --- read by the operator

    def text(self) -> bytes:
        """All figures in Prometheus' text form, whose content type is CONTENT_TYPE."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
        from prometheus_client.registry import Collector

        metrics = self

        class Figures(Collector):
            def collect(self) -> "Iterator[Metric]":
                return metrics._collect()

            def describe(self) -> "list[Metric]":
                return []  # or the registry would collect once, to learn the names

        with self._lock:
            if self._registry is None:
                self._registry = CollectorRegistry(auto_describe=False)
                self._registry.register(Figures())
                ProcessCollector(registry=self._registry)  # memory, open files, processor time
        return generate_latest(self._registry)

    def _collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        with self._lock:
            steps, step_seconds = list(self._steps), self._step_seconds
            rows, rows_last, images = self._rows, self._rows_last, self._images
            ends, failures = dict(self._ends), dict(self._failures)
        if self._queue is not None:
            waiting, running = self._queue()
            yield GaugeMetricFamily("sdgen_jobs_waiting", "Jobs that wait for their turn.", waiting)
            yield GaugeMetricFamily("sdgen_jobs_running", "Jobs at work now.", running)
            yield GaugeMetricFamily(
                "sdgen_rows_running",
                "Pictures that share a forward pass now.",
                rows_last if running else 0,
            )
        buckets, so_far = [], 0
        for end, count in zip((*map(str, STEP_BUCKETS), "+Inf"), steps, strict=True):
            so_far += count
            buckets.append((end, so_far))
        yield HistogramMetricFamily(
            "sdgen_step_seconds", "Duration of one forward pass.", buckets, step_seconds
        )
        yield CounterMetricFamily("sdgen_rows", "Pictures x steps that were computed.", rows)
        yield CounterMetricFamily("sdgen_images", "Pictures that were written.", images)
        jobs = CounterMetricFamily("sdgen_jobs", "Jobs by their end.", labels=["end"])
        for end in sorted({"done", "stopped", "refused", "failed", *ends}):
            jobs.add_metric([end], ends.get(end, 0))
        yield jobs
        kinds = CounterMetricFamily("sdgen_failures", "Jobs that failed, by kind.", labels=["kind"])
        for kind, count in sorted(failures.items()):
            kinds.add_metric([kind], count)
        yield kinds
        yield from self._disk()
        yield from _cuda_memory()

    def _disk(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        if self._free_bytes is None:
            return
        try:
            free = self._free_bytes()
        except OSError:
            return  # a figure that cannot be had is absent, not wrong
        yield GaugeMetricFamily("sdgen_disk_free_bytes", "Left for the data folder.", free)


def _cuda_memory() -> "Iterator[Metric]":
    """Memory of the cards, where torch is at work on one; asking starts neither."""
    from prometheus_client.core import GaugeMetricFamily

    torch: Any = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)  # None also while torch is still being imported
    if cuda is None or not cuda.is_initialized():
        return
    used = GaugeMetricFamily("sdgen_cuda_memory_bytes", "In use by tensors.", labels=["device"])
    held = GaugeMetricFamily("sdgen_cuda_reserved_bytes", "Held by torch.", labels=["device"])
    for device in range(cuda.device_count()):
        used.add_metric([str(device)], cuda.memory_allocated(device))
        held.add_metric([str(device)], cuda.memory_reserved(device))
    yield used
    yield held
