"""app.py as a process: how it starts and how it ends. Slow: real imports."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gradio_client import Client

from sdgen.history import History
from sdgen.models import ASSETS
from tests.serving import free_port

ROOT = Path(__file__).parent.parent
END_SECONDS = 8.0  # Docker gives ten

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@contextmanager
def running(tmp_path: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The app with its page answering, and the page's address."""
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port), "--data-dir", str(tmp_path)]
    process = subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        wait_for_page(process, port)
        yield process, f"http://127.0.0.1:{port}/"
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for_page(process: "subprocess.Popen[str]", port: int) -> None:
    """Returns as soon as GET / answers."""
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
                assert b"sdgen" in page.read()
                return
        except OSError:
            assert process.poll() is None, "the app ended before its page was there"
            time.sleep(0.05)


def wait_for_torch(process: "subprocess.Popen[str]") -> None:
    """Returns while it imports torch: its libraries are in memory, the rest takes seconds."""
    deadline = time.monotonic() + 300
    while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None, "the app ended before it imported torch"
        assert time.monotonic() < deadline, "torch is not imported"
        time.sleep(0.005)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, kind: signal.Signals) -> None:
    with running(tmp_path) as (process, _):
        wait_for_torch(process)
        start = time.monotonic()
        process.send_signal(kind)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert time.monotonic() - start <= END_SECONDS
        assert "Traceback" not in said
        assert "Stopping." in said.splitlines()


def test_nothing_of_gradio_s_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    with running(tmp_path / "data") as (process, _):
        assert list(scratch.glob("sdgen-*"))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert list(scratch.glob("sdgen-*")) == []


def test_a_stop_while_drawing_keeps_the_job_for_the_next_start(tmp_path: Path) -> None:
    with running(tmp_path) as (process, address):
        client = Client(address, verbose=False, analytics_enabled=False)
        (job,) = client.predict("a red robot", steps=150, num_images=8, api_name="/submit")
        while client.predict(job["id"], api_name="/job")["step"] < 1:
            time.sleep(0.1)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert time.monotonic() - start <= END_SECONDS
        assert "Traceback" not in said
    history = History(tmp_path)
    assert [(row.id, row.state) for row in history.unfinished()] == [(job["id"], "waiting")]
    history.close()


def test_a_folder_as_the_model_makes_the_app_ready_before_its_first_job(tmp_path: Path) -> None:
    folder = shutil.copytree(ASSETS / "picturebook", tmp_path / "my model")
    with running(tmp_path / "data", "--model", str(folder)) as (process, address):
        ready: dict[str, object] = {}
        while not ready.get("ready"):
            assert process.poll() is None
            time.sleep(0.2)
            with (
                contextlib.suppress(urllib.error.HTTPError),  # 503 until the model is loaded
                urllib.request.urlopen(f"{address}readyz", timeout=60) as answer,
            ):
                ready = json.load(answer)
        assert ready["model"] == "my model"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert "There is no model" not in said


def test_two_apps_on_one_port_or_one_folder_are_told_apart(tmp_path: Path) -> None:
    with running(tmp_path / "first") as (_, address):
        port = address.rsplit(":", 1)[1].strip("/")
        for folder, sentence in (("second", f"port {port}"), ("first", "--data-dir")):
            command = [sys.executable, "app.py", "--port", port]
            second = subprocess.run(
                [*command, "--data-dir", str(tmp_path / folder)],
                cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            assert second.returncode == 1
            assert sentence in second.stderr
            assert "Traceback" not in second.stderr


def test_help_needs_no_gradio_and_no_torch() -> None:
    code = "import sys, sdgen.launch; sdgen.launch.parser(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert not modules & {"gradio", "torch", "diffusers", "transformers"}
