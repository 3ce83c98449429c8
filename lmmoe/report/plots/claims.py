"""Pictures of the claims' audit (`lmmoe.report.claims`)."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lmmoe.report.names import METRIC_TITLES, VERDICTS
from lmmoe.report.plots.style import canvas, note, styled

# Okabe and Ito's colours; grey for what cannot be tested. Each verdict has its mark too.
COLOURS = dict(zip(VERDICTS, ("#009E73", "#56B4E9", "#D55E00", "#CC79A7", "#BBBBBB"), strict=True))
MARKS = dict(zip(VERDICTS, "o^vDs", strict=True))
PANELS = {
    "point_f1": "point_f1_pa",
    "event_f1_log": "event_f1_pa_log",
    "event_f1_squeeze": "event_f1_pa_squeeze",
}


@styled
def claims_by_document(table: pd.DataFrame) -> Figure:
    """How many claims of each document got which verdict (`lmmoe.report.claims.summary`)."""
    figure, ax = canvas(width=9, height=1.2 + 0.45 * len(table))
    table.plot.barh(stacked=True, ax=ax, color=COLOURS, width=0.7, legend=False)
    for bars, verdict in zip(ax.containers, VERDICTS, strict=True):
        labels = [str(size) if size >= 4 else "" for size in table[verdict]]  # no room for less
        ax.bar_label(bars, labels, label_type="center", fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel="claims", ylabel="", title="the study's printed claims")
    figure.legend(ncols=5, fontsize=7, loc="outside lower center")
    return figure


@styled
def printed_against_measured(audit: pd.DataFrame, chance: dict[str, float]) -> Figure:
    """The printed F1s of whole detectors against ours, in percent.

    ``chance`` is what random scores reach (`report.claims.chance`); a metric without it is not
    drawn. Ours covers the machines at hand, so a point off the diagonal may be a matter of
    machines: the verdict compares on the same ones.
    """
    known = audit[audit["measured"].notna() & (audit["unit"] == "%")]  # a bound is no point
    metrics = [m for m in PANELS if m in chance and (known["metric"] == m).any()]
    if not metrics:
        return note("No F1 of ours with random scores beside it: nothing to compare.")
    figure, axes = canvas(width=1 + 3.4 * len(metrics), height=4, ncols=len(metrics), squeeze=False)
    handles = {}
    for ax, metric in zip(axes[0], metrics, strict=True):
        part = known[known["metric"] == metric].assign(printed=lambda t: t["value"].astype(float))
        low = min(part["printed"].min(), part["measured"].min(), chance[metric]) - 3
        ax.plot([low, 101], [low, 101], color="#999999", lw=0.8)
        ax.axhline(chance[metric], color="#999999", ls="--", label="random scores")
        look = {"palette": COLOURS, "markers": MARKS, "s": 28, "alpha": 0.8, "zorder": 3}
        dots = {"x": "printed", "y": "measured", "hue": "verdict", "style": "verdict"}
        sns.scatterplot(part, ax=ax, hue_order=VERDICTS, style_order=VERDICTS, **dots, **look)
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        ax.get_legend().remove()
        ax.set(
            xlim=(low, 101), ylim=(low, 101), aspect="equal", title=METRIC_TITLES[PANELS[metric]]
        )
        ax.set(xlabel="printed (%)", ylabel="ours on the machines at hand (%)")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6, fontsize=7)
    return figure
