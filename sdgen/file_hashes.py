"""SHA-256 of big files, computed once and remembered."""

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path


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
        status = blob.stat()
        key = f"{blob}|{status.st_size}|{status.st_mtime_ns}"
        if key not in self._known:
            with blob.open("rb") as stream:
                self._known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
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
