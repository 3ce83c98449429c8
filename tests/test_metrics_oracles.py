"""What independent programs gave for the same labels and scores (`oracles/README.md`)."""

import json
from pathlib import Path

import numpy as np
import pytest

from lmmoe.metrics import (
    affiliation,
    average_precision,
    best_affiliation_f1,
    best_f1,
    roc_auc,
    vus,
)

FOLDER = Path(__file__).parent / "oracles"
ORACLES = json.loads((FOLDER / "metrics.json").read_text(encoding="utf-8"))
STUDY = [(case, name) for case, values in ORACLES.items() for name in values["study"]]
TSB_AD = [(case, window) for case, values in ORACLES.items() for window in values["tsb_ad"]]
KINDS = {
    "point_f1_pa": {"adjust": "point"},
    "event_f1_pa_log": {"adjust": "log"},
    "event_f1_pa_squeeze": {"adjust": "squeeze"},
    "event_f1_pa_sqrt": {"adjust": "sqrt"},
    "event_f1_pa_raw": {"adjust": "raw"},
    "point_f1_delay3": {"adjust": "point", "delay": 3},
    "point_f1_delay10": {"adjust": "point", "delay": 10},
}


@pytest.fixture(scope="module")
def cases():
    with np.load(FOLDER / "cases.npz", allow_pickle=False) as file:
        return {
            name: {part: file[f"{name}__{part}"] for part in ("labels", "scores")}
            for name in ORACLES
        }


def test_nothing_is_left_out(cases):
    assert len(cases) == 10
    assert set(STUDY) == {(case, name) for case in cases for name in KINDS}
    assert len(TSB_AD) == 19  # two windows each, one for the smallest case


@pytest.mark.parametrize(("case", "name"), STUDY)
def test_as_the_studys_program(cases, case, name):
    expected = ORACLES[case]["study"][name]
    assert set(expected) == {"f1", "precision", "recall", "threshold"}
    found = best_f1(**cases[case], **KINDS[name])
    assert found._asdict() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("case", "window"), TSB_AD)
def test_as_tsb_ad(cases, case, window):
    expected = ORACLES[case]["tsb_ad"][window]
    volume = vus(**cases[case], window=int(window))
    found = {
        "AUC-ROC": roc_auc(**cases[case]),
        "AUC-PR": average_precision(**cases[case]),
        "VUS-ROC": volume.roc,
        "VUS-PR": volume.pr,
    }
    assert found == pytest.approx({name: expected[name] for name in found}, rel=0, abs=1e-6)


@pytest.mark.parametrize(("case", "window"), TSB_AD)
def test_the_best_f1_is_no_worse_than_a_grids(cases, case, window):
    # TSB-AD tries a grid of thresholds; the exact best can only be higher, and not by much.
    expected = ORACLES[case]["tsb_ad"][window]
    for name, adjust in (("Standard-F1", None), ("PA-F1", "point")):
        gain = best_f1(**cases[case], adjust=adjust).f1 - expected[name]
        assert -1e-6 < gain < 0.05, name


# At which score, counted from the highest, affiliation F1 is TSB-AD's: found by trying all.
PLACES = {
    "long": 35,
    "noise0": 12,
    "noise1": 331,
    "noise2": 62,
    "noise3": 101,
    "signal0": 31,
    "signal1": 180,
    "signal2": 122,
    "signal3": 1137,
    "tiny": 4,
}


@pytest.mark.parametrize("case", ORACLES)
def test_tsb_ads_affiliation_is_ours_at_one_of_the_scores(cases, case):
    # TSB-AD tries a grid of values, we one of ranks: neither best is always the higher. But its
    # value must be what our exact integrals give at some score, or the definitions differ.
    labels, scores = cases[case]["labels"], cases[case]["scores"]
    (expected,) = {values["Affiliation-F"] for values in ORACLES[case]["tsb_ad"].values()}
    threshold = np.sort(scores)[-1 - PLACES[case]]
    found = affiliation(labels=labels, alarms=scores >= threshold)
    assert found.f1 == pytest.approx(expected, abs=1e-12)
    assert best_affiliation_f1(**cases[case]).f1 > expected - 0.03
