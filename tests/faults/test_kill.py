"""kill -9 at 200 moments: between and inside the writes of pictures, history and adapters."""

import json
import os
from pathlib import Path

import pytest

from tests.faults.disk import told_by

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
    told = told_by("victim", tmp_path, KILLS, SEED, library=disk_library, timeout=800)
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
