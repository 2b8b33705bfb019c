"""Pictures for tests of the gallery: real files with recipes, and their rows."""

from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from sdgen.gallery import Gallery
from sdgen.history import History, PictureRow
from sdgen.job import GeneratedImage
from sdgen.metadata import encode_png, recipe_for
from sdgen.pictures import day_folder, save_picture
from tests.conftest import FAKE_INFO, ask

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


class Pictures:
    """A data folder with its rows and its gallery."""

    def __init__(self, data_dir: Path, bin_days: int = 30) -> None:
        self.data_dir = data_dir
        self.bin_days = bin_days
        self.open()

    def open(self) -> None:
        """Begin, or begin again after `close`."""
        self.history = History(self.data_dir)
        self.gallery = Gallery(self.data_dir, self.history, bin_days=self.bin_days)

    def close(self) -> None:
        self.history.close()

    def write(
        self,
        owner: str = "me",
        created: float = NOON,
        name: str = "",
        flagged: str = "",
        side: int = 8,
        **asked: object,
    ) -> tuple[Path, PictureRow]:
        """A picture's file, and the row that it should get."""
        when = datetime.fromtimestamp(created, UTC)
        request = ask(**asked)  # type: ignore[arg-type]
        image = GeneratedImage(
            0, request.seed, Image.new("RGB", (side, side)), FAKE_INFO, flagged=flagged
        )
        recipe = recipe_for(request, image, when)
        folder = day_folder(self.data_dir, when, owner)
        path = save_picture(folder, encode_png(image.image, recipe), name)
        return path, self.gallery.row_for(path, recipe, owner)

    def add(self, owner: str = "me", created: float = NOON, **given: object) -> PictureRow:
        """A picture that is there and written down."""
        _, row = self.write(owner, created, **given)  # type: ignore[arg-type]
        self.gallery.record(row)
        return row

    def files(self) -> set[str]:
        """The files that there are, below pictures/."""
        top = self.data_dir / "pictures"
        return {path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()}

    def agrees(self) -> bool:
        """True when every row has its file and every file its row."""
        with self.history.reading() as db:
            paths = [path for (path,) in db.execute("SELECT path FROM pictures")]
        return len(set(paths)) == len(paths) and set(paths) == self.files()
