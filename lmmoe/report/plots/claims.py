"""Pictures of the claims' audit (`lmmoe.report.claims`)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmmoe.report.claims import VERDICTS, counts
from lmmoe.report.plots.style import METRIC_TITLES, canvas, note, styled

# Okabe and Ito's colours; grey for what nobody can tell yet. Each verdict has its mark too.
LOOKS = dict(
    zip(
        VERDICTS,
        [("#009E73", "o"), ("#D55E00", "X"), ("#CC79A7", "D"), ("#BBBBBB", "s")],
        strict=True,
    )
)
PANELS = {
    "point_f1": "point_f1_pa",
    "event_f1_log": "event_f1_pa_log",
    "event_f1_squeeze": "event_f1_pa_squeeze",
}


@styled
def claims_by_document(audit: pd.DataFrame) -> Figure:
    """How many claims of each document got which verdict, all documents at the bottom."""
    table = counts(audit)
    figure, ax = canvas(width=9, height=1.2 + 0.45 * len(table))
    start = np.zeros(len(table))
    for verdict in VERDICTS:
        sizes = table[verdict].to_numpy()
        colour, _ = LOOKS[verdict]
        ax.barh(range(len(table)), sizes, left=start, color=colour, label=verdict, height=0.7)
        for level, (left, size) in enumerate(zip(start, sizes, strict=True)):
            if size >= 4:  # a narrower bar has no room for its number
                ax.text(left + size / 2, level, str(size), ha="center", va="center", fontsize=8)
        start = start + sizes
    ax.set_yticks(range(len(table)), table.index)
    ax.invert_yaxis()
    ax.set(xlabel="claims", title="the study's printed claims")
    ax.legend(ncols=4, fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.22))
    return figure


@styled
def printed_against_measured(audit: pd.DataFrame, chance: dict[str, float]) -> Figure:
    """The printed F1s of whole detectors against ours, in percent.

    ``chance`` is what random scores reach (`report.claims.chance`); a metric without it is not
    drawn. Ours covers the machines at hand, so a point off the diagonal may be a matter of
    machines: the verdict compares on the same ones.
    """
    known = audit[audit["metric"].isin(list(PANELS)) & audit["measured"].notna()]
    known = known[known["unit"] == "%"]  # a bound is no point
    metrics = [m for m in PANELS if m in chance and (known["metric"] == m).any()]
    if not metrics:
        return note("No F1 of ours with random scores beside it: nothing to compare.")
    figure, axes = canvas(width=1 + 3.4 * len(metrics), height=4, ncols=len(metrics), squeeze=False)
    for ax, metric in zip(axes[0], metrics, strict=True):
        _panel(ax, known[known["metric"] == metric], chance[metric])
        ax.set_title(METRIC_TITLES.get(PANELS[metric], metric))
    handles = {
        label: handle
        for ax in axes[0]
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, fontsize=7)
    return figure


def _panel(ax: Axes, part: pd.DataFrame, floor: float) -> None:
    printed = part["value"].astype(float)
    low = min(printed.min(), part["measured"].min(), floor) - 3
    ax.plot([low, 101], [low, 101], color="#999999", lw=0.8)
    ax.axhline(floor, color="#999999", ls="--", label="random scores")
    for verdict, (colour, mark) in LOOKS.items():
        chosen = part["verdict"] == verdict
        if chosen.any():
            dots = {"color": colour, "marker": mark, "s": 28, "alpha": 0.8, "label": verdict}
            ax.scatter(printed[chosen], part.loc[chosen, "measured"], zorder=3, **dots)
    ax.set(xlim=(low, 101), ylim=(low, 101), aspect="equal")
    ax.set(xlabel="printed (%)", ylabel="ours on the machines at hand (%)")
