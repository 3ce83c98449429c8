"""Forecast errors by size: on rows that a network learned from, and on later ones."""

import pandas as pd
from matplotlib.figure import Figure

from lmmoe.report.plots.style import canvas, colour, note, styled, title

LEARNED, UNSEEN = "rows that it learned from", "later rows of the training half"


@styled
def errors_by_size(summary: pd.DataFrame, base: str = "the last value") -> Figure:
    """Errors of each network over its number of parameters (`lmmoe.report.tables.generalisation`).

    A hollow mark is the error on learned rows, a full one that on later rows; the line between is
    what a network loses on rows that it did not see.
    """
    if summary.empty:
        return note("No forecast errors: none was run under the study's protocol, or all failed.")
    figure, ax = canvas(width=8, height=4)
    for name, line in summary.iterrows():
        look, x = {"color": colour(name)}, line["parameters"]
        ax.plot([x, x], [line["seen"], line["unseen"]], lw=1, **look)
        ax.scatter(x, line["seen"], s=45, facecolors="white", edgecolors=look["color"], zorder=3)
        ax.scatter(x, line["unseen"], s=45, zorder=3, **look)
        above = line[["seen", "unseen"]].max()
        ax.annotate(
            title(name), (x, above), (0, 7), textcoords="offset points", ha="center", fontsize=8
        )
    ax.axhline(1, color="#999999", ls="--", lw=1, zorder=1)
    ax.scatter([], [], s=45, facecolors="white", edgecolors="black", label=LEARNED)
    ax.scatter([], [], s=45, color="black", label=UNSEEN)
    ax.plot([], [], color="#999999", ls="--", lw=1, label=base)
    ax.set_xscale("log")
    ax.margins(x=0.15, y=0.15)
    ax.set_ylim(bottom=0)
    ax.set(xlabel="parameters (log scale)", ylabel=f"squared error, as a share of {base}'s")
    ax.set_title("does a larger network overfit? forecast errors by size")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure
