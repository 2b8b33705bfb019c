"""The app's own folder for temporary files: what visitors upload, and copies handed to programs.

    with own_folder() as folder: ...      # a new one, removed at the end
    remove_old(folder)                    # now and then

Gradio keeps its files there, as SCRATCH/<hash of the content>/<name>. A folder whose process died
is removed by the next app that starts; a living process holds a lock on its own.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sdgen.config import Settings
from sdgen.errors import StorageFailed
from sdgen.queue.lock import AppLock

VARIABLE = "GRADIO_TEMP_DIR"  # names it to Gradio
AGE_SECONDS = 24 * 3600.0  # that a file is kept at most
LEFT_SECONDS = 3600.0  # after which a part of an upload is one that nobody goes on with
MEGABYTE = 1_000_000
_PREFIX = "sdgen-"
_OWNED = (
    ".owned"  # there once the lock is held, so that a folder in the making is not taken for one
)
_IN_MEMORY = Path("/dev/shm")  # where no disk has room; of Linux
_OURS = ("app.lock", _OWNED)


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder of this process alone, which Gradio uses from now on; removed at the end.

    What processes left that died without an end is removed first. Raises StorageFailed where no
    place for temporary files has room for a folder.
    """
    before = os.environ.get(VARIABLE)
    folder, lock = _made(before)
    os.environ[VARIABLE] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def folder_in_use() -> Path:
    """The folder that Gradio uses, whoever made it."""
    return Path(os.environ.get(VARIABLE) or Path(tempfile.gettempdir()) / "gradio")


def _made(before: str | None) -> tuple[Path, AppLock]:
    for parent in _parents(before):
        with contextlib.suppress(OSError, StorageFailed):
            parent.mkdir(parents=True, exist_ok=True)
            remove_dead(parent)
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            try:
                lock = AppLock(folder)
                (folder / _OWNED).touch()
            except (OSError, StorageFailed):
                shutil.rmtree(folder, ignore_errors=True)
                raise
            return folder, lock
    raise StorageFailed(
        f"There is no room for temporary files. Free some space, or name a folder by {VARIABLE}."
    )


def _parents(before: str | None) -> Iterator[Path]:
    """Where the folder could be."""
    if before:
        yield Path(before)
        return
    for name in ("TMPDIR", "TEMP", "TMP"):  # what the dead left there may be what fills the disk
        if os.environ.get(name):
            remove_dead(Path(os.environ[name]))
    with contextlib.suppress(OSError):  # it tries to write into each place that there is
        yield Path(tempfile.gettempdir())
    if _IN_MEMORY.is_dir():
        tempfile.tempdir = str(_IN_MEMORY)  # all that asks for temporary files later gets it, too
        yield _IN_MEMORY


def remove_dead(parent: Path) -> int:
    """Remove the folders of processes that died; how many. A living one's lock is held."""
    removed = 0
    with contextlib.suppress(OSError):
        for folder in parent.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError, StorageFailed):
                if not _is_ours(folder) or not (folder / _OWNED).exists():
                    continue
                with contextlib.closing(AppLock(folder)):
                    shutil.rmtree(folder, ignore_errors=True)
                shutil.rmtree(folder, ignore_errors=True)  # Windows keeps an open file
                removed += not folder.exists()
    return removed


def _is_ours(folder: Path) -> bool:
    """True for a folder that this user made: the place may be everybody's."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    return os.name == "nt" or folder.stat().st_uid == os.geteuid()


# --- what lies in it


@dataclass(frozen=True)
class Copy:
    """One file of the folder. size: bytes. when: it came or was handed out last, Unix seconds."""

    path: Path
    size: int
    when: float


def files_in(folder: Path) -> list[Copy]:
    """All files of the folder that are not its own lock. What vanishes meanwhile is left out."""
    found = []
    todo = [folder]
    while todo:
        place = todo.pop()
        ours = _OURS if place == folder else ()  # further down the names are other people's
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(Path(entry.path))
                    elif entry.name not in ours:
                        told = entry.stat(follow_symlinks=False)
                        when = max(told.st_mtime, told.st_ctime)
                        found.append(Copy(Path(entry.path), told.st_size, when))
    return found


def used_bytes(folder: Path) -> int:
    """Bytes of all files in the folder."""
    return sum(copy.size for copy in files_in(folder))


def remove_old(folder: Path, now: float | None = None) -> int:
    """Remove what is older than a day, and parts of uploads that ended half-way; how many files.

    Only of a folder that is this app's own.
    """
    if not (folder / _OWNED).exists():
        return 0
    now = time.time() if now is None else now
    return _remove(
        copy.path
        for copy in files_in(folder)
        if now - copy.when > (LEFT_SECONDS if copy.path.parent == folder else AGE_SECONDS)
    )


def remove_parts(folder: Path) -> int:
    """Remove what lies there of uploads that are not whole: Gradio leaves it where one breaks off.

    Only while none is on its way, and only of a folder that is this app's own. How many files.
    """
    if not (folder / _OWNED).exists():
        return 0
    return _remove(copy.path for copy in files_in(folder) if copy.path.parent == folder)


class HandedCopies:
    """Copies of pictures in the folder: handed to programs, or uploaded again."""

    def find(self, pictures: Iterable[Path]) -> list[Path]:
        """The files of the folder that hold the very bytes of a picture, however called."""
        sizes: dict[int, list[Path]] = {}
        for picture in pictures:
            with contextlib.suppress(OSError):
                sizes.setdefault(picture.stat().st_size, []).append(picture)
        alike = [copy for copy in files_in(folder_in_use()) if copy.size in sizes] if sizes else []
        known: dict[int, set[str]] = {}
        found = []
        for copy in alike:
            with contextlib.suppress(OSError):
                if copy.size not in known:
                    known[copy.size] = {_digest(picture) for picture in sizes[copy.size]}
                if _digest(copy.path) in known[copy.size]:
                    found.append(copy.path)
        return found

    def forget(self, copies: Iterable[Path], ids: Iterable[str]) -> None:
        """Remove copies, and what is called as one of the pictures `ids`."""
        names = set(ids)
        named = [copy.path for copy in files_in(folder_in_use()) if copy.path.stem in names]
        _remove([*copies, *named])


def _remove(paths: Iterable[Path]) -> int:
    removed = 0
    for path in dict.fromkeys(paths):
        with contextlib.suppress(OSError):
            path.unlink()
            removed += 1
            if path.parent != folder_in_use():
                path.parent.rmdir()  # where it was the last one
    return removed


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- how much room it has


def free_bytes(folder: Path | None = None) -> int | None:
    """Bytes that may still be written there; None where that cannot be told."""
    place = (folder or folder_in_use()).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def shortage(settings: Settings) -> str:
    """Why nothing can be uploaded or handed to programs, as a sentence; "" where there is room."""
    free = free_bytes()
    if free is None or free >= settings.temp_reserve_mb * MEGABYTE:
        return ""
    return (
        f"The folder for temporary files has only {free // MEGABYTE} MB left, so nothing can be "
        f"uploaded (at least {settings.temp_reserve_mb} MB must be left)."
    )
