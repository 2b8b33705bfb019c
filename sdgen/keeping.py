"""Finished pictures go to disk: recipe, marks, credentials, file, and their row in the gallery."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdgen import credentials
from sdgen.data_folder import GONE
from sdgen.errors import StorageFailed
from sdgen.gallery import Gallery
from sdgen.job import GeneratedImage, Saved
from sdgen.metadata import Enhancement, RecipeAdapter, encode_png, recipe_for
from sdgen.pictures import save_picture
from sdgen.request import GenerateRequest


@dataclass(frozen=True)
class Place:
    """Where a picture goes. owner: whose gallery lists it; "" for none.

    name: of the file, without its ending; "" for a new one. job: the id of the job it is of.
    """

    folder: Path
    owner: str = ""
    name: str = ""
    job: str = ""


class PictureKeeper:
    """Writes pictures. Thread-safe."""

    def __init__(
        self,
        data_dir: Path,
        gallery: Callable[[], Gallery],
        *,
        sign: bool,
        saved: Callable[[], None] = lambda: None,
    ) -> None:
        """gallery: the one of the data folder, opened when it is needed. sign: with content
        credentials, where c2pa-python is installed. saved: is called after each picture."""
        self._data_dir = data_dir
        self._gallery = gallery
        self._saved = saved
        ready = sign and credentials.available()
        self._signer = credentials.Signer(data_dir / "credentials") if ready else None

    def keep(
        self,
        request: GenerateRequest,
        image: GeneratedImage,
        adapters: tuple[RecipeAdapter, ...],
        place: Place,
        say: Callable[[str], None],
        enhancement: Enhancement | None = None,
        grid: str = "",
    ) -> Saved:
        """Write one picture with its recipe; once this returns it is on disk and in the gallery.

        say: is told what could not be done as wished. grid: of a sheet, its axes as JSON.
        Raises StorageFailed.
        """
        if place.folder.is_relative_to(self._data_dir) and not self._data_dir.is_dir():
            raise StorageFailed(GONE)  # it may come back, and would find another in its place
        recipe = recipe_for(request, image, enhancement=enhancement, adapters=adapters, grid=grid)
        path = save_picture(
            place.folder, self._sealed(encode_png(image.image, recipe), say), place.name
        )
        self._saved()
        if not place.owner:
            return Saved(image.index, image.seed, path, image.flagged)
        gallery = self._gallery()
        row = gallery.row_for(
            path,
            recipe,
            place.owner,
            job=place.job,
            index=image.index,
            flagged=image.flagged,
            kind="sheet" if grid else "picture",
        )
        gallery.record(row)
        return Saved(image.index, image.seed, path, image.flagged, row.id)

    def _sealed(self, png: bytes, say: Callable[[str], None]) -> bytes:
        """The file with content credentials; without them, and said so, where that fails."""
        if self._signer is None:
            return png
        try:
            return self._signer.sign(png)
        except StorageFailed as error:
            say(f"Saved without content credentials. {error}")
            return png
