"""How cost grows: with channels, window, experts, rows and entities, one at a time."""

from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import pandas as pd

from lmmoe.detectors import detector, entry
from lmmoe.report.efficiency.hardware import cpu_name
from lmmoe.report.efficiency.operations import per_row
from lmmoe.report.efficiency.timing import Effort, repeated

AXES: dict[str, tuple[int, ...]] = {
    "channels": (10, 32, 100, 316, 1000),
    "window": (4, 8, 16, 32, 64, 128),
    "experts": (1, 2, 4, 8, 16),
    "rows": (500, 1000, 2000, 4000, 8000, 16000),
    "entities": (1, 2, 4, 8, 16),
}
VERSION = 1  # raise it when what this module measures changes
BASE = {"channels": 38, "rows": 2000, "entities": 1}  # what the other axes stand at
QUICK_ROWS = 250  # of the base where little time is to be spent; the axis of rows in proportion
MEASURES = ("train_seconds", "score_seconds", "multiply_adds")
# Learns how the numbers of a window vary together: a matrix of (window * channels)^2.
WIDEST = {"PCA windows": {"quick": 1024, "full": 2048}}
# Who is measured: the study's subject; the simple method that leads on SMD; one that learns a
# matrix of channels; one that learns nothing.
DETECTORS = {
    "quick": ("LightMMoE", "PCA"),
    "full": ("LightMMoE", "PCA windows", "PCA", "MTSExample"),
}


@dataclass(frozen=True)
class Point:
    """One size to measure: ``value`` on an axis, and what that means for detector and data."""

    axis: str
    value: int
    detector: str
    settings: dict[str, int]
    channels: int
    rows: int
    entities: int


def points(effort: Effort, detectors: tuple[str, ...] | None = None) -> list[Point]:
    """Give the sizes to measure: every axis for every detector that has it.

    A training is one epoch where there are epochs. Rows come beside those of the first window, so
    that a longer window leaves as many to learn from. Sizes that a detector's memory or time rules
    out (`WIDEST`) are left out.
    """
    found = []
    shrink = QUICK_ROWS / BASE["rows"] if effort.name == "quick" else 1
    for axis, values in AXES.items():
        for name in detectors or DETECTORS[effort.name]:
            known = Known(name)
            if axis not in BASE and axis not in known.settings:
                continue
            for value in values:
                at = BASE | {axis: value}
                settings = known.brief | ({} if axis in BASE else {axis: value})
                window = int((known.settings | settings).get("window", 0))
                if window * at["channels"] > WIDEST.get(name, {}).get(effort.name, np.inf):
                    continue
                rows = int(at["rows"] * shrink)
                size = rows if axis == "rows" else value
                place = (at["channels"], rows + window, at["entities"])
                found.append(Point(axis, size, name, settings, *place))
    return found


class Known:
    """Default settings of a detector, and those that make one training of it short."""

    def __init__(self, name: str) -> None:
        made = detector(name)
        self.settings = made.settings
        brief = {"epochs": 1, "held_out": 0.0}
        self.brief = {key: value for key, value in brief.items() if key in made.settings}


def measure(spec: dict) -> dict[str, list[dict[str, object]]]:
    """Measure the points of ``spec["points"]``: processor seconds, runs in `child`."""
    effort = Effort(**spec["effort"])
    for first in {given["detector"]: given for given in reversed(spec["points"])}.values():
        _cost(Point(**first), effort)  # loads what a method imports when it is first used
    return {"points": [given | _cost(Point(**given), effort) for given in spec["points"]]}


def _cost(point: Point, effort: Effort) -> dict[str, float]:
    """Train and score ``entities`` models in turn, each on rows of its own."""
    rng = np.random.default_rng(0)
    fleet = [rng.standard_normal((point.rows, point.channels)) for _ in range(point.entities)]
    models = [detector(point.detector, **point.settings) for _ in fleet]
    pairs = list(zip(models, fleet, strict=True))
    bounds = {"repeats": effort.repeats, "seconds": effort.call_seconds}
    training = repeated(lambda: [made.fit(rows) for made, rows in pairs], **bounds)
    scoring = repeated(lambda: [made.decision_function(rows) for made, rows in pairs], **bounds)
    scored = sum(len(rows) - made.min_rows + 1 for made, rows in pairs)
    return {
        "train_seconds": training.seconds,
        "score_seconds": scoring.seconds,
        "multiply_adds": per_row(models[0], fleet[0]) * scored,
    }


@dataclass(frozen=True)
class Law:
    """A power law: cost grows with the ``exponent``-th power; NaN where too few points tell."""

    exponent: float
    error: float  # standard error of the exponent
    points: int


def power_law(sizes: np.ndarray, costs: np.ndarray) -> Law:
    """Fit log cost = exponent x log size + constant by least squares.

    The standard error is the usual one of a slope, from the residuals with n - 2 degrees of freedom
    (Draper and Smith, "Applied Regression Analysis", section 1.4): NaN for two points.
    """
    good = np.isfinite(costs) & (costs > 0)
    x, y = np.log(np.asarray(sizes, float)[good]), np.log(np.asarray(costs, float)[good])
    if len(np.unique(x)) < 2:
        return Law(float("nan"), float("nan"), len(x))
    centred = x - x.mean()
    squares = centred @ centred
    slope = centred @ y / squares
    residuals = y - y.mean() - slope * centred
    free = len(x) - 2
    error = float(np.sqrt(residuals @ residuals / free / squares)) if free else float("nan")
    return Law(float(slope), error, len(x))


def exponents(found: pd.DataFrame) -> pd.DataFrame:
    """Fit every measure of every detector on every axis: one row each, from `measure`'s points.

    ``exponent`` and ``error`` are of all sizes, ``upper`` and ``upper_error`` of the upper half
    of the axis (its middle included) alone: at small sizes, what every call costs hides the growth.
    """
    lines = []
    for (axis, name), part in found.groupby(["axis", "detector"], sort=False):
        part = part.sort_values("value")
        sizes = part["value"].to_numpy(float)
        upper = sizes >= np.median(sizes)
        for measure_name in MEASURES:
            costs = part[measure_name].to_numpy(float)
            whole, top = power_law(sizes, costs), power_law(sizes[upper], costs[upper])
            lines.append(
                {"axis": axis, "detector": name, "measure": measure_name}
                | {"from": sizes[0], "to": sizes[-1], "points": whole.points}
                | {"exponent": whole.exponent, "error": whole.error}
                | {"upper": top.exponent, "upper_error": top.error}
            )
    return pd.DataFrame(lines).set_index(["axis", "detector", "measure"])


def identity(effort: Effort, names: tuple[str, ...]) -> dict[str, object]:
    """Say what `measure` depends on."""
    return {
        "what": "scaling",
        "effort": effort.name,
        "detectors": list(names),
        "device": cpu_name(),
        "torch": version("torch").partition("+")[0],
        "versions": {name: entry(name).cls.version for name in names},
        "measured": VERSION,
    }
