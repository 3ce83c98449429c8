"""The measurements that need no data set: the hardware's limits, and how costs grow."""

from dataclasses import asdict

import pandas as pd

from lmmoe.report.efficiency import child, records, roofline, scaling
from lmmoe.report.efficiency.timing import Effort


def limits(effort: Effort) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold LightMMoE to the limits of one thread of this processor: `roofline.roofline`'s tables.

    Measured on synthetic rows of 38 channels; kept with the processor's name. Raises
    `child.ChildError` where the measuring process fails.
    """
    key = records.key(roofline.identity(effort))
    found = records.kept(key, lambda: child.run(roofline.measure, {"effort": asdict(effort)}))
    return roofline.roofline(found)


def growth(
    effort: Effort, detectors: tuple[str, ...] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure how costs grow on every axis: the points, and the exponents fitted to them.

    On synthetic rows; kept with the processor's name. Raises `child.ChildError` where
    the measuring process fails.
    """
    names = detectors or scaling.DETECTORS[effort.name]
    given = [asdict(point) for point in scaling.points(effort, names)]
    spec = {"effort": asdict(effort), "points": given}
    key = records.key(scaling.identity(effort, names) | spec)
    points = pd.DataFrame(records.kept(key, lambda: child.run(scaling.measure, spec))["points"])
    return points, scaling.exponents(points)
