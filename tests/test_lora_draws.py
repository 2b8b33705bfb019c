"""Every draw follows from (seed, step, sample) and nothing else."""

from collections import Counter
from itertools import pairwise

import torch

from lora import draws

BUCKETS = {(64, 64): [0, 1, 3, 4], (96, 64): [2, 5, 6]}


def test_draws_do_not_depend_on_what_was_drawn_before() -> None:
    def drawn() -> list[object]:
        return [
            draws.photos_of_step(1, 5, 4, BUCKETS),
            draws.timestep(1, 5, 2, 4, 1000),
            draws.noise(1, 5, 2, (4, 8, 8), 0.1).tolist(),
            draws.posterior_noise(1, 5, 2, (4, 8, 8)).tolist(),
            draws.caption_dropped(1, 5, 2, 0.5),
        ]

    first = drawn()
    torch.manual_seed(99)
    torch.randn(7)
    draws.noise(3, 1, 1, (4, 8, 8))
    assert drawn() == first


def test_seed_step_and_sample_each_matter() -> None:
    places = [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 23, 0), (12, 3, 0)]
    seen = {tuple(draws.noise(*place, (4,) * 3).flatten().tolist()) for place in places}
    assert len(seen) == len(places)
    assert not torch.equal(draws.noise(1, 2, 3, (4,) * 3), draws.posterior_noise(1, 2, 3, (4,) * 3))


def test_every_round_has_each_photo_once() -> None:
    batch = 4
    seen = [photo for step in range(70) for photo in draws.photos_of_step(0, step, batch, BUCKETS)]
    rounds = [seen[start : start + 7] for start in range(0, 280, 7)]
    assert all(sorted(one) == list(range(7)) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 30, "in ever another order"


def test_photos_of_one_size_stand_together() -> None:
    order = draws.epoch_order(0, 3, BUCKETS)
    sizes = [size for photo in order for size, members in BUCKETS.items() if photo in members]
    changes = sum(one != other for one, other in pairwise(sizes))
    assert changes == 1


def test_timesteps_are_spread_and_uniform() -> None:
    batch = 8
    times = [
        [draws.timestep(0, step, row, batch, 1000) for row in range(batch)] for step in range(500)
    ]
    for row in times:
        assert Counter(time * batch // 1000 for time in row) == dict.fromkeys(range(batch), 1)
    first = torch.tensor([row[0] for row in times]).float()
    assert abs(first.mean() - 499.5) < 40, "the standard error is 13"
    assert min(min(row) for row in times) == 0
    assert max(max(row) for row in times) == 999


def test_noise_is_normal_and_its_offset_is_one_a_channel() -> None:
    plain = torch.stack([draws.noise(0, step, 0, (4, 16, 16)) for step in range(50)])
    shifted = torch.stack([draws.noise(0, step, 0, (4, 16, 16), 0.5) for step in range(50)])
    assert abs(plain.mean()) < 0.02
    assert abs(plain.std() - 1) < 0.02
    offset = shifted - plain
    assert offset.std(dim=(2, 3)).max() < 1e-6
    assert abs(offset[:, :, 0, 0].std() - 0.5) < 0.08


def test_captions_are_dropped_as_often_as_asked() -> None:
    count = sum(draws.caption_dropped(0, step, 0, 0.2) for step in range(2000))
    assert abs(count - 400) < 4 * 18, "four standard deviations"
    assert not any(draws.caption_dropped(0, step, 0, 0.0) for step in range(50))


def test_half_of_the_priors_rows_have_its_first_prompt() -> None:
    found = [draws.prior_prompt(3, step, 1, 5) for step in range(2000)]
    assert found == [draws.prior_prompt(3, step, 1, 5) for step in range(2000)]
    assert abs(found.count(0) / 2000 - 0.5) < 0.045, "four standard deviations"
    assert all(abs(found.count(prompt) / 2000 - 0.125) < 0.03 for prompt in range(1, 5))
    assert {draws.prior_prompt(3, step, 1, 1) for step in range(20)} == {0}
