"""kill -9 at 200 moments: between and inside the writes of pictures, history and adapters."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.disk import ROOT, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.name == "nt", reason="needs fork"),
]

KILLS = 200
SEED = int(os.environ.get("SDGEN_FAULTS_SEED", "20261121"))


def test_nothing_is_lost_damaged_or_done_twice(tmp_path: Path, disk_library: Path | None) -> None:
    """After each kill victim.py looks at all files and rows; here is what it says at the end.

    Every second kill is in the middle of a write, where disk.so could be built; the others are at
    any moment.
    """
    command = [sys.executable, "-m", "tests.faults.victim", str(tmp_path), str(KILLS), str(SEED)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(disk_library), capture_output=True, text=True,
        timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    print(f"\n{json.dumps(told, indent=1)}")
    assert told["kills"] == KILLS
    assert told["jobs"]["done"] >= 100
    assert told["taken up again"] >= 20
    assert told["pictures"] >= 200
    assert told["adapters"] >= 30
    assert told["stumps"] >= 10  # kills did hit writing
    assert told["stumps left"] == []
    assert told["slowest start, seconds"] <= 10.0
    if disk_library is not None:
        places = {place.split(" ")[1].split("-")[0] for place in told["killed in"]}
        assert {"pictures", "adapters", "history.sqlite3"} <= places
