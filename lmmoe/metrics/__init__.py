"""What a score is worth: metrics that take ``labels=`` and ``scores=`` and never guess.

``labels`` is ``(t,)`` of 0/1 with both present, ``scores`` is ``(t,)`` of finite numbers, higher
meaning more anomalous. Anything else raises `ValueError`. A metric that uses the labels for more
than counting says so in its name: ``best_f1`` takes the best threshold *on these very labels*;
``quantile``, ``alarm_budget`` and ``pot`` give thresholds that no label touches.
"""

from lmmoe.metrics.affiliation import (
    Affiliation,
    BestAffiliation,
    affiliation,
    best_affiliation_f1,
)
from lmmoe.metrics.alarms import Alarms, alarms
from lmmoe.metrics.diagnosis import Diagnosis, diagnosis
from lmmoe.metrics.f1 import ADJUSTMENTS, BestF1, best_f1, best_f1s
from lmmoe.metrics.pak import PAK, pa_k
from lmmoe.metrics.ranking import average_precision, roc_auc
from lmmoe.metrics.thresholds import alarm_budget, pot, quantile
from lmmoe.metrics.vus import VUS, vus

__all__ = [
    "ADJUSTMENTS",
    "PAK",
    "VUS",
    "Affiliation",
    "Alarms",
    "BestAffiliation",
    "BestF1",
    "Diagnosis",
    "affiliation",
    "alarm_budget",
    "alarms",
    "average_precision",
    "best_affiliation_f1",
    "best_f1",
    "best_f1s",
    "diagnosis",
    "pa_k",
    "pot",
    "quantile",
    "roc_auc",
    "vus",
]
