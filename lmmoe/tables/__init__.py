"""Tables made from rows of runs (`lmmoe.runs`): seeds are averaged first, then entities."""

from lmmoe.tables.honest import HONEST, handful, honest, significance
from lmmoe.tables.means import (
    NUMBERS,
    by_entity,
    entity_means,
    of_profile,
    seed_spread,
    summary,
)
from lmmoe.tables.people import described, judged, readable
from lmmoe.tables.study import (
    STUDY_METRICS,
    by_machine,
    study_headline,
    study_results,
)
from lmmoe.tables.words import in_words

__all__ = [
    "HONEST",
    "NUMBERS",
    "STUDY_METRICS",
    "by_entity",
    "by_machine",
    "described",
    "entity_means",
    "handful",
    "honest",
    "in_words",
    "judged",
    "of_profile",
    "readable",
    "seed_spread",
    "significance",
    "study_headline",
    "study_results",
    "summary",
]
