"""Thousands of streams in one process: a row of each at a time, scored together.

Axes: n streams, c channels, l rows that the detector looks back.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError
from lmmoe.live import alarms, outputs
from lmmoe.live.alarms import RELEASE, bar, checked_rule
from lmmoe.live.model import Model
from lmmoe.live.stream import ENOUGH, Floats, Judged, Scorer, Step, scorer
from lmmoe.live.watch import BRIDGE
from lmmoe.metrics.alarms import APART


class Tick(NamedTuple):
    """What a row of each stream came to.

    ``scores`` ``(n,)``, NaN where a row has none; ``opened`` and ``ended`` are the numbers of the
    streams whose alarms do so. ``errors`` and ``forecasts`` ``(c, n)`` are as in `Judged`, None
    where there are none (only the MMoE family's forecasts are here); ``missing`` maps streams to
    their filled cells ``(c,)``.
    """

    scores: npt.NDArray[np.float64]
    opened: npt.NDArray[np.intp]
    ended: npt.NDArray[np.intp]
    errors: Floats | None
    forecasts: Floats | None
    missing: dict[int, npt.NDArray[np.bool_]]


class Fleet:
    """n streams that keep step: every call takes a row of each.

    ``models`` is one for all of ``streams``, or a sequence of one for each; those of a sequence
    must look back equally far, and neighbours with one model are scored together. Each stream gives
    what `Stream` gives for the same rows. A row without any value stands for one that did not come:
    the last values pass in its place, without a score, and after more than 3 of them the stream
    starts afresh, as after a gap.

    ``threshold`` is a rule for all or a number for each stream; ``release`` is `Alarm`'s.
    ``centres`` and ``spreads`` ``(n, c)``, means and deviations, put each entity's rows on the
    model's scale, where one model serves entities that differ. Times, thresholds that learn and
    levels that become normal are `Stream`'s alone.
    """

    def __init__(
        self,
        models: Model | Sequence[Model],
        streams: int | None = None,
        *,
        threshold: str | float | npt.ArrayLike = "budget",
        release: float = RELEASE,
        rows_per_day: float | None = None,
        centres: npt.ArrayLike | None = None,
        spreads: npt.ArrayLike | None = None,
    ) -> None:
        self.models = [models] * (streams or 0) if isinstance(models, Model) else list(models)
        self.blocks = _blocks(self.models)
        scorers = [made for made, part in self.blocks for _ in range(part.stop - part.start)]
        self.scorer, self.release = scorers[0], release
        own = np.array([m.centre for m in scorers]), np.array([m.spread for m in scorers])
        self.centres = own[0] if centres is None else np.array(centres, dtype=np.float64)
        self.spreads = own[1] if spreads is None else np.array(spreads, dtype=np.float64)
        self.own = None if centres is spreads is None else own  # the scale to bring rows to
        if not self.centres.shape == self.spreads.shape == own[0].shape:
            raise ValueError(f"centres and spreads must be of shape {own[0].shape}")
        if self.own is not None and not (self.scorer.masks or all(m.facts for m in self.models)):
            problem = "the models do not say the training means that rows are to be brought to"
            raise DataError(problem, hint="Fit them with lmmoe.live.fit, or give facts")
        if isinstance(threshold, str):
            threshold = self._thresholds(threshold, rows_per_day)
        count, channels = own[0].shape
        self.threshold = np.broadcast_to(np.asarray(threshold, dtype=np.float64), count)
        self.normal = np.array([model.normal for model in self.models])
        shape = self.scorer.context, channels, count
        self.window, self.place = np.zeros(shape, self.scorer.dtype), 0  # a ring, and its oldest
        self.held, self.carry = self.centres.copy(), np.full((channels, count), np.nan)
        self.seen, self.gone, self.quiet = (np.zeros(count, dtype=np.int64) for _ in range(3))
        self.open = np.zeros(count, dtype=bool)

    def _thresholds(self, rule: str, rows_per_day: float | None) -> list[float]:
        if checked_rule(rule)[0] == "spot":
            raise DataError("a fleet's thresholds do not learn", hint="Use pot in place of spot")
        different = {id(model): model for model in self.models}
        found = {
            key: alarms.threshold(rule, model.calibration, model.day(rows_per_day))
            for key, model in different.items()
        }
        return [found[id(model)] for model in self.models]

    def step(self, rows: npt.ArrayLike) -> Tick:
        """Take the next raw row of each stream ``(n, c)``; `ValueError` for another shape."""
        rows = np.asarray(rows, dtype=np.float64)
        if rows.shape != self.held.shape:
            raise ValueError(f"rows of shape {rows.shape}: expected {self.held.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (rows - self.centres) / self.spreads
            far = ~(np.einsum("nc,nc->n", scaled, scaled) < self.scorer.far**2)
        missing: dict[int, npt.NDArray[np.bool_]] = {}
        if far.any():
            rows, scaled = rows.copy(), scaled.copy()
            missing = self._mend(rows, scaled, np.flatnonzero(far))
        back = self._came_back(missing)
        self.held[:] = rows
        if self.own is not None:
            rows = scaled * self.own[1] + self.own[0]
        kept = np.ascontiguousarray(self.scorer.kept(rows, scaled).T)
        judged = self._judge(kept, missing)
        if len(self.window):
            self.window[self.place] = kept
            self.place = (self.place + 1) % len(self.window)
            np.minimum(self.seen + 1, len(self.window), out=self.seen)
        opened, ended = self._alarms(judged.scores)
        return Tick(judged.scores, opened, np.union1d(ended, back), *judged[1:], missing)

    def _mend(
        self, rows: Floats, scaled: Floats, where: npt.NDArray[np.intp]
    ) -> dict[int, npt.NDArray[np.bool_]]:
        """Fill and cut the rows ``where``, in place, as `Stream` does; give what was missing."""
        missing = {}
        for number in where:
            row, bad = rows[number], ~np.isfinite(rows[number])
            row[bad] = self.held[number][bad]
            reach, centre = self.scorer.far * self.spreads[number], self.centres[number]
            np.clip(row, centre - reach, centre + reach, out=row)
            scaled[number] = (row - centre) / self.spreads[number]
            if bad.any():
                missing[int(number)] = bad
        return missing

    def _came_back(self, missing: dict[int, npt.NDArray[np.bool_]]) -> npt.NDArray[np.intp]:
        """Start afresh where rows come again after a gap; give those whose alarm that ends."""
        absent = np.zeros(len(self.gone), dtype=bool)
        absent[[number for number, bad in missing.items() if bad.all()]] = True
        new = ~absent & (self.gone > BRIDGE)
        self.gone += 1
        self.gone[~absent] = 0
        ended = np.flatnonzero(new & self.open)
        self.seen[new], self.open[new] = 0, False
        self.carry[:, new] = np.nan
        return ended

    def _judge(self, kept: Floats, missing: dict[int, npt.NDArray[np.bool_]]) -> Judged:
        """Score all streams, block by block; NaN where a row has no score."""
        before, place = self.carry.copy() if self.scorer.ewma else self.carry, self.place
        parts = []
        for made, part in self.blocks:
            window = self.window[:, :, part]
            past = np.concatenate([window[place:], window[:place]])
            parts.append(made.judge(past, kept[:, part], self.carry[:, part]))
        scores = np.concatenate([part.scores for part in parts])
        errors, forecasts = (
            None if one[0] is None else np.concatenate(one, axis=1)
            for one in ([p.errors for p in parts], [p.forecasts for p in parts])
        )
        silent = self.seen < len(self.window)
        for number, bad in missing.items():
            if errors is not None:
                errors[bad, number] = 0
                if self.scorer.masks and not bad.all():
                    total = errors[:, number].sum(dtype=np.float64)
                    scores[number] = total / np.count_nonzero(~bad)
            silent[number] |= np.count_nonzero(bad) > len(bad) * (1 - ENOUGH)
        self.carry[:, silent] = before[:, silent]
        scores[silent | ~np.isfinite(scores)] = np.nan
        return Judged(scores, errors, forecasts)

    def _alarms(self, scores: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Follow `Alarm`'s rule for every stream: which opened, which ended."""
        known, was = ~np.isnan(scores), self.open.copy()
        opened = known & ~was & (scores > bar(self.threshold))
        ending = np.maximum(self.release * self.threshold, self.normal)
        loud = scores > bar(np.minimum(ending, self.threshold))
        self.quiet[was & known & ~loud] += 1
        self.quiet[opened | (was & loud)] = 0
        ended = was & (self.quiet >= APART)
        self.open[:] = (was & ~ended) | opened
        return np.flatnonzero(opened), np.flatnonzero(ended)

    def explain(self, tick: Tick, stream: int, top: int = 5) -> list[dict[str, object]]:
        """Name the channels with the largest shares in a stream's score, as `Stream.explain`."""
        if tick.errors is None:
            return []
        score, missing = float(tick.scores[stream]), tick.missing.get(stream)
        step = Step(score, errors=tick.errors[:, stream], missing=missing)
        forecast = None
        if tick.forecasts is not None:  # in scaled units, whoever makes them
            forecast = tick.forecasts[:, stream] * self.spreads[stream] + self.centres[stream]
        return step.blame(self.models[stream].channels, forecast, self.held[stream], top)

    def save(self, path: str | Path) -> Path:
        """Write all that the next rows depend on besides models and settings, as one file."""
        facts = {"models": self._fingerprints(), "place": self.place}
        return outputs.write_state(path, self._arrays(), facts)

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote; `DataError` where it is damaged or of other models."""
        arrays, facts = outputs.read_state(path)
        if facts.get("models") != self._fingerprints():
            raise DataError("the state is that of a fleet with other models", file=path)
        outputs.fill(arrays, self._arrays())
        self.place = facts["place"]

    def _fingerprints(self) -> list[list[str | int]]:
        """Each model's fingerprint, and how many neighbours have it."""
        runs = [list(run) for _, run in groupby(self.models, key=id)]
        return [[run[0].fingerprint, len(run)] for run in runs]

    def _arrays(self) -> outputs.Arrays:
        names = ("window", "held", "carry", "seen", "gone", "quiet", "open")
        return {name: getattr(self, name) for name in names}


def _blocks(models: Sequence[Model]) -> list[tuple[Scorer, slice]]:
    """Give the streams that are scored together, and by what; raises `ValueError` if they differ.

    They do where they look back over other numbers of rows, or have other numbers of channels.
    """
    if not models:
        raise ValueError("no streams: give their number, or a model for each")
    made = {key: scorer(model) for key, model in {id(model): model for model in models}.items()}
    kinds = {(type(each), each.context, len(each.centre), each.ewma) for each in made.values()}
    if len(kinds) > 1:
        raise ValueError("the models look back differently, or have other numbers of channels")
    blocks, start = [], 0
    for key, run in groupby(models, key=id):
        end = start + len(list(run))
        size = made[key].block
        blocks += [(made[key], slice(n, min(n + size, end))) for n in range(start, end, size)]
        start = end
    return blocks
