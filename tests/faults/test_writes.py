"""The n-th write fails, for every n: old files whole, a sentence, and the app goes on."""

import json
from pathlib import Path

import pytest

from tests.faults.disk import told_by

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# At least so many writes each deed has; a count that fell to nothing would prove nothing.
DEEDS = {"job": 30, "picture": 8, "upload": 6, "delete": 5, "restore": 5, "thumbnail": 4,
         "rows": 20, "start": 60, "rebuild": 60}  # fmt: skip
FAULTS = (("EIO", "once"), ("ENOSPC", "on"))


@pytest.mark.parametrize("deed", DEEDS)
def test_whatever_write_fails(tmp_path: Path, disk_library: Path | None, deed: str) -> None:
    """What is checked each time stands in writes.py; it stops at the first thing that is wrong."""
    if disk_library is None:  # CI never skips it: .ci/run installs a compiler
        pytest.skip("needs a C compiler on Linux, to have a disk that fails")
    for error, how in FAULTS:
        folder = tmp_path / how
        folder.mkdir()
        told = told_by("writes", folder, deed, error, how, library=disk_library, timeout=500)
        print(f"\n{deed}, {error} {how}: {json.dumps(told, indent=1)}")
        assert told["writes"] >= DEEDS[deed]
        assert told["said"]
