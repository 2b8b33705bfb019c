"""What enhancing costs: `python -m bench.enhance`. No weights, no network but loopback.

Times one call of Studio.enhance, which is all that is added to a generation: by the built-in
engine, by a chat server on this machine that answers at once, by one that is not there, and by
one that never ends its answer. Each prompt is new, so that nothing is remembered.
"""

import argparse
import datetime
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.engine import write
from sdgen.config import Settings
from sdgen.engine import LocalEngine
from sdgen.enhance import Enhancer, Service
from sdgen.models import bundled_models
from sdgen.studio import Studio
from tests.fault_server import fault_server, refused_url

GOAL_MS = 5.0  # of the built-in engine


def times(studio: Studio, choice: str, count: int, what: str) -> list[float]:
    """Milliseconds of `count` drafts, after two uncounted ones."""
    words = bundled_models()["picturebook"].words
    subjects = words.subjects if words else ("robot", "cat", "boat")
    found = []
    for number in range(-2, count):
        prompt = f"a {what} {subjects[number % len(subjects)]} {number + 2}"
        begun = time.perf_counter()
        studio.enhance(prompt, choice="api" if choice == "api" else "builtin")
        if number >= 0:
            found.append(1000 * (time.perf_counter() - begun))
    return found


def measured(service: Service | None, choice: str, count: int, what: str) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        enhancer = Enhancer(service, per_day=10_000)
        studio = Studio(settings, LocalEngine(settings), enhancer=enhancer)
        studio.prepare_enhancer()
        try:
            return times(studio, choice, count, what)
        finally:
            studio.close()


def row(title: str, found: list[float], goal: str = "") -> str:
    return f"| {title} | {statistics.median(found):.1f} ms | {max(found):.1f} ms | {goal} |"


def with_server(script: str, count: int) -> list[float]:
    with fault_server(script) as server:
        return measured(Service(server.url, "m"), "api", count, script)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=25)
    count = parser.parse_args().repeats
    measure: list[tuple[str, Callable[[], list[float]], str]] = [
        ("built-in", lambda: measured(None, "builtin", 4 * count, "red"), f"< {GOAL_MS:.0f} ms"),
        ("API, healthy, on loopback", lambda: with_server("on a beach, at sunset", count), ""),
        (
            "API, nobody there (from the 4th call on it is left alone)",
            lambda: measured(Service(refused_url(), "m"), "api", count, "blue"),
            "",
        ),
        ("API, never ends its answer: the first call", _first_of_trickle, "< 8.5 s"),
    ]
    rows = [row(title, run(), goal) for title, run, goal in measure]
    today = datetime.date.today().isoformat()
    text = "\n".join(
        [
            f"`python -m bench.enhance`, {today}, {platform.machine()}. What a draft adds to a",
            "generation, outside the engine's queue.",
            "",
            "| helper | median | longest | goal |",
            "|---|---|---|---|",
            *rows,
        ]
    )
    print(text)
    write("Enhance", text)


def _first_of_trickle() -> list[float]:
    """One call with the real deadline; more of them would only find the service left alone."""
    with (
        tempfile.TemporaryDirectory() as folder,
        fault_server("trickle") as server,
    ):
        settings = Settings(data_dir=Path(folder))
        enhancer = Enhancer(Service(server.url, "m"))
        studio = Studio(settings, LocalEngine(settings), enhancer=enhancer)
        studio.prepare_enhancer()
        begun = time.perf_counter()
        studio.enhance("a red robot", choice="api")
        found = 1000 * (time.perf_counter() - begun)
        studio.close()
        return [found]


if __name__ == "__main__":
    main()
