"""How many rows one forward pass is worth: measured once per machine, model and size.

Batching pays on small models and on GPUs and loses on a CPU with a full-size model, so nothing is
assumed: the engine times a few row counts and `best_row_count` picks. Results are kept in a JSON
file of the data folder; a file that cannot be read or written only costs the measuring again.
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sdgen.batcher import best_row_count
from sdgen.data_folder import make_data_folder

log = logging.getLogger(__name__)

ROW_COUNTS = (1, 2, 4, 8, 16, 32)
REPEATS = 3  # further rounds; the first one also warms up
PATIENCE_SECONDS = 3.0  # no larger counts once that much time is spent; twice that: no more rounds


def measure(
    step: Callable[[int], bool], clock: Callable[[], float] = time.perf_counter
) -> dict[int, float]:
    """Seconds per forward pass by row count. `step(n)` runs one pass of n rows and waits for it.

    It answers False where n rows do not work (out of memory): neither they nor more are told of.

    Round by round, so that what slows the machine down for a while slows all counts alike; the
    fastest of each is taken. At least 1, 2 and 4 rows are timed, however slow the machine; slow
    passes are timed once.
    """
    begun = clock()
    seconds: dict[int, float] = {}

    def timed(count: int) -> float | None:
        started = clock()
        return clock() - started if step(count) else None

    for count in ROW_COUNTS:
        if count > 4 and clock() - begun > PATIENCE_SECONDS:
            break
        taken = timed(count)
        if taken is None:
            break
        seconds[count] = taken
    for _ in range(REPEATS):
        for count in list(seconds):
            if count > 1 and seconds[count] > PATIENCE_SECONDS / 10:
                continue
            if clock() - begun > 2 * PATIENCE_SECONDS:
                break
            taken = timed(count)
            if taken is None:  # others took the memory meanwhile
                seconds = {known: best for known, best in seconds.items() if known < count}
                break
            seconds[count] = min(seconds[count], taken)
    return seconds or {1: 0.0}


class RowBudgets:
    """Measured budgets by name, remembered in `path` (None: in memory only)."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, dict[str, float]] = {}
        if path is not None:
            try:
                self._known = json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                pass
            except (OSError, ValueError) as error:
                log.warning("row budgets are measured anew: %s cannot be read (%s)", path, error)

    def rows(self, name: str, step: Callable[[int], bool]) -> int:
        """The budget of `name`, measured with `step` if it is not known yet."""
        seconds = self._known.get(name)
        if seconds is None:
            measured = measure(step)
            seconds = {str(count): value for count, value in measured.items()}
            self._known[name] = seconds
            self._save()
            log.info("row budget of %s: %s", name, best_row_count(measured))
        return best_row_count({int(count): value for count, value in seconds.items()})

    def knows(self, name: str) -> bool:
        """True where the budget of `name` need not be measured."""
        return name in self._known

    def _save(self) -> None:
        if self._path is None:
            return
        try:
            make_data_folder(self._path.parent)
            with tempfile.NamedTemporaryFile(
                "w", dir=self._path.parent, suffix=".tmp", delete=False, encoding="utf-8"
            ) as file:
                json.dump(self._known, file, indent=1)
            Path(file.name).replace(self._path)
        except OSError as error:
            log.warning("row budgets are not kept: %s", error)
