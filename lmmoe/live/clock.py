"""Whether a row comes when it should: repeated, late, after a gap, after the clock was set."""

from dataclasses import dataclass
from enum import Enum

BRIDGE = 3  # missing rows in a row that are filled with the last values; our choice
PATIENCE = 5  # late rows in rising order after which the clock is taken to have been set back


class Order(Enum):
    """What a row's time says."""

    NEXT = "next"
    BRIDGED = "short gap"  # some rows are missing: fill them
    GAP = "gap"  # too many are: what came before says nothing about this row
    SET_BACK = "clock set back"  # likewise
    REPEATED = "repeated"  # the time of the row before: not a row of its own
    LATE = "late"  # before the row before: its place is gone
    SEEN = "seen before the restart"  # somebody sends again what the saved state knows


@dataclass
class Clock:
    """Follows the rows' times, which are numbers in one unit.

    ``step`` is the time from row to row; None where it is not known, and then gaps are not seen.
    """

    step: float | None = None
    latest: float | None = None
    first: float | None = None  # since the start, or since the clock was set back
    behind: float | None = None  # the last late row
    late: int = 0  # late rows in rising order
    untimed: int = 0  # rows without a time since the latest one with
    resumed: bool = False  # after a restart, until a row's time is new
    again: bool = False  # the latest row was seen before the restart

    def look(self, time: float | None) -> tuple[Order, int]:
        """Judge a row's time; also give the number of rows missing before it.

        A row without a time is taken to be the next one, and is not missing later on; among rows
        that were seen before a restart, up to `PATIENCE` in a row are taken to be such as well.
        """
        if time is None:
            self.untimed += 1
            seen = self.again and self.untimed <= PATIENCE
            return (Order.SEEN if seen else Order.NEXT), 0
        if self.latest is None or time > self.latest:
            missing = self._missing(time)
            self._take(time)
            if missing > BRIDGE:
                return Order.GAP, missing
            return (Order.BRIDGED if missing else Order.NEXT), missing
        if self.resumed and self.first is not None and time >= self.first:
            self.again, self.untimed = True, 0
            return Order.SEEN, 0
        if time == self.latest:
            return Order.REPEATED, 0
        self.late = self.late + 1 if self.behind is not None and time > self.behind else 1
        self.behind = time
        if self.late < PATIENCE:
            return Order.LATE, 0
        self.first = time
        self._take(time)
        return Order.SET_BACK, 0

    def resume(self) -> None:
        """Go on after a restart: times that were seen are repeats, until there is a new one."""
        self.resumed, self.again = True, False

    def _take(self, time: float) -> None:
        self.latest, self.late, self.behind, self.untimed = time, 0, None, 0
        self.first = time if self.first is None else self.first
        self.resumed = self.again = False

    def _missing(self, time: float) -> int:
        if self.latest is None or not self.step:
            return 0
        # Half a step early or late is still the next row; the bound keeps the count an integer.
        away = round(min(max((time - self.latest) / self.step - 1, 0.0), 1e9))
        return max(away - self.untimed, 0)
