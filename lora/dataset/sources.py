"""Photos and caption files out of a folder, a zip or a list of files. No torch.

Names never become paths: what is stored later is named by its content. Links are not followed. A
zip, which may come from a stranger, is read within limits (lora.dataset.zips).
"""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from lora.dataset.errors import PhotosRefused
from lora.dataset.files import (
    HEAD_BYTES,
    SourceFile,
    check_count,
    display,
    is_junk,
    kind_of,
    why_not,
)
from lora.dataset.zips import zip_files


def read_source(source: Path | Sequence[Path]) -> list[SourceFile]:
    """All files of a folder (with its folders), a zip, a photo, or a list of these, in order.

    Raises PhotosRefused when there is nothing to read, or more than the limits allow.
    """
    paths = [source] if isinstance(source, Path) else list(source)
    files: list[SourceFile] = []
    for place, path in enumerate(paths):
        # Captions belong to the photos they came with; loose files came together.
        top = f"{place}:" if len(paths) > 1 and _is_folder_or_zip(path) else ""
        try:
            for file in _files_of(path, top):
                files.append(file)
                check_count(files)
        except OSError as error:
            raise PhotosRefused(
                f"'{display(path.name)}' cannot be read: {error.strerror or 'the disk fails'}."
            ) from error
    return files


def _is_folder_or_zip(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".zip"


def _files_of(path: Path, top: str) -> Iterator[SourceFile]:
    if path.is_dir():
        yield from _folder_files(path, top)
    elif not path.is_file():
        raise PhotosRefused(f"There is no folder, zip or photo '{display(path.name)}'.")
    elif path.suffix.lower() == ".zip":
        yield from zip_files(path, top)
    else:
        yield _file(path, top)


def _folder_files(top: Path, prefix: str) -> Iterator[SourceFile]:
    for place, folders, names in os.walk(top, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            if is_junk(path.relative_to(top).parts) or name.startswith("."):
                continue
            inside = path.parent.relative_to(top).as_posix().removeprefix(".")
            yield _file(path, f"{prefix}{inside}")


def _file(path: Path, folder: str) -> SourceFile:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return SourceFile(folder, path.name, kind_of(path.name), "It is a link to another file.")
    if not stat.S_ISREG(status.st_mode):  # a pipe, for one, would never end
        return SourceFile(folder, path.name, kind_of(path.name), "It is no file.")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    kind = kind_of(path.name, head)
    return SourceFile(folder, path.name, kind, why_not(path.name, head, status.st_size), path=path)
