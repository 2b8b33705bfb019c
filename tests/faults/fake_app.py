"""The app as app.py starts it, but for what draws: python -m tests.faults.fake_app --help

Every path of the app is the real one: settings, page, endpoints, queue, files, signals.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdgen.config import Settings, read_settings
from sdgen.job import EngineStatus, Job
from sdgen.launch import gradio_environment, serve
from sdgen.logs import set_up
from sdgen.request import GenerateRequest
from tests.conftest import FakeEngine


class QuickEngine(FakeEngine):
    """FakeEngine as the app uses one, day and night: it keeps no list of what it was asked."""

    is_loaded = False

    def preload(self, model: str) -> None:
        """The app calls it once the page is served; from then it says that it has a model."""
        self.is_loaded = True

    def status(self) -> EngineStatus:
        status = super().status()
        return status if self.is_loaded else replace(status, loaded=())

    def submit(self, request: GenerateRequest, job_id: str = "") -> Job:
        self.submitted.clear()
        return super().submit(request, job_id)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--max-queue", type=int, default=100)
    parser.add_argument("--seconds-per-step", type=float, default=0.0)
    given = parser.parse_args()
    settings = read_settings(
        port=given.port, data_dir=given.data_dir, max_queue=given.max_queue, credentials=False
    )
    set_up(settings)

    def engine(settings: Settings, on_step: Callable[..., None]) -> Any:
        return QuickEngine(given.seconds_per_step, max_queue=1000)

    with gradio_environment():
        return serve(settings, False, engine)


if __name__ == "__main__":
    sys.exit(main())
