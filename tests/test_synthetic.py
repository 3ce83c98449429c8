"""The generated fleet: the same everywhere, and neither too easy nor hopeless."""

import re

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from lmmoe import data, detector
from lmmoe.data.synthetic import EVENTS

KINDS = ("spike", "shift", "relation", "duration", "stuck", "leak")
IDS = {
    "web-1": "ef0d18de43c4",
    "db-1": "cb68e74b6300",
    "cache-1": "688eed448791",
    "batch-1": "2fb8a5776c47",
}


@pytest.fixture(scope="module")
def fleet():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 it is what must not move
    made = {entity: data.load("synthetic", entity) for entity in IDS}
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    return made


def test_stored_values(fleet, tmp_path):
    """Listed and read without any file; a change of an id is a change of the data set."""
    assert data.entities("synthetic", tmp_path) == sorted(IDS)
    for entity, known in IDS.items():
        assert fleet[entity].id == known and data.files("synthetic", entity) == []
        words = re.findall(r"\w+ (\d+)-(\d+)", EVENTS[entity])
        assert fleet[entity].events == [(int(start), int(end)) for start, end in words]
        assert [cause[:2] for cause in fleet[entity].causes] == fleet[entity].events


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
                its = re.findall("[a-z]+", EVENTS[entity])
                for (start, end), this in zip(series.events, its, strict=True):
                    rows[start:end] = this == kind
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
