"""The app in a process of its own, with a quick fake engine: started, asked, killed, looked at."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.serving import free_port

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 120.0  # seconds; the machine may be busy


@dataclass
class App:
    """A running app. started: seconds from its first breath to its answer."""

    process: "subprocess.Popen[str]"
    port: int
    started: float

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def resident(self) -> float:
        """Memory, MiB."""
        for line in self._proc("status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("it has ended")

    @property
    def open_files(self) -> int:
        """How many file descriptors it holds."""
        return len(list(self._proc("fd").iterdir()))

    @property
    def threads(self) -> int:
        """How many threads it has."""
        return len(list(self._proc("task").iterdir()))

    @property
    def cpu_seconds(self) -> float:
        """What it has computed so far."""
        fields = self._proc("stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self.process.pid}/{name}")


@contextmanager
def running(data_dir: Path, scratch: Path, **options: Any) -> Iterator[App]:
    """The app, ready to draw. scratch: where Gradio keeps its files, for as long as it runs.

    options: as fake_app has them, e.g. seconds_per_step=0.1.
    """
    port = free_port()
    command = [sys.executable, "-m", "tests.faults.fake_app", "--port", str(port)]
    command += ["--data-dir", str(data_dir)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    scratch.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)}
    environment.pop("GRADIO_TEMP_DIR", None)
    begun = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until_ready(process, port)
        yield App(process, port, time.monotonic() - begun)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until_ready(process: "subprocess.Popen[str]", port: int) -> None:
    """Returns as soon as it says that it can draw."""
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it does not get ready"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.02)
