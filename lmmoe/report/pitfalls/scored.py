"""One detector with one seed on one entity, as the experiments look at it."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lmmoe.data import Series
from lmmoe.data.series import Bits, Floats
from lmmoe.detectors import Detector
from lmmoe.metrics import average_precision
from lmmoe.report import runs
from lmmoe.report.cache import Result
from lmmoe.report.protocol import PROTOCOLS
from lmmoe.report.runs import Run


@dataclass(frozen=True, eq=False)
class Scored:
    """What a run gave; nothing is computed before it is asked for, finished runs never again.

    Axes: t rows of the test half, c channels, h held-out training rows.
    """

    run: Run

    @property
    def series(self) -> Series:
        """The entity, with its labels."""
        return self.run.series

    @property
    def labels(self) -> Bits:
        """The labels ``(t,)`` as published: margin 0. Raises `ValueError` where there are none."""
        if self.series.labels is None:
            raise ValueError(f"{self.series.entity} has no labels: there is nothing to judge by")
        return self.series.labels

    @property
    def protocol_labels(self) -> Bits:
        """The labels ``(t,)`` that the run's protocol judges by."""
        return PROTOCOLS[self.run.protocol].labels(self.series)

    @cached_property
    def result(self) -> Result:
        """What the run left in the cache."""
        return runs.result(self.run)

    @property
    def scores(self) -> Floats:
        """Scores ``(t,)`` of the test half."""
        return self.result.scores

    @property
    def calibration(self) -> Floats:
        """Scores ``(h,)`` of the held-out training rows; `ValueError` where there are none."""
        if self.result.calibration is None:
            raise ValueError(f"{self.run.detector} has no scores that could set a threshold")
        return self.result.calibration

    @cached_property
    def detector(self) -> Detector:
        """The fitted detector."""
        return self.result.detector

    @cached_property
    def channels(self) -> Floats:
        """What each channel adds to each score, ``(t, c)``."""
        return self.detector.channel_scores(self.series.test)

    @cached_property
    def held_out_channels(self) -> Floats:
        """The same of the held-out training rows, ``(h, c)``."""
        return self.detector.channel_scores(self.series.train)[-len(self.calibration) :]

    @cached_property
    def average_precision(self) -> float:
        """Average precision of the scores as they are, on the labels as published."""
        return average_precision(labels=self.labels, scores=self.scores)

    def again(
        self, *, protocol: str | None = None, seed: int | None = None, **settings: object
    ) -> "Scored":
        """The same detector on the same entity with something changed."""
        changed = replace(
            self.run,
            protocol=protocol or self.run.protocol,
            seed=self.run.seed if seed is None else seed,
            settings=self.run.settings | settings,
        )
        return Scored(changed)


def judgeable(series: Series) -> bool:
    """Whether the test half has both events and normal rows."""
    return series.labels is not None and len(np.unique(series.labels)) == 2
