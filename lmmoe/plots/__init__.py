"""Figures: functions that take data and return a matplotlib figure, all in one style."""

from lmmoe.plots.comparison import (
    against_study,
    heatmap,
    quality_and_cost,
    what_adjustment_hides,
)
from lmmoe.plots.data import caused_by, channel_image, closeup, correlations, event_map, shifts
from lmmoe.plots.training import attribution, forecasts, gate_use, learning_curve, score_lanes

__all__ = [
    "against_study",
    "attribution",
    "caused_by",
    "channel_image",
    "closeup",
    "correlations",
    "event_map",
    "forecasts",
    "gate_use",
    "heatmap",
    "learning_curve",
    "quality_and_cost",
    "score_lanes",
    "shifts",
    "what_adjustment_hides",
]
