"""Small pictures for lists, in data_dir/cache/thumbs; made when first wanted."""

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from sdgen.errors import PictureUnreadable, StorageFailed
from sdgen.metadata import read_picture
from sdgen.pictures import remove_stumps_in, write_whole

_SUFFIX = ".webp"
_SIDE = 320  # pixels, the longer one
_QUALITY = 80
_AT_ONCE = 2  # made together; a picture of 24 megapixels takes some 100 MB while it is decoded
_HASH_AT = 12  # letters of a picture's name before those that have nothing to do with its time


class Thumbnails:
    """The cache: everything in it can be deleted at any time."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "cache" / "thumbs"
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def of(self, picture_id: str, picture: Path) -> Path:
        """The WebP of a picture. Raises PictureUnreadable, StorageFailed."""
        path = self._path(picture_id)
        if path.is_file():
            return path
        with self._turns:
            if not path.is_file():
                image, _ = read_picture(picture)
                image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
                buffer = io.BytesIO()
                image.save(buffer, "WEBP", quality=_QUALITY)
                try:
                    write_whole(path, buffer.getvalue())
                except OSError as error:
                    raise StorageFailed(
                        "The small picture could not be written: the disk is full, or may not be "
                        "written to."
                    ) from error
                if not picture.is_file():  # erased meanwhile: nobody will come for this any more
                    self.forget(picture_id)
                    raise PictureUnreadable("The picture is not here any more.")
        return path

    def forget(self, picture_id: str) -> None:
        """Remove a picture's, if there is one."""
        with contextlib.suppress(OSError):
            self._path(picture_id).unlink(missing_ok=True)

    def ids(self) -> Iterator[list[str]]:
        """The pictures whose thumbnails are there, a folder of them at a time."""
        with contextlib.suppress(OSError):
            for folder in [self._folder, *self._folder.iterdir()]:
                with contextlib.suppress(OSError):  # no folder
                    yield [path.stem for path in folder.iterdir() if path.suffix == _SUFFIX]

    def remove_stumps(self) -> None:
        """Remove what writing left behind when it was killed."""
        with contextlib.suppress(OSError):
            for folder in list(self._folder.iterdir()):
                remove_stumps_in(folder)

    def _path(self, picture_id: str) -> Path:
        return self._folder / picture_id[_HASH_AT : _HASH_AT + 2] / f"{picture_id}{_SUFFIX}"
