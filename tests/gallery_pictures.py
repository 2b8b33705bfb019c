"""Pictures in a studio's gallery, as if they had been drawn there: files with their rows."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from PIL import Image

from sdgen.config import Settings
from sdgen.history import PictureKind, PictureRow
from sdgen.job import GeneratedImage
from sdgen.metadata import RecipeAdapter, encode_png, recipe_for
from sdgen.pictures import day_folder, save_picture
from sdgen.studio import Studio
from tests.conftest import FAKE_INFO, ask, fake_picture


@dataclass(frozen=True)
class Wall:
    """One owner's part of a gallery."""

    studio: Studio
    settings: Settings
    owner: str

    def hang(
        self,
        prompt: str = "a red robot on a beach",
        *,
        created: float | None = None,
        image: Image.Image | None = None,
        adapters: tuple[str, ...] = (),
        flagged: str = "",
        kind: PictureKind = "picture",
        **given: Any,
    ) -> PictureRow:
        """One more picture. created: epoch seconds; image: what it shows; given: other fields of
        its request."""
        request = ask(prompt, **given)
        shows = image or fake_picture(request, request.seed)
        drawn = GeneratedImage(0, request.seed, shows, FAKE_INFO, flagged=flagged)
        when = None if created is None else datetime.fromtimestamp(created, UTC)
        named = tuple(RecipeAdapter(name=name) for name in adapters)
        recipe = recipe_for(request, drawn, when, adapters=named)
        folder = day_folder(self.settings.data_dir, when, self.owner)
        path = save_picture(folder, encode_png(shows, recipe))
        gallery = self.studio.gallery
        row = gallery.row_for(path, recipe, self.owner, flagged=flagged, kind=kind)
        row = row if created is None else replace(row, created=created)
        gallery.record(row)
        return row
