"""What a mistake is: words for people, and the experiment that makes it."""

from collections.abc import Callable
from dataclasses import dataclass

from lmmoe.report.pitfalls.fleet import Combine
from lmmoe.report.pitfalls.scored import Scored

# Whatever a mistake abuses; the order in which the report tells them.
GROUPS = (
    "Labels and rows",
    "Thresholds",
    "What the test half tells",
    "Averages and comparisons",
    "Metrics and data",
)


@dataclass(frozen=True)
class Mistake:
    """One way to flatter a detector, and how it is made here.

    ``metric`` is the number before and ``reported`` the number after, both columns of the results
    table where that has them. ``axis`` names what the settings count, where they are numbers.
    """

    number: int
    title: str
    group: str
    wrong: str  # one plain sentence
    source: str
    ask: str  # what to ask of a paper
    metric: str
    reported: str
    measure: Callable[[Scored], dict[str, float]]
    combine: Combine
    axis: str = ""
    first_seed_only: bool = False  # where it needs refits
    by_others: bool = False  # where it changes all but the study's subject
