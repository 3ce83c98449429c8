"""Clocks that tests turn by hand, work in a process of its own, and measurements that are kept."""

import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest
from small import make, waves

from lmmoe.report.efficiency import child, hardware, records, timing
from lmmoe.report.efficiency.timing import Effort, latencies, once, repeated, rows_for, timed

SHORT = Effort("short", repeats=3, seconds=0.05, calls=30, call_seconds=0.01)


class Clock:
    """Two clocks that stand still until they are told to go on."""

    def __init__(self, monkeypatch):
        self.own = self.wall = 100.0
        monkeypatch.setattr(timing.time, "process_time", lambda: self.own)
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.wall)

    def work(self, own, wall):
        self.own += own
        self.wall += wall


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


class TestTiming:
    def test_summed_up_by_hand(self):
        found = timed([(1.0, 2.0), (3.0, 3.0), (2.0, 7.0)])
        assert (found.seconds, found.wall_seconds, found.spread, found.repeats) == (2, 3, 1, 3)

    def test_one_repetition_has_no_spread(self):
        assert math.isnan(timed([(1.0, 2.0)]).spread)
        assert math.isnan(timed([(0.0, 0.0), (0.0, 0.0)]).spread)  # too short for the clock

    def test_once_tells_both_clocks(self, clock):
        assert once(lambda: clock.work(0.25, 2.0)) == (0.25, 2.0)

    def test_repeats_end_by_number(self, clock):
        found = repeated(lambda: clock.work(0.5, 1.0), repeats=4, seconds=99)
        assert (found.repeats, found.seconds, found.wall_seconds) == (4, 0.5, 1.0)

    def test_repeats_end_by_the_clock_on_the_wall(self, clock):
        assert repeated(lambda: clock.work(0.1, 1.0), repeats=99, seconds=2.5).repeats == 3
        assert repeated(lambda: clock.work(0.1, 9.0), repeats=99, seconds=2.5).repeats == 1
        assert repeated(lambda: clock.work(0.1, 1.0), repeats=99, seconds=0).repeats == 1


class TestRows:
    def test_a_call_gets_what_stands_before_its_rows(self):
        made = make("LightMMoE").fit(waves(60))
        rows = waves(60, seed=1)
        assert made.min_rows == 9
        for batch in (1, 5):
            given = rows_for(made, rows, batch, start=7)
            assert np.array_equal(given, rows[7 : 7 + 8 + batch])
            # So many scores are of whole windows; the rest only stand before.
            assert len(given) - made.unscored == batch

    def test_rows_begin_again_where_they_end(self):
        made = make("PCA").fit(waves(60))
        rows = waves(5, seed=1)
        assert np.array_equal(rows_for(made, rows, 12), np.vstack([rows, rows, rows[:2]]))

    def test_single_calls_score_one_row_of_many_places(self):
        made = make("LightMMoE").fit(waves(60))
        given = []
        made.decision_function = lambda rows: given.append(rows.copy())
        rows = waves(400, seed=1)
        taken, own = latencies(made, rows, replace(SHORT, call_seconds=99))
        assert taken.shape == (30,) and (taken >= 0).all() and own >= 0
        assert {len(one) for one in given} == {made.min_rows}
        assert len({one.tobytes() for one in given}) == 30

    def test_slow_calls_are_few_but_enough_for_a_percentile(self, clock):
        made = make("PCA").fit(waves(60))
        made.decision_function = lambda rows: clock.work(1.0, 3.0)
        taken, own = latencies(made, waves(60), SHORT)
        assert taken.tolist() == [3.0] * timing.FEWEST and own == 1.0

    def test_throughput_times_the_batch(self, clock):
        made = make("PCA").fit(waves(60))
        sizes = []

        def scored(rows):
            sizes.append(len(rows))
            clock.work(0.5, 1.0)

        made.decision_function = scored
        assert timing.call(made, waves(60), 16, SHORT).seconds == 0.5
        assert sizes == [16, 16]  # once to warm up, once timed: the wall clock says stop


def echo(spec, **arrays):
    """For a child: what it was given, and where."""
    sums = {name: float(array.sum()) for name, array in arrays.items()}
    return spec | sums | {"pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}


def bad(spec):
    raise ValueError("too few rows")


def worse(spec):
    raise ZeroDivisionError("a slip")


def dies(spec):
    os.kill(os.getpid(), 9)


@pytest.fixture
def found_by_children(monkeypatch):
    """Children import this very file."""
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))


@pytest.mark.usefixtures("found_by_children")
class TestChild:
    def test_spec_and_arrays_arrive_in_another_process_with_one_thread(self):
        found = child.run(echo, {"a": [1, "x"]}, rows=np.full((3, 2), 0.5))
        assert found["a"] == [1, "x"] and found["rows"] == 3.0
        assert found["pid"] != os.getpid() and found["threads"] == "1"

    def test_what_a_detector_raises_arrives_in_words(self):
        with pytest.raises(child.ChildError, match="^ValueError: too few rows$"):
            child.run(bad, {})

    def test_any_other_error_is_told_with_its_last_line(self):
        with pytest.raises(
            child.ChildError, match="worse: .* ended with 1: ZeroDivisionError: a s"
        ):
            child.run(worse, {})

    def test_a_killed_process_is_told(self):
        with pytest.raises(child.ChildError, match=r"dies: .* signal 9 \(is there enough memory"):
            child.run(dies, {})


class TestRecords:
    def test_keys_tell_what_matters_apart(self):
        assert records.key({"a": 1, "b": 2}) == records.key({"b": 2, "a": 1})
        assert records.key({"a": 1}) != records.key({"a": 2}) != records.key({"b": 2})
        assert len(records.key({})) == 16

    def test_kept_once_measured(self, own_cache):
        asked = []

        def measure():
            asked.append(1)
            return {"seconds": 2.5, "gap": math.nan}

        assert records.kept("x", measure)["seconds"] == 2.5
        again = records.kept("x", measure)
        assert again["seconds"] == 2.5 and math.isnan(again["gap"]) and len(asked) == 1
        records.kept("y", measure)
        assert len(asked) == 2
        assert [path.name for path in own_cache.rglob("x.*")] == ["x.json"]

    def test_a_damaged_record_is_measured_again(self, own_cache):
        records.kept("x", lambda: {"a": 1})
        (own_cache / "efficiency" / "x.json").write_text('{"a": ')
        assert records.kept("x", lambda: {"a": 2}) == {"a": 2}
        assert json.loads((own_cache / "efficiency" / "x.json").read_text()) == {"a": 2}

    def test_a_failure_is_not_kept(self, own_cache):
        with pytest.raises(child.ChildError):
            records.kept("x", self.fail)
        assert records.kept("x", lambda: {"a": 1}) == {"a": 1}

    @staticmethod
    def fail():
        raise child.ChildError("no")


class TestHardware:
    def test_names(self, monkeypatch):
        assert len(hardware.cpu_name()) > 3
        assert hardware.device_name("cpu") == hardware.cpu_name()
        assert hardware.device_name("mps") == "mps"

    def test_a_second_device_is_what_torch_finds(self, monkeypatch):
        torch = pytest.importorskip("torch")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        assert hardware.second_device() == ""
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        assert hardware.second_device() == "mps"
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a {device} card")
        assert hardware.second_device() == "cuda"
        assert hardware.device_name("cuda") == "a cuda card"
