"""Do the tests notice when a line is changed? After `mutmut run`, module by module, for RESULTS.md.

mutmut run                     # what and with which tests: pyproject.toml, [tool.mutmut]
python -m bench.mutation       # the table
mutmut results                 # those that nobody noticed; `mutmut show NAME` shows one
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MUTANTS = Path("mutants")
GOAL = 0.85
# What mutmut keeps of a mutant: pytest's exit code, or a number of its own (mutmut/stats.py).
SURVIVED, KILLED, TIMEOUT, NO_TESTS = (0,), (1, 3), (-24, 24, 36, 152, 255), (5, 33)


def modules() -> Iterator[tuple[str, Counter[str]]]:
    """Each mutated module with how many of its mutants came to which end."""
    for path in sorted(MUTANTS.rglob("*.py.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"].values()
        if codes:
            name = path.relative_to(MUTANTS).with_suffix("").as_posix()
            yield name, Counter(map(end_of, codes))


def end_of(code: int | None) -> str:
    """In a word."""
    if code is None:
        return "unchecked"
    for name, codes in (("noticed", KILLED), ("noticed", TIMEOUT), ("survived", SURVIVED)):
        if code in codes:
            return name
    return "untested" if code in NO_TESTS else "unclear"


def row(name: str, ends: Counter[str]) -> str:
    """One line of the table."""
    checked = ends.total() - ends["unchecked"]
    score = f"{ends['noticed'] / checked:.1%}" if checked else "-"
    left = checked - ends["noticed"]
    return f"| {name} | {checked} | {ends['noticed']} | {left} | {score} |"


def main() -> int:
    """Print the table; 1 where all together are below the goal, or some were not checked."""
    found = list(modules())
    if not found:
        print("There are no mutants yet: run `mutmut run` first.", file=sys.stderr)
        return 1
    total = sum((ends for _, ends in found), Counter[str]())
    print("| module | mutants | noticed | not noticed | score |\n|---|---|---|---|---|")
    for name, ends in found:
        print(row(name, ends))
    print(row("**all**", total))
    if total["unchecked"]:
        print(f"\n{total['unchecked']} more were not tried yet.")
    checked = total.total() - total["unchecked"]
    return int(bool(total["unchecked"]) or total["noticed"] < GOAL * checked)


if __name__ == "__main__":
    sys.exit(main())
