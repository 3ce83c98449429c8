"""Figures: functions that take data and return a matplotlib figure, all in one style."""

from lmmoe.report.plots.claims import claims_by_document, printed_against_measured
from lmmoe.report.plots.comparison import forest, heatmap, what_adjustment_hides
from lmmoe.report.plots.cost import quality_and_cost
from lmmoe.report.plots.data import (
    caused_by,
    closeup,
    correlations,
    event_map,
    shifts,
)
from lmmoe.report.plots.events import events_found, found_by
from lmmoe.report.plots.generalisation import errors_by_size
from lmmoe.report.plots.ranks import critical_difference
from lmmoe.report.plots.rescoring import model_or_scoring
from lmmoe.report.plots.study import against_study, study_differences
from lmmoe.report.plots.training import (
    attribution,
    forecasts,
    learning_curve,
    score_lanes,
)

__all__ = [
    "against_study",
    "attribution",
    "caused_by",
    "claims_by_document",
    "closeup",
    "correlations",
    "critical_difference",
    "errors_by_size",
    "event_map",
    "events_found",
    "forecasts",
    "forest",
    "found_by",
    "heatmap",
    "learning_curve",
    "model_or_scoring",
    "printed_against_measured",
    "quality_and_cost",
    "score_lanes",
    "shifts",
    "study_differences",
    "what_adjustment_hides",
]
