"""The two protocols: training rows, moved ends of events, imposed settings, and the real data."""

import os
from dataclasses import FrozenInstanceError
from pathlib import Path

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmoe import data
from lmmoe.data import Series
from lmmoe.metrics import best_f1
from lmmoe.report.protocol import PROTOCOLS, Protocol, widened
from lmmoe.report.tables import study_results
from lmmoe.segments import runs

OURS, STUDY = PROTOCOLS["ours"], PROTOCOLS["study"]


def series(labels="0110", train_rows=10):
    bits = None if labels is None else [int(label) for label in labels]
    test = np.zeros((4 if bits is None else len(bits), 2))
    train = np.arange(train_rows * 2.0).reshape(-1, 2)
    return Series.checked(dataset="d", entity="e", train=train, test=test, labels=bits)


def text(bits):
    return "".join(str(bit) for bit in bits)


def test_the_two_protocols():
    assert list(PROTOCOLS) == ["ours", "study"]
    assert all(protocol.name == name for name, protocol in PROTOCOLS.items())
    assert (OURS.train_share, OURS.margin, OURS.settings) == (1.0, 0, {})
    assert (STUDY.train_share, STUDY.margin) == (0.8, 5)
    assert STUDY.settings == {"held_out": 0.0, "first_scores": "zero"}
    with pytest.raises(FrozenInstanceError):
        STUDY.margin = 0


@pytest.mark.parametrize(
    ("rows", "kept"),
    [(10, 8), (11, 8), (13, 10), (14, 11), (15, 12), (35, 28), (28479, 22783)],
)
def test_the_study_trains_on_the_first_four_fifths(rows, kept):
    # int(0.8 * rows): 8.8, 10.4, 11.2, 22783.2 are cut off.
    one = series(train_rows=rows)
    assert np.array_equal(STUDY.train(one), one.train[:kept])
    assert np.array_equal(OURS.train(one), one.train)


@pytest.mark.parametrize(("rows", "first"), [(10, 9), (19, 18), (20, 18), (30, 27), (28479, 25632)])
def test_the_last_tenth_of_training_scores_may_set_a_threshold(rows, first):
    assert OURS.calibrating(np.arange(rows)).tolist() == list(range(first, rows))
    assert STUDY.calibrating(np.arange(rows)) is None


def test_fewer_than_ten_training_rows_can_set_no_threshold():
    assert all(OURS.calibrating(np.arange(rows)) is None for rows in range(10))


def test_scaling_does_not_see_the_last_fifth():
    generator = np.random.default_rng(0)
    train, test = generator.random((100, 3)), generator.random((20, 3))
    wild = train.copy()
    wild[80:] = 1e6 * generator.random((20, 3))
    scores = {}
    for name, values in (("tame", train), ("wild", wild)):
        one = Series.checked(dataset="d", entity="e", train=values, test=test, labels=None)
        for protocol in (OURS, STUDY):
            made = protocol.detector("MTSExample").fit(protocol.train(one))
            scores[protocol.name, name] = made.decision_function(test)
    assert np.array_equal(scores["study", "tame"], scores["study", "wild"])
    assert not np.allclose(scores["ours", "tame"], scores["ours", "wild"])
    # By definition, with numpy alone: the sum of squared z-scores, population deviation.
    z_scores = (test - train[:80].mean(axis=0)) / train[:80].std(axis=0)
    assert scores["study", "tame"] == pytest.approx((z_scores**2).sum(axis=1), rel=1e-12)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # Five rows more.
        ("0110000000", "0111111100"),
        ("1000000000", "1111110000"),
        # Not beyond the last row.
        ("0000000110", "0000000111"),
        ("0000100000", "0000111111"),
        ("00010000", "00011111"),
        ("0000000011", "0000000011"),
        ("1111111110", "1111111111"),
        # Two rows before the next event stay normal: of g rows between, min(5, g - 2) are added.
        ("10" + "1000000", "10" + "1111110"),
        ("100" + "1000000", "100" + "1111110"),
        ("1000" + "1000000", "1100" + "1111110"),
        ("10000" + "1000000", "11100" + "1111110"),
        ("100000" + "1000000", "111100" + "1111110"),
        ("1000000" + "1000000", "1111100" + "1111110"),
        ("10000000" + "1000000", "11111100" + "1111110"),
        ("100000000" + "1000000", "111111000" + "1111110"),
        # Three events, the last one at the end.
        ("0100010001", "0110011001"),
        ("0000", "0000"),
        ("1111", "1111"),
    ],
)
def test_ends_of_events_move_by_hand(labels, expected):
    one = series(labels)
    assert text(STUDY.labels(one)) == expected
    assert text(one.labels) == labels  # the series stays as it is
    assert OURS.labels(one) is one.labels


