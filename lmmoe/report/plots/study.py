"""Our runs of the study's protocol beside the study's own (`lmmoe.report.tables.by_machine`)."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lmmoe.report.plots.style import (
    METRIC_TITLES,
    canvas,
    colour,
    family_legend,
    named_ticks,
    note,
    styled,
)

NONE = "The study ran none of these entities."


@styled
def against_study(machines: pd.DataFrame) -> Figure:
    """Our numbers against the study's own, machine by machine (`report.tables.by_machine`)."""
    metrics = [column for column in machines if f"{column}_study" in machines]
    if machines.empty:
        return note(NONE)
    figure, axes = canvas(height=3.9, ncols=len(metrics))
    look = {"color": colour("random"), "ls": "--", "label": "random scores, mean"}
    for ax, metric in zip(axes, metrics, strict=True):
        ax.plot([0, 1], [0, 1], color="#999999", lw=0.8)
        known = machines.dropna(subset=f"{metric}_study")
        for name, part in known.groupby("detector"):
            dots = {"s": 16, "alpha": 0.6, "lw": 0, "color": colour(name)}
            ax.scatter(part[f"{metric}_study"], part[metric], **dots)
        chance = machines.loc[machines["detector"] == "random", metric].mean()
        ax.axhline(chance, **look)
        low = min(known[[metric, f"{metric}_study"]].min().min(), chance) - 0.03
        ax.set(xlim=(low, 1.02), ylim=(low, 1.02), aspect="equal")
        ax.set(title=METRIC_TITLES[metric], xlabel="the study's run", ylabel="ours")
    shown = [name for name in machines["detector"].unique() if name != "random"]
    floor = [Line2D([], [], **look)]
    family_legend(figure, shown, more=floor, loc="outside lower center", ncols=4)
    return figure


@styled
def study_differences(machines: pd.DataFrame) -> Figure:
    """Ours minus the study's own, a dot a machine, by detector (`lmmoe.report.tables.by_machine`).

    The bar is the mean over machines. Detectors whose machines come out most alike stand on top.
    """
    metrics = [column for column in machines if f"{column}_study" in machines]
    known = machines.dropna(subset=[f"{metric}_study" for metric in metrics])
    known = known.dropna(subset=metrics)
    if known.empty:
        return note(NONE)
    apart = {metric: known[metric] - known[f"{metric}_study"] for metric in metrics}
    table = known[["detector"]].assign(**apart)
    size = table[metrics].abs().mean(axis=1).groupby(table["detector"]).mean()
    names = list(size.sort_values(ascending=False).index)
    figure, axes = canvas(height=1.5 + 0.3 * len(names), ncols=len(metrics), sharey=True)
    for ax, metric in zip(axes, metrics, strict=True):
        ax.axvline(0, color="#999999", lw=0.8)
        for level, name in enumerate(names):
            values = table.loc[table["detector"] == name, metric]
            dots = {"s": 14, "alpha": 0.5, "lw": 0, "color": colour(name)}
            ax.scatter(values, [level] * len(values), **dots)
            ax.scatter(values.mean(), level, marker="|", s=130, color=colour(name))
        ax.set(title=METRIC_TITLES[metric], xlabel="ours - the study's")
        ax.set_ylim(-0.6, len(names) - 0.4)
    named_ticks(axes[0], names)
    family_legend(figure, names, loc="outside lower center", ncols=4)
    return figure
