"""A zip of many files that is sent while it is made, one file in memory at a time."""

import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

_PIECE = 2**18  # bytes given out at once
_FIRST_TIME = 315532800.0  # 1980, the first that a zip can name
_MODE = 0o644 << 16  # where a zip keeps it


def zip_stream(files: Iterable[tuple[str, Path, float]]) -> Iterator[bytes]:
    """A zip of (name inside, file, time); the files' bytes as they are.

    A file that cannot be read is left out.
    """
    window = _Window()
    with zipfile.ZipFile(window, "w", zipfile.ZIP_STORED) as archive:
        for name, path, when in files:
            try:
                data = path.read_bytes()
            except OSError:
                continue
            made = datetime.fromtimestamp(max(when, _FIRST_TIME), UTC)
            entry = zipfile.ZipInfo(name, made.timetuple()[:6])
            entry.external_attr = _MODE
            archive.writestr(entry, data)
            yield from window.pieces()
    yield from window.pieces()


class _Window:
    """The end of a file that was not given out yet, within which one may seek.

    So each entry has its size and sum before its bytes, as programs want it that unpack a zip
    while it arrives.
    """

    def __init__(self) -> None:
        self._start = 0  # of the window in the file
        self._at = 0  # in the window
        self._data = bytearray()

    def write(self, data: bytes, /) -> int:
        self._data[self._at : self._at + len(data)] = data
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._start + self._at

    def seek(self, place: int) -> int:
        self._at = place - self._start
        return place

    def flush(self) -> None:
        """Everything is written already."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def pieces(self) -> Iterator[bytes]:
        for start in range(0, len(self._data), _PIECE):
            yield bytes(self._data[start : start + _PIECE])
        self._start += len(self._data)
        self._at = 0
        self._data = bytearray()
