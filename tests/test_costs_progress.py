"""Measuring what work costs."""

import platform
import threading
import time

import pytest

from lmmoe.report import measure as costs


def test_seconds_are_wall_seconds():
    with costs.measured() as cost:
        assert cost == costs.Cost(0.0, 0.0)
        time.sleep(0.12)
    assert 0.12 <= cost.seconds < 10


def test_memory_is_the_peak_above_the_start():
    with costs.measured() as cost:
        held = bytearray(60_000_000)
        held[::4096] = bytes([1]) * len(held[::4096])  # touched pages only are resident
        time.sleep(5 * costs.INTERVAL)
        del held
    assert 40 < cost.peak_mb < 200
    with costs.measured() as idle:
        pass
    assert 0 <= idle.peak_mb < 40


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is given back by glibc only")
def test_memory_that_was_used_before_is_seen_again():
    def use():
        # Small blocks: the C library keeps them when they are freed, above all below one in use.
        blocks = [bytearray(1000) for _ in range(50_000)]
        time.sleep(5 * costs.INTERVAL)
        return blocks[-1]

    with costs.measured() as first:
        above = use()
    with costs.measured() as second:
        use()
    assert 45 < first.peak_mb < 80
    assert 40 < second.peak_mb < 80
    assert len(above) == 1000


def test_an_error_ends_the_watch_and_comes_through():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), costs.measured() as cost:
        time.sleep(0.02)
        raise ZeroDivisionError
    assert cost.seconds >= 0.02
    assert threading.active_count() == before


def test_measures_may_be_nested():
    with costs.measured() as outer:
        with costs.measured() as inner:
            time.sleep(0.03)
        time.sleep(0.03)
    assert outer.seconds >= inner.seconds + 0.03
