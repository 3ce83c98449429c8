"""The two protocols: training rows, moved ends of events, and the study's own numbers."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmoe import data
from lmmoe.data import Series
from lmmoe.metrics import best_f1
from lmmoe.report.experiment import PROTOCOLS, widened
from lmmoe.report.study import METRICS, results
from lmmoe.segments import runs

OURS, STUDY = PROTOCOLS["ours"], PROTOCOLS["study"]


def series(labels="0110", train_rows=10):
    bits = None if labels is None else [int(label) for label in labels]
    test = np.zeros((4 if bits is None else len(bits), 2))
    train = np.arange(train_rows * 2.0).reshape(-1, 2)
    return Series.checked(dataset="d", entity="e", train=train, test=test, labels=bits)


def test_the_study_trains_on_the_first_four_fifths_and_ours_holds_rows_back_for_thresholds():
    for rows, kept in {10: 8, 11: 8, 13: 10, 14: 11, 15: 12, 35: 28, 28479: 22783}.items():
        one = series(train_rows=rows)  # int(0.8 * rows): 8.8, 10.4, 11.2, 22783.2 are cut off
        assert np.array_equal(STUDY.train(one), one.train[:kept])
        assert np.array_equal(OURS.train(one), one.train)
    for rows, first in {10: 9, 19: 18, 20: 18, 30: 27, 28479: 25632}.items():
        assert OURS.calibrating(np.arange(rows)).tolist() == list(range(first, rows))
    assert OURS.calibrating(np.arange(9)) is None and STUDY.calibrating(np.arange(99)) is None


def test_ends_of_events_move_by_hand():
    by_hand = {
        "0110000000": "0111111100",  # five rows more
        "0000000110": "0000000111",  # not beyond the last row
        # Two rows before the next event stay normal: of g rows between, min(5, g - 2) are added.
        "101000000": "101111110",
        "1000100000": "1100111111",
        "100000100000": "111100111111",
        "0000": "0000",
    }
    for labels, expected in by_hand.items():
        one = series(labels)
        assert "".join(map(str, STUDY.labels(one))) == expected
        assert OURS.labels(one) is one.labels
    assert STUDY.labels(series(None)) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=60), st.integers(0, 9))
def test_widened_row_by_row(bits, margin):
    labels = np.array(bits, dtype=np.int8)
    wide = widened(labels, runs(labels), margin)
    assert labels.tolist() == bits
    assert [start for start, _ in runs(wide)] == [start for start, _ in runs(bits)]
    for row, bit in enumerate(bits):
        before = [rows[-1] for rows in naive.events(bits) if rows[-1] < row]
        after = [rows[0] for rows in naive.events(bits) if rows[0] > row]
        near = bool(before) and row - before[-1] <= margin
        free = not after or after[0] - row > 2
        assert wide[row] == int(bit or (near and free)), row


# Under the protocol "study" the untrained L2 norm gives the study's own numbers on every machine.


def _f1s(labels, scores):
    return {
        name: best_f1(labels=labels, scores=scores, adjust=adjust).f1
        for name, adjust in (
            ("point_f1_pa", "point"),
            ("event_f1_pa_log", "log"),
            ("event_f1_pa_squeeze", "squeeze"),
        )
    }


def _judged(machine):
    """F1s of the L2 norm: under the protocol, without its margin, and fitted on all rows."""
    one = data.load("smd", machine)
    made = STUDY.detector("MTSExample")
    scores = made.fit(STUDY.train(one)).decision_function(one.test)
    all_rows = made.fit(one.train).decision_function(one.test)
    return {
        "study": _f1s(STUDY.labels(one), scores),
        "no margin": _f1s(one.labels, scores),
        "all rows": _f1s(STUDY.labels(one), all_rows),
    }


@pytest.fixture(scope="module")
def machines():
    there = data.entities("smd")
    if not there:
        pytest.skip("LMMOE_DATA has no SMD")
    return {machine: _judged(machine) for machine in there}


def _expected(machine):
    return results().loc[("MTSExample", machine), METRICS].to_dict()


def test_every_machine_as_in_the_study(machines):
    for machine, found in machines.items():
        # The study's file has nine digits.
        assert found["study"] == pytest.approx(_expected(machine), rel=0, abs=1e-9), machine


def test_the_comparison_notices_a_wrong_protocol(machines):
    for wrong in ("no margin", "all rows"):
        off = [m for m, found in machines.items() if found[wrong] != pytest.approx(_expected(m))]
        assert len(off) > len(machines) / 2, wrong
    if "machine-1-3" in machines:  # all rows would give .695 instead of .913
        found = machines["machine-1-3"]
        assert round(found["study"]["point_f1_pa"], 3) == 0.913
        assert round(found["all rows"]["point_f1_pa"], 3) == 0.695
