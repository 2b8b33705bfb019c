"""What was said to be kept is there after a power cut, and no file is ever half: folders are forced
to the disk too, and files before they get their names."""

from pathlib import Path

import pytest

from tests.faults.disk import told_by

DEEDS = {"job", "picture", "delete", "restore", "upload", "train"}


def test_nothing_that_was_kept_is_lost_by_a_power_cut(
    tmp_path: Path, disk_library: Path | None
) -> None:
    """What is looked at stands in power_cut.py; it says what a disk may have forgotten."""
    if disk_library is None:  # CI never skips it: .ci/run installs a compiler
        pytest.skip("needs a C compiler on Linux, to hear what reaches the disk")
    found = told_by("power_cut", tmp_path, library=disk_library, timeout=100)
    assert found["calls"] > 60, "it hears what is written"
    assert found["files"] >= 6
    assert found["told"] == {deed: {"lost": [], "torn": []} for deed in DEEDS}
