"""The pictures of the README, made by the app itself: `python -m tools.readme_pictures`.

docs/grid.png: prompts drawn by the bundled model at its default settings, unselected (seed 7).
docs/page-light.png, page-dark.png, page-phone.png: the real page in Chromium (needs Playwright).
"""

import argparse
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Browser, sync_playwright

from sdgen.config import Settings
from sdgen.engine import LocalEngine
from sdgen.models import find_model

DOCS = Path(__file__).parent.parent / "docs"
PORT = 7977
SEED = 7
PROMPTS = (
    "a red robot on a beach at sunset",
    "a futuristic city with flying cars",
    "the hero standing heroically with lightning in the background",
    "a dramatic scene of the hero running through a village during a storm",
    "the hero in his superhero costume, striking a powerful pose in front of a temple",
    "a blue cat in a forest at night",
    "a yellow balloon over the mountains in the snow",
    "a purple rocket in the desert at night",
    "a green boat and a red bird on a beach",
    "a pink house in a village in the snow",
    "an orange car in the city at night",
    "a white dog on a rooftop at sunset",
)
COLUMNS = 4
TEXT_HEIGHT = 40  # pixels


def grid() -> Image.Image:
    """All prompts, drawn once each, with their words below."""
    with tempfile.TemporaryDirectory() as folder:
        engine = LocalEngine(Settings(data_dir=Path(folder)))
        spec = find_model("picturebook")
        jobs = [engine.submit(spec.request(prompt=prompt, seed=SEED)) for prompt in PROMPTS]
        images = [job.result(600).images[0].image for job in jobs]
        engine.close()
    side = images[0].width
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * side, rows * (side + TEXT_HEIGHT)), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for place, (prompt, image) in enumerate(zip(PROMPTS, images, strict=True)):
        x = place % COLUMNS * side
        y = place // COLUMNS * (side + TEXT_HEIGHT)
        sheet.paste(image, (x, y))
        pen.multiline_text((x + 6, y + side + 4), _two_lines(prompt), fill="black", font=font)
    return sheet


def _two_lines(text: str) -> str:
    if len(text) <= 38:
        return text
    cut = text.rfind(" ", 0, 42)
    return f"{text[:cut]}\n{text[cut + 1 :]}"


def page() -> None:
    """Start the app as a user would, draw two pictures, and photograph the page."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "app.py", "--port", str(PORT), "--data-dir", folder]
        app = subprocess.Popen(command, cwd=DOCS.parent)
        try:
            _wait_for(f"http://127.0.0.1:{PORT}/")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path="/usr/bin/chromium",
                    args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
                )
                for name, theme, width, height in (
                    ("page-light", "light", 1280, 900),
                    ("page-dark", "dark", 1280, 900),
                    ("page-phone", "light", 360, 780),
                ):
                    _photograph(browser, name, theme, width, height)
                browser.close()
        finally:
            app.terminate()
            app.wait(10)


def _photograph(browser: Browser, name: str, theme: str, width: int, height: int) -> None:
    view = browser.new_page(viewport={"width": width, "height": height})
    view.goto(f"http://127.0.0.1:{PORT}/?__theme={theme}")
    prompt = view.get_by_label("What should the picture show?")
    prompt.fill(PROMPTS[0])
    prompt.press("Control+Enter")
    view.get_by_alt_text(PROMPTS[0]).first.wait_for(timeout=120_000)
    view.wait_for_timeout(3000)
    view.screenshot(path=DOCS / f"{name}.png")
    view.close()


def _wait_for(address: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except (urllib.error.URLError, TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["grid", "page"], help="make only one of the two")
    only = parser.parse_args().only
    DOCS.mkdir(exist_ok=True)
    if only != "page":
        grid().save(DOCS / "grid.png", optimize=True)
    if only != "grid":
        page()


if __name__ == "__main__":
    main()
