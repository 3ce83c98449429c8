"""Lines of one machine or many in, events of alarms out; ``docs/live.md`` tells of each fault."""

import json
import math
import time as clocks
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

from lmmoe.errors import DataError
from lmmoe.live.clock import SEEN, Clock
from lmmoe.live.lines import SHOWN, Reader, Row, Skipped
from lmmoe.live.model import Model
from lmmoe.live.stream import WARMING_UP, Step, Stream

FIRST = 10  # rows, one of which must have a time where times are to be expected
BLIND = 60  # rows in a row without a score, but for those that warm up, that are an emergency
ENTITIES = 100_000  # at most: names may be garbage
SILENT = 10  # steps, and at least a minute, without a row after which an entity is silent
Event = dict[str, object]
REASONS = {"ended": "quiet", "gap": "gap", "accepted": "accepted as normal"}  # of an alarm's end


class Tally:
    """Counts odd rows by kind, tells of the first of each, and of rows that have no score."""

    def __init__(self, name: str, tell: Callable[[str], None]) -> None:
        self.name, self.tell = name, tell
        self.rows = self.scored = self.alarms = 0
        self.blind = 0  # rows since the last score that should have had one
        self.counts = {name: Counter() for name in ("skipped", "unscored", "events", "mended")}

    def count(self, name: str, kind: str, detail: str) -> None:
        """Count an odd row."""
        self.counts[name][kind] += 1
        if self.counts[name][kind] == 1 and kind != WARMING_UP:
            self.say(f"{kind} ({detail}); more of these are only counted")
        if name != "events" and kind not in (WARMING_UP, SEEN):
            self.blind += 1
            if self.blind == BLIND:
                self.say(f"NOTHING IS WATCHED: {BLIND} rows without a score, now {kind} ({detail})")

    def say(self, text: str) -> None:
        """Tell something, with its place."""
        self.tell(f"{self.name and f'{self.name}, '}row {self.rows - 1}: {text}")


