"""The study's printed claims, each held against results by a rule.

`audit` gives the table (`audit_at_hand` the published one for other data than SMD); `counts`,
`counted` and `in_words` sum it up, `listed` shows a part of it; `chance` is what random scores
reach, to be shown beside every point-adjusted number.
"""

from lmmoe.report.claims.judging import VERDICTS
from lmmoe.report.claims.published_audit import audit_at_hand
from lmmoe.report.claims.registry import audit
from lmmoe.report.claims.words import chance, counted, counts, in_words, listed

__all__ = [
    "VERDICTS",
    "audit",
    "audit_at_hand",
    "chance",
    "counted",
    "counts",
    "in_words",
    "listed",
]
