"""What the app costs around the drawing: `python -m bench.queue`. No weights, no network.

A fake engine draws one picture at a time and takes a known time for it, so all else is the queue,
the files, the rows, and the way through the server. Clients are programs that call `generate`.
"""

import argparse
import asyncio
import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engine import write
from sdgen.config import Settings
from sdgen.job import ImageReady
from sdgen.owners import Visitor, new_token, owner_of_token
from sdgen.queue import Order
from sdgen.studio import Studio
from sdgen.ui.streams import events
from tests.bad_calls import ALL, NEVER, Endpoints, arguments
from tests.conftest import FakeEngine, FakeModelFiles, ask
from tests.faults.apps import App, running
from tests.faults.clients import Connection, Drawn, draw
from tests.serving import free_port

STEPS, STEP_SECONDS = 4, 0.005  # a picture in 20 ms
CLIENTS = 16
FIELDS = {"steps": STEPS, "width": 64, "height": 64}
ARRIVALS, ARRIVAL_SECONDS, CAPACITY = 500, 10.0, 20
BARE = "--bare-gradio"
ENGINES = {"overhead": "20 ms", "refusals": "100 ms", "bad input": "no time", "growth": "no time"}
Rows = list[tuple[str, str, str]]  # what, measured, goal


# --- overhead


def threads(clients: int, jobs: int, one: Callable[[int], None]) -> float:
    """Seconds a job, where that many threads do that many each."""

    def work(number: int) -> None:
        for job in range(jobs):
            one(number * jobs + job)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return (time.perf_counter() - begun) / (clients * jobs)


def engine_alone(jobs: int) -> float:
    """The engine, always with something to do."""
    engine = FakeEngine(STEP_SECONDS)
    seconds = threads(
        CLIENTS, jobs, lambda n: engine.submit(ask(f"robot {n}", steps=STEPS)).result() and None
    )
    engine.close()
    return seconds


def studio_alone(jobs: int) -> float:
    """Queue, rows and files over the engine, without a server."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), credentials=False)
        studio = Studio(settings, FakeEngine(STEP_SECONDS), FakeModelFiles())

        def one(number: int) -> None:
            owner = owner_of_token(new_token())
            (job,) = studio.submit(
                [Order(ask(f"robot {number}", steps=STEPS))], Visitor(owner, owner)
            )
            job.result()

        seconds = threads(CLIENTS, jobs, one)
        studio.close()
    return seconds


async def clients(port: int, count: int, jobs: int) -> list[Drawn]:
    """What came of that many clients' calls, each with that many one after the other."""

    async def one(number: int) -> list[Drawn]:
        async with Connection(port) as connection:
            return [
                await draw(connection, prompt=f"robot {number} {job}", seed=job, **FIELDS)
                for job in range(jobs)
            ]

    lists = await asyncio.gather(*(one(number) for number in range(count)))
    return [drawn for made in lists for drawn in made]


def through(port: int, jobs: int) -> float:
    """Seconds a job through a server, by 16 clients."""
    asyncio.run(clients(port, 2, 3))  # so that it is warm
    begun = time.perf_counter()
    made = asyncio.run(clients(port, CLIENTS, jobs))
    assert not any(drawn.refused for drawn in made)
    return (time.perf_counter() - begun) / len(made)


def bare_gradio(port: int) -> None:
    """A Gradio app of one endpoint that draws with the same engine and keeps nothing."""
    import gradio as gr

    engine = FakeEngine(STEP_SECONDS)

    async def generate(
        prompt: str, seed: int, steps: int, width: int, height: int
    ) -> AsyncIterator[str]:
        job = engine.submit(ask(prompt, seed=seed, steps=steps, width=width, height=height))
        async for event in events(job, 0.25):
            if isinstance(event, ImageReady):
                yield prompt

    with gr.Blocks(analytics_enabled=False) as demo:
        gr.api(generate, concurrency_limit=None)
    demo.queue(default_concurrency_limit=None).launch(
        server_port=port, quiet=True, run_history=False, enable_monitoring=False, ssr_mode=False
    )


