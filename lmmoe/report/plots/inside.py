"""Pictures of what is inside a fitted LightMMoE (`lmmoe.report.inside`)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lmmoe.data import Series
from lmmoe.data.series import Floats
from lmmoe.report.names import colour
from lmmoe.report.plots.ablation import COLOURS, ratio_axis
from lmmoe.report.plots.style import canvas, note, shade_events, styled, time_axis


@styled
def gates_over_time(
    series: Series, shares: Floats, entropy: Floats, channel: int, event: tuple[int, int]
) -> Figure:
    """One channel around one event: its values, its experts' shares, and all gates' entropy.

    ``shares`` ``(t, c, e)`` and ``entropy`` ``(t,)`` belong to the last rows of the test half.
    """
    first, around = len(series.test) - len(shares), 60
    start, stop = max(event[0] - around, first), min(event[1] + around, len(series.test))
    time, unit = time_axis(series, np.arange(start, stop))
    layout = {"sharex": True, "height_ratios": [1, 1.4, 0.8]}
    figure, (values, parts, mean) = canvas(3, width=9, height=4.4, **layout)
    values.plot(time, series.test[start:stop, channel], color="#37474F", lw=0.9)
    values.set(ylabel=series.channels[channel])
    shown = shares[start - first : stop - first, channel].T
    labels = [f"expert {number + 1}" for number in range(len(shown))]
    look = {"colors": COLOURS[: len(shown)], "lw": 0, "antialiased": False}
    parts.stackplot(time, shown, labels=labels, **look)
    parts.set(ylabel="share", ylim=(0, 1))
    parts.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)
    mean.plot(time, entropy[start - first : stop - first], color="#37474F", lw=0.9)
    mean.set(ylabel="entropy", ylim=(0, 1), xlabel=unit)
    for ax in (values, mean):
        shade_events(ax, series, start=start, stop=stop)
    values.margins(x=0)
    values.set_title("the gate of one channel over time, and the mean entropy of all gates")
    return figure


@styled
def disturbances(table: pd.DataFrame) -> Figure:
    """Forecast errors when a part of a fitted network does another part's work.

    ``table`` is `lmmoe.report.inside.table`'s; a dot an entity, the bar their geometric mean. The
    last value's error is 1.
    """
    if table.dropna(how="all").empty:
        return note("LightMMoE could be fitted to none of these entities.")
    errors = table.loc[:, ::-1].loc[:, :"as trained"]
    figure, ax = canvas(width=8, height=1.1 + 0.34 * errors.shape[1])
    shade = colour("LightMMoE")
    for level, name in enumerate(errors):
        values = table[name].dropna()
        ax.scatter(values, [level] * len(values), s=12, alpha=0.4, lw=0, color=shade)
        middle = float(np.exp(np.log(values).mean()))
        ax.scatter(middle, level, marker="|", s=190, color=shade)
        place = {"xycoords": ax.get_yaxis_transform(), "va": "center", "fontsize": 7.5}
        ax.annotate(f"{middle:.2f}", (1.01, level), **place)
    ax.axvline(1, color="#333333", lw=0.8, ls=":")
    ratio_axis(ax)
    ax.set_yticks(range(errors.shape[1]), errors.columns)
    ax.set(ylim=(-0.6, errors.shape[1] - 0.4))
    ax.set_xlabel("forecast error on held-out rows (dotted: the last value repeated)")
    ax.set_title("parts of the trained network exchanged (right: geometric mean)")
    return figure
