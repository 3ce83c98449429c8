"""What a score is worth: metrics that take ``labels=`` and ``scores=`` and never guess.

``labels`` is ``(t,)`` of 0/1 with both present, ``scores`` is ``(t,)`` of finite numbers, higher
meaning more anomalous. Anything else raises `ValueError`. Scores that are all equal are judged
with a warning: ROC AUC is 1/2, average precision the prevalence. A metric that uses the labels for
more than counting says so in its name: ``best_f1`` takes the best threshold *on these very labels*;
``quantile``, ``alarm_budget`` and ``pot`` give thresholds that no label touches.
"""

from lmmoe.metrics.affiliation import affiliation, best_affiliation_f1
from lmmoe.metrics.alarms import Alarms, alarms
from lmmoe.metrics.diagnosis import diagnosis
from lmmoe.metrics.f1 import ADJUSTMENTS, average_precision, best_f1, pa_k, roc_auc
from lmmoe.metrics.thresholds import alarm_budget, pot, quantile
from lmmoe.metrics.vus import vus

__all__ = [
    "ADJUSTMENTS",
    "Alarms",
    "affiliation",
    "alarm_budget",
    "alarms",
    "average_precision",
    "best_affiliation_f1",
    "best_f1",
    "diagnosis",
    "pa_k",
    "pot",
    "quantile",
    "roc_auc",
    "vus",
]
