"""What all figures share: the style, the colours, axes that count days, shaded events."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullLocator

from lmmoe.data import Series
from lmmoe.report.names import COST_TITLES, FAMILIES, colour, family, title

EVENT = "#C62828"
FILE = Path(__file__).with_name("lmmoe.mplstyle")
STYLE = mpl.rc_params_from_file(FILE, use_default_template=False)
in_style = partial(mpl.rc_context, STYLE)  # a context to draw and save in the project's style
styled = in_style()  # a decorator: draws a figure so, whatever the session's settings are


def canvas(rows: int = 1, *, height: float, width: float = 10, **layout: object) -> tuple:
    """Make a figure of ``width`` x ``height`` inches and its axes, as `Figure.subplots` does."""
    figure = Figure(figsize=(width, height))  # pyplot would keep it alive and show it twice
    return figure, figure.subplots(rows, **layout)


def family_legend(
    figure: Figure, detectors: Iterable[str], *, more: Sequence[Artist] = (), **how: object
) -> None:
    """Name the families of the detectors shown; ``how`` goes to matplotlib's ``legend``."""
    present, dots = {family(name) for name in detectors}, {"marker": "o", "ls": "", "ms": 5}
    shown = [Line2D([], [], color=FAMILIES[f], label=f, **dots) for f in FAMILIES if f in present]
    how = {"loc": "outside lower center", "fontsize": 7} | how
    figure.legend(handles=[*shown, *more], **how)


def named_ticks(
    ax: Axes, detectors: Sequence[str], *, axis: str = "y", start: float = 0, **look: object
) -> None:
    """Name ticks from ``start`` on, one apart, after detectors, in their families' colours."""
    own = ax.yaxis if axis == "y" else ax.xaxis
    own.set_ticks(start + np.arange(len(detectors)), list(map(title, detectors)), **look)
    for label, name in zip(own.get_ticklabels(), detectors, strict=True):
        label.set(color=colour(name), fontweight="bold" if name == "LightMMoE" else "normal")


def log_scale(ax: Axes, axis: str = "y") -> None:
    """Make an axis logarithmic with few, short labels: 0.01, 256, 10,000, ten to the sixth."""
    ax.set(**{f"{axis}scale": "log"})
    own, (low, high) = getattr(ax, f"{axis}axis"), getattr(ax, f"get_{axis}lim")()
    subs, powers = (1.0,) if high > 100 * low else (1.0, 2.0, 5.0), LogFormatterSciNotation()
    own.set(major_locator=LogLocator(numticks=5, subs=subs), minor_locator=NullLocator())
    own.set_major_formatter(lambda x, _: f"{x:,g}" if 1e-4 <= x < 1e6 else powers(x))


def time_axis(series: Series, rows: np.ndarray) -> tuple[np.ndarray, str]:
    """Positions of rows on the axis and its label: days where the data says, else rows."""
    day = series.rows_per_day
    return (rows / day, "days") if day else (rows, "rows")


def shade_events(axes: Axes, series: Series, *, start: int = 0, stop: int | None = None) -> None:
    """Shade the labelled events between two rows of the test half."""
    stop, scale = stop or len(series.test), series.rows_per_day or 1
    for first, end in series.events:
        if end > start and first < stop:
            span = max(first, start) / scale, min(end, stop) / scale
            axes.axvspan(*span, color=EVENT, alpha=0.18, lw=0)


def labelled_only(plot: Callable[..., Figure]) -> Callable[..., Figure]:
    """Say so in place of a figure of metrics where the table, its first argument, holds none."""

    @wraps(plot)
    def drawn(table: pd.DataFrame, *args: object, **kwargs: object) -> Figure:
        if table.drop(columns=COST_TITLES, errors="ignore").notna().to_numpy().any():
            return plot(table, *args, **kwargs)
        return note("No labelled events: there is no quality to show.")

    return drawn


def note(text: str) -> Figure:
    """Say in place of a figure why there is none."""
    figure, ax = canvas(width=7, height=1)
    ax.axis("off")
    ax.text(0, 0.5, text, va="center")
    return figure


def label_dots(ax: Axes, dots: dict[str, tuple[float, float]]) -> None:
    """Write each detector's name near its dot (x, y); last, for it needs the final layout."""
    ax.figure.draw_without_rendering()  # the layout engine sets the axes' place only now
    look = {"fontsize": 7, "ha": "center", "va": "center"}
    look["path_effects"] = [withStroke(linewidth=1.5, foreground="white")]
    look["in_layout"] = False  # else the layout would move the axes once more
    labels = [ax.text(*dots[name], title(name), color=colour(name), **look) for name in dots]
    from adjustText import adjust_text  # takes half a second to import

    x, y = zip(*dots.values(), strict=True)
    arrows = {"arrowstyle": "-", "lw": 0.4, "color": "#999999"}
    air = {"expand": (1.2, 1.9), "force_text": (0.2, 0.4), "min_arrow_len": 8}  # around a name
    adjust_text(labels, x, y, ax=ax, arrowprops=arrows, iter_lim=500, **air)
