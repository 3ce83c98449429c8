"""Lines in, alarms out: lines as rows, what their times say, and all that can go wrong counted.

``docs/live.md`` tells what a watch makes of each fault.
"""

import csv
import json
import math
import time as clocks
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.data.series import GAPS, LABELS, TIMES
from lmmoe.errors import DataError
from lmmoe.live.model import Model
from lmmoe.live.stream import BRIDGE, WARMING_UP, Step, Stream

LONGEST = 1_000_000  # bytes of a line; a longer one is no row
SHOWN = 100  # characters of a time or a name that are passed on
WORDS = {"true": 1.0, "false": 0.0} | dict.fromkeys(GAPS, math.nan)
PATIENCE = 5  # late rows in rising order after which the clock is taken to have been set back
FIRST = 10  # rows, one of which must have a time where times are to be expected
BLIND = 60  # rows in a row without a score, but for those that warm up, that are an emergency
SPANS = 64  # of times that a clock remembers
PACE = 1.05  # by how much a row changes what is known of the time from row to row
ODD_PACE = (0.55, 1.8)  # shares of the training rows' step at which a watch speaks up
ENTITIES = 100_000  # at most: names may be garbage
SILENT = 10  # steps, and at least a minute, without a row after which an entity is silent


class Skipped(ValueError):
    """A line that is no row: the kind, for counting, and a detail."""


class Row(NamedTuple):
    """Values ``(c,)``, NaN where missing, and when they were taken."""

    values: npt.NDArray[np.float64]
    time: float | None = None  # a number as it was, or a date in seconds since 1970
    written: str | float | None = None  # what stood there


class Layout(NamedTuple):
    """Where cells stand under names: each channel's place, -1 without one, and the time's."""

    names: list[str]
    places: list[int]
    time: int | None


class Reader:
    """Splits lines into cells, and finds the names of their columns.

    A line that begins with ``{`` is a row by names, any other comma-separated cells under the last
    header. Telegraf's nested ``fields`` and ``tags`` are read as if they were not nested. A header
    is a line without a number or a date that holds most of the names ``known``, or the first one of
    at least ``least`` cells. With a ``key``, that is the first header's name that must be known,
    and most of the last header's thereafter.
    """

    def __init__(self, model: Model | None, key: str | None) -> None:
        self.key, self.named = key, model is None or model.facts.named
        self.known = frozenset([key] if key else model.channels)
        self.least = math.inf if key else max(len(self.known), 1 + self.named)
        self.pattern = model and model.facts.pattern
        self.lines, self.header = 0, None

    def read(self, line: bytes) -> tuple[list[str] | None, list] | None:
        """Give names and cells; None for a header or a blank line; raises `Skipped`."""
        if len(line) > LONGEST:
            raise Skipped("line too long", f"more than {LONGEST} bytes")
        text = line.decode("utf-8", errors="replace").strip().removeprefix("\ufeff")
        if not text:
            return None
        self.lines += 1
        if text[0] == "{":
            try:
                found = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise Skipped("not JSON", type(error).__name__) from error
            for part in ("tags", "fields"):
                if isinstance(found.get(part), dict):
                    found |= found.pop(part)
            return list(found), list(found.values())
        try:
            cells = next(csv.reader([text]))
        except csv.Error as error:
            raise Skipped("not CSV", str(error)) from error
        if not self._is_header(cells):
            return self.header, cells
        names = [cell.strip() for cell in cells]
        if self.named or not self.known.isdisjoint(names):  # else the model knows of no names
            self.header = names
            self.known = frozenset(names) if self.key else self.known
        return None

    def _is_header(self, cells: list[str]) -> bool:
        last = number(cells[-1])
        if last is not None and math.isfinite(last):  # nearly all rows: no need to look further
            return False
        words = [word for word in map(str.strip, cells) if word.lower() not in WORDS]
        if not words or any(moment(one, self.pattern) or number(one) is not None for one in words):
            return False
        # A greeting before the rows is no header: there are too few cells in it.
        enough = self.lines == 1 and len(cells) >= self.least
        return enough or 2 * len(self.known.intersection(words)) > len(self.known)


