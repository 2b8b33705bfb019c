"""SHA-256 of big files, computed once and remembered."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path


def tensor_sha256(path: Path, remembered: Path | None = None) -> str:
    """SHA-256 of a safetensors file without its header, hex, as `addnet_hash_safetensors` of
    sd-webui-additional-networks has it: renaming and new metadata leave it as it is.

    remembered: the file of a FileHashes. Read once in a run of this program, until the file
    changes. Raises OSError.
    """
    status = path.stat()
    return _tensor_sha256(path, status.st_size, status.st_mtime_ns, remembered)


@lru_cache(maxsize=4096)
def _tensor_sha256(path: Path, size: int, mtime_ns: int, remembered: Path | None) -> str:
    del size, mtime_ns  # another file has others
    if remembered is None:
        return _behind_header(path)
    hashes = FileHashes(remembered)
    found = hashes.of_tensors(path)
    hashes.keep()
    return found


def _behind_header(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileHashes:
    """SHA-256 of files, remembered between runs in a JSON file; path None: not remembered."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        self._changed = False
        if self._path is not None and self._path.is_file():
            try:
                raw = json.loads(self._path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                raw = {}  # a lost cache costs time, nothing else
            if isinstance(raw, dict):
                self._known = {str(key): str(value) for key, value in raw.items()}

    def of(self, file: Path) -> str:
        """The file's SHA-256; where it lies in the Hub's cache its name there is the hash."""
        blob = file.resolve()
        if blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name):
            return blob.name
        return self._remembered(_key(blob), lambda: _whole(blob))

    def of_tensors(self, file: Path) -> str:
        """As `tensor_sha256`."""
        blob = file.resolve()
        return self._remembered(f"{_key(blob)}|tensors", lambda: _behind_header(blob))

    def _remembered(self, key: str, compute: Callable[[], str]) -> str:
        if key not in self._known:
            self._known[key] = compute()
            self._changed = True
        return self._known[key]

    def keep(self) -> None:
        """Write what is new; a folder that cannot be written only costs time."""
        if self._path is None or not self._changed:
            return
        scratch = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
            scratch.replace(self._path)
        except OSError:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)


def _key(file: Path) -> str:
    status = file.stat()
    return f"{file}|{status.st_size}|{status.st_mtime_ns}"


def _whole(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
