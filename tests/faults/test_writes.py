"""The n-th write fails, for every n: old files whole, a sentence, and the app goes on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.disk import ROOT, environment

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
        command = [sys.executable, "-m", "tests.faults.writes", str(folder), deed, error, how]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(disk_library), capture_output=True, text=True,
            timeout=500, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        told = json.loads(done.stdout)
        print(f"\n{deed}, {error} {how}: {json.dumps(told, indent=1)}")
        assert told["writes"] >= DEEDS[deed]
        assert told["said"]
