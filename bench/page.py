"""How soon the page is there: `python -m bench.page`.

A: a process that imports gradio and StableDiffusionPipeline, as an app does that loads first and
serves later. B: `python app.py` until GET / answers. In turns, medians, after one uncounted round.
"""

import argparse
import datetime
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.engine import Row, table, write

ROOT = Path(__file__).parent.parent
IMPORTS = "import gradio\nfrom diffusers import StableDiffusionPipeline"


def seconds_of_imports() -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORTS], check=True, cwd=ROOT)
    return time.monotonic() - begun


def seconds_to_page() -> float:
    with socket.socket() as free, tempfile.TemporaryDirectory() as data:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        begun = time.monotonic()
        command = [sys.executable, "app.py", "--port", str(port), "--data-dir", data]
        app = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{port}/", app)
            return time.monotonic() - begun
        finally:
            app.kill()
            app.wait()


def _wait_for(address: str, app: "subprocess.Popen[bytes]") -> None:
    while True:
        try:
            urllib.request.urlopen(address, timeout=60).close()
        except (urllib.error.URLError, ConnectionError):
            if app.poll() is not None:
                raise
            time.sleep(0.02)
        else:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    pairs = [(seconds_of_imports(), seconds_to_page()) for _ in range(repeats + 1)][1:]
    imports, page = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    row = Row(
        "GET / answers, against the imports alone",
        f"{imports:.2f} s",
        f"{page:.2f} s",
        ratio,
        "<= 0.50",
    )
    head = (
        f"`python -m bench.page`, {datetime.date.today().isoformat()}, medians of {repeats} turns."
    )
    text = (
        f"{head}\n\n{table([row]).replace('diffusers `pipe()`', 'importing gradio and diffusers')}"
    )
    print(text)
    write("Page", text)


if __name__ == "__main__":
    main()
