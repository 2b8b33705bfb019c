"""app.py as a process: how soon its page is there, and how it ends. Slow: real imports."""

import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serving import free_port

ROOT = Path(__file__).parent.parent
IMPORTS = "import gradio\nfrom diffusers import StableDiffusionPipeline"
END_SECONDS = 8.0  # Docker gives ten
ROUNDS = 3

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


def test_the_page_is_there_before_torch_is(tmp_path: Path) -> None:
    """GET / answers in at most half the time of importing gradio and StableDiffusionPipeline.

    Both are measured in turn, after one round that fills the disk's cache; the medians count.
    """
    pages, imports = [], []
    for _ in range(ROUNDS + 1):
        start = time.monotonic()
        with running(tmp_path):
            pages.append(time.monotonic() - start)
        start = time.monotonic()
        subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORTS], check=True, cwd=tmp_path)
        imports.append(time.monotonic() - start)
    page, both = sorted(pages[1:])[ROUNDS // 2], sorted(imports[1:])[ROUNDS // 2]
    print(f"GET / after {page:.2f} s; imports take {both:.2f} s; ratio {page / both:.2f}")
    assert page <= both / 2


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, kind: signal.Signals) -> None:
    with running(tmp_path) as (process, _):
        time.sleep(2)  # torch is being imported now
        start = time.monotonic()
        process.send_signal(kind)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert time.monotonic() - start <= END_SECONDS
        assert "Traceback" not in said
        assert said.rstrip().endswith("Stopping.")


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


def test_two_apps_on_one_port_are_told_apart(tmp_path: Path) -> None:
    with running(tmp_path) as (_, address):
        port = address.rsplit(":", 1)[1].strip("/")
        command = [sys.executable, "app.py", "--port", port, "--data-dir", str(tmp_path)]
        second = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
    assert second.returncode == 1
    assert f"port {port}" in second.stderr
    assert "Traceback" not in second.stderr


def test_help_needs_no_gradio_and_no_torch() -> None:
    code = "import sys, sdgen.launch; sdgen.launch.parser(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert not modules & {"gradio", "torch", "diffusers", "transformers"}
