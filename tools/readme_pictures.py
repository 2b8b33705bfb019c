"""The pictures of the README, made by the app itself: `python -m tools.readme_pictures`.

docs/grid.png: prompts drawn by the bundled model at its default settings, unselected (seed 7).
docs/proof-strip.png: the bundled adapter at three strengths. docs/three-adapters.png: requests of
three people with an adapter each, in one batch; two of them are of tools.adapters.styles, trained
by `python -m lora train` into a data folder given with --styles.
docs/page-light.png, page-dark.png, page-phone.png: the real page in Chromium (needs Playwright).
docs/gallery-light.png, gallery-dark.png, gallery-phone.png: its Gallery tab with 60 pictures.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Browser, Page, sync_playwright

from sdgen.config import Settings
from sdgen.engine import LocalEngine
from sdgen.gallery import Search
from sdgen.models import ASSETS, find_model
from sdgen.owners import LOCAL, LOCAL_VISITOR
from sdgen.request import AdapterUse
from sdgen.studio import Order, Studio

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
HIS_PROMPTS = (  # of the project that this one replaces
    "Minnal Murali standing heroically with lightning in the background",
    "A dramatic scene of Minnal Murali running through a village during a storm",
    "Minnal Murali in his superhero costume, striking a powerful pose in front of a temple",
)
GALLERY_SEEDS = range(100, 105)  # each with all prompts
FAVOURITES = (3, 5, 12, 19, 26, 40)  # of the gallery's pictures, by place
STRENGTHS = (0.0, 0.5, 1.0)
VIEWS = (("light", "light", 1280, 900), ("dark", "dark", 1280, 900), ("phone", "light", 360, 780))
BUNDLED = ASSETS / "adapters" / "minnal-murali.safetensors"
COLUMNS = 4
LARGEST = 400_000  # bytes of a picture of the page
TEXT_HEIGHT = 40  # pixels


def grid() -> Image.Image:
    """All prompts, drawn once each, with their words below."""
    with tempfile.TemporaryDirectory() as folder:
        engine = LocalEngine(Settings(data_dir=Path(folder)))
        spec = find_model("picturebook")
        jobs = [engine.submit(spec.request(prompt=prompt, seed=SEED)) for prompt in PROMPTS]
        images = [job.result(600).images[0].image for job in jobs]
        engine.close()
    return _sheet(images, PROMPTS, COLUMNS)


def strip() -> Image.Image:
    """The seed project's prompts with the bundled adapter off, half and full, at one seed."""
    asked = [(prompt, BUNDLED, strength) for prompt in HIS_PROMPTS for strength in STRENGTHS]
    texts = [f"{prompt[:60]} · {strength:g}" for prompt, _, strength in asked]
    return _sheet(_drawn(asked), texts, len(STRENGTHS))


def three(styles: Path) -> Image.Image:
    """Three people's requests, each with another adapter, through one batch."""
    asked = [
        (HIS_PROMPTS[0], BUNDLED, 1.0),
        ("sepia picture of a red car in a village at sunset", styles / "sepia.safetensors", 1.0),
        ("pencil picture of a blue robot in a forest by day", styles / "pencil.safetensors", 1.0),
    ]
    texts = [f"{path.stem}: {prompt}" for prompt, path, _ in asked]
    return _sheet(_drawn(asked), texts, len(asked))


def _drawn(asked: list[tuple[str, Path, float]]) -> list[Image.Image]:
    """Prompts with an adapter and its strength, all in one batch."""
    with tempfile.TemporaryDirectory() as folder:
        engine = LocalEngine(Settings(data_dir=Path(folder), max_rows=2 * len(asked)))
        engine.preload("picturebook")
        spec = find_model("picturebook")
        jobs = [
            engine.submit(
                spec.request(
                    prompt=prompt,
                    seed=SEED,
                    adapters=[AdapterUse(name=str(path), scale=strength)],
                )
            )
            for prompt, path, strength in asked
        ]
        made = [job.result(600).images[0] for job in jobs]
        engine.close()
    assert all(image.info.shared for image in made)
    return [image.image for image in made]


