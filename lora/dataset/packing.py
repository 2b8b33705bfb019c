"""A prepared dataset as one zip, in the layout that kohya's tools and diffusers read."""

import contextlib
import os
import secrets
import zipfile
from pathlib import Path

from lora.dataset.example import Dataset
from lora.dataset.layout import HELD_OUT, METADATA
from sdgen.errors import StorageFailed

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip's first date: the same photos give the same zip


def pack(dataset: Dataset, path: Path) -> Path:
    """Write the zip of a dataset as write_dataset or load_dataset returned it; its path.

    Held-out photos lie in their own folder of the zip. Raises StorageFailed.
    """
    stump = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(stump, "w", zipfile.ZIP_STORED) as archive:
            for folder, examples in (("", dataset.examples), (f"{HELD_OUT}/", dataset.held_out)):
                files = [example.path for example in examples]
                files += [file.with_suffix(".txt") for file in files]
                files += [examples[0].path.with_name(METADATA)] if examples else []
                for file in files:
                    entry = zipfile.ZipInfo(f"{folder}{file.name}", _EARLIEST)
                    archive.writestr(entry, file.read_bytes())
        stump.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            stump.unlink(missing_ok=True)
        raise StorageFailed(
            f"The photos could not be packed: {error.strerror or 'the disk does not answer'}."
        ) from error
    return path
