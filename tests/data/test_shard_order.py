"""The order: a function of (seed, pass), every sample once a pass, computable anywhere."""

import numpy as np
import pytest

from lvis.data.shard_order import ShardOrder

COUNTS = (5, 1, 7, 0, 4)


def sequence(order, begin, length):
    return [order.identity(order.at(number)) for number in range(begin, begin + length)]


@pytest.mark.parametrize("shuffle", [0, 1, 4, 17, 1000])
def test_every_sample_comes_once_a_pass(shuffle):
    order = ShardOrder(COUNTS, seed=3, shuffle=shuffle)
    for begin in (0, 17, 34):
        assert sorted(sequence(order, begin, 17)) == list(range(17))


def test_the_order_depends_on_seed_and_pass_only():
    first, again = ShardOrder(COUNTS, 3, 4), ShardOrder(COUNTS, 3, 4)
    backwards = [again.identity(again.at(number)) for number in reversed(range(51))]
    assert sequence(first, 0, 51) == backwards[::-1]
    assert sequence(first, 0, 17) != sequence(first, 17, 17)
    assert sequence(first, 0, 17) != sequence(ShardOrder(COUNTS, 4, 4), 0, 17)


def test_the_shuffle_is_bounded_by_its_window():
    # with windows of one sample, the shards come one after the other
    order = ShardOrder(COUNTS, seed=3, shuffle=1)
    shards = [order.at(number).shard for number in range(17)]
    assert len([1 for one, other in zip(shards, shards[1:], strict=False) if one != other]) == 3
    mixed = ShardOrder(COUNTS, seed=3, shuffle=4)
    for begin in range(0, 16, 4):
        window = sequence(order, begin, 4)
        assert sorted(sequence(mixed, begin, 4)) == sorted(window)


def test_without_shuffle_it_is_the_order_of_the_index():
    assert sequence(ShardOrder(COUNTS, 3, 0), 0, 34) == [*range(17), *range(17)]


def test_replacements_are_drawn_from_the_same_pass_by_the_number_alone():
    order = ShardOrder(COUNTS, seed=3, shuffle=4)
    again = [order.replacement(20, attempt) for attempt in range(50)]
    assert again == [order.replacement(20, attempt) for attempt in range(50)]
    assert {place.pass_number for place in again} == {1}
    assert len({order.identity(place) for place in again}) > 10


def test_a_place_far_away_costs_what_the_first_costs():
    order = ShardOrder([1000] * 1000, seed=0, shuffle=1000)
    numbers = np.random.default_rng(0).integers(0, 2**40, 20)
    assert len({order.at(int(number)) for number in numbers}) == 20
