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


def series(train_rows=10, labels=(0, 1, 1, 0, 0, 0, 0, 0, 0, 0)):
    halves = {"train": np.arange(train_rows * 2.0).reshape(-1, 2), "test": np.zeros((10, 2))}
    return Series.checked(dataset="d", entity="e", labels=labels, **halves)


def test_the_study_trains_on_the_first_four_fifths():
    for rows, kept in {10: 8, 11: 8, 13: 10, 14: 11, 15: 12, 35: 28, 28479: 22783}.items():
        one = series(train_rows=rows)  # int(0.8 * rows): 8.8, 10.4, 11.2, 22783.2 are cut off
        assert np.array_equal(STUDY.train(one), one.train[:kept])
        assert np.array_equal(OURS.train(one), one.train)


def test_in_the_study_events_end_five_rows_later():
    one = series()
    assert STUDY.labels(one).tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    assert OURS.labels(one) is one.labels and STUDY.labels(series(labels=None)) is None


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


def test_every_machine_as_in_the_study():
    if not (machines := data.entities("smd")):
        pytest.skip("LMMOE_DATA has no SMD")
    runs = [("MTSExample", machine) for machine in machines]  # under "study" nothing differs
    for name, machine in (*runs, *(("SmartSimpleAD", machine) for machine in machines[::14])):
        one = data.load("smd", machine)
        scores = STUDY.detector(name).fit(STUDY.train(one)).decision_function(one.test)
        given = {"labels": STUDY.labels(one), "scores": scores}
        ours = [best_f1(**given, adjust=how).f1 for how in ("point", "log", "squeeze")]
        theirs = results().loc[(name, machine), METRICS]
        # The study's file has nine digits.
        assert ours == pytest.approx(theirs.tolist(), rel=0, abs=1e-9), (name, machine)
