"""Pictures of the data itself."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmmoe.data import Series
from lmmoe.data.series import Floats
from lmmoe.report.names import colour
from lmmoe.report.plots.style import EVENT, canvas, shade_events, styled, time_axis


@styled
def event_map(fleet: Sequence[Series]) -> Figure:
    """Draw when each entity's events lie, and how long they are."""
    figure, (left, right) = canvas(height=1.2 + 0.22 * len(fleet), ncols=2, width_ratios=[3, 1.2])
    for level, series in enumerate(fleet):
        scale = series.rows_per_day or 1
        left.barh(level, len(series.test) / scale, height=0.7, color="#E8ECEF")
        starts, ends = np.reshape(series.events, (-1, 2)).T / scale
        widths = np.maximum(ends - starts, len(series.test) / scale / 500)  # short ones are seen
        left.barh(level, widths, left=starts, height=0.7, color=EVENT)
    left.set_yticks(range(len(fleet)), [series.entity for series in fleet])
    left.set_ylim(len(fleet) - 0.4, -0.6)
    left.set(title="labelled events in the test half", xlabel=time_axis(fleet[0], np.arange(1))[1])
    lengths = [end - start for series in fleet for start, end in series.events]
    right.hist(lengths, np.geomspace(1, max(lengths, default=1) + 1, 20), color=EVENT, alpha=0.8)
    right.set(title="their lengths", xlabel="rows", ylabel="events", xscale="log")
    return figure


@styled
def closeup(
    series: Series, event: tuple[int, int], channels: Sequence[int], forecast: Floats | None = None
) -> Figure:
    """Some channels around one event, each in its own lane; dashed: a forecast ``(t, c)``."""
    figure, axes, rows, time = lanes(series, event, channels, around=120)
    for ax, channel in zip(axes, channels, strict=True):
        shade = EVENT if channel in caused_by(series, event) else "#37474F"
        ax.plot(time, series.test[rows, channel], color=shade)
        if forecast is not None:
            ax.plot(time, forecast[rows, channel], "--", color=colour("LightMMoE"), lw=0.9)
    dashed = "" if forecast is None else "; dashed: forecast"
    causes = "; red lines: channels named as its cause" if caused_by(series, event) else ""
    axes[0].set_title(f"around one event (shaded){dashed}{causes}")
    return figure


def lanes(
    series: Series, event: tuple[int, int], channels: Sequence[int], *, around: int
) -> tuple[Figure, list[Axes], slice, Floats]:
    """Make an empty lane for each channel around an event; also its rows and their times."""
    rows = slice(max(event[0] - around, 0), min(event[1] + around, len(series.test)))
    height = 0.7 + 0.75 * len(channels)
    figure, axes = canvas(len(channels), height=height, sharex=True, squeeze=False)
    for ax, channel in zip(axes[:, 0], channels, strict=True):
        shade_events(ax, series, start=rows.start, stop=rows.stop)
        ax.set_ylabel(series.channels[channel], rotation=0, ha="right", va="center", fontsize=7)
        ax.tick_params(labelsize=6)
        ax.margins(x=0)
    time, unit = time_axis(series, np.arange(rows.start, rows.stop))
    axes[-1, 0].set_xlabel(f"{unit} of the test half of {series.entity}")
    return figure, list(axes[:, 0]), rows, time


def showcase(series: Series, scores: Floats | None = None) -> tuple[int, int]:
    """An event that fits a picture: the longest of at most 200 rows, else the shortest.

    Without labelled events, the row with the highest of ``scores`` ``(t,)``, or the middle.
    """
    if not series.events:
        row = len(series.test) // 2 if scores is None else int(np.argmax(scores))
        return row, row
    events = sorted(series.events, key=lambda event: event[1] - event[0])
    return next((e for e in reversed(events) if e[1] - e[0] <= 200), events[0])


def caused_by(series: Series, event: tuple[int, int]) -> set[int]:
    """The channels named as causes of an event; none where nobody named any."""
    causes = (c for c in series.causes or () if c.start < event[1] and c.end > event[0])
    return {channel for cause in causes for channel in cause.channels}


@styled
def shifts(fleet: Sequence[Series]) -> Figure:
    """How far each channel's test mean lies from its training mean, in training deviations."""
    moves = []
    for series in fleet:
        # A constant's deviation is not 0 but some 1e-17, by rounding.
        spread = np.where(np.ptp(series.train, axis=0), series.train.std(axis=0), np.nan)
        shift = series.test.mean(axis=0) - series.train.mean(axis=0)
        moves.append(pd.Series(shift / spread, name=series.entity))
    import seaborn as sns  # with scipy.stats: a second, for a picture of its own

    figure, ax = canvas(height=1.4 + 0.22 * len(fleet))
    table = pd.DataFrame(moves)
    table.columns += 1
    look = {"cmap": "RdBu_r", "vmin": -3, "vmax": 3, "xticklabels": True, "yticklabels": True}
    sns.heatmap(table, ax=ax, cbar_kws={"label": "training deviations", "shrink": 0.6}, **look)
    ax.tick_params(labelsize=6, length=0)
    ax.set_facecolor("#DDDDDD")  # a channel that is constant in training, or is not there
    ax.set(title="from training to test: shift of each channel's mean", xlabel="channel")
    return figure
