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
        assert OURS.calibrating(rows) == rows - first
    assert OURS.calibrating(9) == STUDY.calibrating(99) == 0


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


def test_every_machine_as_in_the_study():
    there = data.entities("smd")
    if not there:
        pytest.skip("LMMOE_DATA has no SMD")
    for machine in there:
        one = data.load("smd", machine)
        scores = STUDY.detector("MTSExample").fit(STUDY.train(one)).decision_function(one.test)
        given = {"labels": STUDY.labels(one), "scores": scores}
        ours = [best_f1(**given, adjust=name).f1 for name in ("point", "log", "squeeze")]
        theirs = results().loc[("MTSExample", machine), METRICS]
        # The study's file has nine digits.
        assert ours == pytest.approx(theirs.tolist(), rel=0, abs=1e-9), machine
