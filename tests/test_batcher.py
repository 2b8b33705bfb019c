"""The batcher's policy, as properties of plain data."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from sdgen.batcher import BatchKey, best_row_count, next_batch


@dataclass
class Item:
    key: BatchKey
    rows: int
    tick: int = 0


KEYS = [BatchKey("a", 64, 64, ""), BatchKey("a", 128, 64, ""), BatchKey("b", 64, 64, "")]
ITEMS = st.lists(
    st.builds(Item, st.sampled_from(KEYS), st.integers(1, 2), st.integers(0, 9)), max_size=12
)


@given(ITEMS, st.integers(1, 16))
def test_a_batch_shares_one_key_fits_and_leads_with_the_longest_waiting(
    items: list[Item], max_rows: int
) -> None:
    batch = next_batch(items, lambda key: max_rows)
    assert bool(batch) == bool(items)
    if not batch:
        return
    assert len({item.key for item in batch}) == 1
    assert batch[0].tick == min(item.tick for item in items)
    assert len(batch) == 1 or sum(item.rows for item in batch) <= max_rows
    left_out = [i for i in items if i.key == batch[0].key and all(i is not b for b in batch)]
    room = max_rows - sum(item.rows for item in batch)
    assert all(item.rows > room for item in left_out), "rows stay empty while somebody waits"


@given(ITEMS.filter(bool), st.integers(1, 8))
def test_everybody_moves_within_a_bounded_number_of_passes(
    items: list[Item], max_rows: int
) -> None:
    passes = 0
    for item in items:
        item.tick = 0
    while any(item.tick == 0 for item in items):
        passes += 1
        for item in next_batch(items, lambda key: max_rows):
            item.tick = passes
        assert passes <= len(items), "an item starves"


def test_an_exact_picture_shares_with_nobody() -> None:
    alone = Item(BatchKey("a", 64, 64, "x"), 2)
    others = [Item(KEYS[0], 2) for _ in range(3)]
    assert next_batch([alone, *others], lambda key: 16) == [alone]


def test_how_many_rows_a_pass_holds_is_asked_of_the_leader_s_key_alone() -> None:
    asked: list[BatchKey] = []

    def max_rows(key: BatchKey) -> int:
        asked.append(key)
        return 1 if key == KEYS[1] else 4

    small, large = Item(KEYS[0], 1, tick=1), Item(KEYS[1], 1, tick=0)
    items = [small, large, Item(KEYS[0], 1, tick=2), Item(KEYS[1], 1, tick=3)]
    assert next_batch(items, max_rows) == [large]
    assert next_batch([items[2], small], max_rows) == [small, items[2]]
    assert asked == [KEYS[1], KEYS[0]]


def test_more_rows_are_worth_it_from_three_percent_a_row() -> None:
    assert best_row_count({1: 1.0, 2: 2 / 1.04}) == 2
    assert best_row_count({1: 1.0, 2: 2 / 1.02}) == 1
    assert best_row_count({1: 1.0, 2: 1.6}, least_gain=1.25) == 2, "the least gain is enough"


def test_best_row_count_stops_where_a_row_gets_no_cheaper() -> None:
    assert best_row_count({1: 1.0, 2: 1.1, 4: 1.5, 8: 3.1}) == 4
    assert best_row_count({1: 1.0, 2: 2.0, 4: 4.1}) == 1
    assert best_row_count({1: 1.0}) == 1
    assert best_row_count({1: 1.0, 2: 2.0, 4: 2.4}) == 4, "a flat start hides no later gain"