class Entity(Tally):
    """What a watch knows of one machine: its stream, its clock and its counts."""

    OWN = ("rows", "scored", "blind", "alarms", "alarm", "since", "score")

    def __init__(
        self,
        name: str,
        model: Model,
        tell: Callable[[str], None],
        *,
        silent: float | None = None,
        **options: object,
    ) -> None:
        super().__init__(name, tell)
        step, self.model, self.stream = model.facts.step, model, Stream(model, **options)
        self.offered = model  # the latest that was tried
        self.counts["mended"], self.clock = self.stream.counts, Clock(step)
        seconds = SILENT * (step if step and model.facts.dates else 60.0)
        self.patience = max(60.0, seconds) if silent is None else silent
        self.heard, self.silent, self.score = clocks.monotonic(), False, math.nan
        self.alarm, self.since = "", None  # id and time of the latest

    def take(self, cells: dict[str, object], mark: int) -> list[Event]:
        """Take a row; give what happens to alarms with it."""
        self.rows, self.heard = self.rows + 1, clocks.monotonic()
        if self.silent:
            self.silent = False
            self.say("rows come again")
        found, mended, told = [], self.counts["mended"], {*self.counts["mended"]}
        row = self.model.columns.row(cells, mended)
        try:
            self._follow(row, mark, found)
            self._score(row, found)
        except Skipped as skipped:
            self.count("skipped", *skipped.args)
        for kind in mended.keys() - told:
            which = ", ".join(self.model.columns.lost[:5]) if kind == "lost columns" else "a cell"
            self.say(f"{kind} ({which}); more of these are only counted")
        return found

    def _follow(self, row: Row, mark: int, found: list[Event]) -> None:
        """Follow the clock; raises `Skipped` for a row whose place is gone."""
        kind, missing = self.clock.look(row.time, mark)
        if kind in ("repeated", "late", SEEN):
            raise Skipped(kind, f"at {row.written}")
        if kind:
            self.count("events", kind, f"{missing or 'no'} rows missing before {row.written}")
        if self.clock.odd_pace and not self.counts["events"]["other interval"]:
            pace = f"about {self.clock.pace:.3g}, {self.clock.step:.3g} in training"
            self.count("events", "other interval", f"{pace}: alarms a day are not as asked for")
        if kind == "short gap":
            self.stream.bridge(missing)
        elif kind:
            if self.stream.alarm.open:
                found.append(self._event("gap", row, self.stream.threshold, None))
            self.stream.restart()

    def _score(self, row: Row, found: list[Event]) -> None:
        stream, threshold = self.stream, self.stream.threshold
        step = stream.step(row.values)
        if self.clock.step and stream.rows == FIRST and self.clock.latest is None:
            self.say(f"none of the first {FIRST} rows has a time that can be read: no gap is seen")
        if step.why:
            self.count("unscored", step.why, "no score")
        else:
            self.blind, self.score, self.scored = 0, step.score, self.scored + 1
        if step.event == "opened":
            self.alarms, self.since = self.alarms + 1, row.written
            parts = self.name, row.written, stream.rows - 1
            self.alarm = " ".join(str(part) for part in parts if part not in ("", None))
        if step.event:
            found.append(self._event(step.event, row, threshold, step))

    def _event(self, event: str, row: Row, threshold: float, step: Step | None) -> Event:
        """Tell what happens to the alarm, as plain values; it has no `Step` in a gap."""
        stream, views = self.stream, getattr(self.stream.scorer, "added", {}) if step else {}
        ends = {"event": "ended", "reason": REASONS[event]} if event in REASONS else {}
        return {
            "id": self.alarm,
            "event": event,
            **ends,
            "entity": self.name,
            "time": row.written,
            "since": self.since,
            "row": stream.rows - (step is not None),
            "score": step and step.score,
            "threshold": threshold,
            "severity": step and float(stream.units(step.score) - stream.units(threshold)),
            "peak": stream.units.score(stream.alarm.peak),
            "detector": self.model.detector.name,
            "views": {view: float(part[0]) for view, part in views.items()},
            "channels": stream.explain() if step else [],
        }

    def dump(self) -> bytes:
        """Give all that the next rows depend on besides model and options."""
        own = {name: getattr(self, name) for name in self.OWN} | {"kinds": self.counts}
        return self.stream.dump(watch=own | {"clock": asdict(self.clock)})

    def load(self, state: bytes) -> None:
        """Go on from what `dump` gave; `DataError` where it does not fit."""
        own = self.stream.load(state)["watch"]
        for name in self.OWN:
            setattr(self, name, own[name])
        for name in ("skipped", "unscored", "events"):
            self.counts[name] = Counter(own["kinds"][name])
        self.clock = Clock(**own["clock"] | {"step": self.clock.step})


