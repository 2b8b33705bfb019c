"""Files of adapters in the data folder: whole or not there at all."""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import time
from pathlib import Path

from sdgen.adapters.peft_settings import KEPT_SUFFIX, NAME_DIGITS, PeftSettings, kept_text
from sdgen.adapters.report import AdapterReport
from sdgen.atomic_write import make_folder, sync_folder
from sdgen.data_folder import make_data_folder
from sdgen.errors import StorageFailed

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
_STUMP = ".sdgen-"  # how names of files begin that are being written
_STUMPS = (f"{_STUMP}*.tmp", ".hashes.*.tmp")  # ours, and those of the remembered hashes


def adapters_folder(data_dir: Path) -> Path:
    """The folder that holds the adapters of the data folder."""
    return data_dir / "adapters"


def slug(text: str) -> str:
    """A short name for a catalogue: lower case letters, digits, hyphens; "adapter" for none."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "adapter"


def keep_file(folder: Path, report: AdapterReport) -> str:
    """Copy an examined file into the folder under the name of its content; returns the name.

    Beside it lies a .json with title, source and the words of its card, and PEFT's settings where
    the file itself does not tell them. What is there already stays. Raises StorageFailed; then
    nothing is left behind.
    """
    name = report.sha256[:NAME_DIGITS]
    path = folder / f"{name}.safetensors"
    was_here = path.is_file()
    words = {
        "title": report.title,
        "source": report.source,
        "triggers": list(report.triggers),
        "licence": report.licence,
        "strength": report.strength,
        "base": report.base,
    }
    try:
        make_data_folder(folder.parent)
        make_folder(folder)
        if not path.is_file() or path.stat().st_size != report.size_bytes:
            _write(path.with_suffix(".json"), json.dumps(words, indent=1).encode())
            keep_settings(folder, report.sha256, report.settings)
            _copy(report.path, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            if not was_here:
                path.with_suffix(".json").unlink(missing_ok=True)
                _settings(folder, report.sha256).unlink(missing_ok=True)
        raise StorageFailed(_sentence(error)) from error
    return name


def keep_settings(folder: Path, sha256: str, settings: PeftSettings) -> bool:
    """Write PEFT's settings of the file with that hash, where its own metadata does not tell them
    and none are there; True when they were written. Raises OSError."""
    text, path = kept_text(settings), _settings(folder, sha256)
    if not text or path.is_file():
        return False
    _write(path, text.encode())
    return True


def remove_file(path: Path, sha256: str = "") -> None:
    """Delete an adapter and what lies beside it under its name, and the settings of the file with
    that hash. Raises StorageFailed."""
    try:
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)
        if sha256:
            _settings(path.parent, sha256).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            sync_folder(path.parent)
    except OSError as error:
        raise StorageFailed(f"The LoRA could not be deleted: {error.strerror}.") from error


def _settings(folder: Path, sha256: str) -> Path:
    return folder / f"{sha256[:NAME_DIGITS]}{KEPT_SUFFIX}"


def remove_stumps(folder: Path, older_than: float = 60.0) -> None:
    """Remove what writing left behind when it was killed; words without their file are that too.

    older_than: seconds; a younger stump may belong to a program that is writing right now.
    """
    with contextlib.suppress(OSError):
        stumps = [path for pattern in _STUMPS for path in folder.glob(pattern)]
        words = [path for path in folder.glob("[!.]*.json") if _is_alone(path)]
        for stump in (*stumps, *words):
            with contextlib.suppress(OSError):
                if time.time() - stump.stat().st_mtime >= older_than:
                    stump.unlink()


def _is_alone(words: Path) -> bool:
    """True for the words of a file that was to be copied after them. Other files are not ours."""
    kept = re.fullmatch(f"[0-9a-f]{{{NAME_DIGITS}}}", words.stem)
    return kept is not None and not words.with_suffix(".safetensors").exists()


def _stump(path: Path) -> Path:
    return path.with_name(f"{_STUMP}{path.name}.{secrets.token_hex(4)}.tmp")


def _write(path: Path, data: bytes) -> None:
    stump = _stump(path)
    try:
        with stump.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(stump, path)
    finally:
        stump.unlink(missing_ok=True)


def _put_in_place(stump: Path, path: Path) -> None:
    stump.replace(path)
    try:
        sync_folder(path.parent)
    except OSError:  # it may be gone after a power cut, so it is not kept at all
        path.unlink(missing_ok=True)
        raise


def _copy(source: Path, path: Path) -> None:
    stump = _stump(path)
    try:
        with source.open("rb") as given, stump.open("wb") as file:
            shutil.copyfileobj(given, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(stump, path)
    finally:
        stump.unlink(missing_ok=True)


def _sentence(error: OSError) -> str:
    if error.errno in _FULL:
        return "The disk is full, so the LoRA could not be kept. Free some space, try again."
    if error.errno in _FORBIDDEN:
        return "The folder for LoRAs may not be written to. Choose another or allow it."
    return f"The LoRA could not be kept: {error.strerror or 'the disk does not answer'}."
