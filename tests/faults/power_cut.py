"""What a power cut would leave of a data folder, at any moment: told from the order of writes.

python -m tests.faults.power_cut FOLDER   does what apps and trainings do, prints as JSON what
would be lost or damaged after each deed. disk.so must be preloaded.

The rules are those of POSIX: a file holds what was written before its last fsync, and has its name,
and a folder is there, once the folder above was forced to the disk after that name was given.
SQLite's own files are left out: it forces its folders itself, and upkeep makes thumbnails anew.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lora.runs import RunFolder, write_whole
from sdgen.config import Settings
from sdgen.gallery import Search
from sdgen.owners import Visitor, owner_of_token
from sdgen.queue import Order
from sdgen.studio import Studio
from tests.conftest import FakeEngine, FakeModelFiles, ask
from tests.faults.disk import Disk
from tests.faults.files import lora_file
from tests.faults.writes import finish

ANN = Visitor(owner_of_token("a" * 32), "ann")
KEPT = (".png", ".safetensors", ".json", ".pem", ".key")  # files whose loss somebody would notice


def is_kept(path: Path) -> bool:
    """True for what we said is kept. Hidden ones are stumps, and hashes that are counted anew."""
    return path.suffix in KEPT and not path.name.startswith(".") and "thumbs" not in path.parts


@dataclass
class Memory:
    """What the disk has of a folder, by the calls that were made in their order."""

    folder: Path
    unwritten: set[Path] = field(default_factory=set)  # files with content not forced
    unnamed: set[Path] = field(default_factory=set)  # names that their folder may not have
    torn: list[str] = field(default_factory=list)  # files that got their name before content

    def hear(self, call: str, path: Path, then: Path | None = None) -> None:
        """One call that went well."""
        match call:
            case "create":
                self.unnamed.add(path)
            case "write":
                self.unwritten.add(path)
            case "ftruncate":
                self.unwritten.add(path)
            case "fsync" | "fdatasync":
                self.unwritten.discard(path)
                self.unnamed = {name for name in self.unnamed if name.parent != path}
            case "rename" | "link":
                assert then is not None
                self._name(path, then)

    def _name(self, path: Path, then: Path) -> None:
        if path in self.unwritten:
            if is_kept(then):
                self.torn.append(self._told(then))
            self.unwritten.add(then)
        self.unwritten.discard(path)
        self.unnamed.discard(path)
        self.unnamed.add(then)
        for below in [each for each in self.unnamed | self.unwritten if path in each.parents]:
            moved = then / below.relative_to(path)
            for known in (self.unnamed, self.unwritten):
                if below in known:
                    known.discard(below)
                    known.add(moved)

    def lost(self) -> list[str]:
        """The files of today that a power cut now may leave nowhere, empty or half."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return sorted(
            self._told(path)
            for path in files
            if is_kept(path) and (path in self.unwritten or self.unnamed & {path, *path.parents})
        )

    def _told(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


@contextmanager
def recorded(disk: Disk, journal: Path) -> Iterator[None]:
    """While it lasts, calls are written to that file, which lies elsewhere."""
    to = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    disk.record(to)
    try:
        yield
    finally:
        disk.record(-1)
        os.close(to)


def draw(studio: Studio) -> None:
    """A job of the page: its folders are new on the first day."""
    (job,) = studio.submit([Order(ask("a red robot", num_images=2, steps=1))], ANN, "keep")
    finish(job)


def draw_at_once(studio: Studio) -> None:
    """A picture of the command line."""
    finish(studio.start(ask("a blue cat", steps=1)))


def ids(studio: Studio, *, binned: bool) -> list[str]:
    return [row.id for row in studio.gallery.search(ANN.owner, Search(bin=binned)).rows]


def delete(studio: Studio) -> None:
    """A picture goes to the bin."""
    assert studio.gallery.delete(ANN.owner, ids(studio, binned=False)[:1])


def restore(studio: Studio) -> None:
    """It comes back."""
    assert studio.gallery.restore(ANN.owner, ids(studio, binned=True))


def upload(scratch: Path, studio: Studio) -> None:
    """A LoRA of a user."""
    studio.add_adapter_file(lora_file(scratch / "mine.safetensors", 7), "mine.safetensors")


def train(data: Path, studio: Studio) -> None:
    """What a training keeps for good, but for its checkpoints."""
    run = RunFolder(data / "runs" / "one")
    write_whole(run.recipe, b"{}")
    write_whole(run.path / "exports" / "adapter.safetensors", b"weights")


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    logging.disable(logging.CRITICAL)
    data, journal = folder / "data", folder / "journal"
    data.mkdir()
    disk, memory, told = Disk(data), Memory(data), dict[str, dict[str, list[str]]]()
    deeds: dict[str, Callable[[Studio], None]] = {
        "job": draw,
        "picture": draw_at_once,
        "delete": delete,
        "restore": restore,
        "upload": partial(upload, folder),
        "train": partial(train, data),
    }
    read = 0
    with recorded(disk, journal):
        studio = Studio(Settings(data_dir=data), FakeEngine(), FakeModelFiles())
        studio.open_queue()
        for name, deed in deeds.items():
            deed(studio)
            calls = journal.read_text().splitlines()
            for line in calls[read:]:
                call, *paths = json.loads(line)
                memory.hear(call, *map(Path, paths))
            read = len(calls)
            told[name] = {"lost": memory.lost(), "torn": memory.torn}
        studio.close()
    kept = [path for path in data.rglob("*") if is_kept(path)]
    print(json.dumps({"told": told, "calls": read, "files": len(kept)}))


if __name__ == "__main__":
    main()