class Watch:
    """Reads lines of rows of one machine or many, and gives what happens to their alarms.

    ``models`` is a model for all, or gives the one of an entity's name, or raises `DataError` and
    is asked again with its next row. ``key`` names the column of the entities' names; without it,
    all rows are of ``entity``. An entity without a row for ``silent`` seconds is told (default: 10
    steps, at least a minute).
    ``tell`` gets messages for the operator: the first of each kind of fault. Other options:
    `Stream`'s. Raises `DataError` for an option that cannot be used.

    ``entities`` has what is known of each, by name; ``stray`` counts lines of nobody; ``changed``
    has the names of those with new rows, ``pending`` lines of alarms that nobody has taken.
    """

    def __init__(
        self,
        models: Model | Callable[[str], Model],
        *,
        key: str | None = None,
        entity: str = "",
        tell: Callable[[str], None] = print,
        **options: object,
    ) -> None:
        self.models = (lambda name: models) if isinstance(models, Model) else models
        self.key, self.tell, self.given = key, tell, options
        self.entities, self.changed, self.told = {}, set(), set()
        self.stray, self.pending = Tally("", tell), []
        self.looked, self.saved = clocks.monotonic(), math.nan  # saved: a time since 1970
        model = None if key else self._begin(entity, self.models(entity)).model
        self.reader = Reader(model, key)

    @property
    def only(self) -> Entity | None:
        """What is known of the one entity, if there is no key."""
        return None if self.key else next(iter(self.entities.values()))

    def feed(self, line: bytes) -> list[Event]:
        """Take the next line; give the events of alarms as plain values, mostly none."""
        try:
            cells = self.reader.read(line)
            if cells is None:
                return []
            name = self._whose(cells) if self.key else self.only.name
        except Skipped as skipped:
            self.stray.rows += 1
            self.stray.count("skipped", *skipped.args)
            return []
        self.stray.blind = 0
        self.changed.add(name)
        return self.entities[name].take(cells, zlib.crc32(line))

    def _begin(self, name: str, model: Model) -> Entity:
        entity = self.entities[name] = Entity(name, model, self.tell, **self.given)
        return entity

    def _whose(self, cells: dict[str, object]) -> str:
        """Give the name of the entity whose row it is; a new one is begun."""
        given = cells.get(self.key)
        name = "" if given is None else str(given).encode(errors="replace").decode().strip()[:SHOWN]
        if name not in self.entities:
            try:
                if not name or len(self.entities) == ENTITIES:
                    raise DataError(f"more than {ENTITIES} entities" if name else "no name")
                self._begin(name, self.models(name))
            except DataError as error:
                if name and name not in self.told and len(self.told) < ENTITIES:
                    self.told.add(name)
                    self.tell(f"{name}: {error}; its rows are left out")
                raise Skipped("no entity", name or f"no name in column {self.key}") from error
        return name

    def look_around(self) -> None:
        """Take models that have changed, and tell of entities that have fallen silent."""
        self.looked = clocks.monotonic()
        for name, entity in [*self.entities.items()]:
            model = self.models(name)
            if model is not entity.offered:
                entity.offered = model
                self.changed.add(name)
                try:
                    new = Entity(name, model, self.tell, **self.given)
                    new.load(entity.dump())
                    new.heard, new.silent, entity = entity.heard, entity.silent, new
                    entity.say("its model was read again")
                except DataError as error:
                    entity.say(f"its model was read again, and the old one stays: {error}")
                self.entities[name] = entity
            away = self.looked - entity.heard
            if away > entity.patience and not entity.silent:
                entity.silent = True
                entity.say(f"SILENT: no row for {away:.0f} s")

    def report(self) -> dict[str, object]:
        """Give the counts of all, as plain values."""
        all_of = [self.stray, *self.entities.values()]
        names = ("rows", "scored", "alarms")
        found = {name: sum(getattr(one, name) for one in all_of) for name in names}
        for name in self.stray.counts:
            kinds = sum((one.counts[name] for one in all_of), Counter())
            found |= {name: dict(kinds)} if kinds else {}
        return found

    @property
    def blind(self) -> list[str]:
        """Names of those whose rows had no score for long; "" for lines of nobody."""
        all_of = [self.stray, *self.entities.values()]
        return sorted(one.name for one in all_of if one.blind >= BLIND)

    def dump(self) -> dict[str, bytes]:
        """Give the states of those with new rows, and what is common to all; `load` takes them."""
        common = {"header": self.reader.header, "pending": self.pending}
        common["skipped"] = self.stray.counts["skipped"]
        states = {f" {name}": self.entities[name].dump() for name in self.changed}
        return states | {"": json.dumps(common).encode()}

    def load(self, states: dict[str, bytes]) -> None:
        """Go on from all that `dump` ever gave; what does not fit starts afresh."""
        if "" in states:
            common = json.loads(states.pop(""))
            self.reader.header, self.pending = common["header"], common["pending"]
            self.stray.counts["skipped"].update(common["skipped"])
            self.stray.rows = self.stray.counts["skipped"].total()
        for name, state in states.items():
            name = name[1:] if self.key or len(states) > 1 else self.only.name
            try:
                entity = self._begin(name, self.models(name)) if self.key else self.only
                if entity.name == name:
                    entity.load(state)
                    entity.clock.resume()
            except DataError as error:
                self.tell(f"{name}: {error}: starting afresh")
