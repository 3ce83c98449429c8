"""Pictures of the pitfalls (`lmmoe.report.pitfall_tables`)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lmmoe.data.series import Floats, Series
from lmmoe.metrics import alarms, best_f1
from lmmoe.report.names import METRIC_TITLES, colour, title
from lmmoe.report.plots import style

NONE = "No labelled events: no pitfall can be shown with them."


@style.styled
def ranking(gains: pd.DataFrame) -> Figure:
    """What each pitfall gives to each detector; right, how often it changes their order.

    The highest mean gain stands on top; thin lines are 95 % bootstrap intervals over entities.
    """
    if gains.empty:
        return style.note(NONE)
    means = gains.groupby(["mistake", "number"])[["gain", "order_changes"]].mean()
    means = means.sort_values("gain", kind="stable")
    figure, ax = style.canvas(height=1.4 + 0.36 * len(means))
    ax.axvline(0, color="#999999", lw=0.8)
    rows, numbers = np.arange(len(means)), means.index.get_level_values("number")
    for place, (name, part) in enumerate(gains.groupby("detector", sort=False)):
        part, levels = part.set_index("number").reindex(numbers), rows - 0.2 * place
        ax.hlines(levels, part["low"], part["high"], color=colour(name), lw=1, alpha=0.6)
        ax.scatter(part["gain"], levels, color=colour(name), s=18, label=title(name), zorder=3)
    ax.set_yticks(rows - 0.3, [f"{name}  ({number})" for name, number in means.index])
    ax.set(title="what each pitfall gives", xlabel="gain: number after the pitfall - before")
    shares = ax.secondary_yaxis("right")
    shares.set_yticks(rows - 0.3, [f"{share:.0%}" for share in means["order_changes"]])
    shares.set_ylabel("order changes")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    return figure


@style.styled
def sweeps(settings: pd.DataFrame, pitfalls: pd.DataFrame) -> Figure:
    """How the number moves as a pitfall grows, for those of the catalogue that have an ``axis``."""
    if settings.empty:
        return style.note(NONE)
    shown = pitfalls[pitfalls.index.isin(settings["mistake"])]
    figure, axes = style.canvas(3, height=8, ncols=3)
    for ax, (name, about) in zip(axes.flat, shown.iterrows(), strict=False):
        part = settings[settings["mistake"] == name]
        sizes = pd.to_numeric(part["setting"], errors="coerce")
        if sizes.isna().all():  # steps, not sizes
            sizes = part.groupby("detector").cumcount()
        for detector, line in part.assign(size=sizes).dropna().groupby("detector"):
            look = {"color": colour(detector), "label": title(detector), "marker": "o", "ms": 3}
            ax.plot(line["size"], line["value"], **look)
        one_metric = about["metric"] == about["reported"]
        ax.set(ylabel=METRIC_TITLES[about["metric"]] if one_metric else "F1", ylim=(0, None))
        ax.set_title(f"{name} ({about['number']})", fontsize=9)
        ax.set_xlabel(about["axis"], fontsize=7)
        if sizes.max() > 20 * sizes.min() > 0:
            style.log_scale(ax, "x")
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    lines = axes.flat[0].lines
    figure.legend(handles=lines, loc="outside lower center", ncols=4, fontsize=8)
    return figure


@style.styled
def adjustment(series: Series, scores: Floats) -> Figure:
    """The longest event: which rows random scores flag at the threshold best after adjustment."""
    if not series.events or series.labels.all():
        return style.note(NONE)  # without a normal row there is no false alarm either
    best = best_f1(labels=series.labels, scores=scores, adjust="point")
    flagged = scores >= best.threshold
    plain = alarms(labels=series.labels, scores=flagged, threshold=0.5).f1
    start, end = max(series.events, key=lambda event: event[1] - event[0])
    rows = np.arange(max(2 * start - end, 0), min(2 * end - start, len(scores)))
    place, unit = style.time_axis(series, rows)
    figure, ax = style.canvas(height=2.6)
    style.shade_events(ax, series, start=int(rows[0]), stop=int(rows[-1]) + 1)
    ax.plot(place, scores[rows], color=colour("random"), lw=0.8)
    ax.plot(place[flagged[rows]], scores[rows][flagged[rows]], "o", color="black", ms=3)
    text = f"flagged rows (dots): F1 {plain:.2f}; and all rows of their events: F1 {best.f1:.2f}"
    ax.set(title=text, xlabel=f"{unit} of the test half", ylabel=f"random on {series.entity}")
    return figure
