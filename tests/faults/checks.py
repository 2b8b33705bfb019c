"""What must hold of a data folder, whatever happened to the app that used it."""

import contextlib
import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdgen.history import JobRow, PictureRow
from sdgen.history.columns import JOB_COLUMNS, PICTURE_COLUMNS, job_of, picture_of
from sdgen.metadata import read_recipe
from sdgen.pictures import job_picture_name
from sdgen.request import GenerateRequest
from tests.conftest import fake_picture

Expected = dict[str, tuple[GenerateRequest, int]]  # picture id -> request and seed


@dataclass(frozen=True)
class Rows:
    """All rows of a data folder."""

    jobs: dict[str, JobRow]
    pictures: dict[str, PictureRow]

    def expected(self) -> Expected:
        """The pictures that the jobs ask for."""
        found: Expected = {}
        for row in self.jobs.values():
            request = GenerateRequest.model_validate_json(row.request)
            for index in range(request.num_images):
                name = job_picture_name(row.id, row.created, index)
                found[name] = request, request.seed + index
        return found


def rows_of(data_dir: Path) -> Rows:
    """The rows as the next start will find them: read from a copy, so that nothing is repaired.

    Fails where the file is damaged.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as copied:
        for name in ("history.sqlite3", "history.sqlite3-wal"):
            if (data_dir / name).exists():
                shutil.copy(data_dir / name, copied)
        with contextlib.closing(sqlite3.connect(Path(copied) / "history.sqlite3")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            if not db.execute("PRAGMA user_version").fetchone()[0]:
                return Rows({}, {})  # it was killed before it had tables
            jobs = map(job_of, db.execute(f"SELECT {JOB_COLUMNS} FROM jobs"))
            pictures = map(picture_of, db.execute(f"SELECT {PICTURE_COLUMNS} FROM pictures"))
            return Rows({job.id: job for job in jobs}, {row.id: row for row in pictures})


def picture_paths(data_dir: Path) -> Iterator[Path]:
    """Every visible picture file."""
    folder = data_dir / "pictures"
    return (path for path in folder.rglob("*.png") if not path.name.startswith("."))


def check_picture(path: Path, expected: Expected) -> None:
    """It is the picture of a job, whole, with its own pixels and words."""
    assert path.stem in expected, f"{path.name} is nobody's"
    request, seed = expected[path.stem]
    with Image.open(path) as image:
        image.load()
        assert image.tobytes() == fake_picture(request, seed).tobytes(), f"{path.name} is mixed up"
    recipe = read_recipe(path)
    assert (recipe.prompt, recipe.seed) == (request.prompt, seed)


def check_adapters(data_dir: Path, checked: set[str]) -> set[str]:
    """Every visible adapter is whole and has its words; the SHA-256 of those that are there.

    checked: names of those that were looked at before.
    """
    found: set[str] = set()
    for path in (data_dir / "adapters").glob("[!.]*.safetensors"):
        words = json.loads(path.with_suffix(".json").read_text())
        assert words["source"] == "upload"
        if path.stem not in checked:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert digest.startswith(path.stem), f"the adapter {path.name} is damaged"
            checked.add(path.stem)
        found.add(path.stem)
    return found


def leftovers(data_dir: Path) -> list[Path]:
    """What writing left behind: stumps, and words of adapters that are not there."""
    scratch = [p for p in data_dir.rglob("*") if p.name.endswith(".tmp") or "new-" in p.name]
    words = [p for p in (data_dir / "adapters").glob("*.json") if not p.name.startswith(".")]
    return scratch + [p for p in words if not p.with_suffix(".safetensors").exists()]


def check_all(
    data_dir: Path,
    *,
    strict: bool = True,
    looked_at: dict[Path, float] | None = None,
    unfinished: Collection[str] = (),
) -> Rows:
    """Everything at rest: each job has its end, done ones exactly their pictures, and no more.

    strict: each picture is of a job of the queue. Else there are also those of the command line,
    and some whose rows were made from the file, as the disk refused them the first time.
    looked_at: the time of change of files that need not be looked into again. unfinished: jobs
    that may still wait.
    """
    looked_at = {} if looked_at is None else looked_at
    rows = rows_of(data_dir)
    expected = rows.expected()
    files: dict[str, Path] = {}
    for path in picture_paths(data_dir):
        assert path.stem not in files, f"{path.name} is there twice"
        files[path.stem] = path
        changed = path.stat().st_mtime
        if looked_at.get(path) == changed:
            continue
        looked_at[path] = changed
        if strict or path.stem in expected:
            check_picture(path, expected)
        else:
            with Image.open(path) as image:
                image.load()
            assert read_recipe(path).prompt
    assert set(files) == set(rows.pictures), "files and rows differ"
    for job in rows.jobs.values():
        request = GenerateRequest.model_validate_json(job.request)
        assert job.ended is not None or job.id in unfinished, f"job {job.id} has no end"
        seeds = sorted(row.seed for row in rows.pictures.values() if row.job == job.id)
        wanted = [request.seed + index for index in range(request.num_images)]
        if job.state == "done":
            assert seeds == wanted, f"job {job.id} has the pictures {seeds}, not {wanted}"
        else:
            assert len(seeds) == len(set(seeds))
            assert set(seeds) <= set(wanted)
    for row in rows.pictures.values():
        if strict or row.job:
            assert row.job in rows.jobs, f"the picture {row.id} has lost its job"
        place = data_dir / "pictures" / row.path
        assert place == files[row.id]
        assert (row.deleted is not None) == ("bin" in place.parts)
    check_adapters(data_dir, set())
    return rows
