"""Scores, alarms and the channels to blame, of one stream of rows or thousands at a time.

Axes: n streams, c channels, l rows that the detector looks back.
"""

import json
import math
from collections import Counter
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError
from lmmoe.live.alarms import Alarm
from lmmoe.live.model import Model
from lmmoe.live.scoring import Floats

Bits = npt.NDArray[np.bool_]
WARMING_UP = "warming up"  # why a row has no score that has too few rows before it
ENOUGH = 0.5  # share of the channels that a row must have values of to be scored
ACCEPT = 180  # minutes in alarm after which a level is taken as normal; our choice
ARRAYS = ("window", "held", "carry", "centres", "lifted", "seen", "since")  # of a state


class Tick(NamedTuple):
    """What a row of each stream came to; ``events`` and ``why`` have the streams with one."""

    scores: npt.NDArray[np.float64]  # (n,), NaN where there is none
    events: dict[int, str]  # what an alarm does: "opened", "still", "ended", "accepted"
    why: dict[int, str]  # there is no score


class Step(NamedTuple):
    """What a row of one stream came to, as in `Tick`; "" where there is no event, or a score."""

    score: float
    event: str
    why: str


class Fleet:
    """n streams of one model that keep step: every call of `tick` takes a row of each.

    Rows are scored as `decision_function` scores them in a batch; the first ones, as many as the
    detector looks back, have no score. Missing cells (NaN, infinite) take the channel's last value;
    in the MMoE family the score is the mean over the other channels. Rows with values in less than
    half of the channels have no score: one without any stands for a row that did not come; after
    a gap, call `restart`. Values more than 10^9 deviations from the mean are cut. ``counts`` counts
    such cells.

    ``threshold`` is a rule (`lmmoe.live.alarms`). ``rows_per_day`` replaces that of the model's
    facts. When an alarm has been open for ``accept_after`` rows (default: three hours under the
    rule "alarms", else and with 0 never), it ends, and their mean stands for the training mean.
    """

    def __init__(
        self,
        model: Model,
        streams: int,
        *,
        threshold: str | float = "alarms",
        rows_per_day: float | None = None,
        accept_after: int | None = None,
    ) -> None:
        self.model, self.scorer, means = model, model.scorer, model.facts.means
        self.base, self.spread = self.scorer.centre, self.scorer.spread
        self.units, alarm = model.alarm(threshold, rows_per_day)
        if accept_after is None and means and alarm.per_day is not None:
            accept_after = max(2, round(ACCEPT / alarm.minutes))
        if accept_after and (accept_after < 2 or not means):
            problem = f"accept_after={accept_after}: rows from 2 on, and the training means"
            raise DataError(f"{problem} are needed", hint="Fit with lmmoe.live.fit, or give facts")
        self.accept_after = accept_after
        self.alarms = [replace(alarm) for _ in range(streams)]
        self.levels, self.fall = np.full(streams, alarm.level), alarm.fall  # -inf in an alarm
        self.rows, self.turn, self.counts = 0, 0, Counter()  # turn: of the ring, bridged rows too
        # Of the latest rows: missing cells (n, c), scores, channels' parts by blocks.
        self.missing, self.scores, self.parts = None, np.full(streams, np.nan), []
        channels, size = len(self.base), min(self.scorer.block, streams)
        self.window = np.zeros((self.scorer.context + 1, channels, streams), self.scorer.dtype)
        self.held = np.tile(self.base, (streams, 1))  # last value of each channel
        # By blocks of streams that are scored together, which so lie together in memory.
        self.carry = np.full((-(-streams // size), self.scorer.carried, channels, size), np.nan)
        self.centres = self.held.copy()  # with the levels that were accepted
        self.lifted = np.zeros_like(self.held)  # mean of the rows of an alarm
        self.seen, self.since = (np.zeros(streams, dtype=np.int64) for _ in range(2))

    def tick(self, rows: npt.ArrayLike) -> Tick:
        """Take the next raw row of each stream ``(n, c)``; `ValueError` for another shape."""
        rows = np.asarray(rows, dtype=np.float64)
        if rows.shape != self.held.shape:
            raise ValueError(f"rows of shape {rows.shape}: expected {self.held.shape}")
        missing, events, why, few = None, {}, {}, np.zeros(len(rows), dtype=bool)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (rows - self.centres) / self.spread
            if not np.vdot(scaled, scaled) < self.scorer.far**2:  # too far out, or not a number
                rows, scaled, missing = self._mended(rows)
        if missing is not None:
            few = missing.mean(axis=1) > 1 - ENOUGH
        self.rows += 1
        self.held[:], self.missing = rows, missing
        self.scores = scores = self._judged(scaled, missing)
        scores[few] = math.nan
        values, levels = self.units(scores), self.levels
        # As `Alarm.level_at`: scores up to these levels change no alarm.
        np.maximum(levels - self.fall, np.minimum(levels, 0), out=levels)
        for number in np.flatnonzero(~(values <= levels)).tolist():
            alarm = self.alarms[number]
            if not math.isfinite(scores[number]):
                scores[number] = math.nan
                why[number] = "too few values" if few[number] else "not a number"
                if self.seen[number] < len(self.window):
                    why[number] = WARMING_UP
                continue
            if event := alarm.step(float(values[number]), self.rows - 1):
                events[number] = event
            if self.accept_after and self._accepted(number):
                events[number] = "accepted"
            levels[number] = -math.inf if alarm.open else alarm.level
        return Tick(scores, events, why)

    def _mended(self, rows: Floats) -> tuple[Floats, Floats, Bits | None]:
        """Fill what is missing with the last values, and cut what is too far out."""
        bad = ~np.isfinite(rows)
        filled = np.where(bad, self.held, rows)
        reach = self.scorer.far * self.spread
        inside = np.clip(filled, self.centres - reach, self.centres + reach)
        found = {"filled cells": bad, "cut cells": inside != filled}
        self.counts += {kind: int(cells.sum()) for kind, cells in found.items()}
        return inside, (inside - self.centres) / self.spread, bad if bad.any() else None

    def _latest(self, part: slice) -> Floats:
        """Give the rows in the window ``(l + 1, c, n)``, oldest first."""
        window, oldest = self.window[:, :, part], self.turn % len(self.window)
        return np.concatenate([window[oldest:], window[:oldest]]) if oldest else window

    def _judged(self, scaled: Floats, missing: Bits | None) -> Floats:
        """Take in rows ``(n, c)`` and score them, block by block; NaN where one warms up."""
        self.window[self.turn % len(self.window)] = scaled.T
        self.turn += 1
        self.seen += 1
        scores, self.parts = np.empty(len(scaled)), []
        for number, carry in enumerate(self.carry):
            own = slice(number * carry.shape[-1], (number + 1) * carry.shape[-1])
            rows = self._latest(own)
            scores[own], parts = self.scorer.judge(rows, carry[..., : rows.shape[-1]], self.turn)
            self.parts += [parts] if parts else []
            if missing is not None and self.scorer.averaged:
                there = ~missing[own].T
                sums = (parts() * there).sum(axis=0, dtype=np.float64)
                scores[own] = sums / np.maximum(there.sum(axis=0), 1)
        if len(warming := np.flatnonzero(self.seen < len(self.window))):
            scores[warming] = np.nan
            self._forget(warming)
        return scores

    def errors(self, stream: int = 0) -> Floats | None:
        """Each channel's part ``(c,)`` in the latest score, 0 where a cell is missing; or None."""
        if not self.parts or math.isnan(self.scores[stream]):
            return None
        block, place = divmod(stream, self.carry.shape[-1])
        errors = self.parts[block]()[:, place]
        return errors if self.missing is None else np.where(self.missing[stream], 0, errors)

    def _forget(self, numbers: npt.ArrayLike) -> None:
        """Forget what is carried on for some streams."""
        block, place = np.divmod(numbers, self.carry.shape[-1])
        self.carry[block, :, :, place] = np.nan

    def _accepted(self, number: int) -> bool:
        """Follow the level of an open alarm; make it the normal one when it has stayed."""
        alarm = self.alarms[number]
        if not alarm.open or alarm.long:  # the next row decides on a long one
            self.since[number] *= alarm.open
            return False
        self.since[number] += 1
        self.lifted[number] *= self.since[number] > 1
        self.lifted[number] += (self.held[number] - self.lifted[number]) / self.since[number]
        if self.since[number] < self.accept_after:
            return False
        centre = self.base + self.lifted[number] - self.model.facts.means
        self.window[:, :, number] -= (centre - self.centres[number]) / self.spread
        self.centres[number] = centre
        self._forget(number)
        alarm.accept()
        self.since[number] = 0
        return True

    def restart(self, which: Bits | slice = slice(None)) -> None:
        """Forget the rows so far, as after a gap: the next ones have no score; alarms end."""
        self.seen[which] = self.since[which] = 0
        numbers = np.arange(len(self.alarms))[which]
        self._forget(numbers)
        for number in numbers:
            self.alarms[number].open = self.alarms[number].long = False

    def explain(self, stream: int = 0, top: int = 5) -> list[dict]:
        """Name the channels with the largest shares in a stream's latest score, largest first.

        Each with ``channel``, ``share`` (of 1), ``forecast`` and ``observed``, None where there is
        none. Empty where `errors` says nothing.
        """
        if (errors := self.errors(stream)) is None:
            return []
        made, values = self.model.detector, np.full((3, len(errors)), np.nan)
        values[0] = errors / (errors.sum(dtype=np.float64) or 1.0)
        if hasattr(made, "forecasts"):
            latest = self._latest(slice(stream, stream + 1))[:, :, 0] * self.spread + self.base
            values[1] = made.forecasts(latest)[-1] + self.centres[stream] - self.base
        there = True if self.missing is None else ~self.missing[stream]
        np.copyto(values[2], self.held[stream], where=there)
        order = [place for place in np.argsort(-values[0], kind="stable")[:top] if values[0, place]]
        known = np.where(np.isfinite(values), values, None).T.tolist()  # JSON has no NaN
        names = ("share", "forecast", "observed")
        rows = {place: dict(zip(names, known[place], strict=True)) for place in order}
        return [{"channel": self.model.channels[place]} | row for place, row in rows.items()]

    def dump(self, **more: object) -> bytes:
        """Give all that the next rows depend on besides model and settings, and plain values."""
        from safetensors.numpy import save

        facts = {"rows": self.rows, "turn": self.turn, "counts": self.counts} | more
        facts |= {"alarms": [asdict(one) for one in self.alarms], "channels": self.model.channels}
        arrays = {name: getattr(self, name) for name in ARRAYS} | {"spread": self.spread}
        head = json.dumps(facts | {"model": self.model.fingerprint}).encode()
        return head + b"\n" + save(arrays)

    def load(self, state: bytes) -> dict[str, object]:
        """Go on from what `dump` gave as if there had been no break; give its plain values.

        With another model of the same channels, rows and alarms go on, and the window if it fits.
        Raises `DataError`, and stays as it is, for other channels or another number of streams.
        """
        from safetensors.numpy import load

        head, _, rest = state.partition(b"\n")
        facts, arrays = json.loads(head), load(rest)
        if facts["channels"] != list(self.model.channels) or len(facts["alarms"]) != len(self.seen):
            raise DataError("the state is that of a model with other channels, or of other streams")
        if facts["model"] == self.model.fingerprint:
            for name in ARRAYS:
                getattr(self, name)[...] = arrays[name]
            self.turn = facts["turn"]
        else:
            self.held[:] = arrays["held"]
            if arrays["window"].shape == self.window.shape:
                rows = arrays["window"] * arrays["spread"][:, None] + arrays["centres"].T
                self.window[:] = (rows - self.centres.T) / self.spread[:, None]
                self.seen[:], self.turn = arrays["seen"], facts["turn"]
        self.rows = facts["rows"]
        self.counts.clear()
        self.counts.update(facts["counts"])
        for number, known in enumerate(facts["alarms"]):
            now = self.alarms[number]
            if now.per_day is None or now.per_day != known["per_day"]:
                known |= {"level": now.level, "per_day": now.per_day, "at": self.rows}  # a new rule
            self.alarms[number] = alarm = Alarm(**known | {"minutes": now.minutes})
            self.levels[number] = -math.inf if alarm.open else alarm.level_at(self.rows - 1)
        return facts


class Stream(Fleet):
    """One stream, a fleet of one with its options: raw rows ``(c,)`` in, each one's `Step` out."""

    def __init__(self, model: Model, **options: object) -> None:
        super().__init__(model, 1, **options)

    def step(self, row: npt.ArrayLike) -> Step:
        """Take the next raw row ``(c,)``; `ValueError` for one of another length."""
        (score,), events, why = self.tick(np.asarray(row, dtype=np.float64)[None])
        return Step(float(score), events.get(0, ""), why.get(0, ""))

    def bridge(self, rows: int) -> None:
        """Let missing rows pass as if they had held the last values; they have no score."""
        for _ in range(rows):
            self._judged((self.held - self.centres) / self.spread, None)

    @property
    def alarm(self) -> Alarm:
        """The stream's alarm."""
        return self.alarms[0]

    @property
    def threshold(self) -> float:
        """The score above which the next row is loud."""
        return self.units.score(self.alarm.level_at(self.rows))