@contextmanager
def bare(scratch: Path) -> Iterator[int]:
    """The port of a bare Gradio app in a process of its own."""
    port = free_port()
    tuned = {
        "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000",
        "GRADIO_ANALYTICS_MAX_EVENTS": "200",
        "GRADIO_TEMP_DIR": str(scratch),
    }
    command = [sys.executable, "-m", "bench.queue", BARE, str(port)]
    process = subprocess.Popen(command, env={**os.environ, **tuned}, stdout=subprocess.DEVNULL)
    try:
        while True:
            assert process.poll() is None
            try:
                asyncio.run(clients(port, 1, 1))
                break
            except (OSError, IndexError):
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def overhead(jobs: int, repeats: int) -> Rows:
    """Milliseconds a job at 16 clients, and how many of them are not the engine's."""
    found: dict[str, list[float]] = {}
    cpu = []
    with (
        tempfile.TemporaryDirectory() as folder,
        bare(Path(folder) / "bare") as port,
        running(
            Path(folder) / "data", Path(folder) / "scratch", seconds_per_step=STEP_SECONDS
        ) as app,
    ):
        for _ in range(repeats):
            found.setdefault("the engine alone", []).append(engine_alone(jobs))
            found.setdefault("queue, files and rows", []).append(studio_alone(jobs))
            found.setdefault("bare Gradio, nothing kept", []).append(through(port, jobs))
            before = app.cpu_seconds
            found.setdefault("the app", []).append(through(app.port, jobs))
            cpu.append((app.cpu_seconds - before) / (CLIENTS * jobs + 6))
    medians = {what: 1000 * statistics.median(seconds) for what, seconds in found.items()}
    own = medians.pop("the engine alone")
    rows = [("a job at 16 clients: the engine alone", f"{own:.1f} ms", "")]
    for what, total in medians.items():
        goal = "above the engine <= 10 ms" if what == "the app" else ""
        rows.append((f"... {what}", f"{total:.1f} ms: {total - own:+.1f} ms", goal))
    rows.append(("... the app's processor time", f"{1000 * statistics.median(cpu):.1f} ms", ""))
    return rows


# --- refusals


def quantile(values: list[float], part: float) -> float:
    """The value below which that part of all lies."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def refusals() -> Rows:
    """500 arrivals in 10 s where ten pictures a second are drawn and 20 may wait."""

    async def arrive(app: App, number: int) -> Drawn:
        await asyncio.sleep(number * ARRIVAL_SECONDS / ARRIVALS)
        async with Connection(app.port) as connection:
            return await draw(connection, prompt=f"arrival {number}", seed=number, **FIELDS)

    async def everybody(app: App) -> list[Drawn]:
        return await asyncio.gather(*(arrive(app, number) for number in range(ARRIVALS)))

    with tempfile.TemporaryDirectory() as folder:
        data, scratch = Path(folder) / "data", Path(folder) / "scratch"
        with running(data, scratch, seconds_per_step=0.1 / STEPS, max_queue=CAPACITY) as app:
            asyncio.run(clients(app.port, 1, 2))
            made = asyncio.run(everybody(app))
    waits = [1000 * drawn.seconds for drawn in made if drawn.refused]
    lost = sum(not drawn.refused and len(drawn.pictures) != 1 for drawn in made)
    return [
        ("500 arrivals in 10 s, capacity 10/s: drawn, refused, lost",
         f"{ARRIVALS - len(waits)}, {len(waits)}, {lost}", "none lost"),
        ("... a refusal comes after, median", f"{quantile(waits, 0.5):.0f} ms", ""),
        ("... 99 of 100", f"{quantile(waits, 0.99):.0f} ms", "<= 200 ms"),
    ]  # fmt: skip


# --- bad input


def bad_input() -> Rows:
    """What can be nothing, in every field of the endpoints that draw, one call after the other."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder) / "data", Path(folder) / "scratch") as app,
    ):
        endpoints = Endpoints(f"127.0.0.1:{app.port}")
        long, others = [], []
        for value in NEVER:
            endpoints.seconds.clear()
            for endpoint, name in ALL * 3:
                endpoints.call(endpoint, **arguments(endpoint, name, value))
            assert len(endpoints.seconds) == len(ALL) * 3, "not all were refused"
            waits = [1000 * seconds for seconds in endpoints.seconds]
            (long if isinstance(value, str) and len(value) >= 1_000_000 else others).extend(waits)
    return [
        (f"{what}: {len(waits)} refusals, median and longest",
         f"{quantile(waits, 0.5):.0f} and {max(waits):.0f} ms", "<= 100 ms")
        for what, waits in (("a million characters in a field", long),
                            ("NaN, infinities, nested, half a character, markup", others))
    ]  # fmt: skip


