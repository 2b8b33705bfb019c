"""What a file among the photos is, and whether it is read. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from lora.dataset.errors import PhotosRefused
from sdgen.letters import JOINERS

PHOTOS_MAX = 200
FILES_MAX = 3 * PHOTOS_MAX  # a photo may have a caption file, and macOS puts a companion beside it
PHOTO_BYTES_MAX = 100_000_000
CAPTION_BYTES_MAX = 1_000_000  # of a caption file or a list of captions

Kind = Literal["photo", "caption", "other"]
METADATA_NAMES = ("metadata.jsonl", "metadata.csv")
_CAPTION_ENDS = (".txt", ".caption")
_PHOTO_ENDS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif")
_PICTURE_ENDS = (*_PHOTO_ENDS, ".gif", ".bmp", ".dib", ".tif", ".tiff", ".mpo")
_PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_ARCHIVE_ENDS = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".cab")
_ARCHIVE_STARTS = (b"PK\x03\x04", b"7z\xbc\xaf", b"Rar!", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_JUNK = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
HEAD_BYTES = 16  # that tell what a file is


@dataclass(frozen=True)
class SourceFile:
    """A file of the source. `refused` says why it must not be read; "" for one that may be."""

    folder: str  # inside the source, "" for its top; only to find what belongs together
    name: str  # of the file alone
    kind: Kind
    refused: str = ""
    data: bytes | None = None  # already unpacked
    path: Path | None = None  # or where it lies

    @property
    def stem(self) -> str:
        """The name without its end, as caption files are named."""
        return PurePosixPath(self.name).stem

    def read(self) -> bytes:
        """The whole content. Raises OSError."""
        if self.data is not None:
            return self.data
        assert self.path is not None, "a refused file is not read"
        return self.path.read_bytes()


def check_count(files: Sequence[SourceFile]) -> None:
    """Raises PhotosRefused for more files or photos than a training is made of."""
    if sum(file.kind == "photo" for file in files) > PHOTOS_MAX:
        raise PhotosRefused(f"There are more than {PHOTOS_MAX} photos; use fewer.")
    if len(files) > FILES_MAX:
        raise PhotosRefused(f"There are more than {FILES_MAX} files; give the photos alone.")


def display(name: str) -> str:
    """A file's name as a report may show it: short, and without characters that do not print."""
    shown = name.encode("utf-8", "replace").decode("utf-8")
    shown = "".join(char if char.isprintable() or char in JOINERS else "\ufffd" for char in shown)
    if len(shown) <= 60:
        return shown or "(no name)"
    return f"{shown[:40]}…{shown[-16:]}"


def kind_of(name: str, head: bytes = b"") -> Kind:
    """What a file is, by its name or else by its first bytes."""
    lower = name.lower()
    if lower in METADATA_NAMES or lower.endswith(_CAPTION_ENDS):
        return "caption"
    is_webp, is_heif = head[:4] == b"RIFF" and head[8:12] == b"WEBP", head[4:8] == b"ftyp"
    if _end(name) in _PICTURE_ENDS or head.startswith(_PICTURE_STARTS) or is_webp or is_heif:
        return "photo"
    return "other"


def why_not(name: str, head: bytes, size: int) -> str:
    """Why a file is not read, as a sentence; "" for one that is. size: bytes."""
    if _end(name) in _ARCHIVE_ENDS or head.startswith(_ARCHIVE_STARTS):
        return "It is an archive; unpack it first."
    kind = kind_of(name, head)
    if kind == "photo" and size > PHOTO_BYTES_MAX:
        return f"It has more than {PHOTO_BYTES_MAX // 1_000_000} MB."
    if kind == "caption" and size > CAPTION_BYTES_MAX:
        return "It is too long for captions."
    return "It is no photo." if kind == "other" else ""


def is_junk(parts: Sequence[str]) -> bool:
    """True for what systems put beside photos and nobody means."""
    name = parts[-1].lower()
    return name in _JUNK or name.startswith("._") or "__MACOSX" in parts


def _end(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
