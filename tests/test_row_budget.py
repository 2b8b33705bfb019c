"""How many rows a pass is worth: measured fairly, once, and remembered."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sdgen.batcher import best_row_count
from sdgen.engine.row_budget import PATIENCE_SECONDS, REPEATS, ROW_COUNTS, RowBudgets, measure


class Machine:
    """A clock, and passes that take as long as they are told to."""

    def __init__(self, seconds: Callable[[int], float], rows_max: int = 64) -> None:
        self.now = 0.0
        self.seconds, self.rows_max = seconds, rows_max
        self.passes: Counter[int] = Counter()

    def step(self, count: int) -> bool:
        self.passes[count] += 1
        if count > self.rows_max:
            return False  # at once, as memory that is not there
        self.now += self.seconds(count)
        return True

    def measure(self) -> dict[int, float]:
        return measure(self.step, lambda: self.now)


def test_every_count_is_timed_and_the_fastest_pass_taken() -> None:
    machine = Machine(lambda count: 0.010 + 0.001 * count + 0.02 * (machine.passes[count] == 1))
    measured = machine.measure()
    assert tuple(measured) == ROW_COUNTS
    assert measured == pytest.approx({count: 0.010 + 0.001 * count for count in ROW_COUNTS})
    assert set(machine.passes.values()) == {1 + REPEATS}
    assert best_row_count(measured) == 32


@pytest.mark.parametrize("third", [0, 1, 2])
def test_a_machine_that_is_busy_for_a_while_is_not_taken_for_a_slow_one(third: int) -> None:
    quiet = Machine(lambda count: 0.010 + 0.001 * count)
    expected = quiet.measure()
    begins = quiet.now / 3 * third
    ends = begins + quiet.now

    def seconds(count: int) -> float:
        slower = 3 if begins <= machine.now < ends else 1
        return (0.010 + 0.001 * count) * slower

    machine = Machine(seconds)
    assert machine.measure() == pytest.approx(expected)


def test_a_slow_machine_is_not_kept_busy() -> None:
    machine = Machine(lambda count: 1.0 * count)
    assert tuple(machine.measure()) == (1, 2, 4)
    assert machine.now <= 2 * PATIENCE_SECONDS + 4
    slow = Machine(lambda count: 0.09 * count)
    slow.measure()
    assert slow.passes[4] == 1  # once is enough for long ones
    assert slow.passes[2] > 1


@pytest.mark.parametrize("rows_max", [0, 1, 4, 31])
def test_rows_for_which_there_is_no_memory_are_none(rows_max: int) -> None:
    machine = Machine(lambda count: 0.010, rows_max)
    fitting = tuple(count for count in ROW_COUNTS if count <= rows_max)
    assert tuple(machine.measure()) == (fitting or (1,))


def test_memory_that_is_gone_in_a_later_round_leaves_what_is_below() -> None:
    machine = Machine(lambda count: 0.010)

    def step(count: int) -> bool:
        if machine.passes[count]:
            machine.rows_max = 4  # others took it meanwhile
        return machine.step(count)

    measured = measure(step, lambda: machine.now)
    assert tuple(measured) == (1, 2, 4)
    assert min(measured.values()) == pytest.approx(0.010)


def test_a_budget_is_measured_once_and_remembered(tmp_path: Path) -> None:
    path = tmp_path / "data" / "row_budgets.json"
    calls: Counter[int] = Counter()

    def step(count: int) -> bool:
        calls[count] += 1
        return count <= 2

    budgets = RowBudgets(path)
    assert not budgets.knows("a model at 64")
    rows = budgets.rows("a model at 64", step)
    assert budgets.knows("a model at 64")
    passes = calls.total()
    for again in (budgets, RowBudgets(path)):
        assert again.rows("a model at 64", step) == rows
    assert calls.total() == passes
    assert json.loads(path.read_text())["a model at 64"].keys() == {"1", "2"}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_a_file_that_cannot_be_read_costs_the_measuring_only(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "row_budgets.json"
    path.write_bytes(content)
    budgets = RowBudgets(path)
    assert "measured anew" in caplog.text
    assert budgets.rows("x", lambda count: count == 1) == 1
    assert RowBudgets(path).knows("x")


def test_a_folder_that_cannot_be_written_costs_the_measuring_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").write_bytes(b"a file in the folder's place")
    budgets = RowBudgets(tmp_path / "data" / "row_budgets.json")
    assert budgets.rows("x", lambda count: count == 1) == 1
    assert "are not kept" in caplog.text