# --- growth


def growth(first: int, last: int) -> Rows:
    """What the app holds after `first` and after `last` jobs, each of somebody new."""
    seen: dict[int, tuple[float, int, int]] = {}

    async def many(app: App, jobs: int) -> None:
        left = iter(range(jobs))

        async def one() -> None:
            for number in left:
                async with Connection(app.port) as connection:
                    drawn = await draw(connection, prompt=f"robot {number}", seed=number, **FIELDS)
                    assert not drawn.refused, drawn.refused

        await asyncio.gather(*(one() for _ in range(CLIENTS)))

    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder) / "data", Path(folder) / "scratch") as app,
    ):
        done = 0
        for goal in sorted({first, last, *range(first, last, 2500)}):
            asyncio.run(many(app, goal - done))
            done = goal
            time.sleep(3)  # what ends a little later has ended
            seen[done] = app.resident, app.open_files, app.threads
            print(done, seen[done], flush=True)
    (before, files, _), (after, files_after, _) = seen[first], seen[last]
    pool = [threads_ for _, _, threads_ in seen.values()]
    slope = (after - before) / (last - first) * 1000
    return [
        (f"memory after {first:,} and {last:,} jobs, each of a new visitor",
         f"{before:.0f} and {after:.0f} MiB: {slope:+.2f} MiB in 1,000", "<= 1 MiB in 1,000"),
        ("... open files", f"{files} and {files_after}", "constant"),
        ("... threads, as the load of the moment wants", f"{min(pool)} to {max(pool)}", "bounded"),
    ]  # fmt: skip


def table(rows: Rows) -> str:
    """The rows as Markdown."""
    lines = ["| what | measured | goal |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {told} | {goal} |" for what, told, goal in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20, help="of each of 16 clients")
    parser.add_argument("--repeats", type=int, default=5, help="counted runs")
    parser.add_argument("--last", type=int, default=20_000, help="jobs of the growth row")
    parser.add_argument("--only", choices=ENGINES, action="append")
    parser.add_argument(BARE, type=int, help=argparse.SUPPRESS, default=0)
    given = parser.parse_args()
    if given.bare_gradio:
        bare_gradio(given.bare_gradio)
        return
    parts: dict[str, Callable[[], Rows]] = {
        "overhead": lambda: overhead(given.jobs, given.repeats),
        "refusals": refusals,
        "bad input": bad_input,
        "growth": lambda: growth(given.last // 4, given.last),
    }
    for part in given.only or parts:
        rows = parts[part]()
        text = (
            f"`python -m bench.queue`, {datetime.date.today().isoformat()}, "
            f"{os.cpu_count()} cores of {platform.machine()}, clients and app on the same machine. "
            f"A fake engine, {ENGINES[part]} a picture of 64 px.\n\n"
            f"{table(rows)}"
        )
        write(f"Queue: {part}", text)
        print(text, flush=True)


if __name__ == "__main__":
    main()
