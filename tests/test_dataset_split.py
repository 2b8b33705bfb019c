"""Held-out photos: the same ones every time, and none that the model sees in training."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora.dataset import Dataset, Example, default_count, split
from lora.dataset.likeness import alike, distance


def example(number: int, fingerprint: str = "") -> Example:
    name = f"{number:064x}"
    return Example(name, name, Path(name), "", 1, 1, (1, 1), (0.0, 0.0, 1.0, 1.0), fingerprint)


def far(number: int) -> str:
    """Fingerprints of which no two are alike."""
    return f"{(number * 0x9E3779B97F4A7C15) & (2**64 - 1):016x}"


def test_two_to_four_of_twelve_or_more() -> None:
    counts = [default_count(photos) for photos in (0, 5, 11, 12, 17, 18, 23, 24, 100)]
    assert counts == [0, 0, 0, 2, 2, 3, 3, 4, 4]


@given(st.integers(1, 40), st.none() | st.integers(0, 50), st.integers(0, 2**31 - 1))
def test_every_photo_is_in_one_part(photos: int, count: int | None, seed: int) -> None:
    whole = Dataset(tuple(example(number) for number in range(photos)))
    parted = split(whole, count, seed)
    assert sorted(one.id for one in parted.examples + parted.held_out) == sorted(
        one.id for one in whole.examples
    )
    wanted = default_count(photos) if count is None else count
    assert len(parted.held_out) == min(wanted, photos - 1)
    backwards = split(Dataset(whole.examples[::-1]), count, seed)
    assert set(backwards.held_out) == set(parted.held_out)
    assert set(split(parted, count, seed).held_out) == set(parted.held_out)


def test_the_seed_chooses() -> None:
    whole = Dataset(tuple(example(number) for number in range(24)))
    chosen = {tuple(one.id for one in split(whole, None, seed).held_out) for seed in range(20)}
    assert len(chosen) > 15


@pytest.mark.parametrize("seed", range(10))
def test_a_near_duplicate_is_never_held_out(seed: int) -> None:
    twins = [example(number, "ffffffffffffff0" + digit) for number, digit in enumerate("012")]
    others = [example(number, far(number)) for number in range(3, 15)]
    assert alike([one.fingerprint for one in others]) == []
    parted = split(Dataset((*twins, *others)), None, seed)
    assert len(parted.held_out) == 2
    assert not set(parted.held_out) & set(twins)
    assert split(Dataset(tuple(twins)), 2, seed).held_out == ()


def test_photos_alike_by_a_third_are_one_group() -> None:
    chain = ["0000000000000000", "00000000000000ff", "000000000000ffff", "ffffffff00000000", ""]
    assert distance(chain[0], chain[2]) == 16
    assert alike(chain) == [(0, 1, 2)]
    assert distance("", "") == 64
