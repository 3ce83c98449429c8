"""Tables made from rows of runs (`lmmoe.report.runs`): seeds are averaged first, then entities."""

from lmmoe.report.tables import generalisation, others, reproduced, rescoring
from lmmoe.report.tables.events import BLIND, events_in_words, finders, found_events, hard_events
from lmmoe.report.tables.honest import (
    AHEAD,
    HONEST,
    ahead_in_words,
    example,
    handful,
    honest,
    seeds_in_words,
    significance,
)
from lmmoe.report.tables.means import (
    NUMBERS,
    by_entity,
    entity_means,
    of_profile,
    seed_spread,
    summary,
)
from lmmoe.report.tables.people import beside_study, described, judged, readable
from lmmoe.report.tables.study import (
    STUDY_METRICS,
    by_machine,
    study_headline,
    study_results,
)
from lmmoe.report.tables.words import in_words

__all__ = [
    "AHEAD",
    "BLIND",
    "HONEST",
    "NUMBERS",
    "STUDY_METRICS",
    "ahead_in_words",
    "beside_study",
    "by_entity",
    "by_machine",
    "described",
    "entity_means",
    "events_in_words",
    "example",
    "finders",
    "found_events",
    "generalisation",
    "handful",
    "hard_events",
    "honest",
    "in_words",
    "judged",
    "of_profile",
    "others",
    "readable",
    "reproduced",
    "rescoring",
    "seed_spread",
    "seeds_in_words",
    "significance",
    "study_headline",
    "study_results",
    "summary",
]