class Columns:
    """Takes a model's channels and the time from cells; ``counts`` counts what was odd.

    Columns are known by their names (those of times and labels are `lmmoe.data.own`'s): one that is
    no channel is left out, a channel without one has no values. Without names, cells stand in the
    model's order, perhaps after the time. ``time`` names the time column; without it, that is the
    training rows', or else one of a common name.
    """

    def __init__(
        self, model: Model, time: str | None, key: str | None, counts: Counter[str]
    ) -> None:
        facts, self.channels, self.counts = model.facts, model.channels, counts
        self.known, self.columns = frozenset(self.channels), list(self.channels)
        self.pattern, self.key = facts.pattern, key
        wanted, taken = time or facts.time, {name.lower() for name in self.channels}
        # Names of the time column in small letters, the likeliest first.
        self.times = [wanted.lower()] if wanted else []
        self.times += [] if time else [name for name in TIMES if name not in taken]
        self.changed: dict[str, list[str]] = {}  # columns, by the latest header or object
        self.dates: bool | None = None  # whether times are dates; if not known, the first decides
        self.layout: Layout | None = None  # of the latest row with names

    def row(self, names: list[str] | None, cells: list) -> Row:
        """Take a row; raises `Skipped` for a wrong number of cells."""
        layout = self.layout
        if names is None:
            first = int(len(cells) != len(self.channels))
            names = [*[""] * first, *self.channels]
            layout = Layout(names, list(range(first, len(names))), 0 if first else None)
        elif layout is None or (names is not layout.names and names != layout.names):
            layout = self.layout = self._layout(names)
        if len(cells) != len(layout.names):
            detail = f"{len(cells)}, expected {len(layout.names)}"
            raise Skipped("wrong number of cells", detail)
        time = None if layout.time is None else cells[layout.time]
        cells = [*cells, None]  # for channels without a place
        cells = [cells[place] for place in layout.places]
        try:
            values = np.array([float(cell) for cell in cells])
        except (TypeError, ValueError, OverflowError):
            found = [number(cell) for cell in cells]
            values = np.array([math.nan if value is None else value for value in found])
            self.counts += {"cells of text": found.count(None)}
        if time is None:
            return Row(values)
        seconds, date = moment(time, self.pattern) or (None, None)
        written = time[:SHOWN] if isinstance(time, str) else seconds
        if date is None or self.dates not in (None, date):
            self.counts["times not understood"] += 1
            return Row(values, None, written)
        self.dates = date
        return Row(values, seconds, written)

    def _layout(self, names: list[str]) -> Layout:
        """Find the cells of channels and time; count the columns that have changed."""
        lower = [name.lower() for name in names]
        time = next((lower.index(name) for name in self.times if name in lower), None)
        others = [*LABELS, *([] if time is None else [lower[time]])]
        columns = {name for name in names if name.lower() not in others and name != self.key}
        new, lost = columns.difference(self.known, self.columns), self.known - columns
        lost = lost.intersection(self.columns)
        self.changed = {"new columns": sorted(new), "lost columns": sorted(lost)}
        self.counts += {kind: len(those) for kind, those in self.changed.items()}
        self.columns = sorted(columns)
        places = [names.index(name) if name in names else -1 for name in self.channels]
        return Layout(names, places, time)


def number(cell: object) -> float | None:
    """Give a cell's value, NaN for a gap; None for what is no number."""
    try:
        return float(cell)
    except OverflowError:  # a whole number with hundreds of digits
        return math.inf if cell > 0 else -math.inf
    except (TypeError, ValueError):
        if cell is None:
            return math.nan
        return WORDS.get(cell.strip().lower()) if isinstance(cell, str) else None


