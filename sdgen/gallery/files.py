"""The files behind the rows: which there are, what they say of themselves, how they move."""

import contextlib
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path

from sdgen.atomic_write import make_folder, sync_folder
from sdgen.errors import PictureUnreadable
from sdgen.history import PictureKind, PictureRow
from sdgen.metadata import Recipe, read_recipe, recipe_from_json
from sdgen.pictures import (
    PictureFolder,
    is_picture_name,
    picture_folders,
    pictures_folder,
    time_of_name,
)
from sdgen.request import SEED_MAX

_LAST_TIME = 4102444800.0  # 2100, which every format of a date can hold
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_OUR_TEXT = b"sdgen\0\0\0\0\0"  # keyword, not compressed, no language (PNG, section 11.3.4.5)
_TEXT_BYTES_MAX = 1_000_000


@dataclass(frozen=True)
class PictureFile:
    """A file with a name of ours, where pictures lie. path: below pictures/, "/" between parts."""

    id: str
    path: str
    folder: PictureFolder

    @property
    def binned(self) -> float | None:
        """Midnight (UTC) of the day on which it went to the bin; None: it is not there."""
        if not self.folder.deleted:
            return None
        return datetime.combine(self.folder.day, time.min, UTC).timestamp()


def picture_files(data_dir: Path) -> Iterator[PictureFile]:
    """All of them, by name only: no file is opened. Raises OSError."""
    top = pictures_folder(data_dir)
    for folder in picture_folders(data_dir):
        place = folder.path.relative_to(top).as_posix()
        with os.scandir(folder.path) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if name.endswith(".png") and is_picture_name(name[:-4]):
                yield PictureFile(name[:-4], f"{place}/{name}", folder)


def row_of_file(data_dir: Path, file: PictureFile) -> PictureRow:
    """The row of a picture that nothing is known of but its file. Raises PictureUnreadable."""
    path = pictures_folder(data_dir) / file.path
    recipe = _recipe(path)
    return row_of_recipe(data_dir, path, recipe, file.folder.owner, deleted=file.binned)


def row_of_recipe(
    data_dir: Path,
    path: Path,
    recipe: Recipe,
    owner: str,
    job: str = "",
    index: int = 0,
    flagged: str = "",
    kind: PictureKind = "picture",
    deleted: float | None = None,
) -> PictureRow:
    """The row of the picture at `path`, which lies below the data folder's pictures/."""
    seed = recipe.seed or 0
    width, height = _size(path)
    return PictureRow(
        id=path.stem,
        owner=owner,
        path=path.relative_to(pictures_folder(data_dir)).as_posix(),
        seed=seed if 0 <= seed <= SEED_MAX else 0,
        prompt=recipe.prompt,
        model=recipe.model,
        width=width,
        height=height,
        created=_created(recipe, path.stem),
        negative_prompt=recipe.negative_prompt,
        adapters=tuple(dict.fromkeys(adapter.name for adapter in recipe.adapters)),
        job=job,
        index=index,
        flagged=flagged or recipe.flagged,
        deleted=deleted,
        size_bytes=_size_bytes(path),
        kind="sheet" if recipe.grid else kind,
    )


def _recipe(path: Path) -> Recipe:
    """The recipe of a picture, without decoding its pixels where our text comes before them."""
    try:
        text = _our_text(path)
    except OSError as error:
        raise PictureUnreadable("This file may not be read.") from error
    return read_recipe(path) if text is None else recipe_from_json(text)


def _our_text(path: Path) -> str | None:
    """The text that our PNGs carry before their pixels; None: look closer. Raises OSError."""
    with path.open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            return None
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            size = int.from_bytes(head[:4], "big")
            if head[4:] == b"iTXt" and size <= _TEXT_BYTES_MAX:
                chunk, summed = file.read(size), file.read(4)
                whole = zlib.crc32(head[4:] + chunk) == int.from_bytes(summed, "big")
                if whole and chunk.startswith(_OUR_TEXT):
                    return chunk[len(_OUR_TEXT) :].decode("utf-8", "replace")
            else:
                file.seek(size + 4, os.SEEK_CUR)
    return None


def _created(recipe: Recipe, name: str) -> float:
    """When a picture was made: as its recipe says, else as its name does."""
    with contextlib.suppress(ValueError, OverflowError):
        when = datetime.fromisoformat(recipe.created)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return min(max(when.timestamp(), 0.0), _LAST_TIME)
    return min(time_of_name(name), _LAST_TIME)


def _size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, of the file itself: a sheet's recipe has those of a cell."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(24)  # signature, then IHDR, which begins with both
        if head.startswith(_SIGNATURE) and len(head) == 24:
            return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    return 0, 0


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def move(moves: Iterable[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Rename files, all or none, and have the disk remember it; those that are there to move.

    Raises OSError; then every file is where it was.
    """
    moved: list[tuple[Path, Path]] = []
    try:
        for old, new in moves:
            if old.is_file():
                make_folder(new.parent)
                old.replace(new)
                moved.append((old, new))
        for folder in {path.parent for pair in moved for path in pair}:
            sync_folder(folder)
    except OSError:
        move_back(moved)
        raise
    return moved


def move_back(moved: Iterable[tuple[Path, Path]]) -> None:
    """Undo what `move` did, as far as the disk lets it."""
    for old, new in moved:
        with contextlib.suppress(OSError):
            new.replace(old)


def remove(paths: Iterable[Path]) -> None:
    """Delete files for good; what is not there already is fine. Raises OSError."""
    folders = set()
    for path in paths:
        path.unlink(missing_ok=True)
        folders.add(path.parent)
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            sync_folder(folder)


def free_bytes(data_dir: Path) -> int:
    """Bytes that may still be written where the data folder is, or will be. Raises OSError."""
    place = data_dir.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free
