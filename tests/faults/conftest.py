"""The failing disk, built once a session."""

from pathlib import Path

import pytest

from tests.faults.disk import build


@pytest.fixture(scope="session")
def disk_library(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """disk.so; None where it cannot be built."""
    return build(tmp_path_factory.mktemp("disk"))
