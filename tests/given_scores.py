"""Scores that a test writes down, where the experiments expect a run's."""

from types import SimpleNamespace

import numpy as np

from lmmoe.metrics import average_precision
from lmmoe.segments import runs


def given(labels, scores, **others):
    """What `lmmoe.report.pitfalls.scored.Scored` offers, with these labels and scores."""
    labels = np.asarray(labels, dtype=np.int8)
    scores = np.asarray(scores, dtype=float)
    entity = others.pop("entity", "pump-1")
    days = others.pop("rows_per_day", None)
    series = SimpleNamespace(entity=entity, labels=labels, events=runs(labels), rows_per_day=days)
    found = average_precision(labels=labels, scores=scores)
    return SimpleNamespace(
        **{"series": series, "labels": labels, "scores": scores, "average_precision": found}
        | others
    )
