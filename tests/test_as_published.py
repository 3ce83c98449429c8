"""AMAD's switches, and PCA and the range deviation judged as QuoVadis does."""

import numpy as np
import pytest
from test_pitfall_tables import write

import lmmoe
from lmmoe.data import Series
from lmmoe.detectors.amad import SWITCHES
from lmmoe.metrics import average_precision
from lmmoe.report import as_published
from lmmoe.report.experiment import Run
from lmmoe.report.pitfalls import Scored
from lmmoe.report.profile import Profile


@pytest.fixture
def profile(tmp_path, small_runs, monkeypatch):
    monkeypatch.setattr("lmmoe.paths.results", lambda name: tmp_path / "results" / name)
    folder = tmp_path / "own"
    folder.mkdir()
    write(folder, "pump")
    write(folder, "calm", labelled=False)
    detectors = {"AMAD": {"window": 16, "epochs": 1}, "random": {}}
    return Profile(dataset=str(folder), detectors=detectors, protocols=["study"])


def test_what_amads_switches_give(profile, monkeypatch):
    alone = [given for given in as_published.VARIANTS.values() if len(given) == 1]
    assert alone == [{name: False} for name in SWITCHES]
    found = as_published.amad(profile, ["pump", "calm"])
    assert list(found.index) == [*as_published.VARIANTS, "random"]
    made = profile.load("pump")
    one = Scored(Run(made, "AMAD", "study", 0, profile.detectors["AMAD"]))
    right = one.result.detector.rescored(made.test, wrong_sign=False)
    mended = average_precision(labels=made.labels, scores=right)
    row = found.loc["forest's sign right"]
    assert row["average_precision"] == pytest.approx(mended)
    assert row["average_precision_gain"] == pytest.approx(mended - one.average_precision)
    assert row["machines"] == 1 and np.isnan(row["average_precision_low"])  # no interval of one
    # A second time nothing is scored.
    monkeypatch.setattr(as_published, "Scored", None)
    assert as_published.amad(profile, ["pump"]).equals(found)


def test_no_amad_to_show(profile, monkeypatch):
    assert as_published.amad(profile, ["calm"]).empty
    without = Profile(dataset=profile.dataset, detectors={"PCA": {}}, protocols=["study"])
    assert as_published.amad(without).empty

    def fails(run):
        raise RuntimeError("no luck")

    monkeypatch.setattr(as_published, "Scored", fails)
    assert as_published.amad(profile, ["pump"]).empty  # left out


def test_a_score_of_two_values_by_hand():
    # Flagged: two of the three anomalous rows and two normal ones. F1 = 2 * 2 / (4 + 3). The curve:
    # precision 1 at recall 0, 1/2 at 2/3, 3/10 at 1.
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    f1, area = as_published.judged(labels, np.array([1, 1, 0, 1, 1, 0, 0, 0, 0, 0]))
    assert f1 == pytest.approx(4 / 7)
    assert area == pytest.approx((1 + 1 / 2) / 2 * 2 / 3 + (1 / 2 + 3 / 10) / 2 / 3)


def test_normalising_by_the_judged_rows_hides_a_noisy_channel():
    errors = np.abs(np.random.default_rng(0).normal(size=(400, 2))) * [100, 1]
    labels = np.zeros(400, dtype=int)
    labels[200:220], errors[200:220, 1] = 1, errors[200:220, 1] + 20
    plain = as_published.judged(labels, errors.max(axis=1))
    assert as_published.best_normalisation(labels, errors)[0] > 0.8 > 0.3 > plain[0]


def test_the_mean_looks_three_rows_ahead_and_five_back():
    errors, labels = np.zeros((40, 1)), np.zeros(40, dtype=int)
    errors[20], labels[17:26] = 9.0, 1
    assert as_published.best_normalisation(labels, errors) == pytest.approx((1, 1))


def test_entities_without_both_labels_are_left_out():
    rows = np.random.default_rng(1).normal(size=(300, 3))
    rows[199] += 9  # in the test rows; and in the training rows, which are the same
    some, none = (
        Series("smd", "machine", rows, rows[:200], labels, ("a", "b", "c"))
        for labels in ((np.arange(200) < 5).astype(np.uint8), np.zeros(200, np.uint8))
    )
    found = as_published.quovadis([none, some])
    errors = lmmoe.detector("PCA").fit(rows).channel_scores(some.test)
    best = as_published.best_normalisation(some.labels, errors)
    assert found.loc["PCA"].tolist() == list(best)
    learned = rows[:270]  # a tenth is held out
    outside = (some.test < learned.min(axis=0)) | (some.test > learned.max(axis=0))
    flagged = as_published.judged(some.labels, outside.any(axis=1).astype(float))
    assert found.loc["range deviation"].tolist() == list(flagged)
    assert as_published.quovadis([none]).empty
