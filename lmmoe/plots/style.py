"""What all figures share: the style, the colours, axes that count days, shaded events."""

from collections.abc import Callable
from functools import wraps
from importlib.resources import as_file, files
from typing import ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmmoe.data import Series

# Okabe and Ito's colours, which people with colour blindness tell apart; one per detector.
COLOURS = {
    "LightMMoE": "#0072B2",
    "MTSExample": "#D55E00",
    "random": "#999999",
}
SPARE = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6FB0", "#4D4D4D")
EVENT = "#C62828"
TITLES = {"MTSExample": "L2 norm (MTSExample)", "random": "random scores"}
COSTS = ("train_seconds", "train_peak_mb", "score_seconds", "parameters", "runs", "failed")
METRIC_TITLES = {
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "vus_pr": "VUS-PR",
    "vus_roc": "VUS-ROC",
    "best_f1": "best F1",
    "point_f1_pa": "Point F1 (PA)",
    "event_f1_pa_log": "Event F1 log (PA)",
    "event_f1_pa_squeeze": "Event F1 squeeze (PA)",
    "event_f1_pa_sqrt": "Event F1 sqrt (PA)",
}

P = ParamSpec("P")


def styled(plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the project's style, whatever the session's settings are."""

    @wraps(plot)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with in_style():
            return plot(*args, **kwargs)

    return drawn


def in_style() -> mpl.RcParams:
    """Give a context in which matplotlib draws and saves in the project's style."""
    with as_file(files("lmmoe.plots") / "lmmoe.mplstyle") as path:
        settings = mpl.rc_params_from_file(path, use_default_template=False)
    return mpl.rc_context(settings)


def canvas(rows: int = 1, *, height: float, width: float = 10, **layout: object) -> tuple:
    """Make a figure of ``width`` x ``height`` inches and its axes, as `Figure.subplots` does.

    Not through pyplot, which would keep every figure alive and show it twice in a notebook.
    """
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, **layout)


def colour(detector: str) -> str:
    """Return the colour of a detector, the same in every figure."""
    if detector in COLOURS:
        return COLOURS[detector]
    return SPARE[sum(detector.encode()) % len(SPARE)]


def title(detector: str) -> str:
    """Return how a detector is called in figures and tables that people read."""
    return TITLES.get(detector, detector)


def time_axis(series: Series, rows: int | np.ndarray) -> tuple[np.ndarray, str]:
    """Positions of rows on the axis and its label: days where the data says, else rows."""
    positions = np.arange(rows) if np.isscalar(rows) else rows
    if series.rows_per_day:
        return positions / series.rows_per_day, "days"
    return positions, "rows"


def shade_events(axes: Axes, series: Series, *, start: int = 0, stop: int | None = None) -> None:
    """Shade the labelled events between two rows of the test half."""
    stop = len(series.test) if stop is None else stop
    scale = series.rows_per_day or 1
    for first, end in series.events:
        if end > start and first < stop:
            axes.axvspan(
                max(first, start) / scale, min(end, stop) / scale, color=EVENT, alpha=0.18, lw=0
            )


def labelled_only(plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """Say so in place of a figure of metrics where the table, its first argument, holds none."""

    @wraps(plot)
    def drawn(table: pd.DataFrame, *args: P.args, **kwargs: P.kwargs) -> Figure:
        metrics = table[[name for name in table if name not in COSTS]]
        if metrics.notna().to_numpy().any():
            return plot(table, *args, **kwargs)
        return note("No labelled events: there is no quality to show.")

    return drawn


def note(text: str) -> Figure:
    """Say in place of a figure why there is none."""
    figure, ax = canvas(width=7, height=1)
    ax.axis("off")
    ax.text(0, 0.5, text, va="center")
    return figure
