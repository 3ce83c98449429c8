"""What the rows' times say: gaps, late and repeated rows, a clock that was set back."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

BRIDGE = 3  # missing rows in a row in whose place the last values pass; our choice
PATIENCE = 5  # late rows in rising order after which the clock is taken to have been set back
SPANS = 64  # of times that a clock remembers
PACE = 1.05  # by how much a row changes what is known of the time from row to row
ODD_PACE = (0.55, 1.8)  # shares of the training rows' step at which a watch speaks up
SEEN = "seen before the restart"  # somebody sends again what the saved state knows


@dataclass
class Clock:
    """Follows the rows' times, which are numbers in one unit."""

    step: float | None = None  # from row to row; where it is not known, gaps are not seen
    latest: float | None = None  # time of the row before
    mark: int | None = None  # tells the latest row with a time from others
    spans: list[list[float]] = field(default_factory=list)  # times of rows; the last one grows
    pace: float = 0.0  # about the median of the times from row to row
    behind: float = math.inf  # the last late row
    late: int = 0  # late rows in rising order
    untimed: int = 0  # rows without a time since the latest one with
    resumed: bool = False  # after a restart, until a row is new

    def resume(self) -> None:
        """Expect rows that were sent before."""
        self.resumed, self.late, self.behind = self.latest is not None, 0, math.inf

    def look(self, time: float | None, mark: int = 0) -> tuple[str, int]:
        """Judge a row's time: what is odd, and the number of rows missing before it.

        "" for the next row; "short gap": some rows are missing: fill them; "gap": too many are, and
        what came before says nothing about this row, nor does it after "clock set back". A row that
        is "repeated" (the time of the row before), "late" (before it) or `SEEN` has no place.

        A row without a time is the next one, and is not missing later on. After a restart, a time
        at which rows were taken was seen, until the latest row comes again, known by its ``mark``:
        where a clock was wrong, new rows may have the times of old ones.
        """
        if time is None:
            self.untimed += 1
            return "", 0
        if self.resumed and self._known(time):
            self.resumed, self.late = (time, mark) != (self.latest, self.mark), 0
            return SEEN, 0
        if time == self.latest:
            return "repeated", 0
        if self.latest is not None and time < self.latest:
            self.late = self.late + 1 if time > self.behind else 1
            self.behind = time
            if self.late < PATIENCE:
                if not self._known(time):
                    self._keep([time, time], len(self.spans) - 1)
                return "late", 0
            self._take(time, mark)
            return "clock set back", 0
        if self.latest is None:
            self._take(time, mark)
            return "", 0
        passed, missing = time - self.latest, 0
        self.pace = self.pace or self.step or passed
        if self.step:  # half a step early or late is still the next row; the bound makes an integer
            missing = max(round(min(passed / self.step - 1, 1e9)) - self.untimed, 0)
        apart = passed > (BRIDGE + 2) * self.pace * (self.untimed + 1)
        self.pace *= PACE if passed > self.pace else 1 / PACE
        self._take(time, mark, apart=apart)
        return "gap" if missing > BRIDGE else "short gap" if missing else "", missing

    @property
    def odd_pace(self) -> bool:
        """Whether rows come at half or twice the interval of the training rows."""
        share = self.pace / self.step if self.step and self.pace else 1.0
        return not ODD_PACE[0] < share < ODD_PACE[1]

    def _take(self, time: float, mark: int, *, apart: bool = True) -> None:
        self.latest, self.late, self.behind, self.untimed = time, 0, math.inf, 0
        self.resumed, self.mark = False, mark
        if apart:
            self._keep([time, time], len(self.spans))
        self.spans[-1][1] = time

    def _known(self, time: float) -> bool:
        return any(first <= time <= last for first, last in self.spans)

    def _keep(self, span: list[float], place: int) -> None:
        """Keep a span; of too many, the two with the smallest hole between become one."""
        self.spans.insert(place, span)
        if len(self.spans) > SPANS:
            old = sorted(self.spans[:-1])
            holes = [after[0] - before[1] for before, after in pairwise(old)]
            at = holes.index(min(holes))
            last = max(old[at][1], old[at + 1][1])
            self.spans[:-1] = [*old[:at], [old[at][0], last], *old[at + 2 :]]