def moment(cell: object, pattern: str | None = None) -> tuple[float, bool] | None:
    """When a row was taken: a number as it is, or a date as seconds since 1970 (True).

    Dates are ISO 8601, or as ``pattern`` has it (`datetime.strptime`); one without a zone is taken
    as UTC. None for anything else: a date that reads in two ways would put rows in the wrong order
    without a word.
    """
    found = number(cell)
    if found is not None:
        return (found, False) if math.isfinite(found) else None
    if not isinstance(cell, str):
        return None
    try:
        text = cell.strip()
        date = datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)
    except ValueError:
        return moment(cell) if pattern else None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp(), True


class Order(StrEnum):
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

    def look(self, time: float | None, mark: int = 0) -> tuple[Order, int]:
        """Judge a row's time; also give the number of rows missing before it.

        A row without a time is taken to be the next one, and is not missing later on. After a
        restart, a time at which rows were taken was seen, until the latest row comes again, known
        by its ``mark``: where a clock was set back, or was wrong by years for a row, the times of
        new rows may be those of old ones.
        """
        if time is None:
            self.untimed += 1
            return Order.NEXT, 0
        if self.resumed and self._known(time):
            self.resumed, self.late = (time, mark) != (self.latest, self.mark), 0
            return Order.SEEN, 0
        if self.latest is None or time > self.latest:
            missing, apart = 0, False
            if self.latest is not None:
                passed = time - self.latest
                self.pace = self.pace or self.step or passed
                apart = passed > (BRIDGE + 2) * self.pace * (self.untimed + 1)
                self.pace *= PACE if passed > self.pace else 1 / PACE
                if self.step:
                    # Half a step early or late is still the next row; the bound makes an integer.
                    away = round(min(max(passed / self.step - 1, 0.0), 1e9))
                    missing = max(away - self.untimed, 0)
            order = Order.GAP if missing > BRIDGE else Order.BRIDGED if missing else Order.NEXT
            self._take(time, mark, apart=apart)
            return order, missing
        if time == self.latest:
            return Order.REPEATED, 0
        self.late = self.late + 1 if time > self.behind else 1
        self.behind = time
        if self.late < PATIENCE:
            if not self._known(time):
                self._keep([time, time], len(self.spans) - 1)
            return Order.LATE, 0
        self._take(time, mark, apart=True)
        return Order.SET_BACK, 0

    @property
    def odd_pace(self) -> bool:
        """Whether rows come at half or twice the interval of the training rows."""
        return bool(self.step and self.pace) and not (
            ODD_PACE[0] * self.step < self.pace < ODD_PACE[1] * self.step
        )

    def _take(self, time: float, mark: int, *, apart: bool) -> None:
        self.latest, self.late, self.behind, self.untimed = time, 0, math.inf, 0
        self.resumed, self.mark = False, mark
        if self.spans and not apart:
            self.spans[-1][1] = time
        else:
            self._keep([time, time], len(self.spans))

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


class Tally:
    """Counts odd rows by kind, tells of the first of each, and of rows that have no score."""

    def __init__(self, name: str, tell: Callable[[str], None]) -> None:
        self.name, self.tell = name, tell
        self.rows = self.blind = 0  # rows; those since the last score that should have had one
        self.counts = {name: Counter() for name in ("skipped", "unscored", "events", "mended")}

    def count(self, name: str, kind: str, detail: str) -> None:
        """Count an odd row."""
        self.counts[name][str(kind)] += 1
        if self.counts[name][kind] == 1 and kind != WARMING_UP:
            self.say(f"{kind} ({detail}); more of these are only counted")
        if name != "events" and kind not in (WARMING_UP, Order.SEEN):
            self.blind += 1
            if self.blind == BLIND:
                self.say(f"NOTHING IS WATCHED: {BLIND} rows without a score, now {kind} ({detail})")

    def say(self, text: str) -> None:
        """Tell something, with its place."""
        self.tell(f"{self.name}{self.name and ', '}row {self.rows - 1}: {text}")


