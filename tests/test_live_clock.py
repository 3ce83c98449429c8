"""What a row's time says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmoe.live.clock import Clock, Order


def orders(times, step=60.0):
    clock = Clock(step)
    return [clock.look(time) for time in times]


NEXT, LATE = (Order.NEXT, 0), (Order.LATE, 0)


def test_rows_in_step_are_the_next_ones_a_little_early_or_late_too():
    assert orders([0, 60, 120, 145, 229, 300]) == [NEXT] * 6


def test_up_to_three_missing_rows_are_bridged():
    assert orders([0, 120])[-1] == (Order.BRIDGED, 1)
    assert orders([0, 240])[-1] == (Order.BRIDGED, 3)
    assert orders([0, 300])[-1] == (Order.GAP, 4)
    assert orders([0, 60 * 31, 60 * 32]) == [NEXT, (Order.GAP, 30), NEXT]


def test_a_repeated_row_is_told_from_a_late_one():
    assert orders([0, 60, 60, 60, 30, 120]) == [
        NEXT,
        NEXT,
        (Order.REPEATED, 0),
        (Order.REPEATED, 0),
        LATE,
        NEXT,
    ]


def test_after_five_late_rows_in_order_the_clock_was_set_back():
    times = [3600, 3660, *range(0, 420, 60)]
    assert orders(times) == [NEXT, NEXT, *[LATE] * 4, (Order.SET_BACK, 0), NEXT, NEXT]


def test_late_rows_in_no_order_are_just_late():
    assert orders([3600, 300, 240, 180, 120, 60, 0])[1:] == [LATE] * 6
    assert orders([3600, 60, 60, 60, 60, 60, 60])[1:] == [LATE] * 6


def test_a_row_from_the_future_costs_a_gap_and_five_rows():
    times = [0, 60, 1e9, *range(120, 600, 60)]
    found = [order for order, _ in orders(times)]
    assert found[2] is Order.GAP
    assert found[3:8] == [*[Order.LATE] * 4, Order.SET_BACK]
    assert set(found[8:]) == {Order.NEXT}


def test_without_a_step_only_the_order_counts():
    assert orders([0, 1, 1000, 1000, 5], step=None) == [
        NEXT,
        NEXT,
        NEXT,
        (Order.REPEATED, 0),
        LATE,
    ]


def test_rows_without_times_are_the_next_ones():
    assert orders([None, 5, None, 65]) == [NEXT] * 4


def test_rows_that_came_without_a_time_are_not_missing():
    for blank in range(1, 8):
        times = [0, 60, *[None] * blank, 60 * (2 + blank), 60 * (3 + blank)]
        assert orders(times) == [NEXT] * (4 + blank)
    assert orders([0, None, 60 * 4])[-1] == (Order.BRIDGED, 2)
    assert orders([0, None, 60 * 9])[-1] == (Order.GAP, 7)
    assert orders([0, None, 60 * 2, 60 * 4])[-1] == (Order.BRIDGED, 1)  # counted once


def test_after_a_restart_times_already_seen_are_repeats_until_one_is_new():
    clock = Clock(60.0)
    for time in range(600, 1260, 60):
        clock.look(time)
    clock.resume()
    seen = (Order.SEEN, 0)
    again = [clock.look(time) for time in (600, 900, None, 1200, 1140)]
    assert again == [seen] * 5
    assert clock.look(1260) == NEXT and clock.look(1200) == LATE
    assert clock.look(None) == NEXT


def test_after_a_restart_rows_without_times_are_taken():
    clock = Clock(60.0)
    clock.look(600)
    clock.resume()
    assert clock.look(None) == NEXT  # nothing says that it was seen
    assert clock.look(600) == (Order.SEEN, 0)
    found = [clock.look(None)[0] for _ in range(6)]
    assert found == [*[Order.SEEN] * 5, Order.NEXT]


def test_a_clock_set_back_before_all_that_was_seen_is_heard_after_a_restart():
    clock = Clock(60.0)
    clock.look(6000), clock.look(6060)
    clock.resume()
    found = [clock.look(time)[0] for time in range(0, 360, 60)]
    assert found == [*[Order.LATE] * 4, Order.SET_BACK, Order.NEXT]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=40))
def test_any_times_get_an_answer(times):
    for order, missing in orders(times):
        assert isinstance(order, Order)
        assert (missing > 0) == (order in (Order.GAP, Order.BRIDGED))


@pytest.mark.parametrize("times", [[-1.7e308, 1.7e308], [0, 1.7e308]])
def test_an_endless_gap_is_a_gap(times):
    assert orders(times)[-1] == (Order.GAP, 10**9)