@pytest.mark.parametrize("gap", range(1, 9))
def test_two_events_stay_two(gap):
    wide = STUDY.labels(series("01" + "0" * gap + "110000000"))
    assert len(runs(wide)) == 2
    assert [start for start, _ in runs(wide)] == [1, 2 + gap]


def test_no_labels_stay_none():
    assert STUDY.labels(series(None)) is None
    assert OURS.labels(series(None)) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=60), st.integers(0, 9))
def test_widened_row_by_row(bits, margin):
    labels = np.array(bits, dtype=np.int8)
    wide = widened(labels, runs(labels), margin)
    assert labels.tolist() == bits and wide.dtype == labels.dtype
    assert [start for start, _ in runs(wide)] == [start for start, _ in runs(bits)]
    for row, bit in enumerate(bits):
        before = [rows[-1] for rows in naive.events(bits) if rows[-1] < row]
        after = [rows[0] for rows in naive.events(bits) if rows[0] > row]
        near = bool(before) and row - before[-1] <= margin
        free = not after or after[0] - row > 2
        assert wide[row] == int(bit or (near and free)), row
    protocol = Protocol("own", train_share=1.0, margin=margin)
    assert text(protocol.labels(series(text(bits)))) == text(wide)


def test_settings_are_imposed_where_a_detector_has_them():
    made = STUDY.detector("LightMMoE", seed=3, epochs=2)
    assert (made.held_out, made.first_scores) == (0.0, "zero")
    assert (made.seed, made.epochs, made.window) == (3, 2, 16)
    free = OURS.detector("LightMMoE")
    assert (free.held_out, free.first_scores, free.seed) == (0.1, "lowest", 0)
    for name in ("MTSExample", "random"):
        made = STUDY.detector(name, seed=3)
        assert made.name == name and made.settings == OURS.detector(name, seed=3).settings


def test_given_settings_win_over_imposed_ones():
    made = STUDY.detector("LightMMoE", held_out=0.2)
    assert (made.held_out, made.first_scores) == (0.2, "zero")
    assert STUDY.settings["held_out"] == 0.0


def test_unknown_names_and_settings():
    with pytest.raises(ValueError, match="no detector 'nothing': there are .*MTSExample"):
        STUDY.detector("nothing")
    with pytest.raises(ValueError, match="MTSExample has no setting 'epochs'"):
        STUDY.detector("MTSExample", epochs=2)


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
    chance = OURS.detector("random").fit(one.train).decision_function(one.test)
    return {
        "study": _f1s(STUDY.labels(one), scores),
        "no margin": _f1s(one.labels, scores),
        "all rows": _f1s(STUDY.labels(one), all_rows),
        "random": _f1s(OURS.labels(one), chance),
    }


@pytest.fixture(scope="module")
def machines():
    root = os.environ.get("LMMOE_DATA", "")
    folder = Path(root) / "SMD" / "ServerMachineDataset" / "train"
    if not root or not list(folder.glob("*.txt*")):
        pytest.skip("LMMOE_DATA is not set, or has no SMD")
    there = sorted({file.name.split(".")[0] for file in folder.glob("machine-*.txt*")})
    return {machine: _judged(machine) for machine in there}


def _expected(machine):
    return study_results().loc[("MTSExample", machine)].to_dict()


def test_every_machine_as_in_the_study(machines):
    for machine, found in machines.items():
        # The study's file has nine digits.
        assert found["study"] == pytest.approx(_expected(machine), rel=0, abs=1e-9), machine


def test_enough_machines_were_compared(machines):
    assert list(machines) and set(machines) == set(data.entities("smd"))
    if len(data.entities("smd")) >= 18:
        assert len(machines) >= 18
        groups = {machine.rsplit("-", 1)[0] for machine in machines}
        assert groups == {"machine-1", "machine-2", "machine-3"}


def test_the_comparison_notices_a_wrong_protocol(machines):
    for wrong in ("no margin", "all rows"):
        off = [m for m, found in machines.items() if found[wrong] != pytest.approx(_expected(m))]
        assert len(off) > len(machines) / 2, wrong
    if "machine-1-3" in machines:  # all rows would give .695 instead of .913
        found = machines["machine-1-3"]
        assert round(found["study"]["point_f1_pa"], 3) == 0.913
        assert round(found["all rows"]["point_f1_pa"], 3) == 0.695


def test_random_scores_reach_what_the_docstring_of_best_f1_says(machines):
    if len(machines) < 18:
        pytest.skip("too few machines for a mean")
    mean = np.mean([found["random"]["point_f1_pa"] for found in machines.values()])
    assert mean == pytest.approx(0.78, abs=0.03)