class Entity(Tally):
    """What a watch knows of one machine: its stream, clock, columns and counts."""

    OWN = ("rows", "blind", "alarms", "alarm", "since", "peak", "score")

    def __init__(
        self, name: str, model: Model, tell: Callable[[str], None], **given: object
    ) -> None:
        super().__init__(name, tell)
        self.heard, self.silent = clocks.monotonic(), False
        self.alarms, self.alarm, self.score = 0, "", math.nan  # count, id of the latest, last score
        self.since, self.peak = None, 0.0  # of the latest alarm: time, highest score
        self.given = given
        self._use(model, **given)

    def _use(
        self,
        model: Model,
        *,
        key: str | None = None,
        time: str | None = None,
        step: float | None = None,
        top: int = 5,
        silent: float | None = None,
        **options: object,
    ) -> None:
        if step is not None and not 0 < step < math.inf:
            raise DataError(f"step={step}: a number above 0 is needed")
        facts, self.stream = model.facts, Stream(model, **options)
        self.model, self.top, self.counts["mended"] = model, top, self.stream.counts
        self.columns = Columns(model, time, key, self.stream.counts)
        self.timed = bool(time or step or facts.step)  # as is expected
        self.clock = Clock(step or facts.step)
        if step is None and facts.step:
            self.columns.dates = facts.dates
        seconds = SILENT * facts.step if facts.step and facts.dates else 10 * 60.0
        self.patience = max(60.0, seconds) if silent is None else silent

    @property
    def scored(self) -> int:
        """Rows with a score."""
        return self.rows - self.counts["skipped"].total() - self.counts["unscored"].total()

    def take(self, names: list[str] | None, cells: list, mark: int) -> list[dict[str, object]]:
        """Take a row; give what happens to alarms with it."""
        self.rows, self.heard = self.rows + 1, clocks.monotonic()
        if self.silent:
            self.silent = False
            self.say("rows come again")
        found, mended = [], self.counts["mended"]
        told = len(mended)
        try:
            row = self.columns.row(names, cells)
        except Skipped as skipped:
            self.count("skipped", *skipped.args)
            return []
        if self._in_order(row, mark, found):
            self._scored(row, found)
        for kind in list(mended)[told:] if len(mended) > told else ():
            which = ", ".join(self.columns.changed.get(kind, ())[:5])
            self.say(f"{kind}{which and f' ({which})'}; more of these are only counted")
        return found

    def _in_order(self, row: Row, mark: int, found: list[dict[str, object]]) -> bool:
        """Follow the clock; tell whether the row is one to score."""
        order, missing = self.clock.look(row.time, mark)
        if order in (Order.REPEATED, Order.LATE, Order.SEEN):
            self.count("skipped", order, f"at {row.written}")
            return False
        if order is not Order.NEXT:
            self.count("events", order, f"{missing} rows missing before {row.written}")
        if self.clock.odd_pace and not self.counts["events"]["other interval"]:
            pace = f"about {self.clock.pace:.3g} from row to row, {self.clock.step:.3g} in training"
            self.count("events", "other interval", f"{pace}: alarms a day are not as was asked for")
        if order is Order.BRIDGED:
            self.stream.bridge(missing)
        elif order in (Order.GAP, Order.SET_BACK):
            if self.stream.in_alarm:
                found.append(self._event("ended", row, self.stream.threshold, reason="gap"))
            self.stream.restart()
        return True

    def _scored(self, row: Row, found: list[dict[str, object]]) -> None:
        stream, alarm = self.stream, self.stream.alarm
        threshold, may_go_on = stream.threshold, stream.in_alarm and not alarm.open
        step = stream.step(row.values)
        if self.timed and stream.rows == FIRST and self.clock.latest is None:
            self.say(f"none of the first {FIRST} rows has a time that can be read: no gap is seen")
        if step.why:
            self.count("unscored", step.why, "no score")
        else:
            self.blind, self.score = 0, step.score
        if may_go_on and step.event != "still":
            found.append(self._event("ended", row, threshold, step, reason="quiet"))
        if not step.event:
            return
        if step.event == "opened":
            self.alarms, self.since, self.peak = self.alarms + 1, row.written, step.score
            when = "" if row.written is None else f" {row.written}"
            self.alarm = f"{self.name}{when} {stream.rows - 1}".strip()
        self.peak = max(self.peak, stream.units.score(alarm.peak))
        if step.event == "accepted":
            found.append(self._event("ended", row, threshold, step, reason="accepted as normal"))
        elif step.event != "ended":
            found.append(self._event(step.event, row, threshold, step))
        elif not stream.in_alarm:  # else the next row tells
            found.append(self._event("ended", row, threshold, step, reason="quiet"))

    def _event(
        self, event: str, row: Row, threshold: float, step: Step | None = None, reason: str = ""
    ) -> dict[str, object]:
        """Tell what happens to the alarm, as plain values."""
        stream, score = self.stream, None if step is None or step.why else step.score
        parts = {} if score is None else getattr(stream.scorer, "added", {})
        far = None if score is None else float(stream.units(score) - stream.units(threshold))
        return {
            "id": self.alarm,
            "event": event,
            **({"reason": reason} if reason else {}),
            "entity": self.name,
            "time": row.written,
            "since": self.since,
            "row": stream.rows - (step is not None),
            "score": score,
            "threshold": threshold,
            "severity": far,
            "peak": self.peak,
            "detector": self.model.detector.name,
            "views": {view: float(part[0]) for view, part in parts.items()},
            "channels": [] if score is None else stream.explain(step, self.top),
        }

    def dump(self) -> bytes:
        """Give all that the next rows depend on besides model and options."""
        own = {name: getattr(self, name) for name in self.OWN} | {"kinds": self.counts}
        own |= {"dates": self.columns.dates, "columns": [*self.columns.columns]}
        return self.stream.dump(watch=own | {"clock": asdict(self.clock)})

    def renew(self, model: Model) -> None:
        """Go on with another model."""
        state, clock = self.dump(), self.clock
        self._use(model, **self.given)
        step, self.clock = self.clock.step, clock
        self.load(state)
        clock.step, self.clock = step, clock

    def load(self, state: bytes) -> None:
        """Go on from what `dump` gave; `DataError` where it is damaged or does not fit."""
        own = self.stream.load(state)["watch"]
        for name in self.OWN:
            setattr(self, name, own[name])
        for name in ("skipped", "unscored", "events"):
            self.counts[name] = Counter(own["kinds"][name])
        self.columns.dates, self.columns.columns = own["dates"], own["columns"]
        self.clock = Clock(**own["clock"] | {"step": self.clock.step})
        self.clock.resume()


