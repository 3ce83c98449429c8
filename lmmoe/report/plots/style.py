"""What all figures share: the style, the colours, axes that count days, shaded events."""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from importlib.resources import as_file, files
from typing import ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from lmmoe.data import Series

EVENT = "#C62828"
TITLES = {
    "MTSExample": "L2 norm (MTSExample)",
    "random": "random scores",
    "OmniAnomaly": "OmniAnomaly (published, not run)",
}

# Okabe and Ito's colours, which people with colour blindness tell apart; one per family, since
# nobody tells 28 colours apart.
FAMILIES = {
    "the study's networks": "#0072B2",
    "the study's simple ones": "#D55E00",
    "simple ones added here": "#009E73",
    "controls: chance, nothing learned": "#7F7F7F",
    "others": "#CC79A7",
}
_NETWORKS, _STUDY_SIMPLE, _ADDED, _CONTROLS, _OTHERS = FAMILIES
FAMILY_OF = {
    **dict.fromkeys(("LightMMoE", "CAD", "CAD-as-run", "CAD-FSE23", "HMMoE"), _NETWORKS),
    **dict.fromkeys(("MTSMixer", "MTSMixerLighter", "USAD", "LSTM-AE"), _NETWORKS),
    **dict.fromkeys(("AMAD", "AMAD-corrected", "OmniAnomaly"), _NETWORKS),
    **dict.fromkeys(("MTSExample", "SmartSimpleAD", "IsolationForest"), _STUDY_SIMPLE),
    **dict.fromkeys(("L2 min-max", "range deviation", "1-NN", "k-means", "linear"), _ADDED),
    **dict.fromkeys(("PCA", "PCA z-score", "PCA windows", "PCA windows EWMA"), _ADDED),
    **dict.fromkeys(("last value", "moving average", "ridge VAR"), _ADDED),
    **dict.fromkeys(("random", "row index", "untrained LightMMoE"), _CONTROLS),
}

# The columns of results as people read them; what point adjustment flatters comes last.
METRIC_TITLES = {
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "vus_pr": "VUS-PR",
    "vus_roc": "VUS-ROC",
    "best_f1": "best F1",
    "best_affiliation_f1": "best affiliation F1",
    "quantile_f1": "F1, quantile",
    "quantile_precision": "precision, quantile",
    "quantile_recall": "recall, quantile",
    "pot_f1": "F1, POT",
    "pot_precision": "precision, POT",
    "pot_recall": "recall, POT",
    "budget_f1": "F1, alarm budget",
    "budget_events_found": "events found, alarm budget",
    "budget_false_alarms_per_day": "false alarms a day, alarm budget",
    "budget_delay": "delay (rows), alarm budget",
    "hit_rate_100": "HitRate@100%",
    "hit_rate_150": "HitRate@150%",
    "ndcg_100": "NDCG@100%",
    "ndcg_150": "NDCG@150%",
    "pa_k_area": "PA%K area",
    "event_f1_pa_squeeze": "Event F1 squeeze (PA)",
    "event_f1_pa_log": "Event F1 log (PA)",
    "event_f1_pa_sqrt": "Event F1 sqrt (PA)",
    "delay10_f1_pa": "Point F1, first 10 rows (PA)",
    "point_precision_pa": "Point precision (PA)",
    "point_recall_pa": "Point recall (PA)",
    "point_f1_pa": "Point F1 (PA)",
}
COST_TITLES = {
    "train_seconds": "train (s)",
    "score_seconds": "score (s)",
    "microseconds_per_row": "score a row (µs)",
    "train_peak_mb": "memory (MB)",
    "parameters": "parameters",
    "entities": "entities",
    "seeds": "seeds",
    "runs": "runs",
    "failed": "failed",
}
LOWER_IS_BETTER = (
    "budget_false_alarms_per_day",
    "budget_delay",
    "train_seconds",
    "score_seconds",
    "train_peak_mb",
    "parameters",
)

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
    with as_file(files("lmmoe.report.plots") / "lmmoe.mplstyle") as path:
        settings = mpl.rc_params_from_file(path, use_default_template=False)
    return mpl.rc_context(settings)


def canvas(rows: int = 1, *, height: float, width: float = 10, **layout: object) -> tuple:
    """Make a figure of ``width`` x ``height`` inches and its axes, as `Figure.subplots` does.

    Not through pyplot, which would keep every figure alive and show it twice in a notebook.
    """
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, **layout)


def family(detector: str) -> str:
    """Return the family of a detector, a key of `FAMILIES`; whoever is not known is of "others"."""
    return FAMILY_OF.get(detector, _OTHERS)


def colour(detector: str) -> str:
    """Return the colour of a detector's family, the same in every figure."""
    return FAMILIES[family(detector)]


def family_legend(
    owner: Axes | Figure, detectors: Iterable[str], *, more: Sequence[Artist] = (), **where: object
) -> None:
    """Name the families of the detectors shown, and what else has a label.

    ``where`` goes to matplotlib's ``legend``.
    """
    present = {family(name) for name in detectors}
    dots = {"marker": "o", "ls": "", "ms": 5}
    shown = [Line2D([], [], color=FAMILIES[f], label=f, **dots) for f in FAMILIES if f in present]
    owner.legend(handles=[*shown, *more], **{"fontsize": 7} | where)


def named_ticks(
    ax: Axes, detectors: Sequence[str], *, axis: str = "y", start: float = 0, **look: object
) -> None:
    """Name ticks from ``start`` on, one apart, after detectors, in their families' colours.

    The study's subject is set in bold.
    """
    names = [title(name) for name in detectors]
    set_ticks = ax.set_yticks if axis == "y" else ax.set_xticks
    set_ticks(start + np.arange(len(names)), names, **look)
    labels = ax.get_yticklabels() if axis == "y" else ax.get_xticklabels()
    for label, name in zip(labels, detectors, strict=True):
        label.set_color(colour(name))
        label.set_fontweight("bold" if name == "LightMMoE" else "normal")


def title(detector: str) -> str:
    """Return how a detector is called in figures and tables that people read."""
    return TITLES.get(detector, detector)


def log_scale(ax: Axes) -> None:
    """Make the y axis logarithmic, with a few plain numbers, however short it is."""
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    steps = (1.0,) if high > 100 * low else (1.0, 2.0, 5.0)
    ax.yaxis.set_major_locator(LogLocator(subs=steps))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


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
        metrics = table[[name for name in table if name not in COST_TITLES]]
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
