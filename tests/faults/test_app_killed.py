"""The app as a whole, killed while it draws: ready again soon, and on it goes."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sdgen.owners import new_token
from tests.faults.apps import App, running
from tests.faults.checks import check_all
from tests.faults.clients import Connection

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

KILLS, JOBS = 3, 12
READY_SECONDS = 10.0
PATIENCE = 120.0  # seconds; the machine may be busy


def call(app: App, token: str, endpoint: str, **asked: object) -> Any:
    """What an endpoint answers."""

    async def ask() -> Any:
        async with Connection(app.port, token) as connection:
            status, told = await connection.ask("POST", f"/gradio_api/call/v2/{endpoint}", asked)
            assert status == 200, told
            event = json.loads(told)["event_id"]
            _, told = await connection.ask("GET", f"/gradio_api/call/{endpoint}/{event}")
            last = told.decode().strip().split("\n\n")[-1]
            assert last.startswith("event: complete\ndata: "), last
            return json.loads(last.partition("data: ")[2])[0]

    return asyncio.run(ask())


def states(app: App, token: str, ids: list[str]) -> list[str]:
    """How far the jobs are."""
    return [call(app, token, "job", job_id=job)["state"] for job in ids]


def test_an_app_that_is_killed_while_it_draws_goes_on(tmp_path: Path) -> None:
    token, ids = new_token(), []
    started = []
    fields = {"width": 64, "height": 64, "steps": 3, "seed": 7}
    for number in range(KILLS):
        with running(tmp_path / "data", tmp_path / "scratch", seconds_per_step=0.2) as app:
            started.append(app.started)
            if not ids:
                prompts = "\n".join(f"robot {job}" for job in range(JOBS))
                told = call(app, token, "submit", prompt=prompts, several=True, **fields)
                ids = [job["id"] for job in told]
                assert len(ids) == JOBS
            deadline = time.monotonic() + PATIENCE
            now: list[str] = []
            while now.count("done") <= 2 * number or "running" not in now:
                assert time.monotonic() < deadline, now
                now = states(app, token, ids)
            app.kill()
    with running(tmp_path / "data", tmp_path / "scratch") as app:
        started.append(app.started)
        deadline = time.monotonic() + PATIENCE
        while set(states(app, token, ids)) != {"done"}:
            assert time.monotonic() < deadline, states(app, token, ids)
        jobs = [call(app, token, "job", job_id=job) for job in ids]
        assert [len(job["pictures"]) for job in jobs] == [1] * JOBS
        starts = [job["started"] for job in jobs]
        assert starts == sorted(starts)  # in their order, however often it was interrupted
        extra = call(app, token, "submit", prompt="one more", **fields)
        assert len(extra) == 1
        app.process.terminate()
        assert app.process.wait(PATIENCE) == 0
    rows = check_all(tmp_path / "data", unfinished=[extra[0]["id"]]).jobs
    assert 1 <= sum(rows[job].attempts - 1 for job in ids) <= KILLS
    print(f"\nready after {', '.join(f'{seconds:.1f}' for seconds in started)} s")
    assert min(started) <= READY_SECONDS