class Watch:
    """Reads lines of rows of one machine or many, and gives what happens to their alarms.

    ``models`` is a model for all, or gives the one of an entity's name, None where there is none.
    ``key`` names the column of the entities' names; without it, all rows are of ``entity``.
    ``time`` names the time column, ``step`` is the time from row to row in its unit (seconds for
    dates); by default both are those of the training rows. ``top`` channels are named by an alarm.
    An entity without a row for ``silent`` seconds is told (default: 10 steps, at least a minute).
    ``tell`` gets messages for the operator: the first of each kind of fault. Other options:
    `Stream`'s. Raises `DataError` for an option that cannot be used.

    ``entities`` has the state of each, by name; ``changed`` the names of those with new rows.
    """

    def __init__(
        self,
        models: Model | Callable[[str], Model | None],
        *,
        key: str | None = None,
        entity: str = "",
        tell: Callable[[str], None] = print,
        **options: object,
    ) -> None:
        self.models = (lambda name: models) if isinstance(models, Model) else models
        self.key, self.tell, self.given = key, tell, (given := options | {"key": key})
        self.entities, self.changed, self.unknown = {}, set(), set()
        self.reader = Reader(None if key else self.models(entity), key)
        self.looked = clocks.monotonic()
        self.stray = Tally("", tell) if key else Entity(entity, self.models(entity), tell, **given)
        if not key:
            self.entities[entity] = self.stray

    def feed(self, line: bytes) -> list[dict[str, object]]:
        """Take the next line; give the events of alarms as plain values, mostly none."""
        try:
            found = self.reader.read(line)
            if found is None:
                return []
            entity = self._entity(*found) if self.key else self.stray
        except Skipped as skipped:
            self.stray.rows += 1
            self.stray.count("skipped", *skipped.args)
            return []
        if self.key:
            self.stray.blind = 0
        self.changed.add(entity.name)
        return entity.take(*found, zlib.crc32(line))

    def _entity(self, names: list[str] | None, cells: list) -> Entity:
        """Find whose row it is; a new one is begun."""
        if names is None or self.key not in names:
            raise Skipped("no entity", f"no column {self.key}")
        place = names.index(self.key)
        name = str(cells[place]).strip()[:SHOWN] if place < len(cells) else ""
        if name in self.entities:
            return self.entities[name]
        if not name or name in self.unknown:
            raise Skipped("no entity", f"no name in column {self.key}" if not name else name)
        try:
            model = self.models(name) if len(self.entities) < ENTITIES else None
            problem = "no model for this one"
        except DataError as error:
            model, problem = None, str(error)
        if model is None:
            self.unknown.add(name)
            self.tell(f"{name}: {problem}; its rows are left out")
            raise Skipped("no entity", name)
        entity = self.entities[name] = Entity(name, model, self.tell, **self.given)
        return entity

    def look_around(self) -> None:
        """Take models that have changed, and tell of entities that have fallen silent."""
        self.unknown.clear()
        self.looked = clocks.monotonic()
        for name, entity in self.entities.items():
            model = self.models(name)
            if model is not None and model is not entity.model:
                self.changed.add(name)
                try:
                    entity.renew(model)
                    entity.say("its model was read again")
                except DataError as error:
                    entity.say(f"its model was read again: starting afresh ({error})")
            away = self.looked - entity.heard
            if away > entity.patience and not entity.silent:
                entity.silent = True
                entity.say(f"SILENT: no row for {away:.0f} s")

    def report(self) -> dict[str, object]:
        """Give the counts of all, as plain values."""
        all_of = [*self.entities.values(), *([self.stray] if self.key else [])]
        names = ("rows", "scored", "alarms")
        found = {name: sum(getattr(one, name, 0) for one in all_of) for name in names}
        for name in self.stray.counts:
            kinds = sum((one.counts[name] for one in all_of), Counter())
            found |= {name: dict(kinds)} if kinds else {}
        return found

    @property
    def blind(self) -> list[str]:
        """Names of those whose rows had no score for long; "" for lines of nobody."""
        all_of = {self.stray, *self.entities.values()}
        return sorted(one.name for one in all_of if one.blind >= BLIND)

    def dump(self, pending: list[str]) -> dict[str, bytes]:
        """Give the states of those with new rows, and what is common to all; `load` takes them."""
        common = {"header": self.reader.header, "lines": self.reader.lines, "pending": pending}
        states = {f" {name}": self.entities[name].dump() for name in self.changed}
        return states | {"": json.dumps(common).encode()}

    def load(self, states: dict[str, bytes]) -> list[str]:
        """Go on from all that `dump` ever gave; what does not fit starts afresh. Give `pending`."""
        common = json.loads(states.pop("", b"{}"))
        self.reader.header, self.reader.lines = common.get("header"), common.get("lines", 0)
        if self.key and self.reader.header:
            self.reader.known = frozenset(self.reader.header)
        for name, state in states.items():
            name = name[1:]
            try:
                if self.key and (model := self.models(name)):
                    self.entities[name] = Entity(name, model, self.tell, **self.given)
                if name in self.entities:
                    self.entities[name].load(state)
            except DataError as error:
                self.tell(f"{name}: {error}: starting afresh")
        return common.get("pending", [])
