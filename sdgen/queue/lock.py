"""One app for one data folder: two would take each other's jobs for those of an app that died."""

import contextlib
import errno
import os
from pathlib import Path
from typing import IO

from sdgen.data_folder import make_data_folder
from sdgen.errors import StorageFailed

_TAKEN = (
    "Another sdgen app is using this data folder. Stop it, or give this one a folder of its own "
    "with --data-dir."
)
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # as systems call a lock that another holds


class AppLock:
    """Holds `data_dir/app.lock` until close(), or until the process ends, however it ends."""

    def __init__(self, data_dir: Path) -> None:
        """Raises StorageFailed: another app has it, or the folder may not be written to."""
        self._path = data_dir / "app.lock"
        try:
            make_data_folder(data_dir)
            self._file: IO[bytes] | None = self._path.open("ab")
        except OSError as error:
            raise StorageFailed(_cannot(error)) from error
        try:
            _lock(self._file)
        except OSError as error:
            self.close()
            if error.errno in _HELD:
                raise StorageFailed(_TAKEN) from error
            raise StorageFailed(_cannot(error)) from error

    def renew(self) -> None:
        """Hold the file that is there now, where the one that is held was removed.

        Raises StorageFailed, also where another app was quicker.
        """
        path = self._path
        try:
            held = os.fstat(self._file.fileno()) if self._file else None
            if held is not None and path.exists() and os.path.samestat(held, path.stat()):
                return
        except OSError as error:
            raise StorageFailed(_cannot(error)) from error
        new = AppLock(path.parent)
        self.close()
        self._file, new._file = new._file, None

    def close(self) -> None:
        """Let another app have the folder. Idempotent."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _cannot(error: OSError) -> str:
    return f"The data folder cannot be used: {error.strerror or 'it does not answer'}."


if os.name == "nt":

    def _lock(file: IO[bytes]) -> None:
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]

else:

    def _lock(file: IO[bytes]) -> None:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