def _sheet(images: list[Image.Image], texts: Sequence[str], columns: int) -> Image.Image:
    """The pictures in rows, each with its words below."""
    side = images[0].width
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * side, rows * (side + TEXT_HEIGHT)), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for place, (text, image) in enumerate(zip(texts, images, strict=True)):
        x = place % columns * side
        y = place // columns * (side + TEXT_HEIGHT)
        sheet.paste(image, (x, y))
        pen.multiline_text((x + 6, y + side + 4), _two_lines(text), fill="black", font=font)
    return sheet


def _two_lines(text: str) -> str:
    if len(text) <= 38:
        return text
    cut = text.rfind(" ", 0, 42)
    return f"{text[:cut]}\n{text[cut + 1 :]}"


def page() -> None:
    """Start the app as a user would, draw a picture, and photograph the page."""
    with tempfile.TemporaryDirectory() as folder, _opened(folder) as browser:
        for name, theme, width, height in VIEWS:
            view = _view(browser, theme, width, height)
            prompt = view.get_by_label("What should the picture show?")
            prompt.fill(PROMPTS[0])
            prompt.press("Control+Enter")
            view.get_by_alt_text(PROMPTS[0]).first.wait_for(timeout=120_000)
            _photograph(view, f"page-{name}")


def gallery() -> None:
    """Draw what fills a gallery, and photograph its tab: plain, with a selection, on a phone."""
    with tempfile.TemporaryDirectory() as folder:
        _fill_gallery(Path(folder))
        with _opened(folder, "--one-user") as browser:
            for name, theme, width, height in VIEWS:
                view = _view(browser, theme, width, height)
                view.get_by_role("tab", name="Gallery").click()
                view.wait_for_selector("#gallery-pictures .sd-pic img")
                if name == "dark":
                    for place in (1, 8):
                        view.locator(".sd-pic input").nth(place).click()
                _photograph(view, f"gallery-{name}")


def _fill_gallery(folder: Path) -> None:
    settings = Settings(data_dir=folder)
    studio = Studio(settings, LocalEngine(settings))
    studio.open_queue()
    orders = [
        Order(studio.request(prompt=prompt, seed=seed))
        for seed in GALLERY_SEEDS
        for prompt in PROMPTS
    ]
    for job in studio.submit(orders, LOCAL_VISITOR, leave="keep"):
        job.result(600)
    found = studio.gallery.search(LOCAL, Search(), limit=len(orders)).rows
    studio.gallery.favourite(LOCAL, [found[place].id for place in FAVOURITES], True)
    studio.close()


@contextmanager
def _opened(data_dir: str, *options: str) -> Iterator[Browser]:
    """A browser while the app runs over a data folder."""
    command = [sys.executable, "app.py", "--port", str(PORT), "--data-dir", data_dir, *options]
    app = subprocess.Popen(command, cwd=DOCS.parent)
    try:
        _wait_for(f"http://127.0.0.1:{PORT}/")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
            yield browser
            browser.close()
    finally:
        app.terminate()
        app.wait(10)


def _view(browser: Browser, theme: str, width: int, height: int) -> Page:
    """The page in a window; a narrow one is a phone's."""
    phone = width < 600
    view = browser.new_page(
        viewport={"width": width, "height": height}, has_touch=phone, is_mobile=phone
    )
    view.goto(f"http://127.0.0.1:{PORT}/?__theme={theme}")
    return view


def _photograph(view: Page, name: str) -> None:
    """The window as it is in a moment, in fewer colours where the file would be too large."""
    view.wait_for_timeout(3000)
    path = DOCS / f"{name}.png"
    view.screenshot(path=path)
    if path.stat().st_size > LARGEST:
        with Image.open(path) as shot:
            full = shot.convert("RGB")
        few = full.quantize(256, kmeans=3)
        full.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
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
    parser.add_argument("--only", choices=["grid", "strip", "three", "page", "gallery"])
    parser.add_argument("--styles", type=Path, help="a data folder with the two styles' adapters")
    given = parser.parse_args()
    DOCS.mkdir(exist_ok=True)
    if given.only in (None, "grid"):
        grid().save(DOCS / "grid.png", optimize=True)
    if given.only in (None, "strip"):
        strip().save(DOCS / "proof-strip.png", optimize=True)
    if given.only in (None, "three") and given.styles:
        three(given.styles / "adapters").save(DOCS / "three-adapters.png", optimize=True)
    if given.only in (None, "page"):
        page()
    if given.only in (None, "gallery"):
        gallery()


if __name__ == "__main__":
    main()
