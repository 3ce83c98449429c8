"""Pictures of the pitfalls (`lmmoe.report.pitfalls`)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lmmoe.report.names import METRIC_TITLES, colour, title
from lmmoe.report.plots import style

NONE = "No labelled events: no pitfall can be shown with them."


@style.styled
def ranking(gains: pd.DataFrame) -> Figure:
    """What each pitfall gives to each detector, the most on top; right, how often orders change."""
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
    figure, axes = style.canvas(4, width=8, height=9.5, ncols=2)
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
        ax.locator_params(axis="x", nbins=5)
        if sizes.max() > 20 * sizes.min() > 0:
            style.log_scale(ax, "x")
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    figure.legend(handles=axes.flat[0].lines, loc="outside lower center", ncols=4, fontsize=8)
    return figure
