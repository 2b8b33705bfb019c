"""No further file may be opened: said as it is, and nobody's work fails of it if it passes."""

import contextlib
import errno
import os
import resource
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sdgen import descriptors
from sdgen.descriptors import SENTENCE, out_of_descriptors, patiently
from sdgen.engine.shelf import Shelf
from sdgen.errors import ModelUnavailable
from sdgen.history import History
from sdgen.model_formats import read_header, read_json
from sdgen.models import bundled_models
from sdgen.pictures import save_picture

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such limit there")


@contextmanager
def none_left() -> Iterator[threading.Event]:
    """This process may open no more files until the event is set, or the block ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    released = threading.Event()
    held: list[int] = []
    in_use = max(int(entry.name) for entry in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 8, hard))
    with contextlib.suppress(OSError):
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))

    def release() -> None:
        released.wait()
        for handle in held:
            os.close(handle)

    releasing = threading.Thread(target=release)
    releasing.start()
    try:
        yield released
    finally:
        released.set()
        releasing.join()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "LOOK_SECONDS", 0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    import numpy as np

    path = tmp_path / "x.safetensors"
    save_file({"a": np.zeros(2, dtype=np.float32)}, path)
    return path


def test_libraries_say_it_in_their_own_words(file: Path) -> None:
    """safetensors: "No such file or directory"."""
    with none_left():
        with pytest.raises((OSError, SafetensorError)) as of_safetensors:
            safe_open(file, "np").__enter__()
        with pytest.raises(OSError, match="Too many") as of_python:
            file.read_bytes()
        assert out_of_descriptors(of_safetensors.value)
    assert out_of_descriptors(of_python.value)


def test_other_errors_are_none() -> None:
    assert not out_of_descriptors(FileNotFoundError(errno.ENOENT, "No such file"))
    wrapped = ModelUnavailable("x")
    wrapped.__cause__ = OSError(errno.EMFILE, "Too many open files")
    assert out_of_descriptors(wrapped)
    for error in (OSError(errno.ENOENT, "no"), ValueError("open files"), None, KeyError("24")):
        assert not out_of_descriptors(error)
    circle = ValueError("a")
    circle.__cause__ = circle
    assert not out_of_descriptors(circle)


def test_a_model_is_not_damaged_then(file: Path, tmp_path: Path) -> None:
    settings = tmp_path / "model_index.json"
    settings.write_text("{}")
    said = []
    with none_left():
        for read, path in ((read_json, settings), (read_header, file)):
            with pytest.raises(ModelUnavailable) as refused:
                read(path)
            said.append(str(refused.value))
    for sentence in said:
        assert "Too many open files" in sentence
        assert "damaged" not in sentence


def test_what_the_loaders_say_is_told_as_it_is() -> None:
    from sdgen.pipelines.loading import _loading_errors

    spec = bundled_models()["picturebook"]
    for error in (OSError(errno.EMFILE, "x"), SafetensorError("Too many open files (os error 24)")):
        with pytest.raises(ModelUnavailable) as refused, _loading_errors(spec):
            raise error
        assert SENTENCE in str(refused.value)


def test_a_model_is_loaded_once_files_can_be_opened_again(file: Path) -> None:
    tries: list[str] = []

    def load(spec: Any) -> Any:
        tries.append(spec.name)
        if len(tries) == 3:
            released.set()
        return read_header(file)

    spec = bundled_models()["picturebook"]
    with none_left() as released:
        assert set(Shelf(load, 1).get(spec, set())) == {"a"}  # type: ignore[call-overload]
    assert len(tries) >= 3


def test_a_picture_is_written_once_files_can_be_opened_again(tmp_path: Path) -> None:
    with none_left() as released:
        threading.Timer(0.1, released.set).start()
        path = save_picture(tmp_path, b"png", "a" * 20)
    assert path.read_bytes() == b"png"


def test_the_history_is_read_once_files_can_be_opened_again(tmp_path: Path) -> None:
    history = History(tmp_path)
    with none_left() as released:
        with pytest.raises(sqlite3.OperationalError):
            sqlite3.connect(tmp_path / "history.sqlite3").execute("select 1 from jobs")
        threading.Timer(0.1, released.set).start()
        assert list(history.unfinished()) == []
    history.close()


def test_patience_ends() -> None:
    waited: list[float] = []

    def fail() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.raises(OSError, match="Too many"):
        patiently(fail, seconds=0.05, wait=lambda seconds: waited.append(seconds))
    assert waited

    def other() -> None:
        raise ValueError("x")

    waited.clear()
    with pytest.raises(ValueError, match="x"):
        patiently(other, wait=waited.append)
    assert not waited
