"""How quick a big gallery is: `python -m bench.gallery`. No weights, no network.

One owner has 10,000 pictures (--pictures), another one as many. Times what the server does until
the HTML of a page of 48 is ready, and until a thumbnail is.
"""

import argparse
import datetime
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.engine import write
from sdgen.config import Settings
from sdgen.engine import LocalEngine
from sdgen.history import PictureRow
from sdgen.models import bundled_models
from sdgen.owners import Visitor
from sdgen.studio import Studio
from sdgen.ui.gallery_page import GalleryPage
from sdgen.ui.gallery_search import Shown, shown_from
from tests.gallery_pictures import Wall

ANN, BOB = Visitor("a" * 20, "ann"), Visitor("b" * 20, "bob")
GOAL_MS = 300.0
MODELS = ("picturebook", "sd15", "sd-turbo")
ADAPTERS = ("minnal-murali", "sepia", "pencil")
MINUTES = 7  # between two pictures


def fill(studio: Studio, owner: str, count: int, dice: random.Random) -> None:
    """Rows as of pictures, without their files."""
    words = bundled_models()["picturebook"].words
    subjects = words.subjects if words else ("robot", "cat", "boat")
    now = time.time()
    for number in range(count):
        created = now - 60 * MINUTES * number
        day = datetime.datetime.fromtimestamp(created, datetime.UTC).date()
        name = f"{owner[0]}{number:025d}"
        prompt = f"a {dice.choice(subjects)} and a {dice.choice(subjects)}, number {number}"
        row = PictureRow(
            name, owner, f"{owner}/{day}/{name}.png", number, prompt, dice.choice(MODELS),
            512, 512, created, adapters=tuple(dice.sample(ADAPTERS, dice.randrange(3))),
            favourite=number % 50 == 0, size_bytes=400_000,
        )  # fmt: skip
        studio.gallery.record(row)


def milliseconds(deed: Callable[[], object], repeats: int) -> list[float]:
    """How long it takes, after one uncounted time."""
    found = []
    for number in range(repeats + 1):
        begun = time.perf_counter()
        deed()
        if number:
            found.append(1000 * (time.perf_counter() - begun))
    return found


def rows(count: int, repeats: int) -> list[str]:
    """The table's lines."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        studio = Studio(settings, LocalEngine(settings))
        try:
            for each in (ANN, BOB):
                fill(studio, each.owner, count, random.Random(1))
            picture = Wall(studio, settings, ANN.owner).hang(width=512, height=512)
            page = GalleryPage(studio, lambda owner, ids: "", bin_days=30)
            gallery = studio.gallery

            def search(**looked: object) -> Callable[[], object]:
                return lambda: page.section(ANN.owner, shown_from(looked))

            def thumbnail() -> None:
                gallery.thumbnail(picture).unlink()

            measured = [
                ("the tab is opened: first page and filters",
                 lambda: (page.section(ANN.owner, Shown()), page.search_form(ANN.owner))),
                ("the last page", search(page=count)),
                ("two words, some found", search(words="robot CAT")),
                ("a word that is nowhere", search(words="zeppelin")),
                ("one model, one adapter", search(model="sd15", adapter="sepia")),
                ("favourites of this month",
                 search(only="favourites", since=str(datetime.date.today().replace(day=1)))),
                ("a picture opened, with its neighbours",
                 lambda: page.open(ANN, Shown(), picture.id)),
                ("a thumbnail made (512 px)", thumbnail),
                ("a thumbnail that is there", lambda: gallery.thumbnail(picture)),
            ]  # fmt: skip
            return [line(what, milliseconds(deed, repeats)) for what, deed in measured]
        finally:
            studio.close()


def line(what: str, found: list[float]) -> str:
    return (
        f"| {what} | {statistics.median(found):.1f} ms | {max(found):.1f} ms | < {GOAL_MS:.0f} ms |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    head = (
        f"`python -m bench.gallery`, {datetime.date.today().isoformat()}, {platform.machine()}, "
        f"{given.pictures:,} pictures of one owner beside as many of another. Times at the server."
    )
    lines = rows(given.pictures, given.repeats)
    text = "\n".join([head, "", "| what | median | longest | goal |", "|---|---|---|---|", *lines])
    print(text)
    write("Gallery", text)


if __name__ == "__main__":
    main()
