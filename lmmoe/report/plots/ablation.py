"""The picture of the ablation."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from lmmoe.report.names import title
from lmmoe.report.plots.style import canvas, log_scale, note, styled

# Okabe and Ito's colours, purple in place of their pale yellow, and grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A5195", "#7F7F7F")


@styled
def differences(table: pd.DataFrame) -> Figure:
    """Draw `lmmoe.report.ablation.by_variant`: what every variant changes, with 95 % intervals.

    Left average precision, right the forecast error. Grey: the interval holds the full model.
    """
    known = table[table["average_precision_difference"].notna() & (table.index != "random")]
    if known.empty:
        return note("No variant beside the full model has results: there is nothing to compare.")
    groups = known["group"]
    shades = dict(zip(groups.unique(), COLOURS, strict=False))
    # A line's room above each group.
    levels = np.arange(len(known)) + 1.3 * (groups.ne(groups.shift()).cumsum().to_numpy() - 1)
    layout = {"ncols": 2, "sharey": True, "width_ratios": [1.4, 1]}
    figure, (left, right) = canvas(width=8, height=1.3 + 0.175 * levels[-1], **layout)
    for ax, metric, neutral in ((left, "average_precision", 0), (right, "forecast_error", 1)):
        middle, low, high = known.filter(regex=f"^{metric}_").to_numpy(dtype=float).T
        sure = (low > neutral) | (high < neutral)
        look = {"color": np.where(sure, groups.map(shades), "#B0B0B0"), "zorder": 3}
        ax.hlines(levels, low, high, lw=1.6, **look)
        ax.scatter(middle, levels, s=18, **look)
        ax.axvline(neutral, color="#333333", lw=0.8, ls=":")  # the full model
        ax.grid(axis="x", alpha=0.25)
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set(major_locator=MaxNLocator(5), major_formatter=StrMethodFormatter("{x:g}"))
    left.set(xlabel="average precision: variant - full model", title="detection (right: better)")
    right.set(xlabel="forecast error: variant / full model", title="forecasting (left: better)")
    low, high = right.get_xlim()
    if high > 6 * low > 0:
        log_scale(right, "x")
    left.set_yticks(levels, [title(name) for name in known.index], fontsize=7.5)
    left.set_ylim(levels[-1] + 0.8, levels[0] - 2)
    look = {"weight": "bold", "fontsize": 8, "ha": "right", "va": "center"}
    look["transform"] = left.get_yaxis_transform()
    for group, level in pd.Series(levels, groups).groupby(level=0).first().items():
        left.text(-0.01, level - 1, group, color=shades[group], **look)
    return figure
