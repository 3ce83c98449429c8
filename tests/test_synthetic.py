"""The generated fleet: the same everywhere, and neither too easy nor hopeless."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from lmmoe import data, detector
from lmmoe.data import synthetic
from lmmoe.data.synthetic import KINDS, LENGTHS, ROWS, SERVERS

IDS = {
    "web-1": "ef0d18de43c4",
    "db-1": "cb68e74b6300",
    "cache-1": "688eed448791",
    "batch-1": "2fb8a5776c47",
}


@pytest.fixture(scope="module")
def fleet():
    return {entity: synthetic.generate(entity) for entity in SERVERS}


def kinds(entity):
    return [fault.kind for fault in synthetic.plan(entity)]


def test_stored_values(fleet, tmp_path):
    """Listed and read without any file; a change of an id is a change of the data set."""
    assert kinds("web-1")[:4] == ["spike", "shift", "duration", "stuck"]
    np.testing.assert_allclose(fleet["web-1"].train[0, :3], [31.9133, 11.3581, 2.7747], atol=1e-6)
    assert data.entities("synthetic", tmp_path) == sorted(IDS)
    for entity, known in IDS.items():
        series = data.load("synthetic", entity, tmp_path)
        assert series.id == fleet[entity].id == known and series.rows_per_day == 1440
        assert data.files("synthetic", entity, tmp_path) == []


def test_seeds_differ_and_leave_the_global_stream_alone(fleet):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 it is what must not move
    other = synthetic.generate("web-1", seed=1)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert other.events != fleet["web-1"].events and other.id == "5641dde81bc0"
    assert abs(np.corrcoef(other.train[:, 9], fleet["web-1"].train[:, 9])[0, 1]) < 0.3


def test_plans_keep_their_bounds():
    for seed in range(20):
        faults = synthetic.plan("web-1", seed)
        assert {fault.kind for fault in faults} == set(KINDS) and 10 <= len(faults) <= 13
        assert faults[0].start >= 100 and faults[-1].end <= ROWS - 20
        assert all(b.start - a.end >= 20 for a, b in zip(faults, faults[1:], strict=False))
        assert 0.03 <= sum(fault.end - fault.start for fault in faults) / ROWS <= 0.08
        for fault in faults:
            shortest, longest = LENGTHS[fault.kind]
            assert shortest <= fault.end - fault.start <= longest


def test_each_kind_has_its_own_detector(fleet):
    """LightMMoE finds most, the size of a row the loud kinds, and nobody what is stuck."""
    precision, auc = {}, {}
    for name in ("LightMMoE", "MTSExample", "random", "last value"):
        precisions, aucs = [], {kind: [] for kind in KINDS}
        for entity, series in fleet.items():
            if name == "last value":
                sd = series.train.std(axis=0)
                steps = np.diff(series.test, axis=0, prepend=np.nan) / np.where(sd == 0, 1, sd)
                scores = (np.nan_to_num(steps) ** 2).sum(axis=1)
            else:
                scores = detector(name, seed=0).fit(series.train).decision_function(series.test)
            precisions.append(average_precision_score(series.labels, scores))
            for kind in KINDS:  # its rows against the normal ones
                rows = series.labels == 0
                for (start, end), its in zip(series.events, kinds(entity), strict=True):
                    rows[start:end] = its == kind
                aucs[kind].append(roc_auc_score(series.labels[rows], scores[rows]))
        precision[name] = np.mean(precisions)
        auc[name] = {kind: np.mean(values) for kind, values in aucs.items()}
        assert 0.3 < auc[name]["stuck"] < 0.65
    assert 0.4 < precision["LightMMoE"] < 0.9
    assert 0.2 < precision["MTSExample"] < min(0.5, precision["LightMMoE"] - 0.15)
    assert 0.04 < precision["random"] < 0.08
    assert precision["last value"] < 0.4
    assert 0.35 < auc["MTSExample"]["relation"] < 0.65 and auc["LightMMoE"]["relation"] > 0.75
    assert auc["MTSExample"]["spike"] > 0.95 and auc["MTSExample"]["shift"] > 0.8
