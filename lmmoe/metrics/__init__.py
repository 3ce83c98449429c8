"""What a score is worth: metrics that take ``labels=`` and ``scores=`` and never guess.

``labels`` is ``(t,)`` of 0/1 with both present, ``scores`` is ``(t,)`` of finite numbers, higher
meaning more anomalous. Anything else raises `ValueError`. A metric that uses the labels for more
than counting says so in its name: ``best_f1`` takes the best threshold *on these very labels*.
"""

from lmmoe.metrics.f1 import ADJUSTMENTS, BestF1, best_f1
from lmmoe.metrics.ranking import average_precision, roc_auc
from lmmoe.metrics.vus import VUS, vus

__all__ = ["ADJUSTMENTS", "VUS", "BestF1", "average_precision", "best_f1", "roc_auc", "vus"]
